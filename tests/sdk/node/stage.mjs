// Base URLs and keys of the tests' clients: Keyside with a dummy key, or the provider itself with its key.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import OpenAI from "openai";

export const stage = JSON.parse(process.env.STAGE);

/** A client behind Keyside; the workspace is named in the path, or with `tag: "header"` in a header. */
export function throughKeyside({ workspace = stage.workspaces.good, tag = "path", headers = {}, maxRetries } = {}) {
  const inHeader = tag === "header";
  return new OpenAI({
    apiKey: stage.dummyKey,
    baseURL: inHeader ? `${stage.proxy}/openai/v1` : `${stage.proxy}/w/${workspace}/openai/v1`,
    defaultHeaders: { ...headers, ...(inHeader && { "X-Keyside-Workspace": workspace }) },
    maxRetries,
  });
}

/** A client without Keyside: what Keyside must not make a difference to. */
export function directly({ apiKey = stage.provider.key } = {}) {
  return new OpenAI({ apiKey, baseURL: `${stage.provider.url}/v1`, maxRetries: 0 });
}

/** Every way of asking: each gives the pieces of the answer as they come. */
export const calls = {
  async *chat(client, prompt) {
    const completion = await client.chat.completions.create({ model: "gpt-4o", messages: said(prompt) });
    yield completion.choices[0].message.content;
  },
  async *"chat, streamed"(client, prompt) {
    const stream = await client.chat.completions.create({ model: "gpt-4o", messages: said(prompt), stream: true });
    for await (const chunk of stream) yield chunk.choices[0]?.delta.content ?? "";
  },
  async *responses(client, prompt) {
    // As in the real API, `output_text` comes from the SDK's own helper, not from aimock.
    const response = await client.responses.create({ model: "gpt-4o", input: prompt });
    yield response.output.flatMap((item) => item.content ?? []).map((part) => part.text).join("");
  },
  async *"responses, streamed"(client, prompt) {
    const stream = await client.responses.create({ model: "gpt-4o", input: prompt, stream: true });
    for await (const event of stream) if (event.type === "response.output_text.delta") yield event.delta;
  },
};

/** The pieces of an answer and the error that ended it, if one did. */
export async function outcome(pieces) {
  const heard = [];
  try {
    for await (const piece of pieces) if (piece) heard.push(piece);
    return { heard, text: heard.join(""), error: null };
  } catch (error) {
    return { heard, text: heard.join(""), error };
  }
}

/** How often Keyside has refused a request with this code. */
export async function refusals(code) {
  const metrics = await (await fetch(`${stage.observe}/metrics`)).text();
  const count = metrics.match(new RegExp(`^keyside_refusals_total\\{code="${code}"\\} (\\d+)`, "m"));
  return count ? Number(count[1]) : 0;
}

/** Runs `request`, which Keyside must refuse with `code` exactly once, however much the SDK likes to retry. */
export async function refusedOnce(code, request) {
  const before = await refusals(code);
  const refused = await request();
  const deadline = Date.now() + 60_000;
  while ((await refusals(code)) === before && Date.now() < deadline) await pause(10);
  assert.equal(await refusals(code), before + 1);
  return refused;
}

function said(prompt) {
  return [{ role: "user", content: prompt }];
}
