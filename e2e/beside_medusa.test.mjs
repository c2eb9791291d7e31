// The guide "Beside Medusa": its proxy's file and its configuration, as they stand, between the published SDK, Vestibule and a backend that
// shares the secret.
import assert from 'node:assert/strict';
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import dns from 'node:dns';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Medusa from '@medusajs/js-sdk';
import jwt from 'jsonwebtoken';
import { Webhook } from 'standardwebhooks';
import { startBackend } from './support/backend.mjs';
import { startProxy } from './support/proxy.mjs';
import { startConfigured } from './support/server.mjs';

const guide = (name) => fileURLToPath(new URL(`../docs/guides/${name}`, import.meta.url));
const SHOP = 'api.shop.example';
const STAFF = 'admin.shop.example';
const SECRET = randomBytes(32).toString('hex');
const HOOK = `whsec_${randomBytes(24).toString('base64')}`;
const JSON_TYPE = { 'content-type': 'application/json' };

// The shop's hosts stand in no DNS: here they are this machine.
const lookup = dns.lookup;
dns.lookup = (name, ...rest) => lookup([SHOP, STAFF].includes(name) ? '127.0.0.1' : name, ...rest);

// The guide's configuration, with the ports of this run.
const page = await readFile(guide('beside-medusa.md'), 'utf8');
const CONFIGURATION = /^```toml\n(\[server\][\s\S]*?)^```$/m.exec(page)[1];
const KEY = /"(pk_[0-9a-f]{64})"/.exec(CONFIGURATION)[1];

