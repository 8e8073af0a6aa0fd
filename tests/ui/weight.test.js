// What a page costs: bytes, and movement while it loads.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { launch, open, signIn } from "./browser.js";
import { Keyside, Provider, secret } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

/** kB as the limits mean them. */
const KB = 1000;

/** The bytes of a page and all that it loads, with an empty cache: as sent, and if each response were compressed. */
async function weigh(page, address) {
  const tools = await page.context().newCDPSession(page);
  await tools.send("Network.setCacheDisabled", { cacheDisabled: true });
  await tools.send("Network.enable");
  const weight = { sent: 0, compressed: 0 };
  tools.on("Network.loadingFinished", ({ encodedDataLength }) => (weight.sent += encodedDataLength));
  const bodies = [];
  page.on("response", (response) => bodies.push(response.body()));
  await page.goto(address, { waitUntil: "networkidle" });
  for (const body of await Promise.all(bodies)) weight.compressed += gzipSync(body).length;
  await tools.detach();
  page.removeAllListeners("response");
  return weight;
}

test("a first page transfers at most 60 kB, and all scripts at most 12 kB", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside);
  const first = await weigh(page, keyside.url);
  t.diagnostic(`the sign-in page transfers ${first.sent} bytes`);
  assert.ok(first.sent > 5 * KB && first.sent <= 60 * KB, `${first.sent} bytes`);

  for (let number = 0; number < 60; number += 1) await keyside.add(`key ${number}`, { secret: secret(`weighed-${number}`) });
  const session = await signIn(page, keyside);
  const table = await weigh(page, `${session}/keys?workspace=acme`);
  assert.equal(await page.getByRole("rowheader").count(), 50);
  t.diagnostic(`the page of 50 keys transfers ${table.sent} bytes; compressed, it would be ${table.compressed}`);
  assert.ok(table.compressed > 5 * KB && table.compressed <= 60 * KB, `${table.compressed} bytes`);

  const folder = fileURLToPath(new URL("../../admin/assets/", import.meta.url));
  const scripts = readdirSync(folder).filter((name) => name.endsWith(".js"));
  const sizes = scripts.map((name) => gzipSync(readFileSync(folder + name)).length);
  const all = sizes.reduce((sum, size) => sum + size, 0);
  t.diagnostic(`${scripts.length} scripts are ${all} bytes, compressed`);
  assert.ok(scripts.length > 0 && all <= 12 * KB, `${all} bytes`);
});

const WATCH = () => {
  window.shifts = [];
  window.paint = 0;
  new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map((entry) => entry.value))).observe({ type: "layout-shift", buffered: true });
  new PerformanceObserver((list) => (window.paint = list.getEntries().at(-1).startTime)).observe({ type: "largest-contentful-paint", buffered: true });
};

test("no page moves while it loads", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  const id = await keyside.add("QA Sandbox", { environment: "sandbox", usageTag: "ci-smoke" });
  await keyside.prompt();
  for (const width of [1280, 360]) {
    const page = await open(t, browser, keyside, { viewport: { width, height: 800 } });
    const session = await signIn(page, keyside);
    await page.addInitScript(WATCH);
    const paints = [];
    const paths = ["/keys", "/keys/new", "/keys/new/openai", `/keys/${id}`, `/keys/${id}/rotate`, "/preview", "/runs", "/checks", "/audit", "/clients", "/workspace", "/workspaces"];
    for (const path of paths) {
      await page.goto(`${session}${path}?workspace=acme`);
      await page.waitForFunction(() => window.paint > 0);
      const { shifts, paint } = await page.evaluate(() => ({ shifts: window.shifts, paint: window.paint }));
      assert.deepEqual(shifts, [], `${path} moves at ${width} px`);
      paints.push(Math.round(paint));
    }
    t.diagnostic(`the largest paint at ${width} px: ${Math.max(...paints)} ms at worst`);
  }
});
