// Forms, and what is said to the customer.

// A labelled field. The texts are ours.
export const field = (label, name, attributes = '') => `<label>${label}<input name="${name}" ${attributes}></label>`;
export const tick = (label, name) => `<label class="tick"><input type="checkbox" name="${name}">${label}</label>`;

// Runs `work` with the values of the form when it is sent: once at a time. What goes wrong is shown above the fields, and read out.
export function onSubmit(form, work) {
  const fault = document.createElement('p');
  fault.className = 'fault';
  fault.setAttribute('role', 'alert');
  form.prepend(fault);
  let busy = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    form.setAttribute('aria-busy', 'true');
    // What is said twice in the same words is read out once, unless it was gone in between.
    fault.textContent = '';
    say('');
    try {
      await work(values(form));
    } catch (error) {
      fault.textContent = words(error);
    }
    busy = false;
    form.removeAttribute('aria-busy');
  });
}

// An empty text is a value: it empties the field of the profile.
function values(form) {
  const named = [...form.elements].filter(({ name }) => name);
  return Object.fromEntries(named.map(({ name, type, value, checked }) => [name, type === 'checkbox' ? checked : value]));
}

export function fill(form, given) {
  for (const element of form.elements) {
    if (element.type === 'checkbox') element.checked = Boolean(given[element.name]);
    else if (element.name) element.value = given[element.name] ?? '';
  }
}

// What went wrong, for a customer. The API's own messages are written to be shown.
export function words(error) {
  if (error instanceof TypeError) return 'The shop cannot be reached. Please look at your connection and try again.';
  if (error.status === 429) return 'That was too often. Please wait a little and try again.';
  if (error.status >= 500) return 'The shop has a problem. Please try again in a moment.';
  return error.message;
}

const NOTICE = 'notice';

// Goes to a page that says `text`.
export function notice(path, text) {
  sessionStorage.setItem(NOTICE, text);
  location.assign(path);
}

// Says something without moving the focus. Without words: what the page before left to say.
export function say(text = sessionStorage.getItem(NOTICE) ?? '') {
  sessionStorage.removeItem(NOTICE);
  document.getElementById('status').textContent = text;
}
