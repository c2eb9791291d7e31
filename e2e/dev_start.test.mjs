// What `vestibule dev` prints at its start is true.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { demoCustomer, inbox, resetCommand, send, startDev } from './support/server.mjs';

describe('vestibule dev', { timeout: 60_000 }, () => {
  let server;
  let ending;

  before(async () => (server = await startDev()));
  after(() => (ending ? undefined : server?.stop()));

  test('prints the base URL and a publishable key for each demo tenant', () => {
    const text = server.output();
    assert.ok(text.includes(server.base) || text.includes(`http://acme.localhost:${server.port}`), text);
    for (const tenant of ['acme', 'globex']) assert.match(text, new RegExp(`\\b${tenant}\\b`));
    const keys = new Set(text.match(/\bpk_\w{16,}/g));
    assert.ok(keys.size >= 2, `two publishable keys in:\n${text}`);
  });

  test('prints an inbox that opens', async () => {
    const url = /https?:\/\/\S+\/dev\/inbox\b/.exec(server.output())?.[0];
    assert.ok(url, server.output());
    const page = await send(server.port, 'GET', url);
    assert.equal(page.status, 200);
    assert.match(page.headers['content-type'], /^text\/html/);
    assert.deepEqual(await inbox(server), []);
  });

  test('prints a demo customer who can sign in', async () => {
    const { email, password } = demoCustomer(server.output());
    assert.equal(email, 'customer@gmail.com');
    const answer = await send(server.port, 'POST', `${server.base}/auth/customer/emailpass`, {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password }),
    });
    assert.equal(answer.status, 200, answer.text);
    assert.match(JSON.parse(answer.text).token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  });

  test('prints a curl line for a password reset on its own port', () => {
    const line = resetCommand(server.stdout());
    assert.ok(line.includes(`:${server.port}/auth/customer/emailpass/reset-password`), line);
  });

  test('stops in order when it is told to', async () => {
    ending = await server.stop();
    assert.equal(ending.killed, false, `it had to be killed; it printed:\n${server.output()}`);
    assert.equal(ending.code, 0, server.output());
  });
});
