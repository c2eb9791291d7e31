// The published SDK, unmodified: in its session mode in a browser on a page of the store, and in its jwt mode with every method that has a route.
import Medusa from '@medusajs/js-sdk';
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { decodeToken } from 'react-jwt';
import { launchBrowser, openPage } from './support/browser.mjs';
import { resetMail, startDev, startServe } from './support/server.mjs';
import { startStorefront } from './support/storefront.mjs';

const KEY = `pk_${'5e'.repeat(32)}`;
const PASSWORD = 'a-quiet-Tuesday-7';
const CHANGED = 'two-green-Kettles-4';

const configuration = (storefront) => `
[tenants.cors]
store = ["${storefront.origin}"]
auth = ["${storefront.origin}"]
[tenants.mail]
from = "Acme <no-reply@acme.example>"
transport = "smtp://127.0.0.1:1"
messages = ["password_reset"]
`;

// Runs `work` of a storefront's developer on a page with an SDK of its own. What it fails with comes back as { status, message }.
function runOnPage(page, settings, work, given = {}) {
  return page.evaluate(
    async ([text, settings, given]) => {
      const { default: Medusa } = await import('@medusajs/js-sdk');
      const sdk = new Medusa(settings);
      try {
        return await (0, eval)(`(${text})`)(sdk, given);
      } catch ({ status, message }) {
        return { status, message };
      }
    },
    [String(work), settings, given],
  );
}
const retrieve = async (sdk) => (await sdk.store.customer.retrieve()).customer.email;

