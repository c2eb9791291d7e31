// The README's lines for storefronts work with the published SDK, as they stand.
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { resetMail, send, startDev } from './support/server.mjs';

const page = await readFile(new URL('../README.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map((found) => found[1]);
// Beside this file, so that the SDK is found.
const module = new URL(`./readme-${process.pid}.tmp.mjs`, import.meta.url);
let server;

before(async () => (server = await startDev()));
after(async () => {
  await rm(module, { force: true });
  await server?.stop();
});

test('asks for a reset and sets a new password', { timeout: 60_000 }, async () => {
  assert.equal(blocks.length, 2, 'one block asks, one sets the password');
  // What the customer does in between: opens the link in the mail.
  globalThis.openTheLink = async () => {
    const { link } = await resetMail(server, 'customer@gmail.com', new Set());
    globalThis.location = new URL(link);
  };
  const text = blocks.join('\nawait openTheLink()\n').replaceAll('http://127.0.0.1:9000', server.base);
  await writeFile(module, text);
  await import(module);
  const password = /password: "([^"]+)"/.exec(text)[1];
  const answer = await send(server.port, 'POST', `${server.base}/auth/customer/emailpass`, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'customer@gmail.com', password }),
  });
  assert.equal(answer.status, 200, answer.text);
});
