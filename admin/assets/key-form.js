// Adding and rotating a key: advice while it is pasted, and a live check that keeps what was typed.
import { announce, busy, conceal } from "./keyside.js";
import { ended, icon, make, notice } from "./notice.js";

/// What can be said of a key before anyone is asked. Only advice: providers change their forms.
const advice = (field, value) => {
  if (!value) return "";
  if (/\s/.test(value)) return "There is a space or a line break in it.";
  for (const refused of field.querySelectorAll("[data-refused]")) {
    if (value.startsWith(refused.dataset.refused)) return refused.textContent;
  }
  const { pattern, provider } = field.dataset;
  try {
    if (!pattern || new RegExp(pattern).test(value)) return `It has the usual form for ${provider}.`;
  } catch {
    return "";
  }
  const foreign = [...field.querySelectorAll("[data-foreign]")].find(({ dataset }) => value.startsWith(dataset.foreign));
  if (foreign) return `It looks like a key of ${foreign.textContent}, not of ${provider}.`;
  return `Not the usual form for ${provider}. The check will tell.`;
};

for (const field of document.querySelectorAll("[data-key-field]")) {
  const input = field.querySelector("input");
  const output = field.querySelector("[data-advice]");
  // Copied keys often end in a line break or a space. The pasted text is there only after the event.
  input.addEventListener("paste", () => setTimeout(() => (input.value = input.value.trim())));
  let timer;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => (output.textContent = advice(field, input.value.trim())), 300);
  });
}

// Choosing Sandbox fills in the expiry that is suggested for development keys. What a person entered or cleared stays.
for (const expires of document.querySelectorAll("[data-suggested]")) {
  const { suggested } = expires.dataset;
  let edited = expires.value !== "" && expires.value !== suggested;
  expires.addEventListener("input", () => (edited = true));
  expires.form.addEventListener("change", ({ target }) => {
    if (target.name !== "environment" || edited) return;
    expires.value = target.value === "sandbox" ? suggested : "";
    announce(expires.value ? `Expires on ${suggested}, as is suggested for development keys` : "Expires was cleared");
  });
}

const showErrors = (form, errors) => {
  for (const [name, text] of Object.entries(errors)) {
    const input = form.elements[name];
    if (!(input instanceof HTMLInputElement)) continue;
    const line = make("p", "error", icon("bad"), make("span", "", text));
    line.id = `${input.id}-error`;
    const field = input.closest(".field");
    field.append(line);
    // The server's words take the place of the advice, which may even be the same.
    field.querySelector("[data-advice]")?.replaceChildren();
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", [...descriptions(input), line.id].join(" "));
  }
};

/// The ids of what describes an input, without its error.
const descriptions = (input) => (input.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== `${input.id}-error`);

const clearErrors = (form) => {
  form.querySelectorAll(".error").forEach((line) => line.remove());
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.setAttribute("aria-describedby", descriptions(input).join(" "));
  }
};

const KEPT = "Nothing was saved. When you are back, the form has what you typed, except for the key: paste it again.";

const failed = {
  tone: "bad",
  icon: "bad",
  title: "Keyside did not answer",
  text: "Nothing is known to be saved. Check that it runs, look at the list of keys, and try again.",
};

for (const form of document.querySelectorAll("[data-check-form]")) {
  const verdict = form.querySelector("[data-verdict]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter ?? form.querySelector("[data-busy]");
    if (form.querySelector("button[aria-busy]")) return;
    conceal(form);
    clearErrors(form);
    const body = new URLSearchParams(new FormData(form, button));
    busy(button, true);
    let answer = failed;
    try {
      const response = await fetch(form.action, { method: "POST", body, headers: { accept: "application/json" }, redirect: "manual" });
      answer = response.type === "opaqueredirect" ? ended(KEPT) : await response.json();
      if (answer.location) return location.assign(answer.location);
      // A problem of the request itself, such as a session whose forms are outdated.
      if (!answer.tone) answer = { tone: "bad", icon: "bad", title: answer.title, text: `${answer.detail} ${answer.remedy}` };
    } catch {
      // `failed` is shown.
    } finally {
      busy(button, false);
    }
    verdict.replaceChildren(notice(answer));
    // Another person changed the key. This one knows now, and may decide to send the form again.
    if (answer.etag) form.elements.etag.value = answer.etag;
    if (answer.canSkip) form.querySelector("[data-skip]").hidden = false;
    showErrors(form, answer.errors ?? {});
    announce("");
    (form.querySelector("[aria-invalid]") ?? verdict).focus();
  });
}
