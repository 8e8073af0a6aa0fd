// The session's cookie: another port of the host never receives it, and it opens nothing without its path.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch, open, signIn } from "./browser.js";
import { serve } from "./serving.js";
import { Keyside, Provider } from "./stage.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

const NEIGHBOUR = `<!doctype html><title>Neighbour</title><link rel="icon" href="data:,"><img src="/image" alt="">
<form method="post" action="/form"><button>Send</button></form>`;

test("another port of 127.0.0.1 or localhost sees neither the cookie nor the session's path", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const seen = [];
  const answer = (request, response) => {
    seen.push({ method: request.method, path: request.url, sent: request.rawHeaders.join("\n") });
    response.setHeader("content-type", request.url === "/image" ? "image/svg+xml" : "text/html");
    response.end(request.url === "/image" ? "<svg xmlns='http://www.w3.org/2000/svg'/>" : NEIGHBOUR);
  };
  const port = await serve(t, answer);
  const hosts = [`http://127.0.0.1:${port}`, `http://localhost:${port}`];
  const page = await open(t, browser, keyside, { allowed: hosts });
  const session = await signIn(page, keyside);
  const [cookie] = await page.context().cookies();
  assert.equal(cookie.path, new URL(session).pathname);
  assert.ok(cookie.httpOnly);
  assert.equal(cookie.sameSite, "Strict");

  for (const host of hosts) {
    seen.length = 0;
    await page.goto(`${session}/keys`);
    await page.evaluate((href) => {
      const link = Object.assign(document.createElement("a"), { href, textContent: "to the neighbour" });
      document.querySelector("main").append(link);
    }, `${host}/link`);
    await page.getByRole("link", { name: "to the neighbour" }).click();
    await page.waitForURL(`${host}/link`);
    await page.getByRole("button", { name: "Send" }).click();
    await page.waitForURL(`${host}/form`);
    for (const path of ["/", "/keys", "/s/", "/link", "/assets/x"]) {
      await page.evaluate((path) => fetch(path, { credentials: "include" }).then((answer) => answer.text()), path);
      await page.goto(host + path);
    }
    const visits = seen.map(({ method, path }) => `${method} ${path}`);
    for (const visit of ["GET /link", "GET /image", "POST /form", "GET /keys"]) assert.ok(visits.includes(visit), visit);
    const id = cookie.path.split("/").at(-1);
    for (const { path, sent } of seen) {
      assert.doesNotMatch(sent, /^cookie$/im, path);
      for (const word of [id, cookie.value, session]) assert.ok(!(path + sent).includes(word), `${path} ${sent}`);
    }
  }
  await page.goto(`${session}/keys`);
  assert.ok(await page.getByRole("heading", { name: "Integration Keys" }).isVisible(), "the session still lives");
});

test("a path without its cookie and a cookie without its path open nothing", async (t) => {
  const keyside = await Keyside.start(t, await Provider.start(t));
  const owner = await open(t, browser, keyside);
  const session = await signIn(owner, keyside);
  const [cookie] = await owner.context().cookies();
  const isRefused = async (page, address) => {
    await page.goto(address);
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    assert.equal(await page.getByText("Integration Keys").count(), 0, address);
  };

  const stranger = await open(t, browser, keyside);
  for (const path of ["", "/", "/keys", "/keys?workspace=acme", "/workspaces"]) await isRefused(stranger, session + path);

  const thief = await open(t, browser, keyside);
  await thief.context().addCookies([{ name: cookie.name, value: cookie.value, url: `${keyside.url}/` }]);
  const other = session.slice(0, -4) + (session.endsWith("0000") ? "1111" : "0000");
  for (const address of [`${keyside.url}/keys`, `${keyside.url}/`, `${other}/keys`]) await isRefused(thief, address);
});
