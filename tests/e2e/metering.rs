//! The run record, the metrics and the log report token counts as the provider bills them. Unknown
//! counts are reported as unknown, and tokens that a request did not generate are not counted.

mod sessions;

use crate::harness::{
    Ask, Keyside, Seen, Then, Upstream, chunk_of, chunked_head, eventually, field, reply,
};
use serde_json::{Value, json};

/// Input, output, cached input, cache write, reasoning.
type Figures = [Option<u64>; 5];

const UNKNOWN: Figures = [None; 5];

/// As run records and log lines name them.
const NAMES: [(&str, &str); 5] = [
    ("inputTokens", "input_tokens"),
    ("outputTokens", "output_tokens"),
    ("cachedInputTokens", "cached_input_tokens"),
    ("cacheWriteTokens", "cache_write_tokens"),
    ("reasoningTokens", "reasoning_tokens"),
];

/// Their series, without the provider.
const SERIES: [&str; 5] = [
    "keyside_tokens_total{direction=\"input\"",
    "keyside_tokens_total{direction=\"output\"",
    "keyside_token_details_total{kind=\"cached_input\"",
    "keyside_token_details_total{kind=\"cache_write\"",
    "keyside_token_details_total{kind=\"reasoning\"",
];

/// Keyside with a key for each of some providers, all of them at one upstream.
struct Metered {
    keyside: Keyside,
    providers: &'static [&'static str],
    totals: [u64; 5],
}

impl Metered {
    fn at(upstream: &Upstream, providers: &'static [&'static str]) -> Self {
        let url = upstream.base_url();
        let builder = providers.iter().fold(Keyside::builder(), |builder, id| {
            let allow = format!("providers.{id}.allow");
            let builder = builder.provider(id, &url);
            builder.set(&allow, r#"["inference", "stored"]"#)
        });
        let keyside = builder.start();
        keyside.workspace("acme");
        for id in providers {
            let secret = format!("canary-metering-{id}-0123456789abcdef");
            keyside.add_key("acme", id, "default", &secret);
        }
        Self {
            keyside,
            providers,
            totals: [0; 5],
        }
    }

    /// Sends a request with this run id and checks the reported counts.
    fn ask(&mut self, name: &str, ask: Ask, expected: Figures) {
        let answer = self.keyside.ask(&ask.header("X-Keyside-Run", name));
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        self.told(name, expected);
    }

    fn told(&mut self, name: &str, expected: Figures) {
        let record = eventually(name, || self.record(name));
        let id = record["requestId"].as_str();
        let line = self.keyside.log_line(|line| {
            field(line, "message").as_deref() == Some("request")
                && field(line, "request_id").as_deref() == id
        });
        for ((column, logged), figure) in NAMES.into_iter().zip(expected) {
            assert_eq!(record.get(column), Some(&json!(figure)), "{name}: {record}");
            let figure = figure.map(|figure| figure.to_string());
            assert_eq!(field(&line, logged), figure, "{name}: {line}");
        }
        for (total, figure) in self.totals.iter_mut().zip(expected) {
            *total += figure.unwrap_or(0);
        }
        let metrics = self.keyside.metrics();
        for (series, total) in SERIES.into_iter().zip(self.totals) {
            let counted: u64 = self
                .providers
                .iter()
                .map(|id| sample(&metrics, &format!("{series},provider=\"{id}\"}} ")))
                .sum();
            assert_eq!(counted, total, "{name}: {series} in {metrics}");
        }
    }

    fn record(&self, name: &str) -> Option<Value> {
        let runs = self.keyside.admin("GET", "/api/runs", None).json();
        let runs = runs["items"].as_array().expect("a list").clone();
        runs.into_iter().find(|record| record["runId"] == name)
    }
}

/// The value of a series, which is there from the start.
fn sample(metrics: &str, series: &str) -> u64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(series));
    let found = found.unwrap_or_else(|| panic!("no {series} in {metrics}"));
    found.parse().expect("a whole number")
}

fn json_reply(body: &str) -> Vec<u8> {
    reply(200, "Content-Type: application/json\r\n", body.as_bytes())
}

