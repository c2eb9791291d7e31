// The development inbox: the caught mail, read and followed as a developer does.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { launchBrowser, openPage, pageFaults } from './support/browser.mjs';
import { resetCommand, resetMail, startDev } from './support/server.mjs';

const SHOPPER = 'customer@gmail.com';
const SUBJECT = /choose a new password/i;

describe('the inbox', { timeout: 120_000 }, () => {
  let browser;
  let server;
  const mails = new Set();

  before(async () => {
    browser = await launchBrowser();
    server = await startDev();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test('says that it is empty', async () => {
    const { page, close } = await openPage(browser);
    await page.goto(`${server.base}/dev/inbox`);
    await page.getByText('No mail yet').waitFor();
    assert.deepEqual(await pageFaults(page), []);
    await close();
  });

  for (const width of [1000, 390]) {
    test(`leads from the list through the mail to the form, ${width} px wide`, async () => {
      await promisify(execFile)('bash', ['-c', resetCommand(server.stdout())], { timeout: 15_000 });
      const { link } = await resetMail(server, SHOPPER, mails);
      const { page, seen, close } = await openPage(browser, { viewport: { width, height: 800 } });
      await page.goto(`${server.base}/dev/inbox`);
      assert.deepEqual(await pageFaults(page), []);
      await page.getByRole('link', { name: SUBJECT }).first().click();
      await page.getByRole('heading', { name: SUBJECT, level: 1 }).waitFor();
      assert.equal(await page.getByRole('link', { name: link }).count(), 1, 'the link stands above the text');
      assert.deepEqual(await pageFaults(page), []);
      await followButton(page, link);
      assert.deepEqual(seen.errors, []);
      assert.deepEqual(seen.console.filter((text) => /content security policy|refused to|blocked/i.test(text)), []);
      await close();
    });
  }
});

// The mail's own button, inside its sandboxed frame, opens the page beside the inbox.
async function followButton(page, link) {
  const button = page.frameLocator('iframe').getByRole('link', { name: SUBJECT }).first();
  const [opened] = await Promise.all([page.context().waitForEvent('page'), button.click()]);
  await opened.getByRole('heading', { name: SUBJECT }).waitFor();
  assert.equal(new URL(opened.url()).host, new URL(link).host);
}
