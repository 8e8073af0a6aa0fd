// What every page of a session uses: copying, relative times, forms that submit on change and are sent once, confirmation by
// typing, and focus that returns. Without it, everything still works.

export const SESSION = "keyside.session";

export const announce = (text) => {
  document.getElementById("announce").textContent = text;
};

/// Calls `act` with the nearest element that matches, whenever something inside it has the event.
const on = (event, selector, act) =>
  document.addEventListener(event, (e) => {
    const target = e.target instanceof Element && e.target.closest(selector);
    if (target) act(target, e);
  });

/// Storage is absent where the browser denies it; nothing essential needs it.
export const stored = (storage, act) => {
  try {
    return act(window[storage]);
  } catch {
    return null;
  }
};

// Stable links find this session by the path that only this origin knows.
const session = document.documentElement.dataset.session;
if (session) stored("localStorage", (s) => s.setItem(SESSION, session));
on("submit", "[data-sign-out]", () => stored("localStorage", (s) => s.removeItem(SESSION)));

on("click", "[data-copy]", async (button) => {
  const source = document.getElementById(button.dataset.copy);
  const word = button.querySelector("[data-copied]");
  try {
    await navigator.clipboard.writeText(source.textContent);
    const before = word.textContent;
    if (before === word.dataset.copied) return;
    word.textContent = word.dataset.copied;
    announce("Copied to the clipboard");
    setTimeout(() => (word.textContent = before), 2000);
  } catch {
    getSelection().selectAllChildren(source);
    announce("Selected. Press Control or Command and C to copy.");
  }
});

// The limits and words are those of the server, so that a time does not change when the page loads.
const UNITS = [
  [90 * 60, 60, "minute"],
  [36 * 3600, 3600, "hour"],
  [60 * 86400, 86400, "day"],
  [730 * 86400, 2629800, "month"],
  [Infinity, 31557600, "year"],
];

// The server's clock counts: this machine's may be wrong.
const ahead = Date.now() - Date.parse(document.documentElement.dataset.now) || 0;

const relative = (iso) => {
  const seconds = (Date.parse(iso) - Date.now() + ahead) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 45) return "just now";
  const [, size, unit] = UNITS.find(([limit]) => distance < limit);
  const count = Math.max(1, Math.round(distance / size));
  const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
  return seconds < 0 ? `${words} ago` : `in ${words}`;
};

const refresh = () => {
  for (const element of document.querySelectorAll("time [data-relative]")) {
    const text = relative(element.closest("time").dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
};
setInterval(refresh, 30_000);
addEventListener("pageshow", refresh);

/// Marks the pressed button while its form is under way.
export const busy = (button, working) => {
  if (!button) return;
  if (working) {
    button.setAttribute("aria-busy", "true");
    announce(button.dataset.busy || "Working…");
  } else {
    button.removeAttribute("aria-busy");
  }
};
// What a form asks for happens once, however often it is sent before the answer is there. One that downloads leaves the page as it is.
on("submit", 'form[method="post"]:not([data-download])', (form, event) => {
  if (event.defaultPrevented) return;
  if (form.querySelector("[aria-busy]")) event.preventDefault();
  else busy(event.submitter, true);
});
addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll("[aria-busy]").forEach((button) => busy(button, false));
});

const confirmLabel = (input) => {
  const same = input.value.trim() === input.dataset.expect.trim();
  input.setCustomValidity(same || !input.value ? "" : "Type it exactly as shown.");
};
on("input", "[data-expect]", confirmLabel);

on("click", "[data-reveal]", (button) => {
  const input = document.getElementById(button.dataset.reveal);
  const shown = input.type === "password";
  input.type = shown ? "text" : "password";
  button.setAttribute("aria-pressed", String(shown));
});
// A field that is shown as text would be offered by autofill later.
export const conceal = (form) => {
  for (const button of form.querySelectorAll('[data-reveal][aria-pressed="true"]')) button.click();
};
document.addEventListener("submit", (event) => conceal(event.target), true);

// The focus returns: to the link of a row after cancelling the page that it opened, and to a filter after the page that it led to
// was loaded.
const PLACE = "keyside.return";
const comeBack = (path, selector) => stored("sessionStorage", (s) => s.setItem(PLACE, JSON.stringify([path, selector])));
on("click", "a[data-return]", (link) => comeBack(location.pathname, `#${link.id}`));
on("change", "[data-autosubmit]", (form, { target }) => {
  comeBack(new URL(form.action).pathname, `[name="${target.name}"]${target.type === "radio" ? ":checked" : ""}`);
  form.requestSubmit();
});
const place = stored("sessionStorage", (s) => JSON.parse(s.getItem(PLACE)));
const wrong = document.querySelector("[data-focus], [aria-invalid='true']");
if (wrong) wrong.focus();
else if (place && place[0] === location.pathname) {
  document.querySelector(place[1])?.focus();
  stored("sessionStorage", (s) => s.removeItem(PLACE));
}

// A session that has ended leads from its form to sign-in and back. What was typed is kept for that way, in this tab alone, and
// nothing that may be a secret, and only for the person who typed it. `etag` and the like are kept too, so that a change by
// another person is still noticed.
const DRAFT = "keyside.draft";
const { actor } = document.documentElement.dataset;
const here = () => location.pathname.slice(session?.length) + location.search;
const mayBeSecret = (field, secret) => /\S{20}/.test(field.value) || (secret && field.value.includes(secret));
on("submit", "form[data-keep]", (form) => {
  const secret = form.elements.secret?.value.trim();
  const isKept = (field) =>
    !["csrf", "secret"].includes(field.name) &&
    !["submit", "button", "password"].includes(field.type) &&
    (field.type === "hidden" || !mayBeSecret(field, secret));
  const fields = [...form.elements].filter((field) => field.name && isKept(field));
  const draft = { of: here(), actor, session, fields: fields.map(({ name, value, checked }) => [name, value, checked]) };
  stored("sessionStorage", (s) => s.setItem(DRAFT, JSON.stringify(draft)));
});

// Screen readers do not read a status that was there before they watched.
const said = [...document.querySelectorAll("[data-said]")].map((status) => status.innerText).join(" ");
if (said) setTimeout(() => announce(said), 200);

const draft = stored("sessionStorage", (s) => JSON.parse(s.getItem(DRAFT)));
// Without a session this is sign-in or a stable link, both on the way back.
if (draft && session) {
  stored("sessionStorage", (s) => s.removeItem(DRAFT));
  const isOwn = draft.session !== session && draft.of === here() && draft.actor === actor;
  const form = isOwn && document.querySelector("form[data-keep]");
  if (form) {
    for (const [name, value, checked] of draft.fields) {
      for (const field of [...form.elements].filter((it) => it.name === name)) {
        if (!["radio", "checkbox"].includes(field.type)) field.value = value;
        else if (field.value === value) field.checked = checked;
      }
    }
    const { notice } = await import("./notice.js");
    const text = "Nothing was saved. The form has what you typed, except for the key: paste it again.";
    form.prepend(notice({ tone: "warn", icon: "lock", title: "Your session had ended", text }));
    announce(text);
  }
}
