// The example storefront as a customer lives it: built and served as its README says, against `vestibule dev`.
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { launchBrowser, openPage, pageFaults } from './support/browser.mjs';
import { startExample } from './support/example.mjs';
import { resetMail, startDev } from './support/server.mjs';

const PASSWORD = 'a-quiet-Tuesday-7';
const SECOND = 'two-green-Kettles-4';
const TELEPHONE = { width: 360, height: 780 };
const DESK = { width: 1280, height: 800 };

describe('the example storefront', { timeout: 300_000 }, () => {
  let browser;
  let pages;
  let server;
  const mails = new Set();

  before(async () => {
    browser = await launchBrowser();
    pages = await startExample();
    server = await startDev('--storefront', pages.origin);
    await pages.build(server.base, /publishable key\s+(pk_[0-9a-f]{64})/.exec(server.stdout())[1]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    await pages?.stop();
  });

  // A browser that nobody used before. At the end nothing may have failed unheard or been refused by the pages' own policy.
  async function visit(viewport, work) {
    const { page, seen, close } = await openPage(browser, { viewport });
    await work(page, seen);
    assert.deepEqual(seen.errors, []);
    assert.deepEqual(seen.console.filter((text) => /content security policy|refused to|uncaught/i.test(text)), []);
    assert.deepEqual(seen.referrers.filter((referrer) => /token=|code=/.test(referrer)), []);
    await close();
  }

  // Opens a page of the storefront and waits for its heading.
  async function open(page, path, heading) {
    await page.goto(`${pages.origin}${path}`);
    await sound(page, heading);
  }

  async function signUp(page, email) {
    await open(page, '/sign-up', 'Sign up');
    await fill(page, { 'First name': 'Ann', 'Last name': 'Example', 'E-mail': email, Password: PASSWORD });
    await press(page, 'Sign up');
    await sound(page, 'Your account');
    await says(page, 'Your account is ready');
  }

  async function signIn(page, email, password) {
    await open(page, '/sign-in', 'Sign in');
    await fill(page, { 'E-mail': email, Password: password });
    await press(page, 'Sign in');
  }

  for (const viewport of [TELEPHONE, DESK]) {
    const email = `ann-${viewport.width}@example.com`;

    test(`sign-up, profile, sign-out, sign-in, ${viewport.width} px wide`, () =>
      visit(viewport, async (page) => {
        await open(page, '/', 'Good things for the house');
        assert.equal(await page.getByRole('button', { name: 'Sign out' }).count(), 0);
        await signUp(page, email);
        await page.getByText(`You sign in as ${email}.`).waitFor();
        assert.deepEqual(await filled(page, 'First name', 'Last name', 'Phone'), ['Ann', 'Example', '']);
        await fill(page, { 'Last name': 'Sample', Phone: '+49 30 1234' });
        await press(page, 'Save the profile');
        await says(page, 'Your profile is saved');
        await page.reload();
        await sound(page, 'Your account');
        assert.deepEqual(await filled(page, 'First name', 'Last name', 'Phone'), ['Ann', 'Sample', '+49 30 1234']);
        await press(page, 'Sign out');
        await says(page, 'You are signed out');
        assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), []);
        await page.goto(`${pages.origin}/account`);
        await sound(page, 'Sign in');
        await signIn(page, email, 'not-the-password');
        await faulty(page, 'Invalid email or password');
        await signIn(page, email, PASSWORD);
        await sound(page, 'Your account');
      }));

    test(`a forgotten password, ${viewport.width} px wide`, () =>
      visit(viewport, async (page) => {
        const said = await askForReset(page, 'nobody@example.com');
        assert.equal((await askForReset(page, email)).replace(email, 'nobody@example.com'), said, 'known and unknown are told the same');
        const { link } = await resetMail(server, email, mails);
        assert.ok(link.startsWith(`${pages.origin}/reset-password?token=`), link);
        await page.goto(link);
        await sound(page, 'Choose a new password');
        assert.equal(new URL(page.url()).search, '', 'no token stays in the address bar');
        await fill(page, { 'New password': 'password1' });
        await press(page, 'Set the password');
        await faulty(page, 'Password is too common');
        // What was refused has spent nothing.
        await fill(page, { 'New password': SECOND });
        await press(page, 'Set the password');
        await sound(page, 'Sign in');
        await says(page, 'Your new password is set');
        await page.goto(link);
        await fill(page, { 'New password': SECOND });
        await press(page, 'Set the password');
        await faulty(page, 'This link has been used');
        await signIn(page, email, PASSWORD);
        await faulty(page, 'Invalid email or password');
        await signIn(page, email, SECOND);
        await sound(page, 'Your account');
        await picture(page, `account-${viewport.width}`);
      }));

    test(`addresses, ${viewport.width} px wide`, () =>
      visit(viewport, async (page) => {
        await signUp(page, `addresses-${viewport.width}@example.com`);
        await addAddress(page, { street: 'Lindenweg 5', city: 'Berlin', defaults: ['Ship here by default', 'Bill here by default'] });
        assert.deepEqual(await cards(page), ['Ann Example|Lindenweg 5|10115 Berlin|DE|Ships here · Bills here']);
        await addAddress(page, { street: 'Hafenstraße 7', city: 'Hamburg', defaults: ['Ship here by default'] });
        assert.deepEqual(await cards(page), ['Ann Example|Lindenweg 5|10115 Berlin|DE|Bills here', 'Ann Example|Hafenstraße 7|10115 Hamburg|DE|Ships here']);
        assert.deepEqual(await pageFaults(page), []);
        await press(page, 'Change Hafenstraße 7');
        assert.equal(await page.evaluate(() => document.activeElement.name), 'first_name');
        assert.deepEqual(await pageFaults(page), [], 'the form of an address');
        await picture(page, `address-${viewport.width}`);
        await page.locator('#address').getByLabel('City').fill('Kiel');
        await page.getByLabel('Bill here by default').check();
        await press(page, 'Save the address');
        await says(page, 'The address is saved');
        assert.equal(await page.evaluate(() => document.activeElement.id), 'addresses-heading');
        await press(page, 'Delete Lindenweg 5');
        await says(page, 'The address is deleted');
        await page.reload();
        await sound(page, 'Your account');
        assert.deepEqual(await cards(page), ['Ann Example|Hafenstraße 7|10115 Kiel|DE|Ships here · Bills here']);
      }));
  }

  test('sessions are listed and ended, one, all others and one’s own', () =>
    visit(TELEPHONE, async (page) => {
      const email = 'sessions@example.com';
      await signUp(page, email);
      const list = page.locator('#sessions li');
      await list.filter({ hasText: 'This device' }).waitFor();
      assert.equal(await list.count(), 1);
      // Three more devices; each learns that its session has ended when it asks next.
      const elsewhere = [];
      for (let n = 0; n < 3; n += 1) {
        elsewhere.push(await openPage(browser));
        await signIn(elsewhere[n].page, email, PASSWORD);
        await sound(elsewhere[n].page, 'Your account');
      }
      const signedOut = async ({ page }) => {
        await page.reload();
        await sound(page, 'Sign in');
        await says(page, 'Please sign in again');
      };
      await page.reload();
      await sound(page, 'Your account');
      await picture(page, 'sessions');
      assert.equal(await list.count(), 4);
      await list.getByRole('button').first().click();
      await says(page, 'Signed out there');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'sessions-heading');
      assert.equal(await list.count(), 3);
      await press(page, 'Sign out everywhere else');
      await list.nth(1).waitFor({ state: 'detached' });
      await says(page, 'Signed out there');
      assert.match(await list.innerText(), /This device/);
      for (const other of elsewhere) await signedOut(other);
      // Whoever had kept the token of a session that was signed out has nothing.
      const token = await page.evaluate(() => localStorage.getItem('medusa_auth_token'));
      await press(page, 'Sign out');
      await says(page, 'You are signed out');
      await page.evaluate((kept) => localStorage.setItem('medusa_auth_token', kept), token);
      await page.goto(`${pages.origin}/account`);
      await says(page, 'Please sign in again');
      for (const other of elsewhere) await other.close();
    }));

  test('a third party, for the first and for the second time', async () => {
    await visit(TELEPHONE, async (page) => {
      await byDemoProvider(page, 'Kim Example');
      await sound(page, 'One step more');
      assert.deepEqual(await filled(page, 'E-mail', 'First name', 'Last name'), ['kim@example.com', 'Kim', 'Example']);
      await press(page, 'Create my account');
      await sound(page, 'Your account');
      await page.getByText('You sign in as kim@example.com.').waitFor();
    });
    await visit(DESK, async (page) => {
      await byDemoProvider(page, 'Kim Example');
      await sound(page, 'Your account');
      await page.getByText('You sign in as kim@example.com.').waitFor();
    });
  });

  test('a third party that says no, and an address that is taken, are told in words', () =>
    visit(DESK, async (page) => {
      await byDemoProvider(page, 'Deny');
      await sound(page, 'You are not signed in');
      await faulty(page, 'denied');
      await byDemoProvider(page, 'Robin Demo');
      await sound(page, 'One step more');
      await press(page, 'Create my account');
      await faulty(page, 'There is an account with this address already');
    }));

  test('a callback that another window began asks the API nothing', () =>
    visit(DESK, async (page, seen) => {
      for (const remembered of [null, 'another']) {
        await page.goto(pages.origin);
        await page.evaluate((state) => state && sessionStorage.setItem('sign-in-state', state), remembered);
        await page.goto(`${pages.origin}/auth/customer/demo/callback?code=stolen&state=foreign`);
        await sound(page, 'You are not signed in');
        await faulty(page, 'This sign-in was not begun in this window');
      }
      assert.deepEqual(seen.requests.filter((url) => url.startsWith(`${server.base}/auth/`)), []);
    }));

  test('an address that is taken, a session that has ended and an address of ours that leads nowhere are told in words', () =>
    visit(DESK, async (page) => {
      await signUp(page, 'twice@example.com');
      await open(page, '/sign-up', 'Sign up');
      await fill(page, { 'E-mail': 'twice@example.com', Password: SECOND });
      await press(page, 'Sign up');
      await faulty(page, 'There is an account with this address already');
      await page.evaluate(() => {
        const token = localStorage.getItem('medusa_auth_token');
        localStorage.setItem('medusa_auth_token', `${token.slice(0, -10)}AAAAAAAAAA`);
      });
      await page.goto(`${pages.origin}/account`);
      await sound(page, 'Sign in');
      await says(page, 'Please sign in again');
      await open(page, '/nowhere', 'There is nothing here');
    }));

  test('an API that does not answer is told in words', () =>
    visit(TELEPHONE, async (page) => {
      await open(page, '/forgot-password', 'Forgot your password?');
      await page.route(`${server.base}/**`, (route) => route.abort());
      await fill(page, { 'E-mail': 'ann@example.com' });
      await press(page, 'Send the link');
      await faulty(page, 'The shop cannot be reached');
    }));

  async function askForReset(page, email) {
    await open(page, '/forgot-password', 'Forgot your password?');
    await fill(page, { 'E-mail': email });
    await press(page, 'Send the link');
    await says(page, 'a mail with a link is on its way');
    return page.getByRole('status').textContent();
  }

  async function byDemoProvider(page, choice) {
    await open(page, '/sign-in', 'Sign in');
    await press(page, 'Continue with the demo provider');
    await page.waitForURL('**/dev/idp/authorize?*');
    await page.getByRole('button', { name: choice }).click();
    await page.waitForURL((url) => url.origin === pages.origin);
  }
});