const CHAT: &str = r#"{"choices":[{"message":{"tool_calls":[{"function":{"arguments":"{\"usage\":{\"prompt_tokens\":999999999}}"}}]}}],"usage":{"prompt_tokens":2006,"completion_tokens":300,"prompt_tokens_details":{"cached_tokens":1920,"cache_write_tokens":64},"completion_tokens_details":{"reasoning_tokens":192}}}"#;
const LURES: &str = r#"{"choices":[{"message":{"content":{"usage":{"prompt_tokens":999999999}}}}],"input":{"usage":{"input_tokens":999999999}}}"#;
const MESSAGE: &str = r#"{"content":[{"type":"tool_use","input":{"usage":{"input_tokens":999999999}}}],"usage":{"input_tokens":4,"cache_creation_input_tokens":1200,"cache_read_input_tokens":48000,"output_tokens":503}}"#;
const THOUGHT: &str = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":37,"candidatesTokenCount":923,"thoughtsTokenCount":785,"totalTokenCount":1745}}"#;
const GROK: &str = r#"{"choices":[],"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}}"#;
const INTERACTION: &str = r#"{"id":"v1_1","steps":[],"usage":{"total_input_tokens":90,"total_tool_use_tokens":110,"total_output_tokens":20,"total_thought_tokens":1685,"total_cached_tokens":64}}"#;

#[test]
fn token_counts_are_those_that_the_provider_bills() {
    let upstream = Upstream::answering(|seen| {
        json_reply(match seen.target() {
            "/v1/chat/completions" if seen.header("x-grok").is_some() => GROK,
            "/v1/chat/completions" if seen.header("x-lure").is_some() => LURES,
            "/v1/chat/completions" => CHAT,
            "/v1/messages" => MESSAGE,
            "/v1beta/interactions" => INTERACTION,
            _ => THOUGHT,
        })
    });
    let mut metered = Metered::at(&upstream, &["anthropic", "gemini", "openai", "xai"]);
    metered.ask(
        "a chat",
        Ask::chat(),
        [Some(2_006), Some(300), Some(1_920), Some(64), Some(192)],
    );
    metered.ask(
        "a chat about usage",
        Ask::chat().header("X-Lure", "1"),
        UNKNOWN,
    );
    metered.ask(
        "a message",
        Ask::post("/anthropic/v1/messages"),
        [Some(49_204), Some(503), Some(48_000), Some(1_200), None],
    );
    metered.ask(
        "thoughts",
        Ask::post("/gemini/v1beta/models/gemini-2.5-flash:generateContent"),
        [Some(37), Some(1_708), None, None, Some(785)],
    );
    metered.ask(
        "an interaction",
        Ask::post("/gemini/v1beta/interactions"),
        [Some(200), Some(1_705), Some(64), None, Some(1_685)],
    );
    metered.ask(
        "reasoning",
        Ask::post("/xai/v1/chat/completions").header("X-Grok", "1"),
        [Some(32), Some(103), None, None, Some(94)],
    );
}

#[test]
fn tokens_of_another_request_are_not_counted_again() {
    let upstream = Upstream::answering(|_| {
        json_reply(
            r#"{"usage":{"input_tokens":36,"output_tokens":87},"usageMetadata":{"promptTokenCount":5}}"#,
        )
    });
    let mut metered = Metered::at(&upstream, &["anthropic", "gemini", "openai"]);
    let generated = [Some(36), Some(87), None, None, None];
    metered.ask("made", Ask::post("/openai/v1/responses"), generated);
    let delete = |target| Ask::new("DELETE", target).workspace("acme");
    for (name, ask) in [
        ("read", Ask::get("/openai/v1/responses/resp_1")),
        (
            "read as events",
            Ask::get("/openai/v1/responses/resp_1?stream=true"),
        ),
        ("deleted", delete("/openai/v1/responses/resp_1")),
        ("cancelled", Ask::post("/openai/v1/responses/resp_1/cancel")),
        ("counted", Ask::post("/openai/v1/responses/input_tokens")),
        ("a batch", Ask::post("/anthropic/v1/messages/batches")),
        (
            "a batch's results",
            Ask::get("/anthropic/v1/messages/batches/b_1/results"),
        ),
        (
            "tokens counted",
            Ask::post("/anthropic/v1/messages/count_tokens"),
        ),
        (
            "an interaction read",
            Ask::get("/gemini/v1beta/interactions/v1_1"),
        ),
        (
            "Gemini's tokens counted",
            Ask::post("/gemini/v1beta/models/m:countTokens"),
        ),
    ] {
        metered.ask(name, ask, UNKNOWN);
    }
}

#[test]
fn unreadable_token_counts_are_unknown_and_not_0() {
    const BODY: &[u8] = br#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let upstream = Upstream::answering(|seen| {
        let headers = seen.header("x-answer").expect("the answer's headers");
        reply(200, &headers.replace('|', "\r\n"), BODY)
    });
    let mut metered = Metered::at(&upstream, &["openai"]);
    let known = [Some(3), Some(4), None, None, None];
    for (name, headers, expected) in [
        ("JSON", "Content-Type: application/json|", known),
        ("no type", "", known),
        ("text", "Content-Type: text/plain|", UNKNOWN),
        (
            "compressed",
            "Content-Type: application/json|Content-Encoding: gzip|",
            UNKNOWN,
        ),
    ] {
        metered.ask(name, Ask::chat().header("X-Answer", headers), expected);
    }
}

