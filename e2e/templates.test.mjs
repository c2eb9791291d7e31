// The first room of the console as a member of a store's staff lives it: what the mails say, other words, a try at one's own address.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launchBrowser, openPage, pageFaults } from './support/browser.mjs';
import { inbox, startDev } from './support/server.mjs';

const STAFF = 'staff@acme.localhost';
const SUBJECT = 'Servus from {{ shop }}';
const images = fileURLToPath(new URL('../docs/images', import.meta.url));

describe('the console', { timeout: 180_000 }, () => {
  let browser;
  let server;

  before(async () => (browser = await launchBrowser()));
  after(() => browser?.close());
  beforeEach(async () => (server = await startDev()));
  afterEach(() => server?.stop());

  for (const javaScriptEnabled of [true, false]) {
    test(`shows, tries and changes a mail, JavaScript ${javaScriptEnabled ? 'on' : 'off'}`, async () => {
      const viewport = javaScriptEnabled ? { width: 1280, height: 960 } : { width: 390, height: 844 };
      const { page, seen, close } = await openPage(browser, { javaScriptEnabled, viewport });
      await signIn(page, consoleLink(server));
      await seeBothLanguages(page);
      if (javaScriptEnabled) await takePicture(page);
      await seeAnEvent(page, server);
      await seeADraft(page, javaScriptEnabled);
      await sendToMe(page, server);
      await save(page);
      await signOut(page, consoleLink(server));
      checkTraffic(seen, consoleLink(server));
      await close();
    });
  }

  test('the HTML of a mail runs nothing and loads nothing', async () => {
    const { page, close } = await openPage(browser, { viewport: { width: 1280, height: 960 } });
    const loaded = [];
    const elsewhere = http.createServer((request, response) => response.end(loaded.push(request.url) && '')).listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    await signIn(page, consoleLink(server));
    const owned = 'top.document.title = `owned`';
    const html = `<script>${owned}</script><img src="http://127.0.0.1:${elsewhere.address().port}/x.png" onerror="${owned}"><p id="here">{{ url }}</p>`;
    await page.getByLabel('HTML', { exact: true }).fill(html);
    await page.getByRole('button', { name: 'Preview' }).click();
    const here = page.frameLocator('iframe[name="html"]').locator('#here');
    await here.waitFor();
    assert.doesNotMatch(await page.title(), /owned/);
    // Nor where the frame's own attribute is taken away: the answer says it, too.
    const answered = page.waitForResponse((response) => response.url().endsWith('/app/templates/html'));
    await page.evaluate(() => {
      document.querySelector('iframe').removeAttribute('sandbox');
      const button = document.querySelector('[data-show-draft]');
      button.form.requestSubmit(button);
    });
    await (await answered).finished();
    await here.waitFor();
    assert.doesNotMatch(await page.title(), /owned/);
    assert.deepEqual(loaded, [], 'nothing is loaded');
    elsewhere.closeAllConnections();
    elsewhere.close();
    await close();
  });
});

// The printed link of the store acme.
function consoleLink(server) {
  const link = /https?:\/\/acme\.localhost:\d+\/app\/sign-in\?token=\S+/.exec(server.stdout())?.[0];
  assert.ok(link, server.output());
  return link;
}

async function signIn(page, link) {
  const response = await page.goto(link);
  const headers = await response.allHeaders();
  assert.doesNotMatch(headers['content-security-policy'], /unsafe/);
  assert.equal(headers['referrer-policy'], 'no-referrer');
  assert.deepEqual(await pageFaults(page), [], 'the link');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'What the mails say' }).waitFor();
  assert.equal(new URL(page.url()).pathname, '/app/templates');
  assert.deepEqual(await pageFaults(page), [], 'the page');
}

async function seeBothLanguages(page) {
  for (const [language, subject, greeting] of [['de', 'Neues Passwort für Acme', 'Jemand, hoffentlich Sie'], ['en', 'Choose a new password for Acme', 'Somebody, hopefully you']]) {
    await page.getByRole('listitem').filter({ hasText: 'Password reset' }).getByRole('link', { name: language }).click();
    await page.getByText(subject, { exact: true }).waitFor();
    await page.frameLocator('iframe[name="html"]').getByText(greeting).first().waitFor();
  }
}