// The page has this heading, and is accessible and no wider than its window.
async function sound(page, heading) {
  await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
  await page.locator('main:not([aria-busy])').waitFor();
  assert.deepEqual(await pageFaults(page), [], heading);
  await picture(page, `${heading} ${page.viewportSize().width}`);
}

async function fill(page, fields) {
  for (const [label, value] of Object.entries(fields)) await page.locator('form').first().getByLabel(label).fill(value);
}

async function filled(page, ...labels) {
  return Promise.all(labels.map((label) => page.locator('form').first().getByLabel(label).inputValue()));
}

const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const says = (page, text) => page.getByRole('status').filter({ hasText: text }).waitFor();

async function faulty(page, text) {
  await page.getByRole('alert').filter({ hasText: text }).waitFor();
  assert.deepEqual(await pageFaults(page), [], text);
}

async function addAddress(page, { street, city, defaults }) {
  await press(page, 'Add an address');
  const form = page.locator('#address');
  const fields = { 'First name': 'Ann', 'Last name': 'Example', 'Street and number': street, 'Postal code': '10115', City: city, 'Country, two letters': 'de' };
  for (const [label, value] of Object.entries(fields)) await form.getByLabel(label).fill(value);
  for (const label of defaults) await form.getByLabel(label).check();
  await press(page, 'Save the address');
  await page.locator('#addresses').getByText(street).waitFor();
  await says(page, 'The address is saved');
}

test('the code of the guide is the example’s, line by line', async () => {
  const text = (name) => readFile(new URL(`../${name}`, import.meta.url), 'utf8');
  const [page, source] = await Promise.all([text('docs/guides/storefront.md'), text('examples/storefront/src/shop.js')]);
  const blocks = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map((found) => found[1]);
  assert.ok(blocks.length > 5, 'the guide has no code');
  for (const block of blocks) assert.ok(source.includes(block), block);
});

// Each card's lines and marks.
async function cards(page) {
  const texts = await page.locator('#addresses li').evaluateAll((items) => items.map((item) => [...item.querySelectorAll('.lines, .marks')].map((p) => p.textContent)));
  return texts.map((parts) => parts.join('\n').replaceAll('\n', '|'));
}

// For the eye: SHOTS names a folder.
async function picture(page, name) {
  if (!process.env.SHOTS) return;
  await mkdir(process.env.SHOTS, { recursive: true });
  await page.screenshot({ path: `${process.env.SHOTS}/${name.replaceAll(/\W+/g, '-')}.png`, fullPage: true, caret: 'initial' });
}
