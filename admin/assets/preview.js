// Streams an answer into the page. The events are those of `POST /api/preview` with `stream`.
import { announce, busy } from "./keyside.js";
import { ended, link, make, notice } from "./notice.js";

const form = document.querySelector("[data-preview]");
const answer = document.getElementById("answer");
const news = document.querySelector("[data-preview-news]");
const facts = document.querySelector("[data-preview-facts]");
const stop = form.querySelector("[data-stop]");

const { provider, model, label } = form.elements;

/// Leaves only the keys of the selected provider to choose from. The label stays if it has a key with it.
const narrow = () => {
  const wanted = label.value;
  for (const group of label.querySelectorAll("optgroup")) {
    group.hidden = group.disabled = group.dataset.provider !== provider.value;
  }
  const choices = [...label.options].filter((option) => !option.parentElement.disabled);
  (choices.find((option) => option.value === wanted) ?? choices[0]).selected = true;
};

provider.addEventListener("change", () => {
  const suggestions = [...provider.options].map((option) => option.dataset.model);
  // A model that a person typed stays.
  if (!model.value || suggestions.includes(model.value)) model.value = provider.selectedOptions[0].dataset.model;
  narrow();
});
narrow();

/// The events of a response (HTML standard, "Server-sent events"), each of whose data is one line.
async function* events(response) {
  let rest = "";
  // Streams cannot be iterated in every browser that supports the rest of the page.
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const frames = (rest + read.value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const [, name, data] = /^event: (.+)\ndata: (.*)$/.exec(frame) ?? [];
      if (name) yield [name, JSON.parse(data)];
    }
  }
}

const known = (value, unit = "") => (value == null ? "unknown" : `${Math.round(value).toLocaleString("en")}${unit}`);

const done = ({ credential, latencyMs, timeToFirstByteMs, tokens, requestId }) => {
  const sandbox = credential.environment === "sandbox";
  const title = `Live response · ${credential.label} · ${credential.environment}`;
  const text = sandbox ? "A sandbox key answered: latency and cost differ from production." : "";
  news.replaceChildren(notice({ tone: "good", icon: "live", title, text }));
  const base = document.documentElement.dataset.session;
  const run = new URLSearchParams({ workspace: form.elements.workspaceId.value, request: requestId });
  const request = link(`${base}/runs?${run}`, requestId);
  request.className = "mono";
  const rows = [
    ["Key", link(`${base}/keys/${encodeURIComponent(credential.id)}`, credential.label)],
    ["Latency", known(latencyMs, " ms")],
    ["First byte", known(timeToFirstByteMs, " ms")],
    ["Tokens", `${known(tokens.input)} in, ${known(tokens.output)} out`],
    ["Request", request],
  ];
  facts.replaceChildren(...rows.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
  facts.hidden = false;
};

const failed = (problem) => {
  const { title, detail, remedy, remediation, errors } = problem;
  const fields = errors?.map((error) => `${error.field}: ${error.detail}.`) ?? [];
  // The remediation of a refusal is the address of a page, or a text.
  const isPage = /^https?:/.test(remediation ?? "") && link(remediation, "");
  const next = fields.length ? fields : [detail, isPage ? "" : (remediation ?? remedy)];
  const text = next.filter(Boolean).join(" ");
  const way = isPage ? { href: remediation, action: /\/keys\/new\b/.test(remediation) ? "Add a key" : "See how to fix it" } : {};
  news.replaceChildren(notice({ tone: "bad", icon: "bad", title: title ?? "The preview failed", text, ...way }));
};

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[data-busy]");
  if (!button || button.getAttribute("aria-busy")) return;
  const cancel = new AbortController();
  stop.onclick = () => cancel.abort();
  news.replaceChildren();
  facts.hidden = true;
  answer.textContent = "";
  answer.setAttribute("aria-busy", "true");
  stop.hidden = false;
  busy(button, true);
  try {
    const body = new URLSearchParams(new FormData(form));
    const headers = { accept: "text/event-stream" };
    const response = await fetch(form.action, { method: "POST", body, headers, redirect: "manual", signal: cancel.signal });
    if (response.type === "opaqueredirect") return news.replaceChildren(notice(ended()));
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return failed(await response.json());
    let complete = false;
    for await (const [name, data] of events(response)) {
      if (name === "text") answer.append(data.text);
      else complete = true;
      if (name === "done") done(data);
      if (name === "error") failed(data);
    }
    if (!complete) failed({ title: "The answer was cut off", detail: "The connection ended before the answer did.", remedy: "Run it again." });
  } catch {
    if (cancel.signal.aborted) announce("Stopped");
    else failed({ title: "Keyside did not answer", remedy: "Check that it runs, and try again." });
  } finally {
    answer.removeAttribute("aria-busy");
    stop.hidden = true;
    busy(button, false);
  }
});
