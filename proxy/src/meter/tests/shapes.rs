//! Responses of each provider's APIs, one a file, and the token counts they must lead to.
//!
//! A file's name begins with its provider and ends with its format: a JSON body, lines of JSON,
//! server-sent events, an AWS event stream (a line a message: its type, its payload), or a
//! WebSocket (a line a message; binary ones in `.wsb`). Nearly every file contains a lure: content
//! that looks like usage.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;

const SHAPES: &[(&str, Figures)] = &[
    (
        "anthropic-messages.json",
        [
            Some(49_204),
            Some(503),
            Some(48_000),
            Some(1_200),
            Some(410),
        ],
    ),
    (
        "anthropic-messages.sse",
        [Some(49_204), Some(503), Some(48_000), Some(1_200), None],
    ),
    (
        "anthropic-messages-cumulative.sse",
        [Some(10_682), Some(510), Some(0), Some(0), None],
    ),
    (
        "azure-openai-chat.sse",
        [Some(11), Some(71), Some(0), None, Some(64)],
    ),
    (
        "azure-openai-responses.json",
        [Some(36), Some(87), Some(0), None, Some(0)],
    ),
    (
        "bedrock-claude.aws",
        [Some(49_204), Some(503), Some(48_000), Some(1_200), None],
    ),
    (
        "bedrock-claude.json",
        [Some(49_204), Some(503), Some(48_000), Some(1_200), None],
    ),
    (
        "bedrock-converse.aws",
        [Some(1_494), Some(832), Some(1_490), Some(0), None],
    ),
    (
        "bedrock-converse.json",
        [Some(1_494), Some(832), Some(1_490), Some(0), None],
    ),
    ("bedrock-llama.aws", [Some(16), Some(2), None, None, None]),
    ("bedrock-llama.json", [Some(16), Some(2), None, None, None]),
    (
        "bedrock-nova.aws",
        [Some(127), Some(25), Some(100), Some(20), None],
    ),
    (
        "bedrock-openai-chat.json",
        [Some(68), Some(44), None, None, None],
    ),
    (
        "cohere-chat.json",
        [Some(5), Some(418), Some(64), None, None],
    ),
    (
        "cohere-chat.sse",
        [Some(5), Some(418), Some(64), None, None],
    ),
    ("cohere-embed.json", [Some(2), None, None, None, None]),
    (
        "cohere-openai-chat.json",
        [Some(5), Some(418), None, None, None],
    ),
    ("cohere-rerank.json", UNKNOWN),
    (
        "cohere-v1-chat.ndjson",
        [Some(11), Some(8), None, None, None],
    ),
    (
        "deepseek-chat.json",
        [Some(1_300), Some(410), Some(1_280), None, Some(350)],
    ),
    (
        "deepseek-chat.sse",
        [Some(17), Some(9), Some(0), None, None],
    ),
    (
        "deepseek-messages.sse",
        [Some(1_300), Some(410), Some(1_280), Some(0), None],
    ),
    (
        "fireworks-chat.json",
        [Some(21), Some(10), Some(16), None, None],
    ),
    (
        "fireworks-messages.sse",
        [Some(21), Some(25), Some(7), None, None],
    ),
    (
        "gemini-cached-tools.json",
        [Some(5_475), Some(16), Some(5_100), None, None],
    ),
    (
        "gemini-generate-list.json",
        [Some(37), Some(1_708), None, None, Some(785)],
    ),
    (
        "gemini-generate.json",
        [Some(37), Some(1_708), None, None, Some(785)],
    ),
    (
        "gemini-generate.sse",
        [Some(37), Some(1_708), None, None, Some(785)],
    ),
    (
        "gemini-interactions.json",
        [Some(200), Some(1_705), Some(64), None, Some(1_685)],
    ),
    (
        "gemini-interactions.sse",
        [Some(200), Some(1_705), Some(64), None, Some(1_685)],
    ),
    (
        "gemini-interactions-live.ws",
        [Some(200), Some(1_705), Some(64), None, Some(1_685)],
    ),
    (
        "gemini-live.wsb",
        [Some(786), Some(69), None, None, Some(24)],
    ),
    ("gemini-music.wsb", UNKNOWN),
    (
        "gemini-only-thoughts.json",
        [Some(21), Some(60), None, None, Some(60)],
    ),
    (
        "gemini-openai-chat.json",
        [Some(758), Some(967), None, None, None],
    ),
    (
        "groq-chat.json",
        [Some(4_641), Some(1_817), Some(4_608), None, Some(1_500)],
    ),
    ("groq-chat.sse", [Some(18), Some(556), None, None, None]),
    (
        "mistral-chat.json",
        [Some(64), Some(32), Some(48), None, None],
    ),
    ("mistral-chat.sse", [Some(16), Some(8), Some(0), None, None]),
    ("mistral-speech.ws", [Some(8), Some(31), None, None, None]),
    (
        "mistral-transcription.ws",
        [Some(5), Some(33), None, None, None],
    ),
    (
        "openai-chat.json",
        [Some(2_006), Some(300), Some(1_920), Some(64), Some(192)],
    ),
    (
        "openai-chat.sse",
        [Some(24), Some(9), Some(0), None, Some(0)],
    ),
    ("openai-embeddings.json", [Some(8), None, None, None, None]),
    (
        "openai-image.json",
        [Some(14), Some(1_056), None, None, None],
    ),
    (
        "openai-live.ws",
        [Some(932), Some(46), Some(512), Some(0), Some(16)],
    ),
    (
        "openai-realtime.ws",
        [Some(565), Some(178), Some(384), None, None],
    ),
    (
        "openai-responses.json",
        [Some(4_096), Some(187), Some(3_072), Some(512), Some(64)],
    ),
    (
        "openai-responses.sse",
        [Some(4_096), Some(187), Some(3_072), Some(512), Some(64)],
    ),
    (
        "openai-responses.ws",
        [Some(4_196), Some(197), Some(3_072), Some(512), Some(72)],
    ),
    (
        "openai-transcription.sse",
        [Some(14), Some(45), None, None, None],
    ),
    ("openai-translation.ws", UNKNOWN),
    (
        "openrouter-chat.sse",
        [Some(10_339), Some(60), Some(10_318), Some(12), Some(20)],
    ),
    (
        "openrouter-messages.json",
        [Some(309), Some(12), Some(200), Some(100), None],
    ),
    (
        "openrouter-responses.json",
        [Some(12), Some(45), Some(0), None, Some(30)],
    ),
    (
        "perplexity-responses.json",
        [Some(3_681), Some(780), Some(2_048), Some(0), None],
    ),
    (
        "perplexity-sonar.json",
        [Some(20_049), Some(102_468), None, None, Some(95_305)],
    ),
    ("sandbox-chat.json", [Some(6), Some(7), None, None, None]),
    (
        "sandbox-messages.sse",
        [Some(6), Some(7), Some(0), Some(0), None],
    ),
    (
        "together-chat.json",
        [Some(8), Some(57), Some(4), None, None],
    ),
    ("together-chat.sse", [Some(8), Some(2), None, None, None]),
    ("together-speech.ws", UNKNOWN),
    ("together-transcription.ws", UNKNOWN),
    (
        "xai-chat.json",
        [Some(32), Some(103), Some(6), None, Some(94)],
    ),
    (
        "xai-chat.sse",
        [Some(32), Some(103), Some(6), None, Some(94)],
    ),
    (
        "xai-messages.json",
        [Some(32), Some(103), Some(6), Some(0), None],
    ),
    ("xai-realtime.ws", [Some(65), Some(25), Some(5), None, None]),
    (
        "xai-responses.json",
        [Some(32), Some(103), Some(6), None, Some(94)],
    ),
];

