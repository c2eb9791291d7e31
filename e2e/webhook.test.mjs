// Webhooks as their receivers check them: with the published libraries of Standard Webhooks, that of npm and that of PyPI.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Webhook } from 'standardwebhooks';
import { send, startServe } from './support/server.mjs';

const KEY = `pk_${'3a'.repeat(32)}`;
const SECRET = `whsec_${randomBytes(32).toString('base64')}`;
const FORMER = `whsec_${randomBytes(24).toString('base64')}`;
const STRANGERS = `whsec_${randomBytes(32).toString('base64')}`;
// Made by scripts/test.sh: an environment with the package of PyPI.
const PYTHON = fileURLToPath(new URL('../target/standardwebhooks/bin/python', import.meta.url));
const VERIFY = fileURLToPath(new URL('./support/verify_webhook.py', import.meta.url));

const calls = [];
let receiver;
let server;

before(async () => {
  receiver = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    calls.push({ headers: request.headers, body });
    response.writeHead(204).end();
  });
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  server = await startServe(KEY, `
[[tenants.webhooks]]
url = "http://127.0.0.1:${receiver.address().port}/hook"
secret = "${SECRET}"
former_secret = "${FORMER}"
events = ["auth.password_reset", "customer.*"]
[outbound]
allow_private = ["127.0.0.1/32"]
`);
  await signUpAndForget('ümläut@example.com');
});

after(async () => {
  await server?.stop();
  receiver?.closeAllConnections();
  receiver?.close();
});

async function post(path, body, token) {
  const headers = { 'content-type': 'application/json', 'x-publishable-api-key': KEY, ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await send(server.port, 'POST', server.base + path, { headers, body: JSON.stringify(body) });
  assert.ok(answer.status < 300, `${path}: ${answer.status} ${answer.text}`);
  return answer.text;
}

// Leads to two calls.
async function signUpAndForget(email) {
  const { token } = JSON.parse(await post('/auth/customer/emailpass/register', { email, password: 'a-quiet-Tuesday-7' }));
  await post('/store/customers', { email, first_name: 'Ünï \u{1F600}' }, token);
  await post('/auth/customer/emailpass/reset-password', { identifier: email, metadata: { note: 'ü "quoted" \u{1F600}' } });
  const deadline = Date.now() + 10_000;
  while (calls.length < 2 && Date.now() < deadline) await sleep(20);
  assert.equal(calls.length, 2);
}

// Whether the package of PyPI takes the call for this secret's.
function pythonTakes(secret, { headers, body }) {
  const { status, stderr, error } = spawnSync(PYTHON, [VERIFY], { input: JSON.stringify({ secret, headers, body }), encoding: 'utf8' });
  assert.ifError(error);
  assert.ok(status === 0 || status === 3, stderr);
  return status === 0;
}

function npmTakes(secret, { headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    assert.equal(error.constructor.name, 'WebhookVerificationError', String(error));
    return false;
  }
}

for (const [name, takes] of [['npm', npmTakes], ['PyPI', pythonTakes]]) {
  test(`the package of ${name} takes a call for both secrets of a rotation and for no other`, () => {
    for (const call of calls) {
      assert.ok(takes(SECRET, call), 'the secret');
      assert.ok(takes(FORMER, call), 'the former secret');
      assert.ok(!takes(STRANGERS, call), 'a stranger’s');
      assert.ok(!takes(SECRET, { ...call, body: call.body.replace('acme', 'evil') }), 'another body');
      const replayed = { ...call.headers, 'webhook-id': `${call.headers['webhook-id']}1` };
      assert.ok(!takes(SECRET, { ...call, headers: replayed }), 'another id');
    }
  });
}

test('the calls tell what happened', () => {
  const told = calls.map(({ body }) => JSON.parse(body));
  assert.deepEqual(told.map(({ type }) => type).sort(), ['auth.password_reset', 'customer.created']);
  const { data } = told.find(({ type }) => type === 'auth.password_reset');
  assert.equal(data.metadata.note, 'ü "quoted" \u{1F600}');
  assert.ok(data.token, 'who names the event gets its secret');
});
