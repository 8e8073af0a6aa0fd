// Shows each step of the workflow, with a banner where its provider cannot be used. Asks its own
// backend, never Keyside.

/** What a person reads; the step cannot run unless `usable`. */
const STATES = {
  ready: { usable: true },
  unknown: { usable: true },
  expiring: { usable: true, says: "The key for this step expires soon. Rotate it in time." },
  missing: { says: "No key for this provider is stored. Add one before you run this step." },
  revoked: { says: "The key for this step was revoked. Add a new one." },
  expired: { says: "The key for this step has expired. Rotate it." },
  rejected: { says: "The provider refuses the key for this step. Replace it." },
};

const list = document.querySelector("#steps");
const template = document.querySelector("#step");

function show(item, { name, provider, readiness }) {
  const { status, environment, label, remediation } = readiness;
  const { usable = false, says } = STATES[status] ?? STATES.unknown;
  const banner = item.querySelector(".banner");
  const link = banner.querySelector("a");
  item.dataset.status = status;
  item.querySelector("h2").textContent = name;
  item.querySelector(".key").textContent = usable && label ? `${provider} · ${label} · ${environment}` : provider;
  banner.hidden = !says;
  banner.classList.toggle("warning", usable);
  banner.querySelector("span").textContent = says ?? "";
  link.hidden = !/^https?:/.test(remediation ?? "");
  link.href = link.hidden ? "" : remediation;
  item.querySelector("button").disabled = !usable;
}

async function refresh() {
  const response = await fetch("/steps");
  const { steps } = await response.json();
  while (list.children.length < steps.length) {
    list.append(template.content.cloneNode(true));
  }
  steps.forEach((step, index) => show(list.children[index], step));
  list.setAttribute("aria-busy", "false");
}

// A person who comes back from the settings sees at once that the step is ready.
document.addEventListener("visibilitychange", () => document.hidden || refresh());
window.addEventListener("focus", refresh);
refresh();