describe('the SDK in session mode', { timeout: 120_000 }, () => {
  const email = 'session@example.com';
  let browser;
  let storefront;
  let stranger;
  let server;

  before(async () => {
    browser = await launchBrowser();
    [storefront, stranger] = [await startStorefront(), await startStorefront()];
    server = await startServe(KEY, configuration(storefront));
    for (const pages of [storefront, stranger]) pages.connect({ baseUrl: server.base, publishableKey: KEY });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await storefront?.stop();
    await stranger?.stop();
  });

  const onPage = (page, work, given) => runOnPage(page, { baseUrl: server.base, publishableKey: KEY, auth: { type: 'session' } }, work, given);

  test('signs up, signs in, is the customer on the next page, and signs out', async () => {
    const { page, seen, close } = await openPage(browser);
    await page.goto(storefront.origin);
    assert.equal((await onPage(page, retrieve)).status, 401, 'nobody yet');
    const created = await onPage(
      page,
      async (sdk, { email, password }) => {
        const token = await sdk.auth.register('customer', 'emailpass', { email, password });
        const { customer } = await sdk.store.customer.create({ email, first_name: 'Sam' }, {}, { Authorization: `Bearer ${token}` });
        return customer;
      },
      { email, password: PASSWORD },
    );
    assert.match(created.id ?? '', /^cus_/, JSON.stringify(created));
    const signIn = async (sdk, { email, password }) => typeof (await sdk.auth.login('customer', 'emailpass', { email, password }));
    assert.equal(await onPage(page, signIn, { email, password: PASSWORD }), 'string');

    // Another page of the store: nothing but the cookie says who it is.
    await page.goto(`${storefront.origin}/`);
    assert.equal(await onPage(page, retrieve), email);
    assert.equal(await onPage(page, async (sdk) => (await sdk.store.customer.update({ last_name: 'Lee' })).customer.last_name), 'Lee');
    const street = await onPage(page, async (sdk) => (await sdk.store.customer.createAddress({ address_1: '1 Road' })).customer.addresses[0].address_1);
    assert.equal(street, '1 Road');
    const kept = await onPage(page, async (sdk) => {
      const { addresses, count } = await sdk.store.customer.listAddress({ limit: 5 });
      const [{ id }] = addresses;
      const { address } = await sdk.store.customer.retrieveAddress(id);
      const { customer } = await sdk.store.customer.updateAddress(id, { city: 'Ulm' });
      const { deleted, parent } = await sdk.store.customer.deleteAddress(id);
      return [count, address.id === id, customer.addresses[0].city, deleted, parent.addresses];
    });
    assert.deepEqual(kept, [1, true, 'Ulm', true, []]);
    assert.equal((await onPage(page, (sdk) => sdk.store.customer.retrieveAddress('cuaddr_01K0000000000000000000000A'))).status, 404);
    assert.match(await onPage(page, async (sdk) => (await sdk.auth.refresh()).token), /^eyJ/);
    assert.equal(await onPage(page, retrieve), email);

    // No script reads the cookie.
    assert.equal(await page.evaluate(() => document.cookie), '');
    const [cookie, ...others] = (await page.context().cookies()).filter(({ name }) => name === 'vestibule');
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path, others.length], [true, 'Lax', '/', 0]);

    assert.equal(await onPage(page, (sdk) => sdk.auth.logout()), undefined);
    assert.equal((await onPage(page, retrieve)).status, 401);
    assert.deepEqual((await page.context().cookies()).filter(({ name }) => name === 'vestibule'), []);
    // The value that a thief kept is dead, too.
    await page.context().addCookies([cookie]);
    assert.equal((await onPage(page, retrieve)).status, 401);
    assert.deepEqual(seen.errors, []);
    await close();
  });

  test('a page that the store does not know writes nothing with the cookie', async () => {
    const address = 'victim@example.com';
    const { page, close } = await openPage(browser);
    await page.goto(storefront.origin);
    const signedIn = await onPage(
      page,
      async (sdk, { email, password }) => {
        await sdk.auth.register('customer', 'emailpass', { email, password });
        return typeof (await sdk.auth.login('customer', 'emailpass', { email, password }));
      },
      { email: address, password: PASSWORD },
    );
    assert.equal(signedIn, 'string');
    // On one machine every port is of the same site, so the browser does send the cookie. A form needs no leave to be posted.
    const post = async ([base, current, changed]) => {
      const body = new URLSearchParams({ current_password: current, password: changed });
      const answer = await fetch(`${base}/auth/customer/emailpass/change-password`, { method: 'POST', body, mode: 'no-cors', credentials: 'include' });
      return answer.type;
    };
    const evil = await page.context().newPage();
    await evil.goto(stranger.origin);
    assert.equal(await evil.evaluate(post, [server.base, PASSWORD, CHANGED]), 'opaque');
    assert.equal((await onPage(evil, (sdk) => sdk.auth.logout())).message, 'Failed to fetch');
    const login = async (sdk, { email, password }) => typeof (await sdk.auth.login('customer', 'emailpass', { email, password }));
    assert.equal(await onPage(page, login, { email: address, password: PASSWORD }), 'string', 'the password is what it was');
    // The same form from the store's own page does what it says.
    await page.evaluate(post, [server.base, PASSWORD, CHANGED]);
    assert.equal(await onPage(page, login, { email: address, password: CHANGED }), 'string');
    await close();
  });
});

