import { field, fill, onSubmit, say } from '../form.js';
import { changeProfile, profile } from '../shop.js';
import * as addresses from './addresses.js';
import * as sessions from './sessions.js';

export default {
  title: 'Your account',
  forCustomers: true,
  html: `
    <h1>Your account</h1>
    <section aria-labelledby="profile-heading">
      <h2 id="profile-heading">Profile</h2>
      <p>You sign in as <strong id="email"></strong>.</p>
      <form id="profile">
        <div class="row">
          ${field('First name', 'first_name', 'autocomplete="given-name"')}
          ${field('Last name', 'last_name', 'autocomplete="family-name"')}
        </div>
        ${field('Phone', 'phone', 'type="tel" autocomplete="tel"')}
        <button>Save the profile</button>
      </form>
    </section>
    ${addresses.html}
    ${sessions.html}`,

  async start(root) {
    const customer = await profile();
    root.querySelector('#email').textContent = customer.email;
    const form = root.querySelector('#profile');
    fill(form, customer);
    onSubmit(form, async (given) => {
      await changeProfile(given);
      say('Your profile is saved.');
    });
    await addresses.start(root);
    await sessions.start(root);
  },
};
