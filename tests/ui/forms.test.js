// Forms as people handle them: pressed again while the answer takes its time, filtered with the keyboard, confirmed by typing.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { hasFocus, launch, open, signIn } from "./browser.js";
import { Keyside, Provider } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

/** A signed-in page, and the address of its session. */
async function begun(t) {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside);
  return { keyside, page, session: await signIn(page, keyside) };
}

test("a form that is sent again before its answer is there is sent once", async (t) => {
  const { keyside, page, session } = await begun(t);
  let sent = 0;
  // The first request waits until the button is pressed again.
  await page.route(`${session}/workspace?*`, async (route) => {
    if (route.request().method() === "POST") {
      sent += 1;
      if (sent > 1) return route.fulfill({ contentType: "text/html", body: "<h1>Sent again</h1>" });
      await page.waitForEvent("console", (message) => message.text() === "pressed again");
    }
    await route.continue();
  });
  await page.goto(`${session}/workspace?workspace=acme`);
  await page.getByLabel("Who or what is it for?").fill("Continuous integration");
  await page.getByRole("button", { name: "Create token" }).evaluate((button) => {
    button.click();
    setInterval(() => {
      button.click();
      console.log("pressed again");
    }, 50);
  });
  await page.getByRole("heading", { name: /^(Token created|Sent again)$/ }).waitFor();
  assert.equal(sent, 1);
  const { items } = await keyside.ask("GET", "/api/tokens");
  assert.equal(items.filter(({ name }) => name === "Continuous integration").length, 1, "each would be a way in");
});

test("an export can be asked for again", async (t) => {
  const { page, session } = await begun(t);
  await page.goto(`${session}/workspace?workspace=acme`);
  for (let times = 0; times < 2; times += 1) {
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export" }).click();
    await (await download).delete();
  }
});

test("the focus stays on the filter that was changed", async (t) => {
  const { keyside, page, session } = await begun(t);
  await keyside.add("Nightly", { environment: "sandbox" });
  await page.goto(`${session}/keys?workspace=acme`);
  const changed = async (field, change, query) => {
    await change(field);
    await page.waitForURL(query);
    await hasFocus(page, field);
  };
  await changed(page.getByLabel("Provider"), (field) => field.selectOption("openai"), /provider=openai/);
  await changed(page.getByRole("radio", { name: "Sandbox" }), (field) => field.check(), /environment=sandbox/);
  await changed(page.getByLabel("Search"), (field) => field.fill("night").then(() => field.press("Enter")), /q=night/);
  await changed(page.getByLabel("Workspace", { exact: true }), (field) => field.selectOption({ index: 0 }), /keys\?workspace=acme$/);
});

test("times are by the server's clock, and what a form did is announced", async (t) => {
  const { keyside, page, session } = await begun(t);
  const id = await keyside.add("Nightly", { environment: "sandbox" });
  await page.clock.install({ time: Date.now() - 3 * 3_600_000 });
  await page.goto(`${session}/keys/${id}/edit`);
  await page.getByLabel("Tag").fill("ci-smoke");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Versions" }).waitFor();
  const added = page.locator("dt", { hasText: "Added" }).locator("+ dd").locator("[data-relative]");
  assert.match(await added.innerText(), /^(just now|1 minute ago)$/);
  await page.clock.runFor(1000);
  await page.locator("#announce", { hasText: "Saved" }).waitFor({ state: "attached" });
});

test("a name is confirmed as it is shown, with all its spaces", async (t) => {
  const { keyside, page, session } = await begun(t);
  const { id } = await keyside.ask("POST", "/api/tokens", { name: "Build  server", role: "viewer", workspaces: ["acme"] });
  await page.goto(`${session}/tokens/${id}/revoke`);
  const shown = await page.locator("label code").innerText();
  assert.equal(shown, "Build  server");
  await page.getByLabel("Type the name").fill(shown);
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await page.locator("main").getByText("Build server no longer opens anything").waitFor();
});
