// Where a third party sends the customer back to: /auth/customer/{provider}/callback.
import { words } from '../form.js';
import { returnFrom } from '../shop.js';

export default {
  title: 'Signing in',
  html: '<h1>Signing in …</h1><p class="fault" role="alert"></p><p><a href="/sign-in">Back to sign-in</a></p>',

  async start(root) {
    const provider = location.pathname.split('/')[3];
    const query = new URLSearchParams(location.search);
    // A code must not stay in the address bar and the history.
    history.replaceState(null, '', location.pathname);
    try {
      location.replace(await returnFrom(provider, query));
    } catch (error) {
      root.querySelector('h1').textContent = 'You are not signed in';
      root.querySelector('.fault').textContent = words(error);
    }
  },
};
