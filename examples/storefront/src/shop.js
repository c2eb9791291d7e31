// Everything that the pages ask of the store's API.
import Medusa from '@medusajs/js-sdk';

// In its `jwt` mode the SDK keeps the token in localStorage and sends it along. Any script that runs in these pages can read it there:
// run no scripts of others, and send a Content-Security-Policy.
const sdk = new Medusa({
  baseUrl: import.meta.env.VITE_API_URL,
  publishableKey: import.meta.env.VITE_PUBLISHABLE_KEY,
  auth: { type: 'jwt' },
});

// Sign-up is a login and then a customer.
export async function signUp({ email, password, first_name, last_name }) {
  // Who comes back after the first step with the same password goes on where it stopped.
  await sdk.auth.register('customer', 'emailpass', { email, password });
  await createCustomer({ email, first_name, last_name });
}

// Of the customer's side the token of a login without a customer opens this alone. It stays so: a refreshed one names the customer.
export async function createCustomer(profile) {
  await sdk.store.customer.create(profile);
  await sdk.auth.refresh();
}

// Answers the page that comes next.
export async function signIn(email, password) {
  return nextPage(await sdk.auth.login('customer', 'emailpass', { email, password }));
}

// The third parties through which customers may sign in.
export async function thirdParties() {
  const { providers } = await sdk.auth.listProviders('customer');
  return providers.filter(({ flow }) => flow === 'redirect');
}

const STATE = 'sign-in-state';

// Sends the browser to a third party.
export async function leaveFor(provider) {
  const callback_url = `${location.origin}/auth/customer/${provider}/callback`;
  const there = await sdk.auth.login('customer', provider, { callback_url });
  sessionStorage.setItem(STATE, new URL(there.location).searchParams.get('state'));
  location.assign(there.location);
}

// Ends the sign-in with what the third party put into the address.
export async function returnFrom(provider, query) {
  const expected = sessionStorage.getItem(STATE);
  sessionStorage.removeItem(STATE);
  // The API has no cookie in this browser, so only we can tell that the sign-in began here. Without this comparison somebody else's link
  // could sign our visitor in to somebody else's account.
  if (!expected || query.get('state') !== expected) throw new Error('This sign-in was not begun in this window. Please begin again.');
  return nextPage(await sdk.auth.callback('customer', provider, Object.fromEntries(query)));
}

function nextPage(token) {
  // The SDK answers an object instead of a token where the store asks for a second factor or for a proven address.
  if (typeof token !== 'string') throw new Error('This sign-in needs one step more, which this storefront does not have.');
  return read(token).actor_id ? '/account' : '/welcome';
}

export async function signOut() {
  // In its `jwt` mode the SDK forgets the token and tells the API nothing, so the session is ended first. One that has ended already is no fault.
  await sdk.client.fetch('/auth/sessions/current', { method: 'DELETE' }).catch(() => {});
  await sdk.auth.logout();
}

export const forget = () => sdk.client.clearToken();

// What the token says, or null. Good for choosing what to show; that it is true, the API finds out at each call.
export async function claims() {
  const token = await sdk.client.getToken();
  return token ? read(token) : null;
}

function read(token) {
  const part = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
}

// The answer is the same whether or not the address has an account: show it so.
export const askForReset = (email) => sdk.auth.resetPassword('customer', 'emailpass', { identifier: email });

export async function setPassword(password, token) {
  await sdk.auth.updateProvider('customer', 'emailpass', { password }, token);
  // A new password has ended every session of the old one.
  await forget();
}

export const profile = () => sdk.store.customer.retrieve().then(({ customer }) => customer);
export const changeProfile = (changes) => sdk.store.customer.update(changes);

export const addresses = () => sdk.store.customer.listAddress().then((answer) => answer.addresses);
export const saveAddress = (id, address) =>
  id ? sdk.store.customer.updateAddress(id, address) : sdk.store.customer.createAddress(address);
export const deleteAddress = (id) => sdk.store.customer.deleteAddress(id);

// The SDK has no methods for these.
export const sessions = () => sdk.client.fetch('/auth/sessions').then((answer) => answer.sessions);
export const endSession = (id) => sdk.client.fetch(`/auth/sessions/${id}`, { method: 'DELETE' });
export const endOtherSessions = () => sdk.client.fetch('/auth/sessions', { method: 'DELETE' });
