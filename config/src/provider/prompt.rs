//! How a provider is sent one text prompt, and where its response has the generated text.
//!
//! Only previews use it: runners send requests of their own. Values are inserted into the parsed
//! body and never into its text, so a prompt cannot change the request.

use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::usage::{Ending, KeyPath, is_key};
use crate::parsed::from_text;

/// The smallest request that sends a text to a model of the provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "PromptDocument")]
pub struct PromptRule {
    whole: Shape,
    /// `None` if the provider does not stream as server-sent events.
    stream: Option<Shape>,
}

/// A request, and how its response is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    path: String,
    body: Value,
    text: Vec<TextPath>,
    when: Option<Ending>,
}

/// What to send to a model.
#[derive(Clone, Copy, Debug)]
pub struct PromptText<'a> {
    /// The model; [`is_model`] holds.
    pub model: &'a str,
    /// The text.
    pub prompt: &'a str,
    /// The most tokens that the provider may generate.
    pub max_tokens: u32,
}

impl PromptRule {
    /// Path, with a query if needed, and JSON body of the request, a POST. The path is relative to
    /// the base URL's. `stream` asks for server-sent events, if the provider has them.
    pub fn request(&self, stream: bool, text: PromptText<'_>) -> (String, Vec<u8>) {
        let shape = self.shape(stream);
        let path = shape.path.replace(MODEL, text.model);
        let body = fill(&shape.body, text).to_string().into_bytes();
        (path, body)
    }

    /// The generated text in one JSON message of a response: the whole body, or one event if it is
    /// `streamed`. Empty if the message has none.
    pub fn text(&self, streamed: bool, message: &Value) -> String {
        let shape = self.shape(streamed);
        let mut text = String::new();
        if shape.when.as_ref().is_none_or(|when| holds(when, message)) {
            for path in &shape.text {
                path.read(message, &mut text);
            }
        }
        text
    }

    fn shape(&self, stream: bool) -> &Shape {
        self.stream
            .as_ref()
            .filter(|_| stream)
            .unwrap_or(&self.whole)
    }
}

/// Whether a text can name a model: 1 to 256 letters, digits and `-._:/@`. Each provider has its
/// own rule; this one keeps the text within one path without escapes.
pub fn is_model(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte);
    (1..=MAX_MODEL_LEN).contains(&text.len()) && text.bytes().all(plain)
}

fn fill(template: &Value, text: PromptText<'_>) -> Value {
    match template {
        Value::String(name) => match name.as_str() {
            MODEL => text.model.into(),
            PROMPT => text.prompt.into(),
            MAX_TOKENS => text.max_tokens.into(),
            _ => template.clone(),
        },
        Value::Array(items) => items.iter().map(|item| fill(item, text)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let filled = fields.map(|(name, value)| (name.clone(), fill(value, text)));
            Value::Object(filled.collect())
        }
        _ => template.clone(),
    }
}

fn holds(when: &Ending, message: &Value) -> bool {
    let mut holds = false;
    let expected = when.value.as_str();
    visit(when.path.keys(), message, &mut |found| {
        holds |= found == expected;
    });
    holds
}

/// The place of texts in a message, such as `choices.*.message.content`: object keys from the root
/// inwards, and `*` for each item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TextPath(Vec<String>);

impl TextPath {
    fn read(&self, message: &Value, text: &mut String) {
        visit(&self.0, message, &mut |found| text.push_str(found));
    }
}

/// Calls `visitor` with each text at a path.
fn visit(path: &[String], value: &Value, visitor: &mut dyn FnMut(&str)) {
    match (path, value) {
        ([], Value::String(found)) => visitor(found),
        ([all, rest @ ..], Value::Array(items)) if all == KeyPath::EACH => {
            for item in items {
                visit(rest, item, visitor);
            }
        }
        ([key, rest @ ..], Value::Object(fields)) => {
            if let Some(value) = fields.get(key) {
                visit(rest, value, visitor);
            }
        }
        _ => {}
    }
}

from_text!(TextPath, RequestPath, JsonObject);

