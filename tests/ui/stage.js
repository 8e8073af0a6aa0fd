// What the tests run: keyside, and a stand-in for a provider.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BINARY = process.env.KEYSIDE_BIN ?? join(ROOT, "target/debug/keyside");

/** A secret of the provider's usual form; the stand-in accepts it unless `name` says "wrong". */
export const secret = (name) => `sk-proj-${name}-0123456789abcdef0123456789`;

const ends = new WeakMap();

/** Calls `act` when the test ends, the latest first: a browser window closes before the server that it talks to. */
export function atEnd(test, act) {
  if (!ends.has(test)) {
    const acts = [];
    ends.set(test, acts);
    test.after(async () => {
      const faults = [];
      for (const act of acts.reverse()) await Promise.resolve().then(act).catch((fault) => faults.push(fault));
      if (faults.length > 0) throw faults[0];
    });
  }
  ends.get(test).push(act);
}

/** A server on a free port of 127.0.0.1 that is closed when the test ends; resolves to its port. */
export async function serve(test, answer) {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(test, () => {
    server.closeAllConnections();
    server.close();
  });
  return server.address().port;
}

/**
 * A provider with OpenAI's API. `says` is its answer to prompts, `rejects` its message about a wrong key, `wait` what it waits for
 * before each answer; `keys` are those it saw.
 */
export class Provider {
  says = "Hello from the provider.";
  rejects = "Incorrect API key provided.";
  keys = [];
  wait = Promise.resolve();

  static async start(test) {
    const provider = new Provider();
    const port = await serve(test, (request, response) => provider.#answer(request, response));
    provider.url = `http://127.0.0.1:${port}`;
    return provider;
  }

  async #answer(request, response) {
    const body = [];
    for await (const piece of request) body.push(piece);
    const key = request.headers.authorization?.replace("Bearer ", "") ?? "";
    this.keys.push(key);
    await this.wait;
    const json = (status, value) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(value));
    };
    if (key.includes("wrong")) return json(401, { error: { message: this.rejects, code: "invalid_api_key" } });
    if (request.method === "GET") return json(200, { object: "list", data: [] });
    const usage = { prompt_tokens: 12, completion_tokens: 34, total_tokens: 46 };
    const { stream, model } = JSON.parse(Buffer.concat(body));
    const choice = (part) => ({ id: "chatcmpl-1", model, choices: [{ index: 0, ...part }] });
    if (!stream) return json(200, { ...choice({ message: { role: "assistant", content: this.says } }), usage });
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const word of this.says.split(/(?<= )/)) {
      response.write(`data: ${JSON.stringify(choice({ delta: { content: word } }))}\n\n`);
    }
    response.write(`data: ${JSON.stringify({ id: "chatcmpl-1", model, choices: [], usage })}\n\n`);
    response.end("data: [DONE]\n\n");
  }
}

const settings = (provider, publicUrl) => `
[proxy]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
${publicUrl ? `public_url = "${publicUrl}"` : ""}
[observe]
listen = "127.0.0.1:0"
[log]
format = "json"
[smoke]
prompt = true
[providers.openai]
base_url = "${provider.url}"
`;

/** Keyside with the workspace `acme`. `publicUrl` is the address that people use, if it is not the listener's own. */
export class Keyside {
  static async start(test, provider, { publicUrl } = {}) {
    const keyside = new Keyside();
    keyside.home = mkdtempSync(join(tmpdir(), "keyside-ui-"));
    writeFileSync(join(keyside.home, "keyside.toml"), settings(provider, publicUrl));
    const child = spawn(BINARY, ["serve"], { ...keyside.#options(), stdio: ["ignore", "ignore", "pipe"] });
    const ended = new Promise((resolve) => child.once("close", resolve));
    atEnd(test, async () => {
      child.kill();
      await ended;
      rmSync(keyside.home, { recursive: true, force: true });
    });
    const { admin, proxy } = await ready(child, ended);
    keyside.url = `http://${admin}`;
    keyside.proxy = `http://${proxy}`;
    keyside.owner = readFileSync(join(keyside.home, "data/admin-token"), "ascii").trim();
    await keyside.ask("POST", "/api/workspaces", { id: "acme", name: "Acme" });
    return keyside;
  }

  #options() {
    return { cwd: this.home, env: { PATH: process.env.PATH } };
  }

  /** What `keyside link` prints. */
  link() {
    const options = { ...this.#options(), encoding: "utf8" };
    return execFileSync(BINARY, ["link", "--admin-url", this.url], options).trim();
  }

  async ask(method, path, body) {
    const headers = { authorization: `Bearer ${this.owner}`, "content-type": "application/json", "if-match": "*" };
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Stores a key for OpenAI and returns its id. */
  async add(label, fields) {
    const key = { workspaceId: "acme", provider: "openai", label, secret: secret(label.replace(/[^a-z]/gi, "")) };
    return (await this.ask("POST", "/api/integrations/credentials", { ...key, ...fields })).id;
  }

  /** A prompt as a client sends it, through the proxy. */
  async prompt(model = "gpt-4o-mini") {
    const headers = { "content-type": "application/json", authorization: "Bearer keyside" };
    const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hi" }] });
    return fetch(`${this.proxy}/w/acme/openai/v1/chat/completions`, { method: "POST", headers, body });
  }
}

/** The addresses that keyside logs once it is ready. */
function ready(child, ended) {
  const said = [];
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      const fields = line.startsWith("{") ? JSON.parse(line).fields : undefined;
      if (fields?.message === "ready") resolve(fields);
    });
    ended.then(() => reject(new Error(`keyside ended:\n${said.join("\n")}`)));
  });
}
