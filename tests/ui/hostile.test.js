// What people and providers write is shown as text, and breaks no layout at 360 px.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open, screenshot, signIn } from "./browser.js";
import { Keyside, Provider, secret } from "./stage.js";
import { preview } from "./steps.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

const MARKUP = `"><img src=x onerror=hit()><script>hit()</script>`;
// Labels and tags are visible ASCII; the rest of Unicode comes in names, prompts and messages.
const LABELS = [MARKUP, "W".repeat(64), "{{7*7}}<b>&amp;</b>", "a' onclick='hit()", "&lt;i&gt; %3Cb%3E \\u003c", "</title></select></table>", "a`b`c `d`"];
const ENDLESS = MARKUP + "A".repeat(10_000) + "\u202e\u05d0\u05d1\u05d2 \u0e49\u0e49\u0e49\u0e49";

test("hostile labels, tags, names, prompts and messages stay text, and nothing is wider than 360 px", async (t) => {
  const provider = await Provider.start(t);
  const keyside = await Keyside.start(t, provider);
  await keyside.ask("POST", "/api/workspaces", { id: "hostile", name: MARKUP + "W".repeat(100) });
  const ids = [];
  for (const [number, label] of LABELS.entries()) {
    const fields = { workspaceId: "hostile", secret: secret(`key-${number}`), usageTag: label, environment: "sandbox" };
    ids.push(await keyside.add(label, fields));
  }
  await keyside.ask("POST", "/api/tokens", { name: MARKUP + "T".repeat(100), role: "viewer", workspaces: ["hostile"] });
  provider.rejects = ENDLESS;
  provider.says = ENDLESS;

  const page = await open(t, browser, keyside, { viewport: { width: 360, height: 740 }, expected: /4\d\d \(/ });
  let hits = 0;
  await page.context().exposeBinding("hit", () => (hits += 1));
  const session = await signIn(page, keyside);
  const judge = async (name) => {
    await screenshot(page, `hostile-${name}`);
    const [across, images] = await page.evaluate(() => [document.documentElement.scrollWidth, document.images.length]);
    assert.equal(across, 360, name);
    assert.equal(images + (await page.locator("main script, main b").count()), 0, name);
    assert.equal(hits, 0, name);
  };
  const at = async (path) => {
    await page.goto(session + path);
    await judge(path.replace(/^\/|\?.*/g, "").replaceAll("/", "-") || "front");
  };

  await at("/keys?workspace=hostile");
  assert.equal(await page.getByRole("rowheader").count(), LABELS.length);
  const shown = await page.getByRole("rowheader").getByRole("link").allTextContents();
  assert.deepEqual(shown.toSorted(), LABELS.toSorted(), "labels are shown as they are");
  await at(`/keys?workspace=hostile&q=${encodeURIComponent(MARKUP)}`);
  assert.equal(await page.getByLabel("Search").inputValue(), MARKUP);
  for (const id of ids.slice(0, 2)) {
    for (const part of ["", "/edit", "/rotate", "/revoke"]) await at(`/keys/${id}${part}`);
  }

  await page.goto(`${session}/keys/${ids.at(-1)}/edit`);
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("main").getByText(`${LABELS.at(-1)} is up to date.`).waitFor();

  await page.goto(`${session}/keys/${ids[0]}/rotate`);
  await page.getByLabel("Key", { exact: true }).fill(secret("wrong"));
  await page.getByRole("button", { name: "Check and rotate" }).click();
  await page.getByText("OpenAI rejects the key").waitFor();
  await judge("rejected");

  await page.goto(`${session}/preview?workspace=hostile`);
  await preview(page);
  await page.getByText("Live response").waitFor();
  assert.ok((await page.locator("#answer").innerText()).includes(MARKUP));
  await judge("preview-answered");
  await page.getByLabel("Model").fill(MARKUP + "m".repeat(200));
  await page.getByLabel("Prompt").fill(ENDLESS);
  await page.getByRole("button", { name: "Run" }).click();
  await page.locator("[data-preview-news] .notice").waitFor();
  await judge("preview-hostile");

  for (const name of ["runs", "checks", "audit", "clients", "workspace", "workspace/erase"]) await at(`/${name}?workspace=hostile`);
  await at("/workspaces");
});
