// Every page in its states: axe finds nothing, nothing is wider than the window, and a screenshot is taken.

import assert from "node:assert/strict";
import AxeBuilder from "@axe-core/playwright";
import { after, before, test } from "node:test";

import { enterToken, launch, open, picture, reloadUntil, screenshot, signIn, signInAs, signOutElsewhere } from "./browser.js";
import { PAST, past } from "./past.js";
import { Keyside, Provider, secret } from "./stage.js";
import { preview } from "./steps.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

const LOOKS = [
  { width: 1280, height: 800, colorScheme: "light" },
  { width: 1280, height: 800, colorScheme: "dark" },
  { width: 360, height: 740, colorScheme: "dark" },
  { width: 360, height: 740, colorScheme: "light" },
];

/** What axe finds on `page`, in words. */
async function faults(page) {
  // Without legacy mode, it opens a window of its own; the pages have no frames.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
}

// Just above and below where tables turn into cards, and with the menu folded away.
const BETWEEN = [1240, 1110, 1000, 620];

/** Nothing is wider than the window. */
async function fits(page, look) {
  const [across, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(across <= room, `${look}: ${across} px wide`);
}

/** Judges what `page` shows in each look. */
async function judge(t, page, name) {
  await t.test(name, async () => {
    for (const { width, height, colorScheme } of LOOKS) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height });
      const look = `${name}, ${width} px, ${colorScheme}`;
      await screenshot(page, `${name.replaceAll(" ", "-")}-${width}-${colorScheme}`);
      await fits(page, look);
      assert.deepEqual(await faults(page), [], look);
    }
    for (const width of BETWEEN) {
      await page.setViewportSize({ width, height: 800 });
      await fits(page, `${name}, ${width} px`);
    }
    await page.setViewportSize(LOOKS[0]);
  });
}

/** Judges pages of a session of `keyside`: `at` opens one and judges it. */
async function judging(t, keyside) {
  const page = await open(t, browser, keyside, { expected: /[45]\d\d \(/ });
  const session = await signInAs(page, keyside, "Maya Lind");
  const judged = (name) => judge(t, page, name);
  const at = async (name, path) => {
    await page.goto(session + path);
    await judged(name);
  };
  return { page, session, at, judged };
}

test("pages of keys", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider, { past: PAST });
  const { main, live, revoked, mistral } = await past(keyside, provider);
  const { page, session, at, judged } = await judging(t, keyside);

  await at("keys", "/keys?workspace=acme");
  await picture(page, "keys-light", { height: 900 });
  await picture(page, "keys-dark", { height: 900, colorScheme: "dark" });
  await page.locator("details.sub summary").first().click();
  await judged("keys fingerprint");
  await at("keys none match", "/keys?workspace=acme&q=nothing");
  await at("keys empty", "/keys?workspace=staging");

  await at("new provider", "/keys/new?workspace=acme");
  await at("new paste", "/keys/new/openai?workspace=acme");
  await picture(page, "add");
  const field = page.getByLabel("Key", { exact: true });
  await field.fill("sk-admin-0123456789abcdef");
  await judged("new advised");
  const check = async (name, verdict) => {
    await field.fill(secret(name));
    await page.getByRole("button", { name: "Check and save" }).click();
    await page.locator("[data-verdict]").getByText(verdict).waitFor();
    await judged(`new ${name}`);
  };
  await page.getByLabel("Label").fill("Staging");
  await check("wrong", "rejects the key");
  await check("odd", "The check cannot tell");
  await check("unreachable", "could not be asked");
  await field.fill(secret("good"));
  await page.getByRole("button", { name: "Check and save" }).click();
  await page.getByText("is ready").waitFor();
  await judged("new done");

  await at("key", `/keys/${main}`);
  await page.getByRole("button", { name: "Check now" }).click();
  await page.getByText("accepts the key").first().waitFor();
  await judged("key checked");
  await at("key rejected", `/keys/${mistral}`);
  await at("key revoked", `/keys/${revoked}`);
  await at("rotate", `/keys/${live}/rotate`);
  await picture(page, "rotate");

  await at("edit", `/keys/${main}/edit`);
  await page.getByLabel("Requests a day").fill("many");
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("#limits-error").waitFor();
  await judged("edit refused");

  await at("revoke", `/keys/${live}/revoke`);
  keyside.ago(0, 10 * 60);
  await at("revoke reauthenticate", `/keys/${live}/revoke`);
  await page.getByLabel(/^Type the label/).fill("Production");
  await page.getByLabel("Your token, once more").fill("wrong");
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await page.locator("#proof-error").waitFor();
  await judged("revoke unproven");
  await at("no such key", "/keys/cred_aaaaaaaaaaaaaaaaaaaaaaaaaa");
});