impl FromStr for TextPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let steps: Vec<_> = text.split('.').map(str::to_owned).collect();
        let valid = |step: &String| step == KeyPath::EACH || is_key(step);
        match steps.len() <= MAX_STEPS && steps.iter().all(valid) {
            true => Ok(Self(steps)),
            false => Err(EXPECTED_KEYS),
        }
    }
}

/// A rule as written in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptDocument {
    path: RequestPath,
    body: JsonObject,
    text: Vec<TextPath>,
    stream: Option<StreamDocument>,
}

/// How a streamed request differs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamDocument {
    path: Option<RequestPath>,
    /// Fields to add to the body.
    #[serde(default)]
    body: JsonObject,
    text: Vec<TextPath>,
    when: Option<Ending>,
}

impl From<PromptDocument> for PromptRule {
    fn from(document: PromptDocument) -> Self {
        let PromptDocument {
            path: RequestPath(path),
            body: JsonObject(body),
            text,
            stream,
        } = document;
        let stream = stream.map(|stream| {
            let JsonObject(more) = stream.body;
            let mut streamed = body.clone();
            streamed.extend(more);
            Shape {
                path: stream.path.map_or_else(|| path.clone(), |other| other.0),
                body: Value::Object(streamed),
                text: stream.text,
                when: stream.when,
            }
        });
        Self {
            stream,
            whole: Shape {
                path,
                body: Value::Object(body),
                text,
                when: None,
            },
        }
    }
}

/// A path, with a query if needed.
struct RequestPath(String);

impl FromStr for RequestPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let visible = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        visible.then(|| Self(text.to_owned())).ok_or(EXPECTED_PATH)
    }
}

/// The template of a body, or a part of one.
#[derive(Default)]
struct JsonObject(Map<String, Value>);

impl FromStr for JsonObject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|_| EXPECTED_OBJECT)
    }
}

const EXPECTED_PATH: &str = "expected a path, such as \"/v1/chat/completions\"";
const EXPECTED_OBJECT: &str = "expected a JSON object, with \"$model\", \"$prompt\" and \"$max_tokens\" in place of the values";
const EXPECTED_KEYS: &str =
    "expected keys and * with dots between them, such as \"choices.*.message.content\"";

