// What the tests run: keyside, the example's backend, and a stand-in for Keyside.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SETTINGS = `
[proxy]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[observe]
listen = "127.0.0.1:0"
[log]
format = "json"
[providers.openai]
base_url = "http://127.0.0.1:1"
`;

/** A folder that is deleted when the test ends. */
export function folder(test) {
  const path = mkdtempSync(join(tmpdir(), "keyside-builder-"));
  test.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Starts a program that ends with the test; resolves to the first value that `read` makes of a line. */
function started(test, command, arguments_, options, output, read) {
  const child = spawn(command, arguments_, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  test.after(async () => {
    child.kill();
    await ended;
  });
  const said = [];
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    for (const name of ["stdout", "stderr"]) {
      createInterface({ input: child[name] }).on("line", (line) => {
        said.push(line);
        const found = name === output && read(line);
        if (found) resolve(found);
      });
    }
    ended.then(() => reject(new Error(`${command} ended:\n${said.join("\n")}`)));
  });
}

/** A keyside with the workspace `acme`. */
export class Keyside {
  static async start(test) {
    const home = folder(test);
    writeFileSync(join(home, "keyside.toml"), SETTINGS);
    const binary = process.env.KEYSIDE_BIN ?? join(ROOT, "target/debug/keyside");
    const options = { cwd: home, env: { PATH: process.env.PATH } };
    const address = await started(test, binary, ["serve"], options, "stderr", (line) => {
      const fields = line.startsWith("{") ? JSON.parse(line).fields : undefined;
      return fields?.message === "ready" && fields.admin;
    });
    const keyside = new Keyside();
    keyside.url = `http://${address}`;
    keyside.owner = readFileSync(join(home, "data/admin-token"), "ascii").trim();
    await keyside.ask("POST", "/api/workspaces", { id: "acme" });
    return keyside;
  }

  async ask(method, path, body) {
    const headers = { authorization: `Bearer ${this.owner}`, "content-type": "application/json" };
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
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
  const server = createServer((request, response) => {
    sent.requests.push(request);
    const known = request.headers["if-none-match"] === tag;
    const status = sent.broken ? 503 : known ? 304 : 200;
    sent.statuses.push(status);
    response.writeHead(status, { etag: tag, "content-type": "application/json" });
    response.end(status === 200 ? JSON.stringify({ items }) : undefined);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, sent };
}
