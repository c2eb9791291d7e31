// For a login without a customer: somebody who came by a third party for the first time, or whose sign-up stopped halfway.
import { field, fill, notice, onSubmit } from '../form.js';
import { claims, createCustomer } from '../shop.js';

export default {
  title: 'One step more',
  html: `
    <h1>One step more</h1>
    <p>Then your account is ready.</p>
    <form>
      ${field('E-mail', 'email', 'type="email" autocomplete="email" required')}
      <div class="row">
        ${field('First name', 'first_name', 'autocomplete="given-name"')}
        ${field('Last name', 'last_name', 'autocomplete="family-name"')}
      </div>
      <button>Create my account</button>
    </form>`,

  async start(root) {
    const token = await claims();
    if (!token || token.actor_id) return location.replace(token ? '/account' : '/sign-in');
    const form = root.querySelector('form');
    // What the third party told.
    const { email, given_name, family_name } = token.user_metadata;
    fill(form, { email, first_name: given_name, last_name: family_name });
    onSubmit(form, async (given) => {
      await createCustomer(given).catch((error) => {
        if (error.status === 422) throw new Error('There is an account with this address already. Sign in to it with its password.');
        throw error;
      });
      notice('/account', 'Welcome! Your account is ready.');
    });
  },
};
