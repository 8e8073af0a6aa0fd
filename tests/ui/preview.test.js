// What Preview offers once a provider is selected: its own keys, and a model of its own.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open, signIn } from "./browser.js";
import { Keyside, Provider } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

test("a provider brings its keys and its model, and what a person typed stays", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  await keyside.add("Nightly", { environment: "live" });
  await keyside.add("Claude", { provider: "anthropic", environment: "live", secret: `sk-ant-${"example-".repeat(4)}` });
  const page = await open(t, browser, keyside);
  const session = await signIn(page, keyside);
  await page.goto(`${session}/preview?workspace=acme&provider=openai&label=Nightly`);
  const [provider, key, model] = [page.getByLabel("Provider"), page.getByLabel("Key"), page.getByLabel("Model")];
  const offered = () => key.locator("option:not(:disabled)").allInnerTexts();
  assert.deepEqual(await offered(), ["Default", "Nightly"]);
  assert.equal(await key.inputValue(), "Nightly");
  const suggested = await model.inputValue();

  await provider.selectOption("anthropic");
  assert.deepEqual(await offered(), ["Default", "Claude"]);
  assert.equal(await key.inputValue(), "", "the label of another provider's key is let go");
  assert.notEqual(await model.inputValue(), suggested);
  await provider.selectOption("openai");
  assert.equal(await model.inputValue(), suggested);

  await model.fill("a-model-of-mine");
  await provider.selectOption("anthropic");
  assert.equal(await model.inputValue(), "a-model-of-mine");
});
