// A session that ends while a form is filled in: the person comes back to the form, and no key is kept for that. Or while a page
// follows checks: it says so, and leads back.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterToken, launch, open, signIn, signOutElsewhere } from "./browser.js";
import { Keyside, Provider, secret } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

const PASTED = secret("pasted-and-never-kept");

/** Everything that the browser keeps of the tab, beside what the person sees in the field itself. */
async function keptBy(page) {
  const tools = await page.context().newCDPSession(page);
  const { entries } = await tools.send("Page.getNavigationHistory");
  await tools.detach();
  const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, history.state]));
  return JSON.stringify(entries) + stored + (await page.content()) + JSON.stringify(await page.context().cookies());
}

/** A signed-in page, and the address of its session. */
async function begun(t) {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside, { expected: /412 \(/ });
  return { keyside, page, session: await signIn(page, keyside) };
}

test("adding a key goes on after sign-in where it was, without the key", async (t) => {
  const { keyside, page, session } = await begun(t);
  const path = "/keys/new/openai?workspace=acme";
  await page.goto(session + path);
  await page.getByLabel("Key", { exact: true }).fill(PASTED);
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByLabel("Label").fill("Nightly run");
  await page.getByRole("radio", { name: "Sandbox" }).check();
  // Pasted into the wrong field by mistake.
  await page.getByLabel("Tag").fill(PASTED);
  await page.getByLabel("Expires").fill("2099-01-02");
  await signOutElsewhere(page, session);
  await page.getByRole("button", { name: "Check and save" }).click();
  await page.getByText("Your session has ended").waitFor();
  assert.equal(await page.getByLabel("Label").inputValue(), "Nightly run", "nothing is lost before the page is left");
  assert.ok(!(await keptBy(page)).includes(PASTED));

  await page.getByRole("link", { name: "Sign in and come back" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.ok(!(await keptBy(page)).includes(PASTED));
  await enterToken(page, keyside.owner);
  await page.getByText("Your session had ended").waitFor();
  const again = new URL(page.url());
  assert.equal((again.pathname + again.search).replace(/^\/s\/[^/]+/, ""), path, "where the person was");
  assert.notEqual(again.pathname.split("/")[2], new URL(session).pathname.split("/")[2]);
  const values = ["Key", "Label", "Tag", "Expires"].map((label) => page.getByLabel(label, { exact: label === "Key" }).inputValue());
  assert.deepEqual(await Promise.all(values), ["", "Nightly run", "", "2099-01-02"]);
  assert.ok(await page.getByRole("radio", { name: "Sandbox" }).isChecked());
  assert.ok(!(await keptBy(page)).includes(PASTED));
  assert.equal(await page.evaluate(() => sessionStorage.getItem("keyside.draft")), null, "kept for this way only");

  await page.getByLabel("Key", { exact: true }).fill(PASTED);
  await page.getByRole("button", { name: "Check and save" }).click();
  await page.getByRole("heading", { name: "“Nightly run” is ready" }).waitFor();
});

test("an edit goes on after sign-in, and still notices what another person changed meanwhile", async (t) => {
  const { keyside, page, session } = await begun(t);
  const id = await keyside.add("Nightly", { environment: "sandbox" });
  await page.goto(`${session}/keys/${id}/edit`);
  await page.getByLabel("Tag").fill("ci-smoke");
  await page.getByLabel("Requests a day").fill("500");
  await signOutElsewhere(page, session);
  await keyside.ask("PATCH", `/api/integrations/credentials/${id}`, { label: "Renamed" });
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await enterToken(page, keyside.owner);
  await page.getByText("Your session had ended").waitFor();
  assert.match(page.url(), new RegExp(`/keys/${id}/edit$`));
  const typed = async () => [await page.getByLabel("Tag").inputValue(), await page.getByLabel("Requests a day").inputValue()];
  assert.deepEqual(await typed(), ["ci-smoke", "500"]);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Label from Nightly to Renamed").waitFor();
  assert.deepEqual(await typed(), ["ci-smoke", "500"]);
});

test("rotating a key goes on after sign-in with the chosen overlap, without the key", async (t) => {
  const { keyside, page, session } = await begun(t);
  const id = await keyside.add("Nightly", { environment: "sandbox" });
  await page.goto(`${session}/keys/${id}/rotate`);
  await page.getByLabel("Key", { exact: true }).fill(PASTED);
  await page.getByRole("radio", { name: "In 7 days" }).check();
  await signOutElsewhere(page, session);
  await page.getByRole("button", { name: "Check and rotate" }).click();
  await page.getByRole("link", { name: "Sign in and come back" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await enterToken(page, keyside.owner);
  await page.getByText("Your session had ended").waitFor();
  assert.match(page.url(), new RegExp(`/keys/${id}/rotate$`));
  assert.ok(await page.getByRole("radio", { name: "In 7 days" }).isChecked());
  assert.equal(await page.getByLabel("Key", { exact: true }).inputValue(), "");
  assert.ok(!(await keptBy(page)).includes(PASTED));
});

test("a form goes on even if the sign-in page was left before its script ran", async (t) => {
  const { keyside, page, session } = await begun(t);
  const id = await keyside.add("Nightly", { environment: "sandbox" });
  await page.goto(`${session}/keys/${id}/edit`);
  await page.getByLabel("Tag").fill("ci-smoke");
  await signOutElsewhere(page, session);
  let isHeld = true;
  page.on("request", (request) => (isHeld &&= request.method() !== "POST" || !request.postData().startsWith("token=")));
  // Those of the sign-in page never come.
  await page.route(/\/assets\/.*\.js$/, (route) => isHeld || route.fallback());
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await enterToken(page, keyside.owner);
  await page.getByText("Your session had ended").waitFor();
  assert.equal(await page.getByLabel("Tag").inputValue(), "ci-smoke");
});

test("what one person typed is not shown to the next who signs in", async (t) => {
  const { keyside, page, session } = await begun(t);
  const { token } = await keyside.ask("POST", "/api/tokens", { name: "Next person", role: "owner" });
  await page.goto(`${session}/keys/new/openai?workspace=acme`);
  await page.getByLabel("Key", { exact: true }).fill(PASTED);
  await page.getByLabel("Label").fill("Nightly run");
  await page.getByLabel("Tag").fill("ci-smoke");
  await signOutElsewhere(page, session);
  await page.getByRole("button", { name: "Check and save" }).click();
  await page.getByRole("link", { name: "Sign in and come back" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await enterToken(page, token);
  await page.waitForFunction(() => document.documentElement.dataset.actor && !sessionStorage.getItem("keyside.draft"));
  assert.notEqual(await page.getByLabel("Label").inputValue(), "Nightly run");
  assert.equal(await page.getByLabel("Tag").inputValue(), "");
  assert.equal(await page.getByText("Your session had ended").count(), 0);
});

test("a form without an end of its session leaves nothing behind", async (t) => {
  const { keyside, page, session } = await begun(t);
  const id = await keyside.add("Nightly", { environment: "sandbox" });
  await page.goto(`${session}/keys/${id}/edit`);
  await page.getByLabel("Tag").fill("ci-smoke");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Versions" }).waitFor();
  // The page's script does it, which may run after the heading is there.
  await page.waitForFunction(() => sessionStorage.getItem("keyside.draft") === null);
});

test("a page that follows checks says that its session has ended, and leads back to them", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  const page = await open(t, browser, keyside);
  const session = await signIn(page, keyside);
  await keyside.add("QA Sandbox", { environment: "sandbox", usageTag: "ci-smoke" });
  await page.goto(`${session}/checks?workspace=acme`);
  let answer;
  provider.wait = new Promise((resolve) => (answer = resolve));
  await page.getByRole("button", { name: "Run now" }).click();
  await page.locator("[data-progress]").waitFor();
  await signOutElsewhere(page, session);
  await page.getByText("Your session has ended").first().waitFor();
  assert.equal(await page.locator("[data-progress]").count(), 0, "nothing is followed any more");
  answer();
  await page.getByRole("link", { name: "Sign in and come back" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await enterToken(page, keyside.owner);
  await page.waitForURL(/\/checks\?workspace=acme/);
  await page.getByText(/Last run, on request: finished/).waitFor();
});
