// A storefront's two pages for signing in by a third party. What they do, each shop's own pages must do, too.
(() => {
  "use strict";

  const STATE = "vestibule-demo-state";
  const element = (id) => document.getElementById(id);

  const fail = (text) => {
    element("fault").textContent = text;
    element("fault").hidden = false;
    if (element("status")) element("status").textContent = "";
  };

  // Asks our API, and answers the JSON; what is refused is thrown in the words of the API.
  const call = async (path, options = {}) => {
    const response = await fetch(path, { ...options, headers: { accept: "application/json", ...options.headers } });
    const text = await response.text();
    let body = {};
    try {
      body = JSON.parse(text);
    } catch {
      body = { message: text };
    }
    if (!response.ok) throw new Error(`${response.status}: ${body.message || response.statusText}`);
    return body;
  };

  const post = (body, headers = {}) => ({ method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });

  const begin = async () => {
    element("fault").hidden = true;
    const callback = new URL("/dev/callback", window.location.href).href;
    const { location } = await call("/auth/customer/demo", post({ callback_url: callback }));
    if (typeof location !== "string") throw new Error("The API answered no location");
    // Whoever comes back must bring this along: otherwise somebody else began the sign-in.
    window.sessionStorage.setItem(STATE, new URL(location).searchParams.get("state") || "");
    window.location.assign(location);
  };

  // The claims of a token. The page shows them and decides nothing by them: it has not checked the signature.
  const claimsOf = (token) => {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(window.atob(part), (letter) => letter.charCodeAt(0))));
  };

  const list = (id, rows) => {
    const row = ([name, value]) => {
      const line = document.createElement("div");
      const term = line.appendChild(document.createElement("dt"));
      const text = line.appendChild(document.createElement("dd"));
      term.textContent = name;
      text.textContent = value === "" || value === undefined || value === null ? "(none)" : String(value);
      return line;
    };
    element(`${id}-list`).replaceChildren(...rows.map(row));
    element(id).hidden = false;
  };

  const say = (heading, status) => {
    element("heading").textContent = heading;
    document.title = `${heading} – ${document.title.split(" – ").pop()}`;
    element("status").textContent = status;
  };

  const showToken = (token) => {
    const claims = claimsOf(token);
    const about = claims.user_metadata || {};
    const named = about.name || [about.given_name, about.family_name].filter(Boolean).join(" ");
    list("claims", [["actor_id", claims.actor_id], ["address", about.email], ["name", named]]);
    return claims;
  };

  const create = async (token, claims) => {
    element("fault").hidden = true;
    const headers = { authorization: `Bearer ${token}`, "x-publishable-api-key": element("create").dataset.publishableKey };
    const email = (claims.user_metadata || {}).email;
    const { customer } = await call("/store/customers", post(email ? { email } : {}, headers));
    element("create").hidden = true;
    say("You have an account", "The customer was created. Sign in again, and the token names it.");
    list("customer", [["id", customer.id], ["email", customer.email], ["first_name", customer.first_name], ["last_name", customer.last_name]]);
  };

  // Whoever has an account signs in to it, and adds what the provider vouched for as another way in.
  const link = async (token, email) => {
    element("fault").hidden = true;
    const account = await call("/auth/customer/emailpass", post({ email, password: element("password").value }));
    await call("/auth/identities", post({ token }, { authorization: `Bearer ${account.token}` }));
    const linked = await call("/auth/token/refresh", post({}, { authorization: `Bearer ${token}` }));
    element("link").hidden = true;
    showToken(linked.token);
    say("You are signed in", "The demo provider is now another way in to your account.");
  };

  const finish = async () => {
    const query = new URLSearchParams(window.location.search);
    const expected = window.sessionStorage.getItem(STATE);
    window.sessionStorage.removeItem(STATE);
    // A code must not stay in the address bar, the history or a screenshot.
    window.history.replaceState(null, "", window.location.pathname);
    if (!expected || query.get("state") !== expected) throw new Error("This sign-in was not begun in this window, so it is not finished here.");
    const { token, account_exists: accountExists } = await call(`/auth/customer/demo/callback?${query}`);
    const claims = showToken(token);
    if (claims.actor_id) {
      say("You are signed in", "The token names a customer.");
      return;
    }
    if (accountExists) {
      const email = claims.user_metadata.email;
      say("You have an account here already", `${email} signs in with a password. Show that it is yours, and the demo provider becomes another way in.`);
      element("link").hidden = false;
      element("link").addEventListener("submit", (event) => {
        event.preventDefault();
        busy(element("link").querySelector("button"), () => link(token, email));
      });
      return;
    }
    say("One step more", "The token names no customer yet.");
    element("create").hidden = false;
    element("create").addEventListener("click", () => busy(element("create"), () => create(token, claims)));
  };

  // One click, one call.
  const busy = async (button, work) => {
    button.disabled = true;
    await work().catch((error) => fail(error.message));
    button.disabled = false;
  };

  if (element("begin")) {
    element("begin").addEventListener("click", () => busy(element("begin"), begin));
  } else {
    finish().catch((error) => {
      say("You are not signed in", "");
      fail(error.message);
    });
  }
})();
