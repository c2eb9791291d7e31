// Two comforts for the hosted pages. Everything works without this file.
(() => {
  "use strict";

  // A reset token must not stay in the address bar, the history or a screenshot. The form holds its own copy.
  const address = new URL(window.location.href);
  if (address.searchParams.has("token")) {
    address.searchParams.delete("token");
    window.history.replaceState(window.history.state, "", address.pathname + address.search + address.hash);
  }

  for (const row of document.querySelectorAll("[data-show-password]")) {
    const input = row.querySelector("input");
    if (!input) continue;

    const toggle = document.createElement("button");
    toggle.type = "button";
    toggle.className = "toggle";
    toggle.setAttribute("aria-controls", input.id);

    const show = (visible) => {
      input.type = visible ? "text" : "password";
      toggle.textContent = visible ? "Hide" : "Show";
      toggle.setAttribute("aria-label", visible ? "Hide password" : "Show password");
    };
    show(false);
    toggle.addEventListener("click", () => show(input.type === "password"));
    row.append(toggle);

    // Hidden again before it leaves: browsers remember what was typed into a text field.
    if (input.form) input.form.addEventListener("submit", () => show(false));
  }
})();
