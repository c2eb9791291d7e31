// Storefronts read a token with react-jwt, and what it says of `actor_id` decides where they lead: a login without a customer has none.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { decodeToken, isExpired } from 'react-jwt';
import { send, startDev } from './support/server.mjs';

let server;

before(async () => (server = await startDev()));
after(async () => server?.stop());

async function token(path, body, headers = {}) {
  const answer = await send(server.port, 'POST', `${server.base}${path}`, {
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text).token;
}

// The branch of the storefront.
const leadsTo = (jwt) => (decodeToken(jwt).actor_id ? 'the account' : 'creating a customer');

test('a register token leads to creating a customer, a customer’s token to the account', { timeout: 60_000 }, async () => {
  const login = { email: 'react@example.com', password: 'a-quiet-Tuesday-7' };
  const registered = await token('/auth/customer/emailpass/register', login);
  assert.equal(!decodeToken(registered).actor_id, true);
  assert.equal(leadsTo(registered), 'creating a customer');
  assert.equal(isExpired(registered), false);

  const key = /publishable key\s+(pk_[0-9a-f]{64})/.exec(server.stdout())[1];
  await token('/store/customers', { email: login.email }, { authorization: `Bearer ${registered}`, 'x-publishable-api-key': key });
  const customers = await token('/auth/customer/emailpass', login);
  assert.match(decodeToken(customers).actor_id, /^cus_/);
  assert.equal(leadsTo(customers), 'the account');
});
