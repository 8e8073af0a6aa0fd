//! The mistakes, one per row: the request that results from a wrong base URL, and the right base
//! URL.

/// A path similar to one that Keyside forwards.
pub(super) struct Mistake {
    pub(super) request: &'static str,
    /// The routes that the client may mean; the refusal names one.
    pub(super) meant: &'static [&'static str],
    /// Variables and what they should be set to, after the origin. More than one where the request
    /// does not show which SDK sent it, or which part of the path is from the base URL; the refusal
    /// names one.
    pub(super) right: &'static [(&'static str, &'static str)],
}

/// A path with only one meaning that is written differently from the route.
pub(super) struct Either {
    pub(super) request: &'static str,
    /// The path that reaches the provider if the request is served.
    pub(super) path: &'static str,
    /// The right base URL if it is not.
    pub(super) base: &'static str,
}

const fn row(
    request: &'static str,
    meant: &'static [&'static str],
    right: &'static [(&'static str, &'static str)],
) -> Mistake {
    Mistake {
        request,
        meant,
        right,
    }
}

const OPENAI: &str = "OPENAI_BASE_URL";
const ANTHROPIC: &str = "ANTHROPIC_BASE_URL";
const GEMINI: &str = "GOOGLE_GEMINI_BASE_URL";
const GROQ: &str = "GROQ_BASE_URL";
const MISTRAL: &str = "server_url";
const COHERE: &str = "CO_API_URL";
const TOGETHER: &str = "TOGETHER_BASE_URL";
const FIREWORKS: &str = "FIREWORKS_BASE_URL";
const AZURE: &str = "AZURE_OPENAI_ENDPOINT";
const BEDROCK: &str = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME";
const BEDROCK_CLAUDE: &str = "ANTHROPIC_BEDROCK_BASE_URL";

const CHAT: &[&str] = &["POST /v1/chat/completions"];
const MESSAGES: &[&str] = &["POST /v1/messages"];
const GENERATE: &[&str] = &[
    "POST /v1beta/models/gemini-2.5-flash:generateContent",
    "POST /v1/models/gemini-2.5-flash:generateContent",
];
const GEMINI_CHAT: &[&str] = &["POST /v1beta/openai/chat/completions"];
const GROQ_CHAT: &[&str] = &["POST /openai/v1/chat/completions"];
const OPENROUTER_CHAT: &[&str] = &["POST /api/v1/chat/completions"];
const COHERE_CHAT: &[&str] = &["POST /v2/chat", "POST /v1/chat"];
const COMPATIBLE_CHAT: &[&str] = &["POST /compatibility/v1/chat/completions"];
const DEPLOYMENT_CHAT: &[&str] = &["POST /openai/deployments/d/chat/completions"];
const CONVERSE: &[&str] = &["POST /model/amazon.nova-micro-v1:0/converse"];

