// Behind a reverse proxy that serves the page below a path, whether or not it removes that path.

import assert from "node:assert/strict";
import { request as ask } from "node:http";
import { after, before, test } from "node:test";

import { enterToken, launch, open, signIn } from "./browser.js";
import { serve } from "./serving.js";
import { Keyside, Provider, secret } from "./stage.js";
import { addKey, go, openKey, preview, revoke, rotate } from "./steps.js";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

const PREFIX = "/tools/keyside";

/** A reverse proxy. `strays` are the paths that a browser asked for outside of the prefix. */
async function reverseProxy(t, { removes }) {
  const proxy = { strays: [] };
  const port = await serve(t, (request, response) => {
    const { method, url, headers } = request;
    if (url !== PREFIX && !url.startsWith(`${PREFIX}/`)) {
      proxy.strays.push(url);
      return response.writeHead(404).end();
    }
    const path = removes ? url.slice(PREFIX.length) || "/" : url;
    const upstream = ask(proxy.to, { method, path, headers, setHost: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    request.pipe(upstream);
  });
  proxy.origin = `http://127.0.0.1:${port}`;
  proxy.url = proxy.origin + PREFIX;
  return proxy;
}

/** The addresses in a page that its own origin serves. */
const addresses = (page) =>
  page.evaluate(() => {
    const elements = [...document.querySelectorAll("[href], [src], [action]")];
    const all = elements.flatMap((element) => ["href", "src", "action"].map((name) => element.getAttribute(name)));
    return all.filter((address) => address && !address.startsWith("#") && !address.startsWith("https://"));
  });

for (const removes of [true, false]) {
  test(`below a path that the proxy ${removes ? "removes" : "leaves"}`, async (t) => {
    const provider = await Provider.start(t);
    const proxy = await reverseProxy(t, { removes });
    const keyside = await Keyside.start(t, provider, { publicUrl: `${proxy.url}/` });
    proxy.to = keyside.url;
    const page = await open(t, browser, keyside, { allowed: [proxy.origin], expected: /40[149] \(|409 \(/ });
    const staysBelow = async (name) => {
      const stray = (await addresses(page)).filter((address) => !address.startsWith(`${PREFIX}/`));
      assert.deepEqual(stray, [], name);
    };

    const session = await signIn(page, keyside);
    assert.ok(session.startsWith(`${proxy.url}/s/`), session);
    const [cookie] = await page.context().cookies();
    assert.equal(cookie.path, new URL(session).pathname);
    await addKey(page, "Below", secret("first"));
    await staysBelow("added");
    await openKey(page, "Below");
    await staysBelow("a key");
    await rotate(page, secret("second"));
    for (const name of ["Integration Keys", "Preview", "Runs", "Checks", "Audit", "Clients", "Workspace"]) {
      await go(page, name);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await staysBelow(name);
    }
    await go(page, "Preview");
    await preview(page);
    await page.getByText("Live response · Below · sandbox").waitFor();
    await page.locator("[data-preview-facts] a.mono").click();
    await page.getByRole("heading", { name: "Runs" }).waitFor();
    await openKey(page, "Below");
    await revoke(page, "Below");

    // What a runner is told leads into the session of this browser.
    const refused = await (await keyside.prompt()).json();
    const way = refused.error.remediation;
    assert.ok(way.startsWith(`${proxy.url}/`), way);
    await page.goto(way);
    await page.waitForURL((url) => url.href.startsWith(`${session}/keys`));

    await page.goto(`${proxy.url}/keys?workspace=acme`);
    await page.waitForURL(`${session}/keys?workspace=acme`);
    await page.locator(".account summary").click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL(`${proxy.url}/signed-out`);
    assert.deepEqual(await page.context().cookies(), []);
    await staysBelow("signed out");
    await page.goto(`${session}/runs?workspace=acme`);
    await page.waitForURL(`${proxy.url}/runs?workspace=acme`);
    await enterToken(page, keyside.owner);
    await page.waitForURL(new RegExp(`^${proxy.url}/s/[^/]+/runs\\?workspace=acme$`));
    await page.goto(`${proxy.url}/guide`);
    await page.getByRole("heading", { level: 1 }).first().waitFor();
    assert.deepEqual(proxy.strays, []);
  });
}
