// One call of one SDK from npm; see call_sdk.py.

const CHAT = { model: "a-model", messages: [{ role: "user", content: "count to three" }] };
const MESSAGE = { ...CHAT, max_tokens: 64 };
const REGION = "us-east-1";

const chat = async (client) => (await client.chat.completions.create(CHAT)).choices[0].message.content;
const message = async (client) => (await client.messages.create(MESSAGE)).content[0].text;

const calls = {
  async openai(options) {
    const { default: OpenAI } = await import("openai");
    return chat(new OpenAI(options));
  },
  async openai_responses(options) {
    const { default: OpenAI } = await import("openai");
    return (await new OpenAI(options).responses.create({ model: "a-model", input: "count to three" })).output_text;
  },
  async openai_azure(options) {
    const { AzureOpenAI } = await import("openai");
    return chat(new AzureOpenAI({ apiVersion: "2024-10-21", ...options }));
  },
  async anthropic(options) {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    return message(new Anthropic(options));
  },
  async anthropic_bedrock(options) {
    const { AnthropicBedrock } = await import("@anthropic-ai/bedrock-sdk");
    return message(new AnthropicBedrock({ awsRegion: REGION, ...options }));
  },
  async aws_sdk(options) {
    const { BedrockRuntimeClient, ConverseCommand } = await import("@aws-sdk/client-bedrock-runtime");
    const messages = [{ role: "user", content: [{ text: "count to three" }] }];
    const client = new BedrockRuntimeClient({ region: REGION, ...options });
    const answer = await client.send(new ConverseCommand({ modelId: "a-model", messages }));
    return answer.output.message.content[0].text;
  },
  async google_genai(options) {
    const { GoogleGenAI } = await import("@google/genai");
    return (await new GoogleGenAI(options).models.generateContent({ model: "a-model", contents: "count to three" })).text;
  },
  async mistralai(options) {
    const { Mistral } = await import("@mistralai/mistralai");
    return (await new Mistral(options).chat.complete(CHAT)).choices[0].message.content;
  },
  async cohere(options) {
    const { CohereClientV2 } = await import("cohere-ai");
    return (await new CohereClientV2(options).chat(CHAT)).message.content[0].text;
  },
  async groq(options) {
    const { default: Groq } = await import("groq-sdk");
    return chat(new Groq(options));
  },
  async together(options) {
    const { default: Together } = await import("together-ai");
    return chat(new Together(options));
  },
  async perplexity(options) {
    const { default: Perplexity } = await import("@perplexity-ai/perplexity_ai");
    return chat(new Perplexity(options));
  },
  async openrouter(options) {
    const { OpenRouter } = await import("@openrouter/sdk");
    return (await new OpenRouter(options).chat.send({ chatRequest: CHAT })).choices[0].message.content;
  },
};

const [sdk, options] = process.argv.slice(2);
console.log(await calls[sdk](JSON.parse(options)));