#[rustfmt::skip]
pub(super) const MISTAKES: &[Mistake] = &[
    // OpenAI: the SDK's base URL ends in /v1.
    row("POST /openai/chat/completions", CHAT, &[(OPENAI, "/openai/v1")]),
    row("POST /w/acme/openai/chat/completions", CHAT, &[(OPENAI, "/w/acme/openai/v1")]),
    row("POST /openai/v1/v1/chat/completions", CHAT, &[(OPENAI, "/openai/v1"), (OPENAI, "/openai")]),
    row("POST /openai/api/v1/chat/completions", CHAT, &[(OPENAI, "/openai/v1"), (OPENAI, "/openai")]),
    row("POST /openai/openai/v1/chat/completions", CHAT, &[(OPENAI, "/openai/v1"), (OPENAI, "/openai")]),
    row("POST /openai/v1/chat/completions/chat/completions", CHAT, &[(OPENAI, "/openai/v1")]),
    row("POST /openai/responses", &["POST /v1/responses"], &[(OPENAI, "/openai/v1")]),
    row("POST /openai/embeddings", &["POST /v1/embeddings"], &[(OPENAI, "/openai/v1")]),
    row("POST /openai/audio/speech", &["POST /v1/audio/speech"], &[(OPENAI, "/openai/v1")]),
    row("GET /openai/models", &["GET /v1/models"], &[(OPENAI, "/openai/v1")]),
    // Anthropic: the SDK adds /v1 itself; Vercel's does not.
    row("POST /anthropic/messages", MESSAGES, &[(ANTHROPIC, "/anthropic/v1")]),
    row("POST /w/acme/anthropic/messages", MESSAGES, &[(ANTHROPIC, "/w/acme/anthropic/v1")]),
    row("POST /anthropic/v1/v1/messages", MESSAGES, &[(ANTHROPIC, "/anthropic")]),
    row("POST /w/acme/anthropic/v1/v1/messages", MESSAGES, &[(ANTHROPIC, "/w/acme/anthropic")]),
    row("POST /anthropic/v1/messages/v1/messages", MESSAGES, &[(ANTHROPIC, "/anthropic")]),
    row("POST /anthropic/messages/count_tokens", &["POST /v1/messages/count_tokens"], &[(ANTHROPIC, "/anthropic/v1")]),
    row("POST /anthropic/v1/v1/messages/count_tokens", &["POST /v1/messages/count_tokens"], &[(ANTHROPIC, "/anthropic")]),
    // Gemini: the SDK adds /v1beta itself, and OpenAI's needs /v1beta/openai.
    row("POST /gemini/models/gemini-2.5-flash:generateContent", GENERATE, &[(GEMINI, "/gemini/v1beta"), (GEMINI, "/gemini/v1")]),
    row("POST /gemini/v1beta/v1beta/models/gemini-2.5-flash:generateContent", GENERATE, &[(GEMINI, "/gemini")]),
    row("POST /gemini/v1/v1beta/models/gemini-2.5-flash:generateContent", GENERATE, &[(GEMINI, "/gemini")]),
    row("POST /gemini/chat/completions", GEMINI_CHAT, &[(OPENAI, "/gemini/v1beta/openai")]),
    row("POST /gemini/v1/chat/completions", GEMINI_CHAT, &[(OPENAI, "/gemini/v1beta/openai")]),
    row("POST /gemini/v1beta/chat/completions", GEMINI_CHAT, &[(OPENAI, "/gemini/v1beta/openai")]),
    row("POST /gemini/openai/chat/completions", GEMINI_CHAT, &[(OPENAI, "/gemini/v1beta/openai")]),
    row("POST /gemini/v1beta/openai/v1/chat/completions", GEMINI_CHAT, &[(OPENAI, "/gemini/v1beta/openai")]),
    // Groq: its SDK adds /openai/v1, OpenAI's does not.
    row("POST /groq/v1/chat/completions", GROQ_CHAT, &[(OPENAI, "/groq/openai/v1"), (GROQ, "/groq")]),
    row("POST /groq/chat/completions", GROQ_CHAT, &[(OPENAI, "/groq/openai/v1")]),
    row("POST /groq/openai/v1/openai/v1/chat/completions", GROQ_CHAT, &[(GROQ, "/groq"), (OPENAI, "/groq/openai/v1")]),
    row("POST /groq/openai/chat/completions", GROQ_CHAT, &[(OPENAI, "/groq/openai/v1")]),
    // OpenRouter: /api/v1 for OpenAI's SDK, /api for Anthropic's.
    row("POST /openrouter/v1/chat/completions", OPENROUTER_CHAT, &[(OPENAI, "/openrouter/api/v1")]),
    row("POST /openrouter/chat/completions", OPENROUTER_CHAT, &[(OPENAI, "/openrouter/api/v1")]),
    row("POST /openrouter/api/chat/completions", OPENROUTER_CHAT, &[(OPENAI, "/openrouter/api/v1")]),
    row("POST /openrouter/v1/messages", &["POST /api/v1/messages"], &[(ANTHROPIC, "/openrouter/api")]),
    row("POST /openrouter/api/v1/v1/messages", &["POST /api/v1/messages"], &[(ANTHROPIC, "/openrouter/api")]),
    // Mistral, Together: their own SDKs add /v1, OpenAI's does not.
    row("POST /mistral/chat/completions", CHAT, &[(OPENAI, "/mistral/v1"), (MISTRAL, "/mistral/v1")]),
    row("POST /mistral/v1/v1/chat/completions", CHAT, &[(MISTRAL, "/mistral"), (OPENAI, "/mistral/v1"), (OPENAI, "/mistral")]),
    row("POST /together/chat/completions", CHAT, &[(OPENAI, "/together/v1"), (TOGETHER, "/together/v1")]),
    row("POST /together/v1/v1/chat/completions", CHAT, &[(TOGETHER, "/together"), (TOGETHER, "/together/v1"), (OPENAI, "/together/v1"), (OPENAI, "/together")]),
    // Cohere: two versions, and OpenAI's paths elsewhere.
    row("POST /cohere/chat", COHERE_CHAT, &[(COHERE, "/cohere/v2"), (COHERE, "/cohere/v1")]),
    row("POST /cohere/v2/v2/chat", COHERE_CHAT, &[(COHERE, "/cohere")]),
    row("POST /cohere/v1/v2/chat", COHERE_CHAT, &[(COHERE, "/cohere")]),
    row("POST /cohere/chat/completions", COMPATIBLE_CHAT, &[(OPENAI, "/cohere/compatibility/v1")]),
    row("POST /cohere/v1/chat/completions", COMPATIBLE_CHAT, &[(OPENAI, "/cohere/compatibility/v1")]),
    row("POST /cohere/v2/chat/completions", COMPATIBLE_CHAT, &[(OPENAI, "/cohere/compatibility/v1")]),
    // Fireworks: /inference is set in front of the path by Keyside.
    row("POST /fireworks/inference/v1/chat/completions", CHAT, &[(OPENAI, "/fireworks/v1"), (FIREWORKS, "/fireworks"), (OPENAI, "/fireworks")]),
    row("POST /fireworks/chat/completions", CHAT, &[(OPENAI, "/fireworks/v1")]),
    row("POST /fireworks/v1/v1/messages", MESSAGES, &[(ANTHROPIC, "/fireworks")]),
    // DeepSeek: Anthropic's path is below /anthropic.
    row("POST /deepseek/v1/messages", &["POST /anthropic/v1/messages"], &[(ANTHROPIC, "/deepseek/anthropic")]),
    row("POST /deepseek/v1/v1/chat/completions", &["POST /v1/chat/completions", "POST /chat/completions"], &[(OPENAI, "/deepseek/v1"), (OPENAI, "/deepseek")]),
    row("POST /xai/chat/completions", CHAT, &[(OPENAI, "/xai/v1")]),
    row("POST /xai/v1/v1/messages", MESSAGES, &[(ANTHROPIC, "/xai")]),
    // Azure: /openai comes before the deployment, and before /v1.
    row("POST /azure-openai/deployments/d/chat/completions?api-version=2024-10-21", DEPLOYMENT_CHAT, &[(AZURE, "/azure-openai"), (AZURE, "/azure-openai/openai"), (OPENAI, "/azure-openai/openai")]),
    row("POST /azure-openai/openai/openai/deployments/d/chat/completions?api-version=2024-10-21", DEPLOYMENT_CHAT, &[(AZURE, "/azure-openai")]),
    row("POST /azure-openai/openai/v1/openai/deployments/d/chat/completions?api-version=2024-10-21", DEPLOYMENT_CHAT, &[(AZURE, "/azure-openai")]),
    row("POST /azure-openai/v1/chat/completions", GROQ_CHAT, &[(OPENAI, "/azure-openai/openai/v1")]),
    row("POST /azure-openai/chat/completions", GROQ_CHAT, &[(OPENAI, "/azure-openai/openai/v1")]),
    // Bedrock: no prefix for AWS's SDKs, /openai/v1 for OpenAI's.
    row("POST /bedrock/v1/chat/completions", GROQ_CHAT, &[(OPENAI, "/bedrock/openai/v1")]),
    row("POST /bedrock/chat/completions", GROQ_CHAT, &[(OPENAI, "/bedrock/openai/v1")]),
    row("POST /bedrock/v1/model/amazon.nova-micro-v1:0/converse", CONVERSE, &[(BEDROCK, "/bedrock"), (BEDROCK_CLAUDE, "/bedrock")]),
    row("POST /bedrock/openai/v1/model/amazon.nova-micro-v1:0/converse", CONVERSE, &[(BEDROCK, "/bedrock"), (BEDROCK_CLAUDE, "/bedrock")]),
];

