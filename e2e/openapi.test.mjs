// The page that describes the API, as a developer reads it: with and without JavaScript, on a desk and on a telephone.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { launchBrowser, openPage, pageFaults } from './support/browser.mjs';
import { send, startDev } from './support/server.mjs';

const RESET = 'PostActor_typeAuth_providerResetPassword';

describe('the description of the API', { timeout: 120_000 }, () => {
  let browser;
  let server;

  before(async () => {
    browser = await launchBrowser();
    server = await startDev();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const [javaScriptEnabled, width] of [[true, 1000], [true, 390], [false, 390]]) {
    test(`leads from the list to a route and its answers, ${width} px wide, JavaScript ${javaScriptEnabled ? 'on' : 'off'}`, async () => {
      const { page, seen, close } = await openPage(browser, { javaScriptEnabled, viewport: { width, height: 800 } });
      await page.goto(`${server.base}/docs`);
      assert.deepEqual(await pageFaults(page), []);
      await page.getByRole('navigation').getByRole('link', { name: /POST .*\/reset-password/ }).click();
      assert.equal(new URL(page.url()).hash, `#${RESET}`);
      const route = page.locator(`#${RESET}`);
      for (const status of ['201', '400', '429']) await route.locator('summary', { hasText: status }).click();
      await route.getByText('Created', { exact: true }).waitFor();
      await route.getByText('Retry-After', { exact: true }).first().waitFor();
      assert.deepEqual(await pageFaults(page), [], 'opened');
      if (process.env.SCREENSHOTS) {
        await mkdir(process.env.SCREENSHOTS, { recursive: true });
        await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `docs-${width}-${javaScriptEnabled}.png`) });
      }
      assert.deepEqual(seen.requests.filter((url) => /^(https?|wss?):/.test(url) && new URL(url).origin !== server.base), []);
      assert.deepEqual(seen.console.filter((text) => /content security policy|refused to|uncaught/i.test(text)), []);
      assert.deepEqual(seen.errors, []);
      await close();
    });
  }

  test('shows every operation of the document, and lines to copy that work', async () => {
    const document = JSON.parse((await send(server.port, 'GET', `${server.base}/openapi.json`)).text);
    const { page, close } = await openPage(browser);
    await page.goto(`${server.base}/docs`);
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));
    assert.ok(operations.length > 20);
    for (const { operationId } of operations) assert.equal(await page.locator(`article#${operationId}`).count(), 1, operationId);
    const line = await page.locator(`#${RESET} > pre`).innerText();
    const { stdout } = await promisify(execFile)('bash', ['-c', line], { timeout: 15_000 });
    assert.equal(stdout, 'Created');
    await close();
  });
});
