//! How messages are found, and which responses are not read at all.

use super::*;

const BODY: &str = r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
const KNOWN: Figures = [Some(3), Some(4), None, None, None];

#[test]
fn the_content_type_decides_the_framing_and_other_types_have_unknown_counts() {
    let rules = rules("openai");
    let events = format!("data: {BODY}\n\n");
    for (content_type, body, expected) in [
        ("application/json", BODY, KNOWN),
        ("Application/JSON; charset=utf-8", BODY, KNOWN),
        ("application/problem+json", BODY, KNOWN),
        ("application/x-ndjson", BODY, KNOWN),
        ("application/jsonl", BODY, KNOWN),
        ("text/event-stream", events.as_str(), KNOWN),
        ("text/event-stream;charset=utf-8", events.as_str(), KNOWN),
        ("text/event-stream", BODY, UNKNOWN),
        ("application/json", events.as_str(), UNKNOWN),
        ("text/plain", BODY, UNKNOWN),
        ("text/html", BODY, UNKNOWN),
        ("audio/mpeg", BODY, UNKNOWN),
        ("application/octet-stream", BODY, UNKNOWN),
        ("application/vnd.amazon.eventstream", BODY, UNKNOWN),
    ] {
        let head = head(content_type);
        let meter = || Meter::answer(rules.clone(), &head);
        check(content_type, meter, body.as_bytes(), expected);
    }
    let without = || Meter::answer(rules.clone(), &HeaderMap::new());
    check("without a type", without, BODY.as_bytes(), KNOWN);
}

