// A workspace with a past: keys of several providers and a week of requests, as a team would have them.

import { secret } from "./stage.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long a server has to have existed for `past`, in seconds. */
export const PAST = 41 * DAY;

/** A time so many days from now, as the API takes it. */
const inDays = (days) => new Date(Date.now() + days * DAY * 1000).toISOString();

const anthropic = (name) => `sk-ant-api03-${name}-0123456789abcdef0123456789`;
const alphanumeric = (name) => name.padEnd(32, "0123456789abcdef");

/** Requests on each of the last days, the oldest first; how long an answer takes, in milliseconds; prompts per request. */
const DAYS = [
  { requests: 11, takes: 420 },
  { requests: 19, takes: 510 },
  { requests: 16, takes: 380 },
  { requests: 5, takes: 330 },
  { requests: 8, takes: 460 },
  { requests: 24, takes: 740 },
];

/** Lets 41 days pass. Returns the ids of keys. The clock is right afterwards. */
export async function past(keyside, provider) {
  provider.rejects = "Incorrect API key provided: sk-proj-…6789. You can find your API key at https://platform.openai.com/account/api-keys.";
  const key = (label, fields) => keyside.add(label, fields);
  const change = (id, method, fields) => keyside.ask(method, `/api/integrations/credentials/${id}`, fields);

  await keyside.ask("POST", "/api/workspaces", { id: "staging", name: "Staging" });
  await keyside.ask("POST", "/api/workspaces", { id: "research", name: "Research" });
  await keyside.ask("POST", "/api/tokens", { name: "Jonas Weber", role: "editor", workspaces: ["acme"] });
  const revoked = await key("Prototype", { environment: "live" });
  const live = await key("Production", { environment: "live", usageTag: "workflows", secret: secret("production") });
  await keyside.add("Trial", { provider: "groq", environment: "sandbox", secret: `gsk_${alphanumeric("trial")}`, expiresAt: inDays(-3) });

  keyside.ago(20 * DAY);
  const main = await key("QA Sandbox", { environment: "sandbox", usageTag: "ci-smoke", secret: secret("qa-1") });
  await key("Claude", { provider: "anthropic", environment: "live", usageTag: "workflows", secret: anthropic("live") });
  const claude = await key("Claude CI", { provider: "anthropic", environment: "sandbox", usageTag: "ci-smoke", secret: anthropic("ci") });
  const mistral = await key("Evaluation", { provider: "mistral", environment: "sandbox", usageTag: "ci-smoke", secret: alphanumeric("evaluation") });
  await change(revoked, "DELETE");

  keyside.ago(9 * DAY);
  await keyside.ask("PATCH", "/api/workspaces/acme", { limits: { requestsPerDay: 60, tokensPerDay: 120_000 } });
  await key("Nightly evaluation of long prompts, all languages", { environment: "live", usageTag: "batch", secret: secret("batch"), expiresAt: inDays(9) });
  await change(live, "PATCH", { secret: secret("production-2"), graceSeconds: DAY });

  for (const [index, { requests, takes }] of DAYS.entries()) {
    keyside.ago((DAYS.length - index) * DAY);
    await keyside.check();
    await day(keyside, provider, requests, takes);
  }

  // The day that has begun: its requests are spread, because the table of runs starts with them.
  keyside.ago(20 * MINUTE);
  await change(main, "PATCH", { secret: secret("qa-2"), graceSeconds: DAY });
  await change(mistral, "PATCH", { secret: alphanumeric("wrong"), graceSeconds: 0 });
  for (const [minutes, takes, ...prompt] of TODAY) {
    keyside.ago(minutes * MINUTE);
    Object.assign(provider, { takes, usage: { prompt_tokens: 180 + 7 * takes % 900, completion_tokens: 60 + takes % 300 } });
    await keyside.prompt(...prompt);
  }
  await keyside.check();
  keyside.ago(0);
  Object.assign(provider, { takes: 0, usage: { prompt_tokens: 24, completion_tokens: 118 } });
  return { main, live, revoked, claude, mistral };
}

/** The requests of a day, all at once. Most succeed. */
async function day(keyside, provider, requests, takes) {
  Object.assign(provider, { takes, usage: { prompt_tokens: 2 * takes, completion_tokens: takes } });
  const one = (number) => {
    if (number % 9 === 8) return keyside.prompt("busy");
    if (number % 3 === 1) return keyside.prompt("claude-haiku-4-5", { at: "anthropic/v1/messages", "x-keyside-tag": "support-bot" });
    return keyside.prompt("gpt-4o-mini", { "x-keyside-tag": "workflows", ...(number % 2 ? { "x-keyside-environment": "sandbox" } : {}) });
  };
  const answers = await Promise.all(Array.from({ length: requests }, (_, number) => one(number)));
  await Promise.all(answers.map((answer) => answer.arrayBuffer()));
}

const MESSAGES = "anthropic/v1/messages";

/** Minutes ago, how long the answer takes, and the prompt: the oldest first. */
const TODAY = [
  [18, 380, "gpt-4o-mini", { "x-keyside-tag": "workflows", "x-keyside-run": "summarise-tickets-4711" }],
  [15, 910, "claude-haiku-4-5", { at: MESSAGES, "x-keyside-tag": "support-bot" }],
  [13, 420, "gpt-4o-mini", { "x-keyside-environment": "sandbox", "x-keyside-tag": "pull-request" }],
  [11, 40, "busy", { "x-keyside-tag": "workflows" }],
  [8, 640, "claude-haiku-4-5", { at: MESSAGES, "x-keyside-environment": "sandbox" }],
  [6, 30, "mistral-small-latest", { at: "mistral/v1/chat/completions", "x-keyside-tag": "evaluation" }],
  [4, 20, "gpt-4o-mini", { "x-keyside-label": "Prototype" }],
  [2, 530, "gpt-4o-mini", { "x-keyside-tag": "workflows", "x-keyside-run": "summarise-tickets-4712" }],
];
