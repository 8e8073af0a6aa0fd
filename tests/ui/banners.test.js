// What stops requests, or is about to, is said on the pages where people would notice it, each with the way out.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open, reloadUntil, signIn } from "./browser.js";
import { Keyside, Provider, secret } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

const PAGES = ["/preview", "/keys", "/runs", "/checks", "/audit", "/clients", "/workspace"];
const inDays = (days) => new Date(Date.now() + days * 86_400_000).toISOString();

/** A signed-in page, and a check that every page says `title` and that its `action` leads to `path`. */
async function stage(t, options) {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider, options);
  const page = await open(t, browser, keyside, { expected: /40[19] \(/ });
  const session = await signIn(page, keyside);
  const says = async (title, action, path, pages = PAGES) => {
    for (const name of pages) {
      await page.goto(`${session}${name}?workspace=acme`);
      const banner = page.locator("main .notice").filter({ hasText: title });
      assert.equal(await banner.count(), 1, `${name}: ${title}`);
      await banner.getByRole("link", { name: action }).click();
      await page.waitForURL((url) => url.href.startsWith(session + path));
    }
  };
  return { provider, keyside, page, session, says };
}

test("a key that expires soon", async (t) => {
  const { keyside, says } = await stage(t);
  const id = await keyside.add("Nightly", { environment: "live", expiresAt: inDays(9) });
  await says("The OpenAI key “Nightly” expires in 9 days", "Open the key", `/keys/${id}`);
});

test("a key that the provider rejects, in traffic too", async (t) => {
  const { keyside, says } = await stage(t);
  const id = await keyside.add("QA Sandbox", { environment: "sandbox", secret: secret("wrong") });
  assert.equal((await keyside.prompt()).status, 401);
  await says("OpenAI rejects the sandbox key “QA Sandbox”", "Open the key", `/keys/${id}`);
});

test("a revoked key without another", async (t) => {
  const { keyside, page, says } = await stage(t);
  const id = await keyside.add("Old one", { environment: "live" });
  await keyside.ask("DELETE", `/api/integrations/credentials/${id}`);
  await says("The OpenAI key “Old one” is revoked, and there is no other", "Add a key", "/keys/new/openai");
  await page.getByRole("heading", { name: "Add a key for OpenAI" }).waitFor();
});

test("a revoked default, although another key works", async (t) => {
  const { keyside, page, session, says } = await stage(t);
  const id = await keyside.add("Old one", { environment: "live" });
  const other = await keyside.add("New one", { environment: "live" });
  assert.equal((await keyside.prompt()).status, 200);
  await keyside.ask("DELETE", `/api/integrations/credentials/${id}`);
  assert.equal((await keyside.prompt()).status, 401);
  await says("The default OpenAI key “Old one” is revoked", "See the keys", "/keys?workspace=acme&provider=openai");
  await page.goto(`${session}/keys/${other}`);
  await page.getByRole("button", { name: "Use by default" }).click();
  await page.getByText("Used by default", { exact: true }).waitFor();
  assert.equal(await page.getByText("The default OpenAI key").count(), 0);
  assert.equal((await keyside.prompt()).status, 200);
});

test("a declared key that cannot be read", async (t) => {
  const more = '[[credential]]\nworkspace = "acme"\nprovider = "openai"\nlabel = "Mounted"\nsource = "file:missing"\n';
  const keyside = await Keyside.start(t, await Provider.start(t), { more });
  const page = await open(t, browser, keyside);
  await signIn(page, keyside);
  await page.getByText("The OpenAI key “Mounted” cannot be read").waitFor();
  const row = page.getByRole("row", { name: /Mounted/ });
  for (const text of ["Cannot be read", "declared in the settings"]) assert.equal(await row.getByText(text).count(), 1, text);
  await row.getByRole("link").click();
  await page.getByText("Requests with it are refused until it can be read").waitFor();
});

test("a key that has expired", async (t) => {
  const { keyside, page, session, says } = await stage(t, { past: 120 });
  await keyside.add("Trial", { environment: "live", expiresAt: new Date(Date.now() - 30_000).toISOString() });
  keyside.ago(0);
  await page.goto(`${session}/keys?workspace=acme`);
  await reloadUntil(page, page.getByText("The OpenAI key “Trial” has expired"));
  // Requests without a label still choose it, so they are refused.
  await page.getByRole("row", { name: /Trial/ }).getByText("used by default").waitFor();
  await says("The OpenAI key “Trial” has expired", "Add a key", "/keys/new/openai");
});

