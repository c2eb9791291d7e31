// A headless Chromium that writes down what a page asks for and says.
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

// The pages in which axe-core, a script, cannot run.
const withoutScripts = new WeakSet();
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
  if (options.javaScriptEnabled === false) withoutScripts.add(page);
  page.on('console', (message) => seen.console.push(message.text()));
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  return { page, seen, close: () => context.close() };
}

// What no hosted page may be at any width: inaccessible, wider than its window, or styled and scripted within its own text.
export async function pageFaults(page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  const inline = await page.locator('[style], style, script:not([src]), [onclick], [onload], [onerror], [onsubmit]').count();
  return [
    ...(wide > 0 ? [`${wide} px wider than its window`] : []),
    ...(inline > 0 ? [`${inline} inline styles or scripts`] : []),
    ...(withoutScripts.has(page) ? [] : await accessibilityFaults(page)),
  ];
}

// The findings of axe-core, one line each.
async function accessibilityFaults(page) {
  await page.evaluate(await readFile(AXE, 'utf8'));
  const { violations } = await page.evaluate(() => window.axe.run(document));
  return violations.map(({ id, help, nodes }) => `${id}: ${help} (${nodes.map(({ target }) => target.join(' ')).join(', ')})`);
}
