// Follows a run of checks, and shows its results when it has finished.
import { announce } from "./keyside.js";
import { ended, notice } from "./notice.js";

const section = document.querySelector("[data-progress]");

// A reload would cancel a link or a form that is under way, and what it asks for would not happen. The person may stop it, so this
// is not for ever.
const LEAVING = 30_000;
let left = -LEAVING;
addEventListener("beforeunload", () => (left = performance.now()));

const follow = async () => {
  let delay = 1500;
  try {
    const response = await fetch(section.dataset.progress, { redirect: "manual" });
    if (response.type === "opaqueredirect") return stop();
    if (!response.ok) throw new Error(response.status);
    const { text, done, finished } = await response.json();
    if (finished && performance.now() - left > LEAVING) return location.reload();
    const line = section.querySelector("[data-progress-text]");
    if (!finished && line.textContent !== text) {
      line.textContent = text;
      const bar = section.querySelector("progress");
      // One without a value is of a run whose number of checks is not known.
      if (bar.hasAttribute("value")) bar.value = done;
      announce(`Checks: ${text}`);
    }
  } catch {
    delay = 5000;
  }
  setTimeout(follow, delay);
};

const stop = () => {
  const said = ended("The checks go on without this page.");
  section.replaceWith(notice(said));
  announce(said.title);
};

if (section) setTimeout(follow, 1000);
