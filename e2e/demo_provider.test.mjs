// The demo identity provider of `vestibule dev`, tried as a developer does, without an account anywhere.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launchBrowser, openPage, pageFaults } from './support/browser.mjs';
import { startDev } from './support/server.mjs';

describe('the demo provider', { timeout: 120_000 }, () => {
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

  for (const width of [360, 1000]) {
    test(`its pages are sound, ${width} px wide`, async () => {
      const { page, seen, close } = await openPage(browser, { viewport: { width, height: 800 } });
      const shop = server.base;
      for (const [url, heading] of [
        [`${shop}/dev/sign-in`, 'Sign in'],
        [`${shop}/dev/callback`, 'You are not signed in'],
        [authorization(shop), 'Who do you want to be?'],
        [`${shop}/dev/idp/authorize`, 'This request cannot be answered'],
      ]) {
        await page.goto(url);
        await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
        assert.deepEqual(await pageFaults(page), [], url);
      }
      checkTraffic(seen);
      await close();
    });
  }

  test('the page of people is for the keyboard, too', async () => {
    const { page, close } = await openPage(browser);
    await page.goto(authorization(server.base));
    const focused = [];
    for (let stop = 0; stop < 4; stop += 1) {
      await page.keyboard.press('Tab');
      focused.push(await page.evaluate(() => document.activeElement.textContent.trim().split('\n')[0]));
    }
    assert.deepEqual(focused, ['Robin Demo', 'Kim Example', 'Lee Unproven', 'Deny']);
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await page.waitForURL((url) => url.searchParams.has('code') || url.pathname === '/dev/callback');
    await close();
  });

  test('a callback that another window began is not finished', async () => {
    const { page, seen, close } = await openPage(browser);
    await page.goto(`${server.base}/dev/callback?code=stolen&state=foreign`);
    await page.getByText('was not begun in this window').waitFor();
    assert.equal(new URL(page.url()).search, '', 'no code stays in the address bar');
    assert.deepEqual(seen.requests.filter((url) => url.includes('/auth/')), []);
    await close();
  });

  for (const host of ['127.0.0.1', 'globex.localhost']) {
    test(`a new person becomes a customer at ${host}`, async () => {
      const { page, seen, close } = await openPage(browser, { viewport: { width: 360, height: 800 } });
      const shop = `http://${host}:${server.port}`;
      await choose(page, shop, 'Kim Example');
      await page.getByRole('heading', { name: 'One step more' }).waitFor();
      assert.deepEqual(await pageFaults(page), []);
      await page.getByRole('button', { name: 'Create customer' }).click();
      await page.getByRole('heading', { name: 'You have an account' }).waitFor();
      await page.getByText(/^cus_/).waitFor();
      assert.deepEqual(await pageFaults(page), []);
      await signedIn(page, shop);
      // The same shop at another name of its own, where the sign-in comes back to that name.
      if (host === '127.0.0.1') await signedIn(page, `http://acme.localhost:${server.port}`);
      checkTraffic(seen);
      await close();
    });
  }

  test('who has an account already links it, with the password', async () => {
    const [, email, password] = server.stdout().match(/^demo customer +(\S+) +password (\S+)$/m);
    const { page, seen, close } = await openPage(browser, { viewport: { width: 360, height: 800 } });
    await choose(page, server.base, 'Robin Demo');
    await page.getByRole('heading', { name: 'You have an account here already' }).waitFor();
    assert.deepEqual(await pageFaults(page), []);
    await page.getByLabel('Your password here').fill('not-the-Password-1');
    await page.getByRole('button', { name: 'Link the two' }).click();
    await page.getByText('401: Invalid email or password').waitFor();
    await page.getByLabel('Your password here').fill(password);
    await page.getByRole('button', { name: 'Link the two' }).click();
    await page.getByRole('heading', { name: 'You are signed in' }).waitFor();
    const customer = await page.locator('dd').first().textContent();
    assert.match(customer, /^cus_/);
    assert.deepEqual(await pageFaults(page), []);
    // The next time it leads straight in, to the same customer; and the password is as it was.
    await choose(page, server.base, 'Robin Demo');
    await page.getByRole('heading', { name: 'You are signed in' }).waitFor();
    assert.equal(await page.locator('dd').first().textContent(), customer);
    const again = await fetch(`${server.base}/auth/customer/emailpass`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password }),
    });
    assert.equal(again.status, 200);
    assert.deepEqual(seen.errors, []);
    await close();
  });

  test('who denies reads why', async () => {
    const { page, close } = await openPage(browser);
    await choose(page, server.base, 'Deny');
    await page.getByRole('heading', { name: 'You are not signed in' }).waitFor();
    assert.match(await page.getByRole('alert').textContent(), /^401: .*denied/);
    assert.deepEqual(await pageFaults(page), []);
    await close();
  });
});

// A request as a client would make it.
function authorization(shop) {
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: 'vestibule-demo',
    redirect_uri: `${shop}/dev/callback`,
    scope: 'openid email profile',
    state: 'of-this-test',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
  });
  return `${shop}/dev/idp/authorize?${query}`;
}

async function choose(page, shop, name) {
  await page.goto(`${shop}/dev/sign-in`);
  await page.getByRole('button', { name: 'Sign in with the demo provider' }).click();
  await page.waitForURL('**/dev/idp/authorize?*');
  await page.getByRole('button', { name }).click();
  await page.waitForURL('**/dev/callback*');
}

async function signedIn(page, shop) {
  await choose(page, shop, 'Kim Example');
  await page.getByRole('heading', { name: 'You are signed in' }).waitFor();
  assert.match(await page.locator('dd').first().textContent(), /^cus_/);
  assert.equal(new URL(page.url()).href, `${shop}/dev/callback`);
}

// Nothing is refused by our own policy, and nothing fails unheard.
function checkTraffic(seen) {
  assert.deepEqual(seen.console.filter((text) => /content security policy|refused to|uncaught/i.test(text)), []);
  assert.deepEqual(seen.errors, []);
}
