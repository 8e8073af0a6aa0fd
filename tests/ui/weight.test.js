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

/** The bytes on the wire of a page and all that it loads, with an empty cache, headers included; and of its scripts among them. */
async function weigh(page, address) {
  const tools = await page.context().newCDPSession(page);
  await tools.send("Network.setCacheDisabled", { cacheDisabled: true });
  await tools.send("Network.enable");
  const weight = { all: 0, scripts: 0 };
  const scripts = new Set();
  tools.on("Network.responseReceived", ({ requestId, type }) => type === "Script" && scripts.add(requestId));
  tools.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    weight.all += encodedDataLength;
    if (scripts.has(requestId)) weight.scripts += encodedDataLength;
  });
  await page.goto(address, { waitUntil: "networkidle" });
  await tools.detach();
  return weight;
}

test("a first visit transfers at most 60 kB, of which scripts are at most 12 kB", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const page = await open(t, browser, keyside);
  const first = await weigh(page, keyside.url);
  t.diagnostic(`the sign-in page transfers ${first.all} bytes, ${first.scripts} of them scripts`);
  for (let number = 0; number < 60; number += 1) await keyside.add(`key ${number}`, { secret: secret(`weighed-${number}`) });
  const session = await signIn(page, keyside);
  const table = await weigh(page, `${session}/keys?workspace=acme`);
  assert.equal(await page.getByRole("rowheader").count(), 50);
  t.diagnostic(`the page of 50 keys transfers ${table.all} bytes, ${table.scripts} of them scripts`);
  for (const { all, scripts } of [first, table]) {
    assert.ok(all > 5 * KB && all <= 60 * KB, `${all} bytes`);
    assert.ok(scripts > 0 && scripts <= 12 * KB, `${scripts} bytes of scripts`);
  }
});

test("all scripts together are at most 12 kB", (t) => {
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

/** The addresses of all pages, in a session with the key `id` and outside of it. */
const pages = (session, url, id) => {
  const key = ["", "/added", "/edit", "/rotate", "/revoke"].map((path) => `/keys/${id}${path}`);
  const others = ["/keys", "/keys/new", "/keys/new/openai", "/preview", "/runs", "/checks", "/audit", "/clients", "/workspace", "/workspace/erase", "/workspaces"];
  const empty = ["/keys", "/runs", "/checks", "/audit"].map((path) => `${path}?workspace=empty`);
  const within = [...key, ...others.map((path) => `${path}?workspace=acme`), ...empty, "/keys?workspace=acme&q=nothing", "/nothing"];
  return [...within.map((path) => session + path), ...["/sign-in", "/link", "/guide"].map((path) => url + path)];
};

test("no page moves while it loads", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  const id = await keyside.add("QA Sandbox", { environment: "sandbox", usageTag: "ci-smoke" });
  for (let number = 0; number < 60; number += 1) await keyside.add(`key ${number}`, { secret: secret(`moved-${number}`) });
  await keyside.prompt();
  await keyside.check();
  await keyside.ask("POST", "/api/workspaces", { id: "empty", name: "Nothing yet" });
  for (const width of [1280, 360]) {
    const page = await open(t, browser, keyside, { viewport: { width, height: 800 }, expected: /404 \(/ });
    const session = await signIn(page, keyside);
    await page.addInitScript(WATCH);
    const paints = [];
    for (const address of pages(session, keyside.url, id)) {
      await page.goto(address);
      await page.waitForFunction(() => window.paint > 0);
      const { shifts, paint } = await page.evaluate(() => ({ shifts: window.shifts, paint: window.paint }));
      const path = new URL(address).pathname.replace(/^\/s\/[^/]+/, "").replace(id, "<id>");
      assert.deepEqual(shifts, [], `${path} moves at ${width} px`);
      paints.push({ path, paint: Math.round(paint) });
    }
    const [worst] = paints.sort((one, other) => other.paint - one.paint);
    t.diagnostic(`the largest paint of ${paints.length} pages at ${width} px: at most ${worst.paint} ms, of ${worst.path}`);
  }
});
