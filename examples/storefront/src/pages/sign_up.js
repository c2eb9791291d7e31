import { field, notice, onSubmit } from '../form.js';
import { signUp } from '../shop.js';
import { offerThirdParties, thirdPartiesHtml } from './sign_in.js';

export default {
  title: 'Sign up',
  html: `
    <h1>Sign up</h1>
    <form>
      <div class="row">
        ${field('First name', 'first_name', 'autocomplete="given-name"')}
        ${field('Last name', 'last_name', 'autocomplete="family-name"')}
      </div>
      ${field('E-mail', 'email', 'type="email" autocomplete="username" required')}
      ${field('Password', 'password', 'type="password" autocomplete="new-password" minlength="8" required aria-describedby="rule"')}
      <p class="hint" id="rule">At least 8 characters. A few words are easier to remember than a riddle.</p>
      <button>Sign up</button>
    </form>
    ${thirdPartiesHtml}
    <p>You have an account? <a href="/sign-in">Sign in</a></p>`,

  async start(root) {
    onSubmit(root.querySelector('form'), async (given) => {
      await signUp(given).catch((error) => {
        if (error.status === 401) throw new Error('There is an account with this address already. Sign in, or choose a new password.');
        throw error;
      });
      notice('/account', 'Welcome! Your account is ready.');
    });
    await offerThirdParties(root);
  },
};