#[test]
fn each_recorded_response_leads_to_the_counts_that_its_provider_bills() {
    for (name, expected) in SHAPES {
        let (_, form) = name.rsplit_once('.').expect("a form");
        let recorded = fs::read(folder().join(name)).expect("a shape");
        let rules = rules(provider(name));
        let meter = || match form {
            "ws" | "wsb" => Meter::websocket(rules.clone()),
            "json" => Meter::answer(rules.clone(), &head("application/json; charset=utf-8")),
            "ndjson" => Meter::answer(rules.clone(), &head("application/stream+json")),
            "sse" => Meter::answer(rules.clone(), &head("text/event-stream; charset=utf-8")),
            "aws" => Meter::answer(rules.clone(), &head("application/vnd.amazon.eventstream")),
            _ => panic!("{name}: an unknown form"),
        };
        check(name, meter, &sent(form, &recorded), *expected);
    }
}

#[test]
fn every_recorded_response_and_every_provider_is_tested() {
    let files = fs::read_dir(folder()).expect("the shapes");
    let files = files.map(|file| file.expect("a file").file_name().into_string());
    let files: BTreeSet<String> = files.map(|name| name.expect("a plain name")).collect();
    let listed: BTreeSet<String> = SHAPES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, listed);
    for known in Catalogue::builtin().iter() {
        let has_shape = SHAPES
            .iter()
            .any(|(name, _)| provider(name) == known.id.as_str());
        assert!(has_shape, "{}", known.id);
    }
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "src", "meter", "shapes"]
        .iter()
        .collect()
}

/// The provider whose id the name begins with. No provider's id begins with another's, except
/// Azure's.
fn provider(name: &str) -> &str {
    match name.starts_with("azure-openai-") {
        true => "azure-openai",
        false => name.split('-').next().expect("an id"),
    }
}

/// The bytes as they are sent, from the recorded file.
fn sent(form: &str, recorded: &[u8]) -> Vec<u8> {
    let lines = recorded.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    match form {
        "aws" => lines.flat_map(event).collect(),
        "ws" => lines
            .enumerate()
            .flat_map(|(number, line)| message(1, number, line))
            .collect(),
        "wsb" => lines
            .enumerate()
            .flat_map(|(number, line)| message(2, number, line))
            .collect(),
        _ => recorded.to_vec(),
    }
}

fn event(line: &[u8]) -> Vec<u8> {
    let line = std::str::from_utf8(line).expect("UTF-8");
    let (kind, payload) = line.split_once(' ').expect("a type and a payload");
    match kind {
        "chunk" => amazon(kind, wrapped(payload).as_bytes()),
        _ => amazon(kind, payload.as_bytes()),
    }
}

/// A message in one frame, in two, or in three with a ping between them.
fn message(opcode: u8, number: usize, payload: &[u8]) -> Vec<u8> {
    let (first, rest) = payload.split_at(payload.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    match number % 3 {
        0 => frame(0x80 | opcode, payload),
        1 => [frame(opcode, first), frame(0x80, rest)].concat(),
        _ => [
            frame(opcode, first),
            frame(0x89, b"{\"usage\""),
            frame(0, second),
            frame(0x80, third),
        ]
        .concat(),
    }
}
