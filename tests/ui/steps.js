// What a person does on the pages, with the pointer. `page` is signed in.

/** Adds a key for OpenAI through the wizard, and stops on the page that says it is ready. */
export async function addKey(page, label, secret) {
  await page.getByRole("link", { name: /^Add (a|the first) key/ }).click();
  await page.getByRole("link", { name: /^OpenAI/ }).click();
  await page.getByLabel("Key", { exact: true }).fill(secret);
  await page.getByLabel("Label").fill(label);
  await page.getByRole("radio", { name: "Sandbox" }).check();
  await page.getByLabel("Tag").fill("ci-smoke");
  await page.getByRole("button", { name: "Check and save" }).click();
  await page.getByRole("heading", { name: `“${label}” is ready` }).waitFor();
}

/** Replaces the secret of the key whose page is open. */
export async function rotate(page, secret) {
  await page.getByRole("link", { name: "Rotate", exact: true }).click();
  await page.getByLabel("Key", { exact: true }).fill(secret);
  await page.getByRole("button", { name: "Check and rotate" }).click();
  await page.getByRole("heading", { name: "Versions" }).waitFor();
}

/** Revokes the key whose page is open. */
export async function revoke(page, label) {
  await page.getByRole("link", { name: "Revoke", exact: true }).click();
  await page.getByLabel(`Type the label ${label} to confirm`).fill(label);
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await page.getByRole("heading", { name: "Versions" }).waitFor();
}

/** Opens one of the pages that the menu lists. */
export const go = (page, name) => page.getByRole("navigation", { name: "Pages", exact: true }).getByRole("link", { name }).click();

/** Opens the page of a key. */
export async function openKey(page, label) {
  await go(page, "Integration Keys");
  await page.getByRole("rowheader").getByRole("link", { name: label }).click();
}

/** Sends a prompt from Preview, which is open. */
export async function preview(page) {
  await page.getByLabel("Provider").selectOption({ label: "OpenAI" });
  await page.getByLabel("Model").fill("gpt-4o-mini");
  await page.getByLabel("Prompt").fill("Say hello");
  await page.getByRole("button", { name: "Run" }).click();
}
