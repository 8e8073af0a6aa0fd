// What the tests run: keyside, the example's backend, and a stand-in for Keyside.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { folder, ROOT, serve, Serving, started } from "../ui/serving.js";

export class Keyside extends Serving {
  static async start(test) {
    const keyside = new Keyside(test);
    await keyside.serve(test, '[providers.openai]\nbase_url = "http://127.0.0.1:1"\n');
    return keyside;
  }

  /** Stores a key and returns its id. */
  async add(provider, fields) {
    const key = { workspaceId: "acme", provider, label: "main", secret: `sk-test-${provider}-0123456789abcdef` };
    return (await this.ask("POST", "/api/integrations/credentials", { ...key, ...fields })).id;
  }

  async revoke(id) {
    await this.ask("DELETE", `/api/integrations/credentials/${id}`);
  }

  /** A token with the least role that the example needs. */
  async leastToken() {
    const body = { name: "builder", role: "viewer", workspaces: ["acme"] };
    return (await this.ask("POST", "/api/tokens", body)).token;
  }
}

/** The example's backend; resolves to its address. */
export async function builder(test, keyside, token) {
  const file = join(folder(test), "token");
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  const script = join(ROOT, "docs/examples/builder/server.py");
  const options = ["--keyside", keyside, "--token-file", file, "--workspace", "acme", "--port", "0"];
  const env = { PATH: process.env.PATH };
  return started(test, "python3", ["-B", script, ...options], { env }, "stdout", (line) => {
    return line.startsWith("http://") && line;
  });
}

/** A stand-in for the admin API: answers with `items`, counts what it sent, and keeps the requests. */
export async function standIn(test, items) {
  const sent = { statuses: [], requests: [], broken: false };
  const tag = '"1-0-0"';
  const port = await serve(test, (request, response) => {
    sent.requests.push(request);
    const known = request.headers["if-none-match"] === tag;
    const status = sent.broken ? 503 : known ? 304 : 200;
    sent.statuses.push(status);
    response.writeHead(status, { etag: tag, "content-type": "application/json" });
    response.end(status === 200 ? JSON.stringify({ items }) : undefined);
  });
  return { url: `http://127.0.0.1:${port}`, sent };
}
