// Follows a run of checks, and shows its results when it has finished.
import { announce } from "./keyside.js";
import { ended, notice } from "./notice.js";

const section = document.querySelector("[data-progress]");

const follow = async () => {
  let delay = 1500;
  try {
    const response = await fetch(section.dataset.progress, { redirect: "manual" });
    if (response.type === "opaqueredirect") return stop();
    const { done, total, finished } = await response.json();
    if (finished) return location.reload();
    const text = `${done} of ${total} done`;
    const line = section.querySelector("[data-progress-text]");
    if (line.textContent !== text) {
      line.textContent = text;
      section.querySelector("progress").value = done;
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