test("pages of what keys are used for", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider, { past: PAST });
  await past(keyside, provider);
  const { page, session, at, judged } = await judging(t, keyside);

  await at("preview", "/preview?workspace=acme");
  await page.getByLabel("Provider").selectOption({ label: "OpenAI" });
  await page.getByLabel("Key").selectOption("QA Sandbox");
  await preview(page);
  await page.locator("[data-preview-news] .notice").waitFor();
  await judged("preview answered");
  const request = await page.locator("[data-preview-facts] a.mono").innerText();
  await page.getByLabel("Key").selectOption("Prototype");
  await preview(page);
  await page.locator("[data-preview-news] .notice.bad").waitFor();
  await judged("preview revoked");
  await page.goto(`${session}/preview?workspace=staging`);
  await preview(page);
  await page.locator("[data-preview-news] .notice.bad").waitFor();
  await judged("preview missing");

  await at("runs", "/runs?workspace=acme");
  await picture(page, "runs");
  await page.locator(".chart summary").first().click();
  await judged("runs figures");
  await at("run", `/runs?workspace=acme&request=${request}`);
  await at("runs none match", "/runs?workspace=acme&tag=nothing");
  await at("runs empty", "/runs?workspace=staging");

  await at("checks", "/checks?workspace=acme");
  await page.locator("main summary").first().click();
  await judged("checks history");
  await at("checks empty", "/checks?workspace=staging");

  await at("audit", "/audit?workspace=acme");
  await page.getByRole("button", { name: "Verify the chain" }).click();
  await page.locator("main [role=status] .notice").first().waitFor();
  await judged("audit verified");
  await at("audit record", "/audit?workspace=acme&event=credential_revoked");
  await at("audit none match", "/audit?workspace=acme&until=2001-01-01");
  await at("clients", "/clients?workspace=acme");
  await page.locator(".index a").nth(2).click();
  await judged("client");
});

test("pages of workspaces", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider, { past: PAST });
  await past(keyside, provider);
  const { page, session, at, judged } = await judging(t, keyside);

  await at("workspace", "/workspace?workspace=acme");
  await page.getByLabel("Who or what is it for?").fill("Continuous integration");
  await page.locator("input[name=role]").first().check();
  await page.getByRole("button", { name: "Create token" }).click();
  await page.getByRole("heading", { name: "Token created" }).waitFor();
  await judged("token created");
  await page.getByRole("link", { name: "Done" }).click();
  await page.getByRole("link", { name: "Revoke Continuous integration" }).click();
  await judged("token revoke");
  await at("erase", "/workspace/erase?workspace=staging");
  await at("workspaces", "/workspaces");
  await page.goto(`${session}/keys?workspace=acme`);
  await page.locator(".account > summary").click();
  await judged("account");
  await page.goto(`${session}/keys?workspace=acme`);
  await page.setViewportSize(LOOKS[2]);
  await page.getByRole("button", { name: "Menu", exact: true }).click();
  await page.getByRole("button", { name: "Close menu" }).waitFor();
  await screenshot(page, "menu-360");
  assert.deepEqual(await faults(page), [], "the open menu");
});

test("pages of a viewer", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider, { past: PAST });
  const { main } = await past(keyside, provider);
  const page = await open(t, browser, keyside, { expected: /4\d\d \(/ });
  const session = await signInAs(page, keyside, "Auditor", "viewer", ["acme", "staging"]);
  const pages = { keys: "/keys?workspace=acme", "keys empty": "/keys?workspace=staging", key: `/keys/${main}`, preview: "/preview?workspace=acme", workspace: "/workspace?workspace=acme", "not allowed": "/keys/new?workspace=acme" };
  for (const [name, path] of Object.entries(pages)) {
    await page.goto(session + path);
    await judge(t, page, `viewer ${name}`);
  }
});

