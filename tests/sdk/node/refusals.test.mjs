// A refusal becomes the SDK's own error, with our message, and the SDK does not retry.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { calls, outcome, refusedOnce, stage, throughKeyside } from "./stage.mjs";

const { empty, retired, good } = stage.workspaces;

const REFUSALS = [
  ["credential_missing", OpenAI.AuthenticationError, { workspace: empty }],
  ["credential_revoked", OpenAI.AuthenticationError, { workspace: retired }],
  ["workspace_unknown", OpenAI.BadRequestError, { workspace: "nobody" }],
  ["label_unknown", OpenAI.BadRequestError, { workspace: good, headers: { "X-Keyside-Label": "no-such-label" } }],
];

function assertRefused(error, type, code) {
  assert.ok(error instanceof type, String(error));
  assert.equal(error.code, code);
  assert.ok(error.error.remediation.startsWith(stage.publicUrl));
  assert.equal(error.error.request_id, error.headers.get("x-keyside-request-id"));
}

for (const [code, type, way] of REFUSALS) {
  for (const [name, ask] of Object.entries(calls)) {
    for (const tag of ["header", "path"]) {
      test(`${name}, the workspace in the ${tag}: ${code} is refused once`, async () => {
        const request = () => outcome(ask(throughKeyside({ ...way, tag }), "count to three"));
        const { error } = await refusedOnce(code, request);

        assertRefused(error, type, code);
      });
    }
  }
}

test("a path outside the catalogue is refused once", async () => {
  const error = await refusedOnce("path_not_allowed", () =>
    throughKeyside().post("/organization/admin_api_keys", { body: { name: "more" } }).catch((error) => error),
  );

  assertRefused(error, OpenAI.PermissionDeniedError, "path_not_allowed");
});
