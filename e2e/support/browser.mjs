// A headless Chromium that writes down what a page asks for and says.
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    chromiumSandbox: false,
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

// A page in a context of its own, with `seen`: every request, console message and uncaught error of that page.
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 900, height: 720 }, ...options });
  context.setDefaultTimeout(10_000);
  const seen = { requests: [], referrers: [], console: [], errors: [] };
  context.on('request', (request) => {
    seen.requests.push(request.url());
    seen.referrers.push(request.headers().referer ?? '');
  });
  const page = await context.newPage();
  page.on('console', (message) => seen.console.push(message.text()));
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  return { page, seen, close: () => context.close() };
}

// The serious and critical findings of axe-core, one line each.
export async function accessibilityFaults(page) {
  await page.evaluate(await readFile(AXE, 'utf8'));
  const { violations } = await page.evaluate(() => window.axe.run(document));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help} (${nodes.map(({ target }) => target.join(' ')).join(', ')})`);
}