test("pages after a mistake, while something runs, and after another person's change", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  const id = await keyside.add("QA Sandbox", { environment: "sandbox", usageTag: "ci-smoke" });
  const key = `/api/integrations/credentials/${id}`;
  for (const [name, graceSeconds] of [["second", 0], ["third", 3600]]) {
    await keyside.ask("PATCH", key, { secret: secret(name), graceSeconds });
  }
  const page = await open(t, browser, keyside, { expected: /4\d\d \(/ });
  let session = await signIn(page, keyside);
  const show = (path) => page.goto(session + path);
  const press = (name) => page.getByRole("button", { name }).click();
  /** Sends a form whose fields the browser itself would not accept. */
  const insist = async (name) => {
    await page.evaluate(() => document.querySelectorAll("form").forEach((form) => (form.noValidate = true)));
    await press(name);
    await page.locator(".error").first().waitFor();
  };

  await show(`/keys/${id}`);
  await judge(t, page, "key with versions");
  await show(`/keys/${id}/rotate`);
  await page.getByLabel("Key", { exact: true }).fill(secret("wrong"));
  await press("Check and rotate");
  await page.getByText("OpenAI rejects the key").waitFor();
  await judge(t, page, "rotate rejected");
  await show(`/keys/${id}/edit`);
  await keyside.ask("PATCH", key, { label: "Renamed", limits: { requestsPerDay: 5 } });
  await press("Save");
  await page.locator("[data-focus]").waitFor();
  await judge(t, page, "edit conflict");
  await show(`/keys/${id}/rotate`);
  await keyside.ask("PATCH", key, { label: "QA Sandbox" });
  await page.getByLabel("Key", { exact: true }).fill(secret("fourth"));
  await press("Check and rotate");
  await page.getByText("Changed meanwhile").waitFor();
  await judge(t, page, "rotate conflict");
  await show(`/keys/${id}/revoke`);
  await page.getByLabel("Type the label").fill("Other");
  await insist("Revoke for good");
  await judge(t, page, "revoke refused");

  await show("/checks?workspace=acme");
  let answer;
  provider.wait = new Promise((resolve) => (answer = resolve));
  await press("Run now");
  await page.locator("[data-progress]").waitFor();
  await judge(t, page, "checks running");
  answer();
  await page.getByText(/Last run, on request: finished/).waitFor();

  await show("/workspaces");
  await page.getByLabel("Id", { exact: true }).fill("Not an id");
  await insist("Create");
  await judge(t, page, "workspaces refused");
  await show("/workspace?workspace=acme");
  await page.getByLabel("Requests a day").fill("many");
  await insist("Save caps");
  await judge(t, page, "caps refused");
  await show("/workspace?workspace=acme");
  await page.getByLabel("Requests a day").fill("1");
  await press("Save caps");
  await keyside.prompt();
  await reloadUntil(page, page.getByText("A spend cap is reached"));
  await judge(t, page, "cap reached");
  await insist("Create token");
  await judge(t, page, "token refused");

  await show(`/keys/${id}/rotate`);
  await signOutElsewhere(page, session);
  await page.getByLabel("Key", { exact: true }).fill(secret("fourth"));
  await press("Check and rotate");
  await page.getByText("Your session has ended").waitFor();
  await judge(t, page, "session ended");
  await page.getByRole("link", { name: "Sign in and come back" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await enterToken(page, keyside.owner);
  await page.getByText("Your session had ended").waitFor();
  await judge(t, page, "session came back");
  session = page.url().replace(/(\/s\/[^/]+).*/, "$1");
  await show("/workspace/erase?workspace=acme");
  await page.getByLabel("Type the id").fill("acme");
  await press("Erase for good");
  await page.getByRole("heading", { name: "Workspace erased" }).waitFor();
  await judge(t, page, "erased");
  await show("/");
  await page.getByRole("heading", { name: "No workspace yet" }).waitFor();
  await judge(t, page, "workspaces none");
});

test("pages without a session", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside, { expected: /4\d\d \(/ });
  const at = async (name, path) => {
    await page.goto(keyside.url + path);
    await judge(t, page, name);
  };
  await at("sign in", "/");
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("#token-error, .notice.bad").first().waitFor();
  await judge(t, page, "sign in refused");
  await at("link", "/link");
  await page.goto(keyside.link());
  await page.getByText("This opens a session of").first().waitFor();
  await judge(t, page, "link of a person");
  await page.goto(`${keyside.url}/link`);
  await page.getByLabel("Code").fill("wrong");
  await page.getByRole("button", { name: "Open the session" }).click();
  await page.locator("#code-error").waitFor();
  await judge(t, page, "link refused");
  await at("signed out", "/signed-out");
  await at("no such page", "/nothing");
  await page.getByRole("heading", { name: "Unknown path" }).waitFor();
  await at("guide", "/guide");
});

test("a printed page is light, says when, and has whole ids", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  await keyside.add("Nightly", { environment: "sandbox" });
  const page = await open(t, browser, keyside, { colorScheme: "dark" });
  const session = await signIn(page, keyside);
  await page.emulateMedia({ media: "print" });
  await page.goto(`${session}/audit?workspace=acme`);
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(255, 255, 255)");
  const width = (selector) => page.locator(selector).first().evaluate((element) => element.getBoundingClientRect().width);
  assert.ok((await width("tbody time .vh")) > 100, "the exact time");
  const cut = await page.locator(".id").evaluateAll((ids) => ids.filter((id) => id.scrollWidth > id.clientWidth).length);
  assert.equal(cut, 0);
});

test("a short id of a workspace has one line, however long a name is", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  await keyside.ask("POST", "/api/workspaces", { id: "long", name: "Long name ".repeat(19) });
  const page = await open(t, browser, keyside);
  await page.goto(`${await signIn(page, keyside)}/workspaces`);
  const heights = await page.locator('td[data-label="Id"] .mono').evaluateAll((ids) => ids.map((id) => id.getClientRects().length));
  assert.deepEqual(heights, [1, 1]);
});
