// The page that the mail's link opens: /reset-password?token=…
import { field, notice, onSubmit } from '../form.js';
import { setPassword } from '../shop.js';

const AGAIN = 'This link has been used, replaced by a newer one, or is too old. Ask for another below.';

export default {
  title: 'Choose a new password',
  html: `
    <h1>Choose a new password</h1>
    <form>
      ${field('New password', 'password', 'type="password" autocomplete="new-password" minlength="8" required aria-describedby="rule"')}
      <p class="hint" id="rule">At least 8 characters. You will be signed out everywhere.</p>
      <button>Set the password</button>
    </form>
    <p><a href="/forgot-password">Send me another link</a></p>`,

  start(root) {
    const token = new URLSearchParams(location.search).get('token');
    // The token must not stay in the address bar and the history. It is spent by a new password alone, not by a look at this page.
    history.replaceState(null, '', location.pathname);
    onSubmit(root.querySelector('form'), async ({ password }) => {
      if (!token) throw new Error(AGAIN);
      await setPassword(password, token).catch((error) => {
        throw error.status === 401 ? new Error(AGAIN) : error;
      });
      notice('/sign-in', 'Your new password is set. Sign in with it.');
    });
  },
};