test("a provider without any key, on Preview before and after a prompt, and on Checks", async (t) => {
  const { page, session, says } = await stage(t);
  await page.goto(`${session}/preview?workspace=acme`);
  const name = await page.getByLabel("Provider").evaluate((field) => field.selectedOptions[0].text);
  await says(`There is no key for ${name}`, "Add a key", "/keys/new/", ["/preview"]);
  await page.goto(`${session}/preview?workspace=acme&provider=openai`);
  await page.getByText("There is no key for OpenAI").waitFor();
  await page.getByLabel("Prompt").fill("Say hello");
  await page.getByRole("button", { name: "Run" }).click();
  await page.locator("[data-preview-news]").getByRole("link").click();
  await page.getByRole("heading", { name: "Add a key for OpenAI" }).waitFor();
  await page.goto(`${session}/keys?workspace=acme`);
  await page.getByRole("link", { name: "Add the first key" }).waitFor();
});

test("a provider that requests ask for in vain", async (t) => {
  const { keyside, page, session, says } = await stage(t);
  assert.equal((await keyside.prompt()).status, 401);
  await page.goto(`${session}/keys?workspace=acme`);
  await reloadUntil(page, page.getByText("There is no key for OpenAI"));
  await says("There is no key for OpenAI", "Add a key", "/keys/new/openai");
});

test("requests in vain push out no warning about a key", async (t) => {
  const { keyside, page, session, says } = await stage(t);
  const id = await keyside.add("Nightly", { environment: "live", expiresAt: inDays(9) });
  for (const path of ["anthropic/v1/messages", "deepseek/chat/completions", "groq/openai/v1/chat/completions", "xai/v1/chat/completions"]) {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${keyside.proxy}/w/acme/${path}`, { method: "POST", headers, body: "{}" });
    assert.equal(response.status, 401, path);
  }
  await page.goto(`${session}/keys?workspace=acme`);
  await reloadUntil(page, page.getByText("2 more providers"));
  await says("The OpenAI key “Nightly” expires in 9 days", "Open the key", `/keys/${id}`);
});

test("nothing is said of a key that works", async (t) => {
  const { keyside, page, session } = await stage(t);
  await keyside.add("Nightly", { environment: "live" });
  for (const name of PAGES) {
    await page.goto(`${session}${name}?workspace=acme`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    assert.equal(await page.locator("main > .notice").filter({ hasText: "OpenAI" }).count(), 0, name);
  }
});

test("a sandbox key is marked wherever it or its runs are shown", async (t) => {
  const { keyside, page, session } = await stage(t);
  const id = await keyside.add("QA Key", { environment: "sandbox", usageTag: "ci-smoke" });
  await keyside.prompt();
  await keyside.ask("POST", "/api/smoke/runs", { workspaceId: "acme" });
  const badge = (place) => place.locator(".badge").filter({ hasText: /^Sandbox$/ });
  const rows = [
    ["/keys?workspace=acme", "Integration keys"],
    ["/runs?workspace=acme", "Runs, newest first"],
    ["/checks?workspace=acme", "Results by provider"],
    ["/audit?workspace=acme&event=credential_created", "Audit records, newest first"],
    [`/keys/${id}`, "Recent runs with this key"],
    [`/keys/${id}`, "Audit records of this key"],
  ];
  for (const [path, name] of rows) {
    await page.goto(session + path);
    const row = page.getByRole("table", { name }).getByRole("row").filter({ hasText: /QA Key/ });
    await reloadUntil(page, row);
    assert.ok((await badge(row.first()).count()) > 0, `${path}: ${name}`);
  }
  assert.ok((await badge(page.locator(".page-head")).count()) + (await badge(page.locator("dl.facts")).count()) > 0, "the key itself");
  for (const action of ["edit", "rotate", "revoke"]) {
    await page.goto(`${session}/keys/${id}/${action}`);
    assert.ok((await badge(page.locator(".page-head")).count()) > 0, action);
  }
  await page.goto(`${session}/preview?workspace=acme`);
  const label = page.getByLabel("Key").locator("option", { hasText: "QA Key" });
  assert.match(await label.innerText(), /sandbox/);
});
