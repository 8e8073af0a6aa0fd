// What the form for a key suggests: the expiry of a development key, with and without JavaScript, and the right provider.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open, signIn } from "./browser.js";
import { Keyside, Provider, secret } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

const parts = (page) => ({
  expires: page.getByLabel("Expires"),
  sandbox: page.getByRole("radio", { name: "Sandbox" }),
  live: page.getByRole("radio", { name: "Live" }),
  advice: page.getByRole("heading", { name: "For development and tests" }),
});

/** In how many days a day of the form `2026-11-26` begins. */
const daysUntil = (day) => (Date.parse(day) - Date.now()) / 86_400_000;

test("Sandbox fills in an expiry, Live takes it back, and what a person entered stays", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside);
  const session = await signIn(page, keyside);
  await page.goto(`${session}/keys/new/openai?workspace=acme`);
  const { expires, sandbox, live, advice } = parts(page);
  assert.equal(await expires.inputValue(), "", "nothing is filled in for production");
  assert.equal(await advice.count(), 0);

  await sandbox.check();
  const suggested = await expires.inputValue();
  assert.ok(daysUntil(suggested) > 88 && daysUntil(suggested) <= 90, suggested);
  assert.equal(await advice.count(), 1);
  await live.check();
  assert.equal(await expires.inputValue(), "");
  assert.equal(await advice.count(), 0);

  await sandbox.check();
  await expires.fill("2099-12-31");
  await live.check();
  await sandbox.check();
  assert.equal(await expires.inputValue(), "2099-12-31");
  await expires.fill("");
  await live.check();
  await sandbox.check();
  assert.equal(await expires.inputValue(), "", "it stays cleared");
});

test("a key of another provider is named before it is sent", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside);
  const session = await signIn(page, keyside);
  await page.goto(`${session}/keys/new/openai?workspace=acme`);
  const key = page.getByLabel("Key", { exact: true });
  await key.fill(`sk-ant-${"example-".repeat(4)}`);
  await page.getByText("It looks like a key of Anthropic, not of OpenAI.").waitFor();
  await key.fill(`unknown-${"example-".repeat(4)}`);
  await page.getByText("Not the usual form for OpenAI.").waitFor();
});

test("what the server says of a key takes the place of the advice", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside);
  const session = await signIn(page, keyside);
  await page.goto(`${session}/keys/new/openai?workspace=acme`);
  const key = page.getByLabel("Key", { exact: true });
  await key.fill("sk-admin-0123456789abcdef");
  const advice = page.locator("#secret-advice");
  await advice.filter({ hasText: "An admin key" }).waitFor();
  await page.getByLabel("Label").fill("admin");
  await page.getByRole("button", { name: "Check and save" }).click();
  await page.locator("#secret-error", { hasText: "An admin key" }).waitFor();
  assert.equal(await advice.textContent(), "");
  assert.equal(await key.getAttribute("aria-describedby"), "secret-hint secret-advice secret-error");

  await key.fill(secret("good"));
  await page.getByLabel("Label").fill("Schlüssel");
  await page.getByRole("button", { name: "Check and save" }).click();
  await page.locator("#label-error").waitFor();
  assert.equal(await key.getAttribute("aria-describedby"), "secret-hint secret-advice", "an error that is gone describes nothing");
});

test("without JavaScript, a link fills in the expiry", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside, { javaScriptEnabled: false, expected: /401 \(/ });
  await page.goto(`${keyside.url}/keys/new?workspace=acme&provider=openai`);
  await page.getByLabel("Token").fill(keyside.owner);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Add a key for OpenAI" }).waitFor();
  const { expires, sandbox, live, advice } = parts(page);
  assert.equal(await expires.inputValue(), "");
  const link = page.getByRole("link", { name: "Start again with it filled in" });
  assert.equal(await link.count(), 0, "it is for development keys only");

  await sandbox.check();
  await link.click();
  await page.waitForURL(/environment=sandbox/);
  assert.ok(await sandbox.isChecked());
  assert.ok(daysUntil(await expires.inputValue()) > 88);
  assert.equal(await advice.count(), 1);
  assert.equal(await link.count(), 0);
  await live.check();
  assert.equal(await advice.count(), 0);
});
