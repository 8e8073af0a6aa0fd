// Adding, rotating and revoking a key without a pointer, and without JavaScript.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { hasFocus, launch, open, reloadUntil, screenshot, signIn } from "./browser.js";
import { Keyside, Provider, secret } from "./stage.js";
import { addKey, openKey, preview, revoke, rotate } from "./steps.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

/** Presses Tab until `target` has the focus, which has to be visible at each stop. */
async function tabTo(page, target) {
  await target.waitFor();
  // The scripts have run, so that they remember where the focus has to come back to.
  await page.waitForLoadState();
  for (let stops = 0; stops < 80; stops += 1) {
    await page.keyboard.press("Tab");
    const hidden = await page.evaluate(() => {
      const focused = document.activeElement;
      // Chromium draws the focus inside a field for a date.
      if (focused === document.body || focused.type === "date") return "";
      const outlined = (element) => element && getComputedStyle(element).outlineStyle !== "none";
      return outlined(focused) || outlined(focused.closest("label")) ? "" : focused.outerHTML;
    });
    assert.equal(hidden, "", "the focus is not visible");
    if (await target.evaluate((element) => element === document.activeElement)) return;
  }
  assert.fail(`Tab never reaches ${target}`);
}

test("a key is added, rotated and revoked with the keyboard alone", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  const page = await open(t, browser, keyside);
  const follow = async (role, name) => {
    await tabTo(page, page.getByRole(role, { name }));
    await page.keyboard.press("Enter");
  };
  const type = async (label, text) => {
    await tabTo(page, page.getByLabel(label, { exact: true }));
    await page.keyboard.type(text);
  };

  await page.goto(keyside.link());
  await page.getByText("This opens a session of").first().waitFor();
  // The script moves the focus to the button.
  await page.keyboard.press("Enter");

  await page.getByRole("link", { name: "Add the first key" }).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main", "the first stop skips the menu");
  await follow("link", "Add the first key");
  await follow("link", /^OpenAI/);
  await type("Key", secret("wrong"));
  await type("Label", "By keyboard");
  await tabTo(page, page.getByRole("radio", { name: "Live" }));
  await page.keyboard.press("ArrowUp");
  assert.ok(await page.getByRole("radio", { name: "Sandbox" }).isChecked());
  await page.keyboard.press("Enter");
  await page.getByText("OpenAI rejects the key").waitFor();
  await hasFocus(page, page.locator("#verdict"));
  assert.equal(await page.getByLabel("Label").inputValue(), "By keyboard");
  await tabTo(page, page.getByLabel("Key", { exact: true }));
  await page.keyboard.press("Control+A");
  await page.keyboard.type(secret("first"));
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "“By keyboard” is ready" }).waitFor();

  await follow("link", "Open the key");
  await follow("link", "Rotate");
  await follow("link", "Cancel");
  await page.getByRole("heading", { name: "Versions" }).waitFor();
  // It comes back to the link that led away.
  await hasFocus(page, page.locator("#rotate"));
  await page.keyboard.press("Enter");
  await type("Key", secret("second"));
  await page.keyboard.press("Enter");
  await page.getByRole("row", { name: /^2/ }).waitFor();
  assert.equal((await keyside.prompt()).status, 200);
  assert.equal(provider.keys.at(-1), secret("second"));

  await follow("link", "Revoke");
  await type("Type the label By keyboard to confirm", "By keyboar");
  await page.keyboard.press("Enter");
  const typed = page.getByLabel("Type the label");
  assert.ok(await typed.evaluate((element) => element.validity.customError), "half a label confirms nothing");
  await page.keyboard.type("d");
  await page.keyboard.press("Enter");
  await page.getByText("Its secret is destroyed; its history stays").waitFor();
  assert.equal((await keyside.prompt()).status, 401);
});

test("everything essential works without JavaScript", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  const page = await open(t, browser, keyside, { javaScriptEnabled: false, expected: /40[19] \(/ });

  await page.goto(`${keyside.url}/keys?workspace=acme`);
  await page.getByLabel("Token").fill("kst_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("#token-error, .notice.bad").first().waitFor();
  await page.getByLabel("Token").fill(keyside.owner);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Integration Keys" }).waitFor();
  assert.match(page.url(), /\/s\/[^/]+\/keys\?workspace=acme$/, "sign-in leads to the asked page");

  await addKey(page, "No script", secret("first"));
  await screenshot(page, "no-script-ready");
  await openKey(page, "No script");
  await rotate(page, secret("second"));

  const menu = page.getByRole("navigation", { name: "Pages", exact: true });
  await menu.getByRole("link", { name: "Preview" }).click();
  await preview(page);
  await page.getByText("Live response · No script · sandbox").waitFor();
  assert.match(await page.locator("#answer").innerText(), new RegExp(provider.says));
  assert.equal(provider.keys.at(-1), secret("second"));

  await menu.getByRole("link", { name: "Checks" }).click();
  await page.getByRole("button", { name: "Run now" }).click();
  await page.getByRole("heading", { name: "Checks", exact: true }).waitFor();
  await reloadUntil(page, page.getByText(/Last run, on request: finished/));
  assert.match(await page.getByRole("table", { name: "Results by provider" }).innerText(), /200/);

  await menu.getByRole("link", { name: "Runs" }).click();
  await page.getByLabel("Tag").fill("nothing-has-this");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByRole("link", { name: "Clear filters" }).first().click();

  await openKey(page, "No script");
  await revoke(page, "No script");
  await menu.getByRole("link", { name: "Preview" }).click();
  await preview(page);
  const refusal = page.locator("[data-preview-news]");
  await refusal.getByText(/revoked/i).first().waitFor();
  await refusal.getByRole("link").click();
  await page.getByRole("heading", { level: 1 }).waitFor();
  assert.match(page.url(), /\/s\/[^/]+\/keys/);

  await page.locator(".account summary").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
});

test("without JavaScript, the code of a link is pasted", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside, { javaScriptEnabled: false });
  const link = keyside.link();
  await page.goto(link);
  await page.getByLabel("Code").fill(link.split("#")[1]);
  await page.getByRole("button", { name: "Open the session" }).click();
  await page.getByRole("heading", { name: "Integration Keys" }).waitFor();
});