describe('beside Medusa', { timeout: 120_000 }, () => {
  let backend;
  let vestibule;
  let proxy;

  before(async () => {
    backend = await startBackend({ secret: SECRET, webhookSecret: HOOK });
    vestibule = await startConfigured((port) => CONFIGURATION.replaceAll('127.0.0.1:9001', `127.0.0.1:${port}`).replaceAll('127.0.0.1:9000', `127.0.0.1:${backend.port}`), {
      VESTIBULE__KEYS__MASTER: randomBytes(32).toString('base64'),
      VESTIBULE__TENANTS__0__TOKENS__SECRET: SECRET,
      VESTIBULE__TENANTS__0__WEBHOOKS__0__SECRET: HOOK,
    });
    proxy = await startProxy(guide('beside-medusa.nginx.conf'), { 9000: backend.port, 9001: vestibule.port });
  });
  after(async () => {
    await proxy?.stop();
    await vestibule?.stop();
    await backend?.stop();
  });

  // The SDK at the shop's one address.
  function storefront() {
    return new Medusa({ baseUrl: `http://${SHOP}:${proxy.port}`, publishableKey: KEY, auth: { type: 'jwt', jwtTokenStorageMethod: 'memory' } });
  }

  async function customer(email) {
    const sdk = storefront();
    const login = { email, password: 'a-quiet-Tuesday-7' };
    await sdk.auth.register('customer', 'emailpass', login);
    const { customer } = await sdk.store.customer.create({ email, first_name: 'Ann' });
    const token = await sdk.auth.login('customer', 'emailpass', login);
    return { sdk, customer, token };
  }

  const ask = (host, method, path, { headers, body } = {}) => request({ port: proxy.port, method, path, headers: { host, ...headers } }, body);
  const cart = (token) => ask(SHOP, 'POST', '/store/carts', { headers: { ...JSON_TYPE, authorization: `Bearer ${token}` }, body: '{}' });

  async function known(id) {
    const deadline = Date.now() + 10_000;
    while (!backend.customers.has(id)) {
      if (Date.now() > deadline) throw new Error(`the webhook did not tell ${id} within 10 s: ${[...backend.customers]}`);
      await sleep(50);
    }
  }

  test('a customer of ours has a cart at the backend', async () => {
    const { sdk, customer: ann, token } = await customer('ann@example.com');
    assert.match(ann.id, /^cus_/);
    await known(ann.id);
    const answer = await sdk.client.fetch('/store/carts', { method: 'POST', body: {} });
    assert.equal(answer.cart.customer_id, ann.id);
    const claims = jwt.verify(token, SECRET, { algorithms: ['HS256'] });
    assert.deepEqual([claims.actor_id, claims.iss, claims.aud, claims.exp - claims.iat], [ann.id, `https://${SHOP}`, 'shop', 3600], 'as the guide says');
    // And is at home with us through the same address.
    assert.equal((await sdk.store.customer.retrieve()).customer.id, ann.id);
    await sdk.store.customer.createAddress({ city: 'Berlin' });
    assert.equal((await sdk.store.customer.listAddress()).count, 1);
    const { token: refreshed } = await sdk.auth.refresh();
    assert.equal((await cart(refreshed)).status, 200);
  });

  test('a token that is not ours opens nothing there', async () => {
    const { customer: ben, token } = await customer('ben@example.com');
    await known(ben.id);
    assert.equal((await cart(token)).status, 200);
    const [head, body, signature] = token.split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url'));
    const other = Buffer.from(JSON.stringify({ ...claims, actor_id: 'cus_of_somebody_else' })).toString('base64url');
    const bent = [`${head}.${other}.${signature}`, `${head}.${body}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`];
    const forged = [
      ...bent,
      jwt.sign(claims, randomBytes(32).toString('hex'), { algorithm: 'HS256' }),
      jwt.sign(claims, '', { algorithm: 'none' }),
      jwt.sign(claims, SECRET, { algorithm: 'HS512' }),
    ];
    for (const wrong of forged) {
      assert.equal((await cart(wrong)).status, 401, wrong);
      const me = await ask(SHOP, 'GET', '/store/customers/me', { headers: { 'x-publishable-api-key': KEY, authorization: `Bearer ${wrong}` } });
      assert.equal(me.status, 401, 'nor with us');
    }
    // What the backend itself signs for a customer has no session with us.
    const theirs = jwt.sign({ actor_id: ben.id, actor_type: 'customer', auth_identity_id: claims.auth_identity_id, auth_provider: 'emailpass' }, SECRET, { expiresIn: '1d' });
    const me = await ask(SHOP, 'GET', '/store/customers/me', { headers: { 'x-publishable-api-key': KEY, authorization: `Bearer ${theirs}` } });
    assert.equal(me.status, 401);
  });

  test('the token of a login without a customer opens no cart', async () => {
    const token = await storefront().auth.register('customer', 'emailpass', { email: 'half@example.com', password: 'a-quiet-Tuesday-7' });
    assert.equal((await cart(token)).status, 401);
  });

  test('each path goes to whom it belongs, however it is spelt', async () => {
    const theirs = (answer) => answer.status === 200 && answer.text === '{"answered_by":"the backend"}';
    for (const path of ['/store/products', '/store/customersx', '/store/customer', '/authx', '/', '/store/../store/regions']) {
      assert.ok(theirs(await ask(SHOP, 'GET', path)), path);
    }
    for (const path of ['/auth/user/emailpass', '/auth/session', '/auth/token/refresh', '/admin/users/me', '/app']) {
      assert.ok(theirs(await ask(STAFF, 'POST', path, { headers: JSON_TYPE, body: '{}' })), path);
    }
    const asked = backend.requests.length;
    for (const path of ['/auth/customer/providers', '/AUTH/customer/providers', '/%61uth/customer/providers', '//auth/customer/providers', '/auth', '/auth/']) {
      assert.equal((await ask(SHOP, 'GET', path)).headers['x-content-type-options'], 'nosniff', `${path} is ours`);
    }
    for (const path of ['/store/customers', '/store/customers/me', '/Store/Customers/me', '/store/customers/', '/store/x/../customers/me']) {
      assert.equal((await ask(SHOP, 'GET', path)).headers['x-content-type-options'], 'nosniff', `${path} is ours`);
    }
    assert.equal((await ask(SHOP, 'GET', '/.well-known/jwks.json')).text, '{"keys":[]}');
    assert.match((await ask(SHOP, 'GET', '/account/reset-password')).text, /Reset your password/);
    const closed = [
      [SHOP, ['/admin/customers', '/Admin', '/app', '/app/login', '/hooks/vestibule']],
      [STAFF, ['/auth/customer/emailpass/register', '/Auth/Customer/emailpass', '/store/customers', '/STORE/carts', '/hooks/vestibule']],
    ];
    for (const [host, paths] of closed) {
      for (const path of paths) assert.equal((await ask(host, 'POST', path, { headers: JSON_TYPE, body: '{}' })).status, 404, `${host}${path}`);
    }
    assert.deepEqual(backend.requests.slice(asked), [], 'none of these reached the backend');
  });

  test('no token of staff is made with the shared secret', async () => {
    for (const path of ['/auth/user/emailpass/register', '/auth/user/emailpass']) {
      const answer = await ask(SHOP, 'POST', path, { headers: JSON_TYPE, body: '{"email":"root@example.com","password":"a-quiet-Tuesday-7"}' });
      assert.equal(answer.status, 400, answer.text);
      assert.equal(JSON.parse(answer.text).type, 'not_allowed');
    }
  });

  test('a budget is the client’s own, whatever it says of itself', async () => {
    // Each asks from an address of its own: all of 127.0.0.0/8 is this machine.
    const reset = async (port, localAddress, forwarded) => {
      const headers = { host: SHOP, ...JSON_TYPE, ...(forwarded && { 'x-forwarded-for': forwarded }) };
      const options = { port, localAddress, headers, method: 'POST', path: '/auth/customer/emailpass/reset-password' };
      return (await request(options, '{"identifier":"nobody@example.com"}')).status;
    };
    const answered = [];
    for (let n = 0; n < 61; n += 1) answered.push(await reset(proxy.port, '127.0.0.2', `198.51.100.${n}`));
    assert.deepEqual([new Set(answered.slice(0, 60)), answered[60]], [new Set([201]), 429]);
    assert.equal(await reset(proxy.port, '127.0.0.3'), 201, 'the proxy tells its clients apart');
    assert.equal(await reset(vestibule.port, '127.0.0.2', '198.51.100.200'), 429, 'who is no trusted proxy speaks for nobody');
    assert.equal(await reset(vestibule.port, '127.0.0.1', '127.0.0.2'), 429, 'a trusted proxy speaks for its client');
  });

  test('the webhook’s route believes the signature alone', async () => {
    const body = JSON.stringify({ type: 'customer.created', timestamp: new Date().toISOString(), data: { id: 'cus_invented' }, metadata: {} });
    const id = `msg_${randomUUID()}`;
    const told = (at, signature) =>
      request(
        {
          port: backend.port,
          method: 'POST',
          path: '/hooks/vestibule',
          headers: { ...JSON_TYPE, 'webhook-id': id, 'webhook-timestamp': String(Math.floor(at / 1000)), 'webhook-signature': signature },
        },
        body,
      );
    const now = new Date();
    const wrong = `v1,${createHmac('sha256', 'another').update(`${id}.${Math.floor(now / 1000)}.${body}`).digest('base64')}`;
    assert.equal((await told(now, wrong)).status, 401);
    const old = new Date(now - 3_600_000);
    assert.equal((await told(old, new Webhook(HOOK).sign(id, old, body))).status, 401, 'an hour old');
    assert.equal(backend.customers.has('cus_invented'), false);
    assert.equal((await told(now, new Webhook(HOOK).sign(id, now, body))).status, 200);
  });
});

// One request, its path sent as it is written: `URL` would tidy it.
function request(options, body) {
  return new Promise((resolve, reject) => {
    const asked = http.request({ host: '127.0.0.1', agent: false, timeout: 10_000, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer to ${options.path} within 10 s`))).on('error', reject);
    asked.end(body);
  });
}