/// Requests that name no provider, or one that Keyside does not know, and the base URLs of which
/// one is named.
#[rustfmt::skip]
pub(super) const NO_PROVIDER: &[(&str, &[&str])] = &[
    ("POST /v1/chat/completions", &["/openai/v1"]),
    ("POST /chat/completions", &["/openai/v1"]),
    ("POST /v1/messages", &["/anthropic"]),
    ("POST /messages", &["/anthropic/v1", "/anthropic"]),
    ("POST /w/acme/v1/messages", &["/w/acme/anthropic"]),
    ("POST /w/acme/v1/chat/completions", &["/w/acme/openai/v1"]),
    ("POST /v1beta/models/gemini-2.5-flash:generateContent", &["/gemini"]),
    ("POST /model/amazon.nova-micro-v1:0/converse", &["/bedrock"]),
    ("POST /open-ai/v1/chat/completions", &["/openai/v1", "/openai"]),
    ("POST /OpenAI/v1/chat/completions", &["/openai/v1", "/openai"]),
    ("POST /w/acme/Anthropic/v1/messages", &["/w/acme/anthropic"]),
    ("POST /antropic/v1/messages", &["/anthropic"]),
    ("POST /claude/v1/messages", &["/anthropic"]),
    ("POST /google/v1beta/models/gemini-2.5-flash:generateContent", &["/gemini"]),
    ("POST /azure/openai/deployments/d/chat/completions", &["/azure-openai"]),
    ("POST /acme/openai/v1/chat/completions", &["/w/acme/openai/v1", "/openai/v1"]),
    ("POST /w/acme/w/acme/openai/v1/chat/completions", &["/w/acme/openai/v1"]),
];

