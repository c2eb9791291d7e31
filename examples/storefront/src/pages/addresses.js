// The account's addresses: a list, and one form that adds or changes.
import { field, fill, onSubmit, say, tick, words } from '../form.js';
import { addresses, deleteAddress, saveAddress } from '../shop.js';

export const html = `
  <section aria-labelledby="addresses-heading">
    <h2 id="addresses-heading" tabindex="-1">Addresses</h2>
    <ul class="cards" id="addresses"></ul>
    <template id="card">
      <li>
        <p class="lines"></p>
        <p class="marks"></p>
        <p class="actions">
          <button type="button" class="second change">Change</button>
          <button type="button" class="second delete">Delete</button>
        </p>
      </li>
    </template>
    <p class="actions"><button type="button" id="add">Add an address</button></p>
    <form id="address" hidden aria-labelledby="address-heading">
      <h3 id="address-heading"></h3>
      <div class="row">
        ${field('First name', 'first_name', 'autocomplete="given-name"')}
        ${field('Last name', 'last_name', 'autocomplete="family-name"')}
      </div>
      ${field('Street and number', 'address_1', 'autocomplete="address-line1" required')}
      ${field('Further line', 'address_2', 'autocomplete="address-line2"')}
      <div class="row">
        ${field('Postal code', 'postal_code', 'autocomplete="postal-code"')}
        ${field('City', 'city', 'autocomplete="address-level2" required')}
      </div>
      ${field('Country, two letters', 'country_code', 'autocomplete="country" pattern="[A-Za-z]{2}" maxlength="2" required')}
      ${tick('Ship here by default', 'is_default_shipping')}
      ${tick('Bill here by default', 'is_default_billing')}
      <p class="actions"><button>Save the address</button><button type="button" class="second" id="cancel">Cancel</button></p>
    </form>
  </section>`;

export async function start(root) {
  const form = root.querySelector('#address');
  const heading = root.querySelector('#addresses-heading');
  let changing = null; // The id of the address in the form; null for a new one.

  function open(address = {}) {
    changing = address.id ?? null;
    fill(form, address);
    root.querySelector('#address-heading').textContent = changing ? 'Change the address' : 'A new address';
    form.hidden = false;
    form.elements.first_name.focus();
  }

  // What was focused is gone or hidden now: the next thing to read is the list.
  function close(said) {
    form.hidden = true;
    heading.focus();
    say(said);
  }

  async function list() {
    const cards = (await addresses()).map((address) => card(root, address, { change: () => open(address), remove: () => remove(address) }));
    root.querySelector('#addresses').replaceChildren(...cards);
  }

  async function remove({ id }) {
    await deleteAddress(id);
    await list();
    close('The address is deleted.');
  }

  root.querySelector('#add').onclick = () => open();
  root.querySelector('#cancel').onclick = () => close('');
  onSubmit(form, async (given) => {
    await saveAddress(changing, { ...given, country_code: given.country_code.toLowerCase() });
    await list();
    close('The address is saved.');
  });
  await list();
}

function card(root, address, { change, remove }) {
  const item = root.querySelector('#card').content.cloneNode(true);
  const joined = (...parts) => parts.filter(Boolean).join(' ');
  const lines = [
    joined(address.first_name, address.last_name),
    address.address_1,
    address.address_2,
    joined(address.postal_code, address.city),
    address.country_code?.toUpperCase(),
  ];
  item.querySelector('.lines').textContent = lines.filter(Boolean).join('\n');
  const marks = [address.is_default_shipping && 'Ships here', address.is_default_billing && 'Bills here'];
  item.querySelector('.marks').textContent = marks.filter(Boolean).join(' · ');
  // Several buttons say "Change": each also says what.
  for (const [name, work] of [['change', change], ['delete', remove]]) {
    const button = item.querySelector(`.${name}`);
    button.setAttribute('aria-label', `${button.textContent} ${address.address_1}`);
    button.onclick = async () => {
      say('');
      try {
        await work();
      } catch (error) {
        say(words(error));
      }
    };
  }
  return item;
}