describe('the SDK in session mode, with mails and a third party', { timeout: 120_000 }, () => {
  let browser;
  let storefront;
  let server;
  let settings;

  before(async () => {
    browser = await launchBrowser();
    storefront = await startStorefront();
    server = await startDev('--storefront', storefront.origin);
    const publishableKey = /publishable key\s+(pk_[0-9a-f]{64})/.exec(server.stdout())[1];
    settings = { baseUrl: server.base, publishableKey, auth: { type: 'session' } };
    storefront.connect(settings);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await storefront?.stop();
  });

  test('resets the password: the browser is signed out, and signs in with the new one', async () => {
    const email = 'forgetful@example.com';
    const { page, seen, close } = await openPage(browser);
    await page.goto(storefront.origin);
    const onPage = (work, given) => runOnPage(page, settings, work, given);
    const { providers } = await onPage((sdk) => sdk.auth.listProviders('customer'));
    assert.ok(providers.some(({ id, flow }) => id === 'emailpass' && flow === 'credentials'));
    const signIn = (password) => onPage(async (sdk, given) => typeof (await sdk.auth.login('customer', 'emailpass', given)), { email, password });
    await onPage(
      async (sdk, given) => {
        const token = await sdk.auth.register('customer', 'emailpass', given);
        await sdk.store.customer.create({ email: given.email }, {}, { Authorization: `Bearer ${token}` });
      },
      { email, password: PASSWORD },
    );
    assert.equal(await signIn(PASSWORD), 'string');
    assert.equal(await onPage(retrieve), email);
    assert.equal(await onPage((sdk, given) => sdk.auth.resetPassword('customer', 'emailpass', given), { identifier: email }), undefined);
    const { link } = await resetMail(server, email, new Set());
    // The cookie of the standing session is sent beside the token of the mail.
    const update = (token) =>
      onPage((sdk, given) => sdk.auth.updateProvider('customer', 'emailpass', { password: given.password }, given.token), { password: CHANGED, token });
    assert.equal(await update(new URL(link).searchParams.get('token')), undefined);
    assert.equal((await update(new URL(link).searchParams.get('token'))).status, 401);
    assert.equal((await onPage(retrieve)).status, 401);
    assert.equal((await signIn(PASSWORD)).status, 401);
    assert.equal(await signIn(CHANGED), 'string');
    assert.equal(await onPage(retrieve), email);
    assert.deepEqual(seen.errors, []);
    await close();
  });

  test('comes back from a third party with a cookie', async () => {
    const { page, seen, close } = await openPage(browser);
    await page.goto(storefront.origin);
    const begin = (sdk, given) => sdk.auth.login('customer', 'demo', given);
    const callback = `${storefront.origin}/auth/customer/demo/callback`;
    const begun = await runOnPage(page, settings, begin, { callback_url: callback });
    assert.ok(begun.location, JSON.stringify(begun));
    await page.goto(begun.location);
    await page.getByRole('button', { name: 'Kim Example' }).click();
    await page.waitForURL((url) => url.href.startsWith(callback));
    const query = Object.fromEntries(new URL(page.url()).searchParams);
    await page.goto(storefront.origin);
    const call = (sdk, query) => sdk.auth.callback('customer', 'demo', query);
    assert.match(await runOnPage(page, settings, call, query), /^eyJ/);
    assert.equal((await runOnPage(page, settings, call, query)).status, 401, 'once');
    // Nothing but the cookie is left on the page: it makes the customer, and it is the customer.
    const created = await runOnPage(page, settings, async (sdk) => (await sdk.store.customer.create({ first_name: 'Kim' })).customer.first_name);
    assert.equal(created, 'Kim', JSON.stringify(created));
    assert.match(await runOnPage(page, settings, retrieve), /@/);
    assert.deepEqual(seen.errors, []);
    await close();
  });
});

