// Where the customer is signed in.
import { say, words } from '../form.js';
import { endOtherSessions, endSession, sessions } from '../shop.js';

export const html = `
  <section aria-labelledby="sessions-heading">
    <h2 id="sessions-heading" tabindex="-1">Where you are signed in</h2>
    <ul class="cards" id="sessions"></ul>
    <p class="actions"><button type="button" class="second" id="end-others">Sign out everywhere else</button></p>
  </section>`;

export async function start(root) {
  const others = root.querySelector('#end-others');

  async function list() {
    const found = await sessions();
    root.querySelector('#sessions').replaceChildren(...found.map((session) => card(session, () => end(() => endSession(session.id)))));
    others.hidden = found.length < 2;
  }

  async function end(work) {
    say('');
    try {
      await work();
      await list();
      // The button that was pressed is gone.
      root.querySelector('#sessions-heading').focus();
      say('Signed out there.');
    } catch (error) {
      say(words(error));
    }
  }

  others.onclick = () => end(endOtherSessions);
  await list();
}

function card({ current, user_agent, created_at }, end) {
  const item = document.createElement('li');
  const lines = document.createElement('p');
  lines.className = 'lines';
  const since = new Date(created_at).toLocaleString();
  lines.textContent = `${current ? 'This device' : (user_agent ?? 'An unknown device')}\nsince ${since}`;
  item.append(lines);
  // One's own session is ended by signing out.
  if (!current) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'second';
    button.textContent = 'Sign out there';
    button.setAttribute('aria-label', `Sign out there, since ${since}`);
    button.onclick = end;
    item.append(button);
  }
  return item;
}
