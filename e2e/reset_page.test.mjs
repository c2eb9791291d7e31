// "I forgot my password" as a customer lives it: the printed curl line, the mail, the hosted page, the new password.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { launchBrowser, openPage, pageFaults } from './support/browser.mjs';
import { demoCustomer, resetCommand, resetMail, send, startDev } from './support/server.mjs';

const SHOPPER = 'customer@gmail.com';
const TOO_COMMON = 'password1';
const GOOD = 'violet-harbour-lantern-42';
const SECOND = 'copper-meadow-whistle-77';

// What each state of the page says, whatever the exact sentence.
const WORDS = {
  asked: /if .*(account|address)|on its way/i,
  form: /choose a new password/i,
  done: /password (is|was|has been) (now )?(changed|updated|set|reset)/i,
  used: /link has (already )?been used/i,
  foreign: /another shop|does not work here|not valid|damaged/i,
};

const run = promisify(execFile);
const images = fileURLToPath(new URL('../docs/images', import.meta.url));

describe('the reset page', { timeout: 180_000 }, () => {
  let browser;
  let server;
  let mails;

  before(async () => (browser = await launchBrowser()));
  after(() => browser?.close());
  beforeEach(async () => {
    server = await startDev();
    mails = new Set();
  });
  afterEach(() => server?.stop());

  for (const javaScriptEnabled of [true, false]) {
    test(`takes a customer from the mail to a new password, JavaScript ${javaScriptEnabled ? 'on' : 'off'}`, async () => {
      const link = await askByCurl(server, mails);
      // Without scripts on a telephone, with them on a desk.
      const viewport = javaScriptEnabled ? { width: 900, height: 720 } : { width: 390, height: 844 };
      const { page, seen, close } = await openPage(browser, { javaScriptEnabled, viewport });
      await openForm(page, link);
      if (javaScriptEnabled) await checkFreshForm(page);
      await setPassword(page, link, seen);
      await checkSignIns(server);
      await spentLinkOffersAnother(page, link, () => resetMail(server, SHOPPER, mails));
      checkTraffic(seen, link);
      await close();
    });
  }

  test('a link that was only looked at is not spent', async () => {
    const link = await askByCurl(server, mails);
    for (let i = 0; i < 5; i += 1) {
      for (const method of ['GET', 'HEAD']) assert.equal((await send(server.port, method, link)).status, 200, `${method} of the link`);
    }
    const { page, seen, close } = await openPage(browser);
    await openForm(page, link);
    await setPassword(page, link, seen);
    await close();
  });

  test('a damaged link and a link on another shop are refused', async () => {
    const link = await askByCurl(server, mails);
    for (const wrong of [damaged(link), onOtherShop(link)]) {
      const { page, seen, close } = await openPage(browser);
      await refused(page, wrong);
      checkTraffic(seen, wrong);
      await close();
    }
    assert.equal((await signIn(server, demoCustomer(server.output()).password)).status, 200, 'the old password still holds');
    const { page, seen, close } = await openPage(browser);
    await openForm(page, link);
    await setPassword(page, link, seen);
    await close();
  });
});

async function askByCurl(server, mails) {
  const { stdout } = await run('bash', ['-c', resetCommand(server.stdout())], { timeout: 15_000 });
  assert.equal(stdout, 'Created');
  const { mail, link } = await resetMail(server, SHOPPER, mails);
  assert.ok(mail.subject.length > 0 && mail.html.length > 0, 'the mail has a subject and an HTML part');
  return link;
}

// Opens the link and checks what every such answer must say in its headers.
async function openForm(page, link) {
  const response = await page.goto(link);
  assert.equal(response.status(), 200);
  const headers = await response.allHeaders();
  const policy = headers['content-security-policy'] ?? '';
  assert.match(policy, /default-src|script-src/);
  assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval/);
  assert.equal(headers['referrer-policy'], 'no-referrer');
  assert.match(headers['cache-control'] ?? '', /no-store/);
  assert.equal(headers['x-content-type-options'], 'nosniff');
  await expectState(page, 'form');
  await passwordField(page).waitFor();
}

