// What the tests run: keyside, and a stand-in for a provider.

import { execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BINARY = process.env.KEYSIDE_BIN ?? join(ROOT, "target/debug/keyside");

/** A secret of the provider's usual form; the stand-in accepts it unless `name` says "wrong", "odd" or "unreachable". */
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
 * A provider with the APIs of OpenAI and Anthropic. `says` is its answer to prompts, `rejects` its message about a wrong key, `wait`
 * what it waits for before each answer, and `takes` how many milliseconds a prompt takes; `keys` are those it saw.
 */
export class Provider {
  says = "Hello from the provider.";
  rejects = "Incorrect API key provided.";
  keys = [];
  wait = Promise.resolve();
  usage = { prompt_tokens: 12, completion_tokens: 34 };
  takes = 0;

  static async start(test) {
    const provider = new Provider();
    const port = await serve(test, (request, response) => provider.#answer(request, response));
    provider.url = `http://127.0.0.1:${port}`;
    return provider;
  }

  async #answer(request, response) {
    const body = [];
    for await (const piece of request) body.push(piece);
    const key = request.headers.authorization?.replace("Bearer ", "") ?? request.headers["x-api-key"] ?? "";
    this.keys.push(key);
    await this.wait;
    const json = (status, value) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(value));
    };
    if (key.includes("unreachable")) return request.socket.destroy();
    if (key.includes("odd")) return json(418, { error: { message: "Short and stout." } });
    if (key.includes("wrong")) return json(401, { error: { message: this.rejects, code: "invalid_api_key" } });
    if (request.method === "GET") return json(200, { object: "list", data: [] });
    const { usage, takes } = this;
    const { stream, model } = JSON.parse(Buffer.concat(body));
    if (takes > 0) await setTimeout(takes);
    if (model === "busy") return json(429, { error: { message: "Rate limit reached. Try again in 20 s.", code: "rate_limit_exceeded" } });
    if (request.url.endsWith("/messages")) {
      const content = [{ type: "text", text: this.says }];
      return json(200, { id: "msg_1", type: "message", model, content, usage: { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens } });
    }
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
${["openai", "anthropic", "mistral", "groq"].map((id) => `[providers.${id}]\nbase_url = "${provider.url}"`).join("\n")}
`;

/** Keyside with the workspace `acme`. `publicUrl` is the address that people use, if it is not the listener's own. */
export class Keyside {
  /** `past`: with a clock that starts so many seconds ago, and that `ago` sets. */
  static async start(test, provider, { past, publicUrl } = {}) {
    const keyside = new Keyside();
    keyside.home = mkdtempSync(join(tmpdir(), "keyside-ui-"));
    writeFileSync(join(keyside.home, "keyside.toml"), settings(provider, publicUrl));
    const { cwd, env } = keyside.#options();
    const clock = past ? keyside.#clock(past) : {};
    const child = spawn(BINARY, ["serve"], { cwd, env: { ...env, ...clock }, stdio: ["ignore", "ignore", "pipe"] });
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

  /** What gives the server a clock that `ago` sets: see clock.c. */
  #clock(past) {
    const library = join(this.home, "clock.so");
    execFileSync("cc", ["-shared", "-fPIC", "-o", library, fileURLToPath(new URL("clock.c", import.meta.url))]);
    this.ago(past);
    return { LD_PRELOAD: library, CLOCK: join(this.home, "clock") };
  }

  /** Sets the server's clock to so many seconds ago; `passed` seconds have passed since it started, beside the real ones. */
  ago(seconds, passed = 0) {
    const shifts = BigInt64Array.of(BigInt(Math.round(-seconds)), BigInt(passed));
    // In place: the server has the file in its memory.
    const file = openSync(join(this.home, "clock"), constants.O_RDWR | constants.O_CREAT);
    writeSync(file, shifts, 0, shifts.byteLength, 0);
    closeSync(file);
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
  async prompt(model = "gpt-4o-mini", { at = "openai/v1/chat/completions", ...headers } = {}) {
    Object.assign(headers, { "content-type": "application/json", authorization: "Bearer keyside" });
    const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hi" }] });
    return fetch(`${this.proxy}/w/acme/${at}`, { method: "POST", headers, body });
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
