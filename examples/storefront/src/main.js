// Every address is a page of its own, and the browser does the walking: no router, and the back button works.
import { notice, say, words } from './form.js';
import { claims, forget, signOut } from './shop.js';
import account from './pages/account.js';
import callback from './pages/callback.js';
import forgotPassword from './pages/forgot_password.js';
import resetPassword from './pages/reset_password.js';
import signIn from './pages/sign_in.js';
import signUp from './pages/sign_up.js';
import start from './pages/start.js';
import welcome from './pages/welcome.js';

const PAGES = {
  '/': start,
  '/sign-up': signUp,
  '/sign-in': signIn,
  '/forgot-password': forgotPassword,
  '/reset-password': resetPassword, // The mail's link: {storefront_url}/reset-password?token=…
  '/welcome': welcome,
  '/account': account,
};
const CALLBACK = /^\/auth\/customer\/[^/]+\/callback$/;
const NOT_FOUND = { title: 'There is nothing here', html: '<h1>There is nothing here</h1><p><a href="/">To the start</a></p>' };

const path = location.pathname.replace(/(.)\/$/, '$1');
const page = PAGES[path] ?? (CALLBACK.test(path) ? callback : NOT_FOUND);

async function show() {
  const customer = (await claims())?.actor_id;
  if (page.forCustomers && !customer) return location.replace('/sign-in');

  // `html` is written by us. What somebody else wrote reaches the page as text and as values only, never as HTML.
  const root = document.getElementById('page');
  root.innerHTML = page.html;
  for (const element of document.querySelectorAll('.when-in')) element.hidden = !customer;
  for (const element of document.querySelectorAll('.when-out')) element.hidden = Boolean(customer);
  document.getElementById('sign-out').onclick = () => signOut().finally(() => notice('/', 'You are signed out.'));
  document.title = `${page.title} – Acme`;
  say();
  await page.start?.(root);
}

async function fail(error) {
  // The token was good once: its session has ended, here or on another device, or it has expired.
  if (error.status === 401 && page.forCustomers) {
    await forget();
    return notice('/sign-in', 'Please sign in again.');
  }
  say(words(error));
}

show()
  .catch(fail)
  .finally(() => document.getElementById('main').removeAttribute('aria-busy'));