describe('the SDK in jwt mode', { timeout: 120_000 }, () => {
  const email = 'jwt@example.com';
  let server;
  let sdk;

  before(async () => {
    server = await startDev();
    const publishableKey = /publishable key\s+(pk_[0-9a-f]{64})/.exec(server.stdout())[1];
    sdk = new Medusa({ baseUrl: server.base, publishableKey, auth: { type: 'jwt', jwtTokenStorageMethod: 'memory' } });
  });
  after(async () => server?.stop());

  // The branch of a storefront.
  const leadsTo = (token) => (decodeToken(token).actor_id ? 'the account' : 'creating a customer');
  const fails = async (call, status) => assert.rejects(call, (error) => error.status === status && Boolean(error.message));

  test('signs up as a storefront does, by the token’s actor_id', async () => {
    const { providers } = await sdk.auth.listProviders('customer');
    assert.ok(providers.some(({ id, flow }) => id === 'emailpass' && flow === 'credentials'));
    const registered = await sdk.auth.register('customer', 'emailpass', { email, password: PASSWORD });
    assert.equal(leadsTo(registered), 'creating a customer');
    await fails(sdk.store.customer.retrieve(), 401);
    const { customer } = await sdk.store.customer.create({ email, first_name: 'Jo' });
    assert.equal(customer.email, email);
    // The token that made the customer says nothing of it; the next one does.
    await fails(sdk.store.customer.retrieve(), 401);
    const { token } = await sdk.auth.refresh();
    assert.equal(leadsTo(token), 'the account');
    assert.equal(decodeToken(token).actor_id, customer.id);
    const signedIn = await sdk.auth.login('customer', 'emailpass', { email, password: PASSWORD });
    assert.equal(decodeToken(signedIn).actor_id, customer.id);
  });

  test('keeps profile and addresses', async () => {
    const { customer } = await sdk.store.customer.retrieve({ fields: '*orders' });
    assert.deepEqual([customer.first_name, customer.orders], ['Jo', []]);
    assert.equal((await sdk.store.customer.update({ phone: '+49 1' })).customer.phone, '+49 1');
    const created = await sdk.store.customer.createAddress({ address_1: '1 Road', city: 'Bonn', country_code: 'de', is_default_shipping: true });
    const { id } = created.customer.addresses[0];
    assert.equal((await sdk.store.customer.updateAddress(id, { city: 'Ulm' })).customer.addresses[0].city, 'Ulm');
    const list = await sdk.store.customer.listAddress({ limit: 5 });
    assert.deepEqual([list.count, list.addresses.map((address) => address.city)], [1, ['Ulm']]);
    assert.equal((await sdk.store.customer.retrieveAddress(id)).address.id, id);
    const deleted = await sdk.store.customer.deleteAddress(id);
    assert.deepEqual([deleted.id, deleted.deleted, deleted.parent.addresses], [id, true, []]);
    await fails(sdk.store.customer.retrieveAddress(id), 404);
  });

  test('resets the password, and forgets the token', async () => {
    await fails(sdk.auth.callback('customer', 'emailpass', {}), 401);
    await sdk.auth.resetPassword('customer', 'emailpass', { identifier: email });
    const { link } = await resetMail(server, email, new Set());
    const token = new URL(link).searchParams.get('token');
    await sdk.auth.updateProvider('customer', 'emailpass', { email, password: CHANGED }, token);
    await fails(sdk.auth.updateProvider('customer', 'emailpass', { email, password: CHANGED }, token), 401);
    await fails(sdk.store.customer.retrieve(), 401);
    await fails(sdk.auth.login('customer', 'emailpass', { email, password: PASSWORD }), 401);
    await sdk.auth.login('customer', 'emailpass', { email, password: CHANGED });
    assert.equal((await sdk.store.customer.retrieve()).customer.email, email);
    // `logout` reaches no server in this mode: a route of ours ends the session.
    const kept = await sdk.client.getToken();
    await sdk.client.fetch('/auth/sessions/current', { method: 'DELETE' });
    await sdk.auth.logout();
    assert.equal(await sdk.client.getToken(), '');
    await fails(sdk.store.customer.retrieve({}, { Authorization: `Bearer ${kept}` }), 401);
  });

  test('changes the password while signed in, and sees and ends sessions', async () => {
    await sdk.auth.login('customer', 'emailpass', { email, password: CHANGED });
    const other = await sdk.client.getToken();
    await sdk.auth.login('customer', 'emailpass', { email, password: CHANGED });
    const body = { current_password: CHANGED, password: PASSWORD };
    await sdk.client.fetch('/auth/customer/emailpass/change-password', { method: 'POST', body });
    await fails(sdk.client.fetch('/auth/customer/emailpass/change-password', { method: 'POST', body }), 401);
    assert.equal((await sdk.store.customer.retrieve()).customer.email, email, 'this session goes on');
    await fails(sdk.store.customer.retrieve({}, { Authorization: `Bearer ${other}` }), 401);
    const { sessions } = await sdk.client.fetch('/auth/sessions');
    assert.deepEqual([sessions.length, sessions[0].current], [1, true]);
  });
});
