// The HTML of a draft is shown without a click. Everything works without this file.
(() => {
  "use strict";

  const button = document.querySelector("[data-show-draft]");
  if (!button || !button.form) return;
  button.form.requestSubmit(button);
  button.hidden = true;
})();
