// The manual checklist of the story, and the path of a newcomer, as a person walks them.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { launch, open, picture, reloadUntil, signIn, signInAs } from "./browser.js";
import { Keyside, Provider, secret } from "./stage.js";
import { addKey, go, openKey, preview, revoke, rotate } from "./steps.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

const FIRST = secret("first");
const SECOND = secret("second");

/** Fails if a secret is anywhere in the page, its address or what it stores. */
async function showsNoSecret(page) {
  const kept = await page.evaluate(() => JSON.stringify([location.href, { ...localStorage }, { ...sessionStorage }]));
  const everything = (await page.content()) + kept;
  for (const one of [FIRST, SECOND]) assert.ok(!everything.includes(one), `${page.url()} shows a secret`);
}

test("the manual checklist, from adding a key to reading the audit log", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  const page = await open(t, browser, keyside, { expected: /409 \(Conflict\)/ });
  await signInAs(page, keyside, "Maya Lind");

  await t.test("1. add a key: it is active, and its secret is nowhere", async () => {
    await addKey(page, "QA Sandbox", FIRST);
    await showsNoSecret(page);
    await go(page, "Integration Keys");
    await picture(page, "checklist-1-added");
    const row = page.getByRole("row").filter({ hasText: "QA Sandbox" });
    assert.equal(await row.getByText("Active", { exact: true }).count(), 1);
    await showsNoSecret(page);
    await openKey(page, "QA Sandbox");
    const trail = page.getByRole("table", { name: "Audit records of this key" });
    assert.match(await trail.innerText(), /created/i);
    await showsNoSecret(page);
  });

  await t.test("2. preview: the answer is live, and says which key it used", async () => {
    await go(page, "Preview");
    await preview(page);
    await page.getByText("Live response · QA Sandbox · sandbox").waitFor();
    await page.locator("#answer:not([aria-busy])").filter({ hasText: provider.says }).waitFor();
    assert.equal(provider.keys.at(-1), FIRST);
    await picture(page, "checklist-2-previewed");
    await page.locator("[data-preview-facts] a.mono").click();
    await page.getByRole("heading", { name: "Runs" }).waitFor();
    const run = page.getByRole("table", { name: "Runs, newest first" }).getByRole("row").filter({ hasText: "QA Sandbox" });
    await reloadUntil(page, run);
    assert.match(await run.innerText(), /QA Sandbox[\s\S]*Sandbox[\s\S]*Preview/);
  });

  await t.test("3. rotate: the time changes, and the earlier run still names the key", async () => {
    await openKey(page, "QA Sandbox");
    const rotated = page.locator("dt", { hasText: "Last rotated" }).locator("+ dd");
    const before = await rotated.innerText();
    await rotate(page, SECOND);
    assert.notEqual(await rotated.innerText(), before);
    assert.match(await page.getByRole("table", { name: "Recent runs with this key" }).innerText(), /Preview/);
    await picture(page, "checklist-3-rotated", { height: 1230 });
    await showsNoSecret(page);
    await go(page, "Preview");
    await preview(page);
    await page.getByText("Live response · QA Sandbox · sandbox").waitFor();
    assert.equal(provider.keys.at(-1), SECOND);
  });

  await t.test("4. checks: a run from the page passes, with latency and tokens", async () => {
    await go(page, "Checks");
    await page.getByRole("button", { name: "Run now" }).click();
    const row = page.getByRole("table", { name: "Results by provider" }).getByRole("row").filter({ hasText: "QA Sandbox" });
    await page.getByText(/Last run, on request: finished/).waitFor();
    assert.match(await row.locator("[data-label=Status]").innerText(), /200/);
    assert.match(await row.locator("[data-label=Latency]").innerText(), /\d/);
    assert.match(await row.locator("[data-label=Tokens]").innerText(), /\d/);
    await picture(page, "checklist-4-checked");
  });

  await t.test("5. revoke: a preview then fails, says why, and leads to the key", async () => {
    await openKey(page, "QA Sandbox");
    await revoke(page, "QA Sandbox");
    await go(page, "Preview");
    await preview(page);
    const refusal = page.locator("[data-preview-news]");
    await refusal.getByText(/revoked/i).first().waitFor();
    await picture(page, "checklist-5-refused");
    await refusal.getByRole("link").click();
    await page.waitForURL(/\/s\/[^/]+\/keys/);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await showsNoSecret(page);
  });

  await t.test("6. the exported audit log has who did what, with fingerprints", async () => {
    await go(page, "Audit");
    await page.getByRole("button", { name: "Verify the chain" }).click();
    await page.getByRole("status").filter({ hasText: /intact|verif/i }).first().waitFor();
    await page.locator("td[data-label=Actor]", { hasText: "Installation owner" }).first().waitFor();
    await picture(page, "checklist-6-audited", { height: 900 });
    const started = page.waitForEvent("download");
    await page.getByRole("link", { name: "NDJSON" }).click();
    const text = await readFile(await (await started).path(), "utf8");
    const records = text.trim().split("\n").map((line) => JSON.parse(line));
    for (const event of ["credential_created", "credential_rotated", "credential_revoked"]) {
      const record = records.find((one) => one.event === event);
      assert.ok(record, event);
      assert.match(record.actor, /^tok_\w{16}/);
      assert.match(record.fingerprint, /^sha256:[0-9a-f]{16}$/);
    }
    for (const one of [FIRST, SECOND]) assert.ok(!text.includes(one));
  });
});

