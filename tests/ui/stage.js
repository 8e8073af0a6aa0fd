// What the tests run: keyside, and a stand-in for a provider.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { BINARY, serve, Serving } from "./serving.js";

/** A secret of the provider's usual form; the stand-in accepts it unless `name` says "wrong", "odd" or "unreachable". */
export const secret = (name) => `sk-proj-${name}-0123456789abcdef0123456789`;

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

const settings = (provider, onChange) => `
[smoke]
prompt = true
on_change = ${onChange}
${["openai", "anthropic", "mistral", "groq"].map((id) => `[providers.${id}]\nbase_url = "${provider.url}"`).join("\n")}
`;

export class Keyside extends Serving {
  /**
   * `past`: with a clock that starts so many seconds ago, and that `ago` sets. `publicUrl` is the address that people use, if it is not
   * the listener's own. `onChange`: keys that were added or rotated are checked by themselves too, about a second later; without it,
   * the only runs of checks are those that a test starts. `more` are further settings.
   */
  static async start(test, provider, { past, publicUrl, onChange = false, more = "" } = {}) {
    const keyside = new Keyside(test);
    const clock = past ? keyside.#clock(past) : {};
    const address = publicUrl ? { KEYSIDE_ADMIN__PUBLIC_URL: publicUrl } : {};
    await keyside.serve(test, settings(provider, onChange) + more, { ...clock, ...address });
    return keyside;
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
    const options = { ...this.options, encoding: "utf8" };
    return execFileSync(BINARY, ["link", "--admin-url", this.url], options).trim();
  }

  /** Stores a key for OpenAI and returns its id. */
  async add(label, fields) {
    const key = { workspaceId: "acme", provider: "openai", label, secret: secret(label.replace(/[^a-z]/gi, "")) };
    return (await this.ask("POST", "/api/integrations/credentials", { ...key, ...fields })).id;
  }

  /** Checks the tagged keys of `acme`, and waits for the end of that. */
  async check() {
    const { run } = await this.ask("POST", "/api/smoke/runs", { workspaceId: "acme" });
    const state = async () => (await this.ask("GET", `/api/smoke?workspaceId=acme&runId=${run.id}`)).run.state;
    for (let tries = 0; (await state()) !== "finished"; tries += 1) {
      assert.ok(tries < 1000, "the checks do not end");
      await setTimeout(50);
    }
  }

  /** A prompt as a client sends it, through the proxy. */
  async prompt(model = "gpt-4o-mini", { at = "openai/v1/chat/completions", ...headers } = {}) {
    Object.assign(headers, { "content-type": "application/json", authorization: "Bearer keyside" });
    const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hi" }] });
    return fetch(`${this.proxy}/w/acme/${at}`, { method: "POST", headers, body });
  }
}
