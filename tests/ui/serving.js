// Servers for as long as a test runs: keyside, other programs that print a line once they can be used, and functions.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const BINARY = process.env.KEYSIDE_BIN ?? join(ROOT, "target/debug/keyside");

const SETTINGS = `
[proxy]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[observe]
listen = "127.0.0.1:0"
[log]
format = "json"
`;

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

/** A folder that is deleted when the test ends. */
export function folder(test) {
  const path = mkdtempSync(join(tmpdir(), "keyside-"));
  atEnd(test, () => rmSync(path, { recursive: true, force: true }));
  return path;
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

/** Starts a program that ends with the test; resolves to the first value that `read` makes of a line of its `output`. */
export function started(test, command, arguments_, options, output, read) {
  const child = spawn(command, arguments_, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  atEnd(test, async () => {
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

/** A `keyside serve` with the workspace `acme`, in a folder of its own. */
export class Serving {
  constructor(test) {
    this.home = folder(test);
    this.options = { cwd: this.home, env: { PATH: process.env.PATH } };
  }

  /** `settings` follow those for free ports; `variables` are added to its environment. */
  async serve(test, settings, variables = {}) {
    writeFileSync(join(this.home, "keyside.toml"), SETTINGS + settings);
    const options = { ...this.options, env: { ...this.options.env, ...variables } };
    const { admin, proxy } = await started(test, BINARY, ["serve"], options, "stderr", (line) => {
      const fields = line.startsWith("{") ? JSON.parse(line).fields : undefined;
      return fields?.message === "ready" && fields;
    });
    this.url = `http://${admin}`;
    this.proxy = `http://${proxy}`;
    this.owner = readFileSync(join(this.home, "data/admin-token"), "ascii").trim();
    await this.ask("POST", "/api/workspaces", { id: "acme", name: "Acme" });
  }

  async ask(method, path, body) {
    const headers = { authorization: `Bearer ${this.owner}`, "content-type": "application/json", "if-match": "*" };
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
  }
}
