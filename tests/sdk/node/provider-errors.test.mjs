// A provider's error becomes the SDK's own error, as if Keyside were not there.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { calls, directly, outcome, stage, throughKeyside } from "./stage.mjs";

const STALE = { workspace: stage.workspaces.stale };

for (const [name, ask] of Object.entries(calls)) {
  for (const [prompt, type, way, without] of [
    ["be rate limited", OpenAI.RateLimitError, {}, {}],
    ["break down", OpenAI.InternalServerError, {}, {}],
    ["count to three", OpenAI.AuthenticationError, STALE, { apiKey: "a-wrong-key" }],
  ]) {
    test(`${name}: ${type.name} comes through word for word`, async () => {
      const { error } = await outcome(ask(throughKeyside({ ...way, maxRetries: 0 }), prompt));

      assert.ok(error instanceof type, String(error));
      assert.equal(error.message, (await outcome(ask(directly(without), prompt))).error.message);
    });
  }

  for (const prompt of ["stop half way", "talk nonsense"]) {
    test(`${name}: told to ${prompt}, the provider breaks it as it would without Keyside`, async () => {
      const through = await outcome(ask(throughKeyside({ maxRetries: 0 }), prompt));
      const without = await outcome(ask(directly(), prompt));

      assert.deepEqual(through.heard, without.heard);
      assert.equal(through.error?.constructor, without.error?.constructor);
      assert.equal(through.error?.message, without.error?.message);
    });
  }

  test(`${name}: a provider that hangs up is a server error that says so`, async () => {
    const { error } = await outcome(ask(throughKeyside({ maxRetries: 0 }), "hang up"));

    assert.ok(error instanceof OpenAI.InternalServerError, String(error));
    assert.equal(error.status, 502);
    assert.equal(error.code, "upstream_unreachable");
  });
}