// A reset that somebody asked for makes an event, which can be chosen by its id.
async function seeAnEvent(page, server) {
  const asked = await page.request.post(`${server.base}/auth/customer/emailpass/reset-password`, { data: { identifier: 'customer@gmail.com', metadata: { locale: 'de' } } });
  assert.equal(asked.status(), 201);
  const options = page.locator('datalist option');
  for (let i = 0; (await options.count()) === 0; i += 1) {
    assert.ok(i < 200, 'the event is told within 200 looks');
    await page.reload();
  }
  const event = await options.first().getAttribute('value');
  await page.getByLabel('Recorded event').fill(event);
  await page.getByLabel('Language').fill('');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.getByText('Neues Passwort für Acme', { exact: true }).waitFor();
  await page.getByText('customer@gmail.com', { exact: true }).first().waitFor();
  await page.getByRole('listitem').filter({ hasText: 'Password reset' }).getByRole('link', { name: 'en' }).click();
  await page.getByText('Choose a new password for Acme', { exact: true }).waitFor();
}

async function seeADraft(page, javaScriptEnabled) {
  await page.getByLabel('Plain text', { exact: true }).fill('Hello {{ name }}');
  await page.getByRole('button', { name: 'Preview' }).click();
  await page.getByRole('alert').filter({ hasText: /name.*is not known/ }).waitFor();
  await page.getByLabel('Plain text', { exact: true }).fill('');
  await page.getByLabel('Subject', { exact: true }).fill(SUBJECT);
  await page.getByLabel('HTML', { exact: true }).fill('<p style="color: green">Servus, {{ address }}: <a href="{{ url }}">here</a>. {{ shop }} {{ minutes }}</p>');
  await page.getByRole('button', { name: 'Preview' }).click();
  await page.getByText('draft, not saved').waitFor();
  await page.getByText('Servus from Acme', { exact: true }).waitFor();
  const show = page.getByRole('button', { name: 'Show the HTML of this draft' });
  if (!javaScriptEnabled) await show.click();
  await page.frameLocator('iframe[name="html"]').getByText('Servus, ann@example.com').waitFor();
  assert.equal(await show.isVisible(), !javaScriptEnabled);
  assert.deepEqual(await pageFaults(page), [], 'a draft');
}

async function sendToMe(page, server) {
  await page.getByRole('button', { name: 'Send to me' }).click();
  await page.getByRole('status').filter({ hasText: `Sent to ${STAFF}` }).waitFor();
  const [mail] = await inbox(server);
  assert.deepEqual([mail.to, mail.subject, mail.tenant], [STAFF, 'Servus from Acme', 'acme']);
  assert.match(mail.text, /token=sample/);
}

async function save(page) {
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('status').filter({ hasText: 'Saved' }).waitFor();
  await page.getByRole('link', { name: 'en own words' }).waitFor();
  assert.equal(await page.getByLabel('Subject', { exact: true }).inputValue(), SUBJECT);
  await page.frameLocator('iframe[name="html"]').getByText('Servus, ann@example.com').waitFor();
  assert.deepEqual(await pageFaults(page), [], 'saved');
}

async function takePicture(page) {
  if (process.env.UPDATE_IMAGES !== '1') return;
  await mkdir(images, { recursive: true });
  await page.screenshot({ path: path.join(images, 'console-templates.png') });
}

async function signOut(page, link) {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in to the console' }).waitFor();
  assert.deepEqual(await pageFaults(page), [], 'the door');
  await page.goto(new URL('/app/templates', link).href);
  assert.equal(new URL(page.url()).pathname, '/app/sign-in');
  await page.goto(link);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').filter({ hasText: 'This link has been used' }).waitFor();
}

// Nothing leaves the store's own origin but the test's own request, nothing is refused by our own policy, and the link is in no Referer.
function checkTraffic(seen, link) {
  const { origin } = new URL(link);
  const foreign = seen.requests.filter((url) => /^(https?|wss?):/.test(url) && new URL(url).origin !== origin && !url.includes('/auth/customer/'));
  assert.deepEqual(foreign, []);
  assert.deepEqual(seen.referrers.filter((referrer) => referrer.includes('token=')), []);
  assert.deepEqual(seen.console.filter((text) => /content security policy|refused to|uncaught/i.test(text)), []);
  assert.deepEqual(seen.errors, []);
}
