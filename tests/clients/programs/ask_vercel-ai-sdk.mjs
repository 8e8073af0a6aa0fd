// The Vercel AI SDK's provider packages. Like asked.py: each line of the input names calls and their variables.

import { createInterface } from "node:readline";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

// Google's package reads no base URL from the environment, so the program hands it over, as the recipe's example does.
const models = {
  openai: () => createOpenAI()("gpt-4o"),
  anthropic: () => createAnthropic()("claude-sonnet-4-5"),
  gemini: () => createGoogleGenerativeAI({ baseURL: `${process.env.BASE_GEMINI}/v1beta` })("gemini-2.5-flash"),
};

const getWeather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: ({ city }) => `snow in ${city}`,
});

const kinds = {
  async *plain(model) {
    yield (await generateText({ model, prompt: "count to three" })).text;
  },
  async *stream(model) {
    yield* streamText({ model, prompt: "count to three" }).textStream;
  },
  async *tool(model) {
    const settings = { tools: { get_weather: getWeather }, stopWhen: stepCountIs(3) };
    yield (await generateText({ model, prompt: "weather in Oslo", ...settings })).text;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line);
  Object.assign(process.env, task.variables);
  for (const call of task.calls) {
    const [provider, kind] = call.split(" ");
    const report = { call, pieces: [], error: null };
    try {
      for await (const piece of kinds[kind](models[provider]())) report.pieces.push(piece);
    } catch (error) {
      report.error = String(error);
    }
    console.log(JSON.stringify(report));
  }
}