#[rustfmt::skip]
pub(super) const EITHER: &[Either] = &[
    Either { request: "POST /openai/v1/chat/completions/", path: "/v1/chat/completions", base: "/openai/v1" },
    Either { request: "POST /openai//v1/chat/completions", path: "/v1/chat/completions", base: "/openai/v1" },
    Either { request: "POST /openai/v1//chat/completions", path: "/v1/chat/completions", base: "/openai/v1" },
    Either { request: "POST //openai/v1/chat/completions", path: "/v1/chat/completions", base: "/openai/v1" },
    Either { request: "POST /w/acme//openai/v1/chat/completions", path: "/v1/chat/completions", base: "/w/acme/openai/v1" },
    Either { request: "POST /anthropic//v1/messages", path: "/v1/messages", base: "/anthropic" },
    Either { request: "POST /anthropic/v1/messages/", path: "/v1/messages", base: "/anthropic" },
    Either { request: "POST /gemini//v1beta/models/gemini-2.5-flash:generateContent", path: "/v1beta/models/gemini-2.5-flash:generateContent", base: "/gemini" },
    Either { request: "POST /gemini/v1beta/models/gemini-2.5-flash%3AgenerateContent", path: "/v1beta/models/gemini-2.5-flash:generateContent", base: "/gemini" },
    Either { request: "POST /gemini/v1beta/models/gemini-2.5-flash%3agenerateContent", path: "/v1beta/models/gemini-2.5-flash:generateContent", base: "/gemini" },
];
