// A person at a browser. Every window is watched: an error in the console, a violation of the content security policy, an
// exception, or a request to another origin fails the test in which it happens.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

import { atEnd } from "./serving.js";

const SCREENSHOTS = process.env.KEYSIDE_UI_SCREENSHOTS;
const PICTURES = process.env.KEYSIDE_UI_PICTURES;

/** How many milliseconds a page has to show something. For busy machines: other suites may run at the same time. */
const PATIENCE = 60_000;

/** Chromium for the tests of a file. */
export function launch() {
  // Chromium's own sandbox needs user namespaces, which containers often lack; the pages are ours.
  return chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
}

/** A browser window without cookies on `keyside`. `allowed` are origins beside its own; `expected` matches the texts that a test provokes. */
export async function open(t, browser, keyside, { allowed = [], expected, ...options } = {}) {
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  const origins = new Set([keyside.url, ...allowed]);
  const wrong = [];
  const complain = (text) => expected?.test(text) || wrong.push(text);
  context.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== "data:" && !origins.has(origin)) wrong.push(`a request to ${request.url()}`);
  });
  context.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complain(`${message.type()}: ${message.text()}`);
  });
  context.on("weberror", (error) => complain(String(error.error())));
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  atEnd(t, async () => {
    await context.close();
    assert.deepEqual(wrong, [], "what the browser complained of");
  });
  return page;
}

/** Follows a link that `keyside link` prints; resolves to the session's address. */
export async function signIn(page, keyside) {
  await page.goto(keyside.link());
  await page.getByText("This opens a session of").first().waitFor();
  await page.getByRole("button", { name: "Open the session" }).click();
  await page.getByRole("heading", { level: 1 }).first().waitFor();
  return page.url().replace(/(\/s\/[^/]+).*/, "$1");
}

/** Types a token into the form for signing in, which `page` shows. */
export async function enterToken(page, token) {
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor({ state: "detached" });
}

/** Ends the session of `page` from another tab of its browser. */
export async function signOutElsewhere(page, session) {
  const tab = await page.context().newPage();
  await tab.goto(`${session}/workspaces`);
  await tab.locator(".account summary").click();
  await tab.getByRole("button", { name: "Sign out" }).click();
  await tab.getByText("Signed out").waitFor();
  await tab.close();
}

/** Signs in with a new token, whose name the page shows; resolves to the session's address. */
export async function signInAs(page, keyside, name, role = "owner", workspaces = undefined) {
  const { token } = await keyside.ask("POST", "/api/tokens", { name, role, workspaces });
  await page.goto(keyside.url);
  await enterToken(page, token);
  await page.getByRole("heading", { level: 1 }).first().waitFor();
  return page.url().replace(/(\/s\/[^/]+).*/, "$1");
}

/** Loads the page again until it shows `target`: runs are stored a moment after the answer. */
export async function reloadUntil(page, target) {
  const end = performance.now() + PATIENCE;
  while ((await target.count()) === 0 && performance.now() < end) await page.reload();
  await target.first().waitFor();
}

/** Waits until the script of the page has moved the focus to `target`, which may be visible before the script runs. */
export async function hasFocus(page, target) {
  await page.waitForFunction((element) => element === document.activeElement, await target.elementHandle());
}

/** Saves a screenshot of the whole page where the environment names a folder. */
export async function screenshot(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true, timeout: 60_000 });
}

/** Where the environment names a folder, saves a picture for the documentation: what a window shows, at most `height` px high. */
export async function picture(page, name, { height = 720, colorScheme = "light" } = {}) {
  if (!PICTURES) return;
  mkdirSync(PICTURES, { recursive: true });
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await page.setViewportSize({ width: 1280, height: 720 });
  await page.evaluate(() => document.activeElement?.blur());
  await page.mouse.move(0, 0);
  // The test's port is a random one; the documentation names the usual one.
  await page.evaluate(() => {
    for (const code of document.querySelectorAll("code")) code.textContent = code.textContent.replace(/127\.0\.0\.1:\d+/g, "127.0.0.1:7380");
  });
  // Where what is on the page ends, with the room that is around it.
  const end = await page.evaluate(() => scrollY + Math.max(...[...document.querySelectorAll("main > *, .side ul")].map((part) => part.getBoundingClientRect().bottom)));
  const clip = { x: 0, y: 0, width: 1280, height: Math.min(height, Math.ceil(end) + 32), scale: 1.25 };
  const tools = await page.context().newCDPSession(page);
  const { data } = await tools.send("Page.captureScreenshot", { format: "webp", quality: 70, clip, captureBeyondViewport: true });
  await tools.detach();
  writeFileSync(join(PICTURES, `${name}.webp`), Buffer.from(data, "base64"));
}
