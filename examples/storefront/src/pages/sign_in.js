import { field, onSubmit, say, words } from '../form.js';
import { leaveFor, signIn, thirdParties } from '../shop.js';

export const thirdPartiesHtml = '<div class="third-parties"></div>';

export default {
  title: 'Sign in',
  html: `
    <h1>Sign in</h1>
    <form>
      ${field('E-mail', 'email', 'type="email" autocomplete="username" required')}
      ${field('Password', 'password', 'type="password" autocomplete="current-password" required')}
      <button>Sign in</button>
    </form>
    <p><a href="/forgot-password">Forgot your password?</a></p>
    ${thirdPartiesHtml}
    <p>New here? <a href="/sign-up">Sign up</a></p>`,

  async start(root) {
    onSubmit(root.querySelector('form'), async ({ email, password }) => location.assign(await signIn(email, password)));
    await offerThirdParties(root);
  },
};

// A button for each third party that the store has.
export async function offerThirdParties(root) {
  const buttons = (await thirdParties()).map(({ id, display_name }) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'second';
    button.textContent = `Continue with ${display_name}`;
    button.onclick = () => leaveFor(id).catch((error) => say(words(error)));
    return button;
  });
  root.querySelector('.third-parties').replaceChildren(...buttons);
}