test("a newcomer gets from the printed link to a revoked key in at most 20 clicks", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  const page = await open(t, browser, keyside);
  const shell = async (lines) => (await promisify(execFile)("bash", ["-c", lines])).stdout;
  const began = performance.now();
  let clicks = 0;
  await page.context().exposeBinding("pressed", () => (clicks += 1));
  await page.addInitScript(() => addEventListener("pointerdown", () => window.pressed(), true));
  const press = (role, name) => page.getByRole(role, { name, exact: true }).click();
  const type = async (label, text) => {
    await page.getByLabel(label, { exact: true }).click();
    await page.keyboard.insertText(text);
  };

  await signIn(page, keyside);
  await press("link", "Add the first key");
  await page.getByRole("link", { name: /^OpenAI/ }).click();
  await type("Key", FIRST);
  await type("Label", "My key");
  await press("button", "Check and save");
  await page.getByText("OpenAI accepts the key").waitFor();

  // The first lines are those of the provider's own SDK, which reads these variables and then asks like this.
  const variables = await page.locator("details[open] pre").innerText();
  assert.match(variables, /^export OPENAI_BASE_URL=/);
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Hi" }] });
  const asked = `curl -sS "$OPENAI_BASE_URL/chat/completions" -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" -d '${body}'`;
  assert.match(await shell(`${variables}\n${asked}`), new RegExp(provider.says));
  assert.equal(provider.keys.at(-1), FIRST);
  await page.locator("summary", { hasText: "curl" }).click();
  assert.match(await shell(await page.locator("details[open] pre").innerText()), new RegExp(provider.says));

  await press("link", "Open the key");
  await press("link", "Rotate");
  await type("Key", SECOND);
  await press("button", "Check and rotate");
  await page.getByRole("row", { name: /^2/ }).waitFor();
  assert.equal((await keyside.prompt()).status, 200);
  assert.equal(provider.keys.at(-1), SECOND);

  await press("link", "Revoke");
  await type("Type the label My key to confirm", "My key");
  await press("button", "Revoke for good");
  await page.getByText("Its secret is destroyed; its history stays").waitFor();
  assert.equal((await keyside.prompt()).status, 401);
  t.diagnostic(`${clicks} clicks, ${Math.round(performance.now() - began)} ms`);
  assert.ok(clicks > 10 && clicks <= 20, `${clicks} clicks`);
});
