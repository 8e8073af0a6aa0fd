// Pages without a session: a stable link leads to the session that this browser has, and a one-time link is opened.
import { SESSION, stored } from "./keyside.js";

const find = document.querySelector("[data-find]");
const opening = document.querySelector("[data-link]");

/// The session's path, if it is one of this installation and still lives.
const alive = async (prefix) => {
  const path = stored("localStorage", (s) => s.getItem(SESSION));
  if (!path?.startsWith(`${prefix}/s/`) || !/^[A-Za-z0-9_-]+$/.test(path.slice(prefix.length + 3))) return null;
  const response = await fetch(`${path}/session`, { redirect: "manual" }).catch(() => null);
  if (response?.ok) return path;
  // Only a redirect says that the session has ended; another error passes.
  if (response?.type === "opaqueredirect") stored("localStorage", (s) => s.removeItem(SESSION));
  return null;
};

if (find) {
  const prefix = find.dataset.find;
  const path = await alive(prefix);
  const asked = location.pathname.slice(prefix.length);
  const page = ["/", "", "/sign-in"].includes(asked) ? "/keys" : asked;
  if (path) location.replace(path + page + location.search + location.hash);
}

const whose = async (code) => {
  const body = new URLSearchParams({ code, ask: "whose" });
  const response = await fetch(opening.action, { method: "POST", body, headers: { accept: "application/json" } });
  if (response.status === 401) return "This link has been used, or its five minutes are over. Print a new one with keyside link.";
  if (response.status === 403) return "Keyside cannot tell which page asks. Open the link over https or on localhost, with a current browser.";
  if (response.status === 429) return "Too many wrong codes came from this address. Wait a minute, then reload the page.";
  if (!response.ok) return "Keyside cannot say whose session this opens. The link is not used up: try again.";
  const { name, role } = await response.json();
  return `This opens a session of ${name} (${role}). The link works once.`;
};

const code = location.hash.slice(1);
if (opening && code) {
  // The code stays in neither the address nor the history.
  history.replaceState(null, "", location.pathname);
  opening.elements.code.value = code;
  opening.querySelector("[data-code]").hidden = true;
  const text = await whose(code).catch(() => "Keyside did not answer. Check that it runs.");
  opening.querySelector("[data-whose]").textContent = text;
  opening.querySelector("button").focus();
}
// A link that is pasted while this page is open changes only the fragment.
if (opening) addEventListener("hashchange", () => location.hash && location.reload());
