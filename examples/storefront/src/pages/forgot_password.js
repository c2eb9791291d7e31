import { field, onSubmit, say } from '../form.js';
import { askForReset } from '../shop.js';

export default {
  title: 'Choose a new password',
  html: `
    <h1>Forgot your password?</h1>
    <p>We send you a link with which you choose a new one.</p>
    <form>
      ${field('E-mail', 'email', 'type="email" autocomplete="username" required')}
      <button>Send the link</button>
    </form>`,

  start(root) {
    onSubmit(root.querySelector('form'), async ({ email }) => {
      await askForReset(email);
      // Said of every address: who has an account here is nobody's business.
      say(`If there is an account for ${email}, a mail with a link is on its way. The link is good for 15 minutes.`);
    });
  },
};
