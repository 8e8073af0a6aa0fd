// An unmodified program with a dummy key gets its response.

import assert from "node:assert/strict";
import { test } from "node:test";
import { calls, directly, outcome, stage, throughKeyside } from "./stage.mjs";

for (const [name, ask] of Object.entries(calls)) {
  for (const tag of ["header", "path"]) {
    test(`${name}, the workspace in the ${tag}, is answered`, async () => {
      const { text, error } = await outcome(ask(throughKeyside({ tag }), "count to three"));

      assert.equal(error, null);
      assert.equal(text, stage.answer);
    });
  }

  test(`${name} arrives in the pieces that the provider sent`, async () => {
    const { heard } = await outcome(ask(throughKeyside(), "count to three"));

    assert.deepEqual(heard, (await outcome(ask(directly(), "count to three"))).heard);
  });
}