async function checkFreshForm(page) {
  await page.waitForFunction(() => !location.href.includes('token='), null, { timeout: 5_000 });
  if (process.env.UPDATE_IMAGES === '1') {
    await mkdir(images, { recursive: true });
    await page.screenshot({ path: path.join(images, 'reset-page.png') });
  }
}

// First a password that everybody knows, then a good one.
async function setPassword(page, link, seen) {
  await passwordField(page).fill(TOO_COMMON);
  await submit(page);
  await page.getByText(/too common/i).first().waitFor();
  assert.deepEqual(await pageFaults(page), [], 'a refused password');
  await passwordField(page).waitFor();
  await passwordField(page).fill(GOOD);
  await submit(page);
  await expectState(page, 'done');
  checkTraffic(seen, link);
}

async function checkSignIns(server) {
  const fresh = await signIn(server, GOOD);
  assert.equal(fresh.status, 200, fresh.text);
  assert.match(JSON.parse(fresh.text).token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  const { email, password } = demoCustomer(server.output());
  assert.equal(email, SHOPPER);
  assert.equal((await signIn(server, password)).status, 401, 'the old password no longer holds');
}

async function spentLinkOffersAnother(page, link, nextMail) {
  await page.goto(link);
  await expectState(page, 'used');
  assert.equal(await passwordField(page).count(), 0);
  const address = page.getByRole('textbox', { name: /e-?mail|address/i });
  if ((await address.count()) === 0) await page.getByRole('link', { name: /new|another|again/i }).first().click();
  await address.fill(SHOPPER);
  await submit(page);
  await expectState(page, 'asked');
  const second = await nextMail();
  assert.notEqual(second.link, link);
  await page.goto(second.link);
  await passwordField(page).fill(SECOND);
  await submit(page);
  await expectState(page, 'done');
}

async function refused(page, link) {
  const response = await page.goto(link);
  assert.ok(response.status() < 500, `${response.status()} for ${link}`);
  await expectState(page, 'foreign');
  assert.equal(await passwordField(page).count(), 0);
}

async function expectState(page, state) {
  const main = page.locator('main');
  await main.filter({ hasText: WORDS[state] }).waitFor().catch(async () => {
    assert.fail(`expected the state "${state}" at ${page.url()}; the page shows:\n${await page.locator('body').innerText()}`);
  });
  assert.deepEqual(await pageFaults(page), [], `the state "${state}"`);
}

// Nothing leaves the shop's own origin, nothing is refused by our own policy, and the token is in no Referer.
function checkTraffic(seen, link) {
  const { origin } = new URL(link);
  assert.deepEqual(seen.requests.filter((url) => /^(https?|wss?):/.test(url) && new URL(url).origin !== origin), []);
  assert.deepEqual(seen.referrers.filter((referrer) => referrer.includes('token=')), []);
  assert.deepEqual(seen.console.filter((text) => /content security policy|refused to|uncaught/i.test(text)), []);
  assert.deepEqual(seen.errors, []);
}

function passwordField(page) {
  return page.locator('main input[type="password"]').first();
}

// Fills what the form asks for twice, where it does, and sends it.
async function submit(page) {
  const fields = page.locator('main input[type="password"]');
  if ((await fields.count()) > 1) await fields.nth(1).fill(await fields.first().inputValue());
  await page.locator('main form').first().locator('button:not([type]), [type="submit"]').click();
}

function signIn(server, password) {
  const body = JSON.stringify({ email: SHOPPER, password });
  return send(server.port, 'POST', `${server.base}/auth/customer/emailpass`, { headers: { 'content-type': 'application/json' }, body });
}

// The same link with one character of the signature's middle exchanged: the last ones may hold unused bits.
function damaged(link) {
  const url = new URL(link);
  const token = url.searchParams.get('token');
  const at = token.length - 10;
  url.searchParams.set('token', `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`);
  return url.href;
}

function onOtherShop(link) {
  const url = new URL(link);
  url.hostname = 'globex.localhost';
  url.pathname = url.pathname.replace('/t/acme/', '/t/globex/');
  return url.href;
}
