// Signing in by a third party as a customer lives it: a storefront on an origin of its own with the published SDK, and a certified issuer.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launchBrowser, openPage } from './support/browser.mjs';
import { CLIENT, startIssuer } from './support/issuer.mjs';
import { startServe } from './support/server.mjs';
import { startStorefront } from './support/storefront.mjs';

const KEY = `pk_${'5e'.repeat(32)}`;
const ANN = {
  email: 'ann@example.com',
  email_verified: true,
  name: 'Ann Example',
  given_name: 'Ann',
  family_name: 'Example',
  picture: 'https://example.com/ann.png',
};

const configuration = (issuer, storefront) => `
[tenants.cors]
store = ["${storefront.origin}"]
auth = ["${storefront.origin}"]
[tenants.mail]
from = "Acme <no-reply@acme.example>"
transport = "smtp://127.0.0.1:1"
[tenants.providers.certified]
type = "oidc"
issuer = "${issuer.issuer}"
client_id = "${CLIENT.id}"
client_secret = "${CLIENT.secret}"
callback_url = "${storefront.callback}"
[outbound]
allow_private = ["127.0.0.1/32"]
`;

describe('signing in by a third party', { timeout: 180_000 }, () => {
  let browser;
  let storefront;
  let issuer;
  let server;

  before(async () => {
    browser = await launchBrowser();
    storefront = await startStorefront();
    issuer = await startIssuer({ redirectUri: storefront.callback, people: { ann: ANN, ben: { email: 'ben@example.com', email_verified: false } } });
    server = await startServe(KEY, configuration(issuer, storefront));
    storefront.connect({ baseUrl: server.base, publishableKey: KEY, provider: 'certified' });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await issuer?.stop();
    await storefront?.stop();
  });

  // Presses the buttons in a browser that nobody used before, and answers what the storefront shows at the end.
  async function signIn(choice, work = async () => {}) {
    const { page, seen, close } = await openPage(browser);
    await page.goto(storefront.origin);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL((url) => url.origin === issuer.issuer);
    await page.getByRole('button', { name: choice, exact: true }).click();
    await page.waitForURL((url) => url.href.startsWith(storefront.callback));
    const answered = await shown(page);
    await work(page, answered);
    assert.deepEqual(seen.errors, []);
    await close();
    return answered;
  }

  test('the first leads to Create Customer, the second to the customer', async () => {
    let customer;
    const first = await signIn('ann', async (page, { claims }) => {
      assert.ok(claims, 'the callback gave a token');
      await page.getByRole('button', { name: 'Create customer' }).click();
      ({ customer } = await shown(page, 'customer'));
    });
    assert.equal(first.claims.actor_id, '');
    assert.equal(first.claims.actor_type, 'customer');
    assert.match(first.claims.auth_identity_id, /^authid_/);
    assert.equal(first.claims.user_metadata.email, ANN.email);
    assert.equal(first.claims.user_metadata.name, ANN.name);
    assert.equal(first.claims.user_metadata.picture, ANN.picture);
    assert.match(customer.id, /^cus_/);
    // The body said no more than the address: the names are the issuer's.
    assert.deepEqual([customer.email, customer.first_name, customer.last_name], [ANN.email, 'Ann', 'Example']);

    const second = await signIn('ann');
    assert.equal(second.claims.actor_id, customer.id);
    assert.equal(second.claims.auth_identity_id, first.claims.auth_identity_id);
    assert.notDeepEqual(second.claims, first.claims);
    const proofs = issuer.requests.filter((request) => request === 'POST /token');
    assert.equal(proofs.length, 2, 'each sign-in asked the issuer once');
  });

  test('somebody else is somebody else', async () => {
    const { claims } = await signIn('ben');
    assert.equal(claims.actor_id, '');
  });

  test('who denies reads why, and gets no token', async () => {
    const { error, claims } = await signIn('Deny');
    assert.equal(claims, undefined);
    assert.equal(error.status, 401, error.message);
    assert.match(error.message, /The person said no|access_denied|denied/i);
  });

  test('a callback that another window began is not finished', async () => {
    const { page, close } = await openPage(browser);
    await page.goto(`${storefront.callback}?code=stolen&state=foreign`);
    const { error } = await shown(page);
    assert.equal(error.message, 'the sign-in was begun elsewhere');
    await close();
  });

  test('a state that nobody gave out is refused', async () => {
    const { page, close } = await openPage(browser);
    await page.goto(storefront.origin);
    await page.evaluate(() => sessionStorage.setItem('state', 'invented'));
    await page.goto(`${storefront.callback}?code=stolen&state=invented`);
    const { error } = await shown(page);
    assert.equal(error.status, 401, error.message);
    await close();
  });
});

// What the storefront shows, once it shows `member`, or anything at all.
async function shown(page, member) {
  const handle = await page.waitForFunction((name) => {
    const text = document.getElementById('shown')?.textContent;
    const said = text ? JSON.parse(text) : undefined;
    return said && (!name || said[name] || said.error) ? said : undefined;
  }, member);
  return handle.jsonValue();
}