#[test]
fn a_stream_is_counted_once_wherever_the_network_cuts_it() {
    const EVENTS: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\r\n\r\n\
        data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\n\\ndata: {\\\"usage\\\":{\\\"output_tokens\\\":999}}\\n\\n\"}}\n\n\
        data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\n\n\
        data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    let upstream = Upstream::scripted(|seen: &Seen, line| {
        let size = seen.header("x-size").expect("a size");
        let size: usize = size.parse().expect("a number");
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        for piece in EVENTS.as_bytes().chunks(size) {
            line.write(chunk_of(piece));
        }
        line.write("0\r\n\r\n");
        Then::Keep
    });
    let mut metered = Metered::at(&upstream, &["anthropic"]);
    for size in [1, 2, 3, 7, 50, 1_000] {
        let name = format!("pieces of {size}");
        let ask = Ask::post("/anthropic/v1/messages").header("X-Size", size.to_string());
        metered.ask(&name, ask, [Some(125), Some(15), Some(100), None, None]);
    }
}

#[test]
fn a_stream_that_is_cut_is_recorded_as_cut_with_what_was_counted_until_then() {
    const BEGINNING: &str = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
        data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\n\n";
    // The upstream cuts the stream if it is told to; else it sends nothing more, and the client
    // leaves.
    let upstream = Upstream::scripted(|seen: &Seen, line| {
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        line.write(chunk_of(BEGINNING.as_bytes()));
        match seen.header("x-cut") {
            Some(_) => Then::Close,
            None => Then::Keep,
        }
    });
    let mut metered = Metered::at(&upstream, &["anthropic"]);
    let ask = |name: &str| Ask::post("/anthropic/v1/messages").header("X-Keyside-Run", name);
    for (name, ask, outcome) in [
        ("the client", ask("the client"), "client_closed"),
        (
            "the upstream",
            ask("the upstream").header("X-Cut", "1"),
            "upstream_aborted",
        ),
    ] {
        let mut wire = metered.keyside.wire();
        wire.send(ask.bytes());
        assert_eq!(wire.head().expect("an answer").status(), 200, "{name}");
        wire.body_until("\"output_tokens\":7");
        match outcome {
            "client_closed" => drop(wire),
            _ => drop(wire.until_close()),
        }
        metered.told(name, [Some(25), Some(7), None, None, None]);
        let record = metered.record(name).expect("the run");
        assert_eq!(record["outcome"], outcome, "{name}: {record}");
        assert_eq!(record["status"], 200, "{name}: {record}");
    }
}

#[test]
fn an_aws_event_stream_is_read() {
    // {"usage":{"input_tokens":4,"cache_read_input_tokens":48000,"output_tokens":503}}
    const WRAPPED: &[u8] = br#"{"bytes":"eyJ1c2FnZSI6eyJpbnB1dF90b2tlbnMiOjQsImNhY2hlX3JlYWRfaW5wdXRfdG9rZW5zIjo0ODAwMCwib3V0cHV0X3Rva2VucyI6NTAzfX0=","p":"abc"}"#;
    const PLAIN: &[u8] = br#"{"metrics":{"latencyMs":9},"p":"abc","usage":{"inputTokens":4,"outputTokens":832,"cacheReadInputTokens":1490,"cacheWriteInputTokens":0}}"#;
    let upstream = Upstream::answering(|seen| {
        let payload = match seen.target().ends_with("/converse-stream") {
            true => PLAIN,
            false => WRAPPED,
        };
        let headers = b"\x0b:event-type\x07\x00\x05chunk";
        let all = 16 + headers.len() + payload.len();
        let prelude = [all as u32, headers.len() as u32, 0].map(u32::to_be_bytes);
        let message = [&prelude.concat()[..], headers, payload, &[0; 4]].concat();
        let kind = "Content-Type: application/vnd.amazon.eventstream\r\n";
        reply(200, kind, &message)
    });
    let mut metered = Metered::at(&upstream, &["bedrock"]);
    metered.ask(
        "converse",
        Ask::post("/bedrock/model/m/converse-stream"),
        [Some(1_494), Some(832), Some(1_490), Some(0), None],
    );
    metered.ask(
        "invoke",
        Ask::post("/bedrock/model/m/invoke-with-response-stream"),
        [Some(48_004), Some(503), Some(48_000), None, None],
    );
}
