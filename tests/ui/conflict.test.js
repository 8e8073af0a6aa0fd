// Two people change the same key: the second is told who changed what, and loses nothing that was typed.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { enterToken, hasFocus, launch, open, signIn } from "./browser.js";
import { Keyside, Provider, secret } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

/** Keyside with a key that an owner and an editor, each in a browser of their own, have open at `page`. */
async function together(t, page) {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const id = await keyside.add("Nightly", { environment: "sandbox", usageTag: "nightly" });
  const ana = await keyside.ask("POST", "/api/tokens", { name: "Ana", role: "editor", workspaces: ["acme"] });
  const editor = await open(t, browser, keyside);
  await editor.goto(`${keyside.url}/keys/${id}/edit`);
  await enterToken(editor, ana.token);
  const owner = await open(t, browser, keyside, { expected: /4(12|22) \(/ });
  await owner.goto(`${await signIn(owner, keyside)}/keys/${id}/${page}`);
  const stored = () => keyside.ask("GET", `/api/integrations/credentials/${id}`);
  return { keyside, ana: ana.id, editor, owner, stored };
}

/** The editor renames the key and limits it. */
async function change(editor) {
  await editor.getByLabel("Label").fill("Renamed");
  await editor.getByLabel("Requests a day").fill("500");
  await editor.getByRole("button", { name: "Save" }).click();
  await editor.getByRole("heading", { name: "Versions" }).waitFor();
}

test("the second of two edits is told who changed what, and then decides", async (t) => {
  const { ana, editor, owner, stored } = await together(t, "edit");
  await owner.getByLabel("Tag").fill("ci-smoke");
  await owner.getByLabel("Expires").fill("2099-01-02");
  await change(editor);
  await owner.getByRole("button", { name: "Save" }).click();

  const told = owner.locator(".notice.warn");
  await told.getByText("Changed while you were editing").waitFor();
  for (const part of ["Label from Nightly to Renamed", "Requests a day from nothing to 500", "Ana", ana]) {
    assert.ok((await told.innerText()).includes(part), `${part}: ${await told.innerText()}`);
  }
  await hasFocus(owner, told);
  assert.equal(await owner.getByLabel("Tag").inputValue(), "ci-smoke");
  assert.equal(await owner.getByLabel("Expires").inputValue(), "2099-01-02");
  assert.equal((await stored()).label, "Renamed", "the first change stands");

  assert.equal(await owner.getByLabel("Label").inputValue(), "Renamed", "what the owner left as it was");
  assert.equal(await owner.getByLabel("Requests a day").inputValue(), "500");
  await owner.getByRole("button", { name: "Save" }).click();
  await owner.getByRole("heading", { name: "Versions" }).waitFor();
  const { label, usageTag, expiresAt, limits } = await stored();
  assert.deepEqual([label, usageTag, expiresAt, limits.requestsPerDay], ["Renamed", "ci-smoke", "2099-01-02T00:00:00Z", 500]);
});

test("a rotation of a key that was changed meanwhile is told so, keeps the pasted key in its field, and can go on", async (t) => {
  const { editor, owner, stored } = await together(t, "rotate");
  const field = owner.getByLabel("Key", { exact: true });
  await field.fill(secret("second"));
  await change(editor);
  const before = (await stored()).fingerprint;
  await owner.getByRole("button", { name: "Check and rotate" }).click();
  const verdict = owner.locator("#verdict");
  await verdict.getByText("Changed meanwhile").waitFor();
  assert.match(await verdict.innerText(), /by Ana/);
  assert.equal(await field.inputValue(), secret("second"));
  assert.equal((await stored()).fingerprint, before);
  await owner.getByRole("button", { name: "Check and rotate" }).click();
  await owner.getByRole("heading", { name: "Versions" }).waitFor();
  assert.notEqual((await stored()).fingerprint, before);
});

test("a field that is not valid does not hide that another person changed the key", async (t) => {
  const { editor, owner, stored } = await together(t, "edit");
  await owner.getByLabel("Tag").fill("ci-smoke");
  await owner.getByLabel("Tokens a day").fill("many");
  await change(editor);
  await owner.getByRole("button", { name: "Save" }).click();
  await owner.locator(".error").first().waitFor();
  await owner.getByLabel("Tokens a day").fill("900");
  await owner.getByRole("button", { name: "Save" }).click();
  await owner.getByText("Label from Nightly to Renamed").waitFor();
  assert.equal(await owner.getByLabel("Tokens a day").inputValue(), "900");
  assert.equal((await stored()).label, "Renamed");
});
