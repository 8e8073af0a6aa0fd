// The example builder in Chromium: the banner of each state, the way to the settings, and that a
// browser reaches nothing but the example's own backend.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

import { Keyside, builder, standIn } from "./stage.js";

let browser;

before(async () => {
  // Chromium's own sandbox needs user namespaces, which containers often lack; the pages are ours.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
});

after(() => browser?.close());

/** A page on the builder that fails the test on any error, and records where requests go. */
async function open(t, address) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const seen = { origins: new Set(), texts: [], errors: [] };
  page.on("request", (request) => seen.origins.add(new URL(request.url()).origin));
  page.on("response", async (response) => seen.texts.push(await response.text().catch(() => "")));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  await page.goto(address);
  await page.locator("#steps[aria-busy=false]").waitFor();
  return { page, context, seen };
}

const step = (page, name) => page.locator("#steps > li").filter({ hasText: name });
const banner = (page, name) => step(page, name).locator(".banner");

async function becomes(page, name, status) {
  await page.locator(`#steps > li[data-status=${status}]`).filter({ hasText: name }).waitFor();
}

/** What a browser does when a person comes back to the tab. */
const comeBack = (page) => page.evaluate(() => window.dispatchEvent(new Event("focus")));

const SUMMARY = "Summarise the ticket";
const DRAFT = "Draft the answer";

test("a step without a key shows the way to the settings, and becomes ready once there is one", async (t) => {
  const keyside = await Keyside.start(t);
  const token = await keyside.leastToken();
  await keyside.add("anthropic");
  const { page, context, seen } = await open(t, await builder(t, keyside.url, token));

  assert.equal(await step(page, SUMMARY).getAttribute("data-status"), "missing");
  assert.match(await banner(page, SUMMARY).innerText(), /No key for this provider is stored/);
  assert.ok(await step(page, SUMMARY).getByRole("button").isDisabled());
  const link = banner(page, SUMMARY).getByRole("link", { name: "Open Integration Keys" });
  const expected = `${keyside.url}/keys/new?workspace=acme&provider=openai`;
  assert.equal(await link.getAttribute("href"), expected);
  assert.equal(await step(page, DRAFT).getAttribute("data-status"), "ready");
  assert.ok(await banner(page, DRAFT).isHidden());
  assert.match(await step(page, DRAFT).innerText(), /anthropic · main · live/);

  const opened = context.waitForEvent("page");
  await link.click();
  const settings = await opened;
  await settings.waitForLoadState();
  assert.equal(settings.url(), expected);
  await settings.close();

  const id = await keyside.add("openai", { environment: "sandbox", label: "QA Sandbox" });
  await comeBack(page);
  await becomes(page, SUMMARY, "ready");
  assert.ok(await banner(page, SUMMARY).isHidden());
  assert.match(await step(page, SUMMARY).innerText(), /openai · QA Sandbox · sandbox/);
  assert.ok(await step(page, SUMMARY).getByRole("button").isEnabled());

  await keyside.revoke(id);
  await comeBack(page);
  await becomes(page, SUMMARY, "revoked");
  assert.match(await banner(page, SUMMARY).innerText(), /was revoked/);
  const remedy = await link.getAttribute("href");
  assert.equal(remedy, `${keyside.url}/keys/new?workspace=acme&provider=openai`);

  assert.deepEqual([...seen.origins], [new URL(page.url()).origin], "the browser calls its own backend alone");
  assert.ok(seen.texts.length > 0 && !seen.texts.some((text) => text.includes(token)), "the token stays in the backend");
  assert.deepEqual(seen.errors, []);
});

test("a page cannot ask Keyside itself, even with a token", async (t) => {
  const keyside = await Keyside.start(t);
  const token = await keyside.leastToken();
  const context = await browser.newContext({ bypassCSP: true });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(await builder(t, keyside.url, token));
  const outcome = await page.evaluate(
    ([url, bearer]) => {
      const headers = bearer ? { authorization: `Bearer ${bearer}` } : {};
      return fetch(`${url}/api/integrations/readiness?workspaceId=acme`, { headers }).then(
        () => "answered",
        () => "refused",
      );
    },
    [keyside.url, token],
  );
  assert.equal(outcome, "refused");
});

test("each state has a banner of its own, and only what is usable can be run", async (t) => {
  for (const [status, says, usable] of [
    ["expiring", /expires soon/, true],
    ["expired", /has expired/, false],
    ["rejected", /refuses the key/, false],
  ]) {
    const item = { provider: "openai", status, environment: "live", label: "main", remediation: "https://keys.test/keys" };
    const { url } = await standIn(t, [item]);
    const { page, seen } = await open(t, await builder(t, url, "token"));
    assert.match(await banner(page, SUMMARY).innerText(), says);
    assert.equal(await step(page, SUMMARY).getByRole("button").isEnabled(), usable);
    // Keyside did not answer for this one.
    assert.equal(await step(page, DRAFT).getAttribute("data-status"), "unknown");
    assert.ok(await banner(page, DRAFT).isHidden());
    assert.deepEqual(seen.errors, []);
  }
});

test("a remediation that is no link is not made one", async (t) => {
  const item = { provider: "openai", status: "missing", environment: null, label: null, remediation: "javascript:alert(1)" };
  const { url } = await standIn(t, [item]);
  const { page } = await open(t, await builder(t, url, "token"));
  assert.ok(await banner(page, SUMMARY).isVisible());
  assert.ok(await banner(page, SUMMARY).locator("a").isHidden());
  assert.doesNotMatch(await banner(page, SUMMARY).innerHTML(), /javascript:/);
});

test("an unchanged answer is confirmed with 304, and an outage shows no banner", async (t) => {
  const item = { provider: "openai", status: "missing", environment: null, label: null, remediation: "https://keys.test/keys/new" };
  const { url, sent } = await standIn(t, [item]);
  const { page } = await open(t, await builder(t, url, "secret-token"));
  const asked = () => page.waitForResponse((response) => response.url().endsWith("/steps"));
  let answered = asked();
  await comeBack(page);
  await answered;
  assert.deepEqual(sent.statuses, [200, 304]);
  assert.equal(await step(page, SUMMARY).getAttribute("data-status"), "missing");
  const [request] = sent.requests;
  assert.equal(request.headers.authorization, "Bearer secret-token");
  assert.equal(request.url, "/api/integrations/readiness?workspaceId=acme&providers=openai%2Canthropic");
  sent.broken = true;
  answered = asked();
  await comeBack(page);
  await answered;
  await becomes(page, SUMMARY, "unknown");
  assert.ok(await banner(page, SUMMARY).isHidden());
});