#[test]
fn a_compressed_response_has_unknown_counts() {
    let rules = rules("openai");
    for (coding, expected) in [
        ("identity", KNOWN),
        ("Identity", KNOWN),
        ("", KNOWN),
        ("gzip", UNKNOWN),
        ("br", UNKNOWN),
        ("identity, zstd", UNKNOWN),
    ] {
        let mut head = head("application/json");
        head.append(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        let meter = || Meter::answer(rules.clone(), &head);
        check(coding, meter, BODY.as_bytes(), expected);
    }
}

#[test]
fn a_response_that_is_not_metered_has_unknown_counts() {
    let rules = rules("openai");
    check(
        "off",
        || Meter::off(rules.clone()),
        BODY.as_bytes(),
        UNKNOWN,
    );
}

#[test]
fn events_end_their_lines_in_any_of_three_ways() {
    let null = r#"data: {"usage":null}"#;
    for end in ["\n", "\r\n", "\r"] {
        for events in [
            format!("data: {BODY}||"),
            format!("data:{BODY}||"),
            format!("data:   {BODY}|"),
            format!("{null}||data: {BODY}||{null}||data: [DONE]||"),
            format!(": keep-alive||||event: x|id: 1|data: {BODY}||"),
            format!("data|data:|data: {BODY}|data||"),
            format!("event: x||data: {{\"choices\":[]}}||data: {BODY}"),
            "data: {|data:  \"usage\":|data:  {\"prompt_tokens\":3,|data: |data: \"completion_tokens\":4|data: }}||"
                .to_owned(),
        ] {
            let events = events.replace('|', end);
            check_events("openai", &events, KNOWN);
        }
    }
    let mixed = format!("{null}\n\r\n: \r\r{null}\r\n\ndata: {BODY}\n\r");
    check_events("openai", &mixed, KNOWN);
}

#[test]
fn messages_of_a_body_may_follow_one_another_or_be_a_list() {
    let null = r#"{"usage":null,"choices":[]}"#;
    for body in [
        format!("{null}\n{BODY}\n{null}\n"),
        format!("{null}{BODY}"),
        format!("\u{1e}{null}\n\u{1e}{BODY}\n"),
        format!("[{null},\r\n{BODY}\n,{null}]"),
        format!("[{BODY}"),
    ] {
        check_body("openai", &body, KNOWN);
    }
}

#[test]
fn each_count_is_the_latest_that_was_reported() {
    let start = r#"{"message":{"usage":{"input_tokens":25,"cache_read_input_tokens":100,"output_tokens":1}}}"#;
    for (more, output) in [
        (r#"{"usage":{"output_tokens":7}}"#, 7),
        (r#"{"usage":{"input_tokens":null,"output_tokens":15}}"#, 15),
        (r#"{"usage":null}"#, 1),
    ] {
        let events = format!("data: {start}\n\ndata: {more}\n\n");
        let expected = [Some(125), Some(output), Some(100), None, None];
        check_events("anthropic", &events, expected);
    }
}

#[test]
fn the_responses_of_a_websocket_add_up_and_within_one_the_latest_value_counts() {
    let rules = rules("openai");
    let meter = || Meter::websocket(rules.clone());
    let message = |kind: &str, input: u64, output: u64| {
        format!(
            r#"{{"response":{{"usage":{{"input_tokens":{input},"output_tokens":{output}}}}},"type":"{kind}"}}"#
        )
    };
    let mut bytes = Vec::new();
    for (kind, input, output, expected) in [
        ("response.in_progress", 10, 1, (10, 1)),
        ("response.in_progress", 10, 2, (10, 2)),
        ("response.completed", 10, 5, (10, 5)),
        ("response.in_progress", 30, 1, (40, 6)),
        ("response.failed", 30, 2, (40, 7)),
        ("response.created", 7, 0, (47, 7)),
    ] {
        bytes.extend(frame(0x81, message(kind, input, output).as_bytes()));
        let expected = [Some(expected.0), Some(expected.1), None, None, None];
        check(kind, meter, &bytes, expected);
    }
}

#[test]
fn frames_of_every_length_are_parsed() {
    let rules = rules("openai");
    let meter = || Meter::websocket(rules.clone());
    for padding in (0..130).chain(65_470..65_490) {
        let message = format!(r#"{{"x":"{}",{}"#, "y".repeat(padding), &BODY[1..]);
        let bytes = frame(0x81, message.as_bytes());
        let bytes = [frame(0x89, b""), bytes.clone(), frame(0x81, b""), bytes].concat();
        let got = metered(meter(), &bytes, || 1_000);
        assert_eq!(got, [Some(6), Some(8), None, None, None], "{padding}");
    }
}

#[test]
fn a_websocket_with_an_invalid_frame_has_unknown_counts() {
    let rules = rules("openai");
    let meter = || Meter::websocket(rules.clone());
    let good = frame(0x81, BODY.as_bytes());
    let mut masked = good.clone();
    masked[1] |= 0x80;
    let compressed = frame(0xc1, b"\xaa\x56\x2a");
    let reserved = frame(0x83, BODY.as_bytes());
    for bad in [masked, compressed, reserved] {
        let bytes = [good.clone(), bad, good.clone()].concat();
        check("a frame that cannot be read", meter, &bytes, UNKNOWN);
    }
}

#[test]
fn an_aws_stream_with_inconsistent_lengths_has_unknown_counts() {
    let (rules, head) = (rules("bedrock"), head("application/vnd.amazon.eventstream"));
    let meter = || Meter::answer(rules.clone(), &head);
    let good = amazon(
        "metadata",
        br#"{"usage":{"inputTokens":3,"outputTokens":4}}"#,
    );
    check("good", meter, &good, KNOWN);
    check(
        "two of them",
        meter,
        &[good.clone(), good.clone()].concat(),
        KNOWN,
    );
    for (all, headers) in [
        (15_u32, 0_u32),
        (0, 0),
        (100, 85),
        (u32::MAX, 0),
        (16, u32::MAX),
    ] {
        let bad = [all, headers, 0].map(u32::to_be_bytes).concat();
        let bytes = [good.clone(), bad, good.clone()].concat();
        check("lengths that do not fit", meter, &bytes, UNKNOWN);
    }
}