/// The placeholders of the values in a body, and of the model in a path.
const MODEL: &str = "$model";
const PROMPT: &str = "$prompt";
const MAX_TOKENS: &str = "$max_tokens";
/// Bounds the depth of the search.
const MAX_STEPS: usize = 8;
/// Bytes; an ARN of Bedrock has about 120.
const MAX_MODEL_LEN: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Catalogue;

    const TEXT: PromptText<'_> = PromptText {
        model: "some-model",
        prompt: "\"},$model",
        max_tokens: 7,
    };

    fn rule(provider: &str) -> PromptRule {
        let catalogue = Catalogue::builtin();
        let provider = catalogue.get(provider).unwrap();
        provider.prompt.clone().unwrap()
    }

    #[test]
    fn every_built_in_provider_can_be_sent_a_prompt_on_a_path_that_it_allows() {
        for provider in Catalogue::builtin().iter() {
            let id = &provider.id;
            let rule = provider.prompt.as_ref().unwrap_or_else(|| panic!("{id}"));
            for stream in [false, true] {
                let (path, body) = rule.request(stream, TEXT);
                let plain = path.split('?').next().unwrap();
                let route = provider.route(&http::Method::POST, plain);
                assert!(route.is_some_and(|route| route.metered), "{id} {path}");
                let body: Value = serde_json::from_slice(&body).unwrap();
                let sent = body.to_string();
                assert!(
                    sent.contains(&json!(TEXT.prompt).to_string()),
                    "{id} {sent}"
                );
                assert!(sent.contains(":7"), "{id} is not capped: {sent}");
                let names_model = sent.contains("\"some-model\"") || path.contains("some-model");
                assert!(names_model, "{id} {path} {sent}");
            }
        }
    }

    #[test]
    fn an_event_has_text_if_an_item_of_its_list_says_so() {
        let rule: PromptRule = toml::from_str(
            "path = '/v1'\nbody = '{}'\ntext = []\n\
             [stream]\ntext = ['text']\nwhen = 'events.*.type = delta'",
        )
        .unwrap();
        for (kind, expected) in [("delta", "a"), ("other", "")] {
            let events = json!([{ "type": "start" }, { "type": kind }]);
            let message = json!({ "events": events, "text": "a" });
            assert_eq!(rule.text(true, &message), expected);
        }
    }

    #[test]
    fn only_a_streamed_request_asks_for_a_stream() {
        let openai = rule("openai");
        let sent = |stream| -> Value {
            let (_, body) = openai.request(stream, TEXT);
            serde_json::from_slice(&body).unwrap()
        };
        assert_eq!(sent(false).get("stream"), None);
        assert_eq!(sent(true)["stream"], true);
        assert_eq!(
            sent(true)["stream_options"],
            json!({ "include_usage": true })
        );
        assert!(rule("gemini").request(true, TEXT).0.ends_with("alt=sse"));
    }

    #[track_caller]
    fn check(provider: &str, streamed: bool, message: Value, expected: &str) {
        assert_eq!(
            rule(provider).text(streamed, &message),
            expected,
            "{message}"
        );
    }

    #[test]
    fn the_text_of_each_kind_of_message_is_found() {
        let choice = json!({ "choices": [{ "message": { "content": "Hi" } }] });
        check("openai", false, choice, "Hi");
        let delta = json!({ "choices": [{ "delta": { "content": "H" } }], "usage": null });
        check("openai", true, delta, "H");
        check("openai", true, json!({ "choices": [], "usage": {} }), "");
        let blocks = json!({ "content": [{ "type": "thinking", "thinking": "so" }, { "type": "text", "text": "Hi" }] });
        check("anthropic", false, blocks, "Hi");
        let delta = json!({ "type": "content_block_delta", "delta": { "type": "text_delta", "text": "H" } });
        check("anthropic", true, delta, "H");
        let parts = json!({ "candidates": [{ "content": { "parts": [{ "text": "H" }, { "text": "i" }] } }] });
        check("gemini", true, parts, "Hi");
        let message = json!({ "message": { "content": [{ "type": "text", "text": "Hi" }] } });
        check("cohere", false, message, "Hi");
        let delta = json!({ "type": "content-delta", "delta": { "message": { "content": { "text": "H" } } } });
        check("cohere", true, delta, "H");
        let converse = json!({ "output": { "message": { "content": [{ "text": "Hi" }] } } });
        check("bedrock", true, converse, "Hi");
    }

    #[test]
    fn a_delta_of_another_kind_is_not_text() {
        let delta = |kind: &str| json!({ "type": kind, "delta": "H" });
        check("perplexity", true, delta("response.output_text.delta"), "H");
        check(
            "perplexity",
            true,
            delta("response.reasoning_text.delta"),
            "",
        );
    }

    #[test]
    fn invalid_rules_are_refused() {
        for text in ["", "a..b", "a.é", "*.", "a.b.c.d.e.f.g.h.i"] {
            assert!(text.parse::<TextPath>().is_err(), "{text}");
        }
        let document = |path: &str, body: &str| {
            let text = format!("path = '{path}'\nbody = '{body}'\ntext = ['a']");
            toml::from_str::<PromptRule>(&text)
        };
        assert!(document("/a", "{}").is_ok());
        for (path, body) in [("a", "{}"), ("/a b", "{}"), ("/a", "[]"), ("/a", "{")] {
            assert!(document(path, body).is_err(), "{path} {body}");
        }
    }

    #[test]
    fn a_model_fits_into_a_path() {
        for model in [
            "gpt-4o",
            "accounts/fireworks/models/llama-v3p1-8b-instruct",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.a-v1:0",
            "@cf/meta",
        ] {
            assert!(is_model(model), "{model}");
        }
        for model in [
            "",
            "a b",
            "a?b",
            "a#b",
            "a%2fb",
            "é",
            "a\n",
            &"m".repeat(257),
        ] {
            assert!(!is_model(model), "{model}");
        }
    }
}
