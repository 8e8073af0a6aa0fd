// What a page says of runs of checks that meet: of changed keys and on request, and a run that ends while the person leaves.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open, signIn } from "./browser.js";
import { Keyside, Provider } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

/** Keyside with a tagged key, a signed-in page, and the provider. */
async function begun(t, { expected, ...options } = {}) {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider, options);
  const page = await open(t, browser, keyside, { expected });
  const session = await signIn(page, keyside);
  const add = () => keyside.add("QA Sandbox", { environment: "sandbox", usageTag: "ci-smoke" });
  return { keyside, page, session, provider, add };
}

/** Has the provider's next answers wait; resolves to what lets them go. */
function held(provider) {
  let answer;
  provider.wait = new Promise((resolve) => (answer = resolve));
  return answer;
}

/** Resolves once the provider has been asked so many times. */
async function asked(page, provider, times) {
  while (provider.keys.length < times) await page.waitForTimeout(20);
}

/** Resolves once the page has asked for the progress of its run twice, or was loaded again. */
function followedOrLoaded(page) {
  let asked = 0;
  return new Promise((resolve) => {
    page.on("request", (request) => {
      if (request.url().includes("/checks?")) resolve("loaded");
      asked += request.url().includes("/checks/progress?");
      if (asked === 2) resolve("followed");
    });
  });
}

for (const last of ["on request", "after a change"]) {
  test(`of a run of changed keys and one on request, the page shows the one that ends last: the one ${last}`, async (t) => {
    const { page, session, provider, add } = await begun(t, { onChange: true });
    const answers = { "after a change": held(provider) };
    await add();
    await asked(page, provider, 1);
    await page.goto(`${session}/checks?workspace=acme`);
    const progress = page.locator("[data-progress-text]");
    assert.equal(await progress.innerText(), "0 done");

    answers["on request"] = held(provider);
    await page.getByRole("button", { name: "Run now" }).click();
    await asked(page, provider, 2);
    await progress.getByText("0 of 1 done").waitFor();
    const [first] = Object.keys(answers).filter((run) => run !== last);
    answers[first]();
    await page.waitForResponse((response) => response.url().includes("/checks/progress"));
    assert.equal(await page.getByText(/Last run/).count(), 0, "one still checks");
    answers[last]();
    await page.getByText(new RegExp(`Last run, ${last}: finished`)).waitFor();
    const row = page.getByRole("table", { name: "Results by provider" }).getByRole("row").filter({ hasText: "QA Sandbox" });
    assert.match(await row.locator("[data-label=Status]").innerText(), /200/);
  });
}

test("a run that ends does not keep a person from leaving the page", async (t) => {
  const { keyside, page, session, provider, add } = await begun(t);
  await add();
  const answer = held(provider);
  await page.goto(`${session}/checks?workspace=acme`);
  await page.getByRole("button", { name: "Run now" }).click();
  await page.locator("[data-progress]").waitFor();
  // The next page takes longer than the run.
  let go;
  const released = new Promise((resolve) => (go = resolve));
  await page.route(`${session}/runs?*`, async (route) => {
    await released;
    await route.continue();
  });
  await page.getByRole("navigation", { name: "Pages", exact: true }).getByRole("link", { name: "Runs" }).click({ noWaitAfter: true });
  answer();
  while ((await keyside.ask("GET", "/api/smoke?workspaceId=acme")).run.state !== "finished") await page.waitForTimeout(20);
  assert.equal(await followedOrLoaded(page), "followed", "a reload would keep the person here");
  go();
  await page.waitForURL(`${session}/runs?*`);
});

test("what is not an answer about progress is not shown", async (t) => {
  const { page, session, provider, add } = await begun(t, { expected: /429 \(/ });
  await add();
  const answer = held(provider);
  await page.goto(`${session}/checks?workspace=acme`);
  const shown = [];
  await page.route(`${session}/checks/progress?*`, async (route) => {
    shown.push(await page.locator("[data-progress-text]").innerText());
    if (shown.length === 1) return route.fulfill({ status: 429, json: { title: "Too many requests" } });
    answer();
    await route.continue();
  });
  await page.getByRole("button", { name: "Run now" }).click();
  await page.getByText(/Last run, on request: finished/).waitFor();
  assert.deepEqual(shown.slice(0, 2), ["0 of 1 done", "0 of 1 done"]);
});
