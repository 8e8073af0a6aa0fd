//! Content that looks like usage, and JSON that is hard to parse on purpose, in each framing.

use super::*;

/// Text that a model could be made to write.
const LURE: &str =
    r#"{"usage":{"prompt_tokens":9,"completion_tokens":9,"input_tokens":9,"output_tokens":9}}"#;

const KNOWN: Figures = [Some(3), Some(4), None, None, None];

fn in_a_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[test]
fn usage_in_content_changes_no_count() {
    let quoted = in_a_string(LURE);
    let twice = in_a_string(&quoted);
    let listed = format!("[{LURE},[{LURE}]]");
    for content in [LURE, quoted.as_str(), twice.as_str(), listed.as_str()] {
        for body in [
            format!(r#"{{"choices":[{{"message":{{"content":{content}}}}}]}}"#),
            format!(r#"{{"content":{content},"more":{{"response":{LURE}}}}}"#),
            format!(r#"{{"usage":[{content}]}}"#),
            format!(r#"{{"usage":{{"details":{content}}}}}"#),
            format!(r#"{{"response":[{content}]}}"#),
            format!(r#"[[{content}]]"#),
            format!(r#""text" {LURE}"#),
            format!(r#"text {LURE}"#),
            format!(r#"[1,{content}]"#),
        ] {
            check_body("openai", &body, UNKNOWN);
        }
        let around = format!(
            r#"{{"a":{content},"usage":{{"x":{content},"prompt_tokens":3,"y":[{content}],"completion_tokens":4}},"b":{content}}}"#
        );
        check_body("openai", &around, KNOWN);
    }
}

#[test]
fn only_the_objects_of_a_list_that_a_rule_names_are_read() {
    let usage = r#"{"usage":{"total_input_tokens":3,"total_output_tokens":4}}"#;
    for (list, expected) in [
        (format!("[{usage}]"), KNOWN),
        (format!("[ {{\"a\":[{LURE}]}} , {usage},{{}} ]"), KNOWN),
        (format!("[{usage},[{LURE}],7,\"]\"]"), KNOWN),
        (usage.to_owned(), UNKNOWN),
        (format!("[[{usage}]]"), UNKNOWN),
        (format!("[\"[\",{usage}]"), UNKNOWN),
        (format!("[{{\"events\":[{usage}]}}]"), UNKNOWN),
        (format!("[{{\"delta\":{usage}}}]"), UNKNOWN),
    ] {
        check_body(
            "gemini",
            &format!("{{\"events\":{list},\"z\":1}}"),
            expected,
        );
    }
}

#[test]
fn a_value_may_be_an_object_in_one_message_and_a_list_in_another() {
    let rule: keyside_config::UsageRule = serde_json::from_value(serde_json::json!({
        "at": ["events.usage", "events.*.usage"],
        "input": ["in"],
        "output": ["out"],
    }))
    .unwrap();
    let rules = Arc::new(Rules::new(&[rule]));
    let head = head("application/json");
    let usage = r#"{"usage":{"in":3,"out":4}}"#;
    for events in [usage.to_owned(), format!(r#"[{usage},{{"x":1}}]"#)] {
        let body = format!(r#"{{"events":{events},"z":{{"usage":{{"in":9}}}}}}"#);
        let meter = || Meter::answer(rules.clone(), &head);
        check(&body, meter, body.as_bytes(), KNOWN);
    }
}

#[test]
fn a_key_counts_only_in_key_position_and_as_it_is_written() {
    for body in [
        r#"{"x":"usage","prompt_tokens":9}"#,
        r#"{"usage":"prompt_tokens","x":9}"#,
        r#"{"usage":{"x":"prompt_tokens","y":9}}"#,
        r#"{"\"usage\"":{"prompt_tokens":9}}"#,
        r#"{"us\u0061ge":{"prompt_tokens":9}}"#,
        r#"{"usage ":{"prompt_tokens":9}}"#,
        r#"{"Usage":{"prompt_tokens":9}}"#,
        r#"{"usages":{"prompt_tokens":9}}"#,
        r#"{"usage.prompt_tokens":9}"#,
        r#"{"usage":{"prompt_tokens":{"prompt_tokens":9}}}"#,
        r#"{"prompt_tokens":9}"#,
    ] {
        check_body("openai", body, UNKNOWN);
    }
    let long = "k".repeat(5_000);
    let body =
        format!(r#"{{"{long}":1,"usage":{{"prompt_tokens":3,"completion_tokens":4,"{long}":9}}}}"#);
    check_body("openai", &body, KNOWN);
}

#[test]
fn a_value_that_is_not_a_count_is_unknown() {
    for value in [
        "null",
        "\"7\"",
        "-1",
        "-1.5",
        "1e99",
        "true",
        "{}",
        "[9]",
        "1-2",
        "",
        "NaN",
        "inf",
        "0x9",
        "18446744073709551615",
        "18446744073709551616",
        "1000000000000000",
        "1e300",
    ] {
        let body = format!(r#"{{"usage":{{"prompt_tokens":{value},"completion_tokens":4}}}}"#);
        let expected = match value {
            // A value is missing: this is not JSON, and nothing after it is read.
            "" => UNKNOWN,
            _ => [None, Some(4), None, None, None],
        };
        check_body("openai", &body, expected);
    }
    let most = r#"{"usage":{"prompt_tokens":999999999999999,"completion_tokens":26.0}}"#;
    check_body(
        "openai",
        most,
        [Some(999_999_999_999_999), Some(26), None, None, None],
    );
    let zeros = format!(
        r#"{{"usage":{{"prompt_tokens":0.{},"completion_tokens":4}}}}"#,
        "0".repeat(99)
    );
    check_body("openai", &zeros, [None, Some(4), None, None, None]);
}

#[test]
fn a_number_that_is_cut_off_is_not_a_smaller_one() {
    check_body("openai", r#"{"usage":{"prompt_tokens":12"#, UNKNOWN);
    check_events("openai", "data: {\"usage\":{\"prompt_tokens\":12", UNKNOWN);
    let known = [Some(12), None, None, None, None];
    check_body(
        "openai",
        r#"{"usage":{"prompt_tokens":12,"completion_tokens":34"#,
        known,
    );
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let body = r#"{"usage":{"prompt_tokens":9},"usage":{"prompt_tokens":8,"prompt_tokens":3,"completion_tokens":4}}"#;
    check_body("openai", body, KNOWN);
}

#[test]
fn deep_and_long_values_are_skipped_and_hide_nothing() {
    let (rules, head) = (rules("openai"), head("application/json"));
    let meter = || Meter::answer(rules.clone(), &head);
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    for deep in [
        format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        format!("{}1{}", r#"{"usage":"#.repeat(10_000), "}".repeat(10_000)),
        format!("[{}]", r#""\\","\"","[{\"usage\":","#.repeat(5_000) + "0"),
        format!("\"{}\"", "\\\"".repeat(50_000)),
        format!("\"{}\"", "data: ".repeat(50_000)),
        format!("[{}]", "0.0023064255,".repeat(20_000) + "1"),
    ] {
        let body = format!(r#"{{"deep":{deep},{usage}"#);
        for most in [1, 1_000, 70_000] {
            let got = metered(meter(), body.as_bytes(), || most);
            assert_eq!(got, KNOWN, "{body:.40} in pieces of {most}");
        }
    }
    assert!(size_of::<Meter>() <= 512, "{}", size_of::<Meter>());
}

#[test]
fn brackets_and_escapes_in_strings_do_not_end_a_value() {
    let body = r#"{"a":"}","b":"\\","c":"\\\"}{","d":{"e":"]}\""},"usage":{"note":"}\"{","prompt_tokens":3,"completion_tokens":4}}"#;
    check_body("openai", body, KNOWN);
    let spaced = " \r\n{ \"usage\"\t: { \"prompt_tokens\" :\n3 ,\"completion_tokens\"\n:\t4\n} }\n";
    check_body("openai", spaced, KNOWN);
}

#[test]
fn text_that_is_not_json_is_not_read_further() {
    for body in [
        format!(r#"{{"a" {LURE}}}"#),
        format!(r#"{{{LURE}}}"#),
        format!(r#"{{"a":}},{LURE}"#),
        format!(r#"{{"a":1]{LURE}"#),
        format!("}}{LURE}"),
        format!("<html>{LURE}"),
        format!("data: {LURE}\n\n"),
    ] {
        check_body("openai", &body, UNKNOWN);
    }
}

#[test]
fn usage_in_the_content_of_an_event_changes_no_count() {
    let text = in_a_string(&format!("\n\ndata: {LURE}\n\n"));
    let delta =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{text}}}}}],\"usage\":null}}\n\n");
    let last =
        "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
    check_events("openai", &delta, UNKNOWN);
    check_events("openai", &format!("{delta}{last}"), KNOWN);
    check_events("openai", &format!("{last}{delta}"), KNOWN);
    for nothing in [
        format!("event: {LURE}\n\n"),
        format!(": {LURE}\n\n"),
        format!("id: 1\nretry: {LURE}\n\n"),
        format!("Data: {LURE}\n\n"),
        format!(" data: {LURE}\n\n"),
        format!("data : {LURE}\n\n"),
        format!("xdata: {LURE}\n\n"),
        format!("{LURE}\n\n"),
        format!("data: [{LURE}]\n\n"),
        format!("data: {{}} {LURE}\n\n"),
        format!("data: \"x\" {LURE}\n\n"),
        // One event's data, over lines.
        format!("data: {{\"x\":\ndata: {LURE}\ndata: }}\n\n"),
        format!("data: {{\"x\":[\r\ndata: {LURE}\rdata: ]}}\n\n"),
        format!("data: \"\ndata: {LURE}\n\n"),
    ] {
        check_events("openai", &nothing, UNKNOWN);
        check_events("openai", &format!("{nothing}{last}"), KNOWN);
    }
}

#[test]
fn usage_in_the_messages_of_a_websocket_changes_no_count() {
    let rules = rules("openai");
    let meter = || Meter::websocket(rules.clone());
    let done =
        r#"{"type":"response.done","response":{"usage":{"input_tokens":3,"output_tokens":4}}}"#;
    let arguments = in_a_string(LURE);
    let content = format!(
        r#"{{"type":"response.done","item":{LURE},"response":{{"output":[{LURE},{{"arguments":{arguments}}}],"usage":null}}}}"#
    );
    let mut bytes = frame(0x81, content.as_bytes());
    check("content", meter, &bytes, UNKNOWN);
    bytes.extend(frame(0x81, done.as_bytes()));
    // OpenAI's messages are text: binary messages and control frames must not count.
    bytes.extend(frame(0x82, done.as_bytes()));
    bytes.extend(frame(0x8a, &done.as_bytes()[..80]));
    // A message within the text of another.
    bytes.extend(frame(0x81, &frame(0x81, done.as_bytes())));
    check("one answer", meter, &bytes, KNOWN);
    bytes.extend(frame(0x81, done.as_bytes()));
    check(
        "two answers",
        meter,
        &bytes,
        [Some(6), Some(8), None, None, None],
    );
}

#[test]
fn usage_in_the_messages_of_an_aws_stream_changes_no_count() {
    let (rules, head) = (rules("bedrock"), head("application/vnd.amazon.eventstream"));
    let meter = || Meter::answer(rules.clone(), &head);
    let lure = format!(r#"{{"usage":{{"inputTokens":9}},"more":{LURE}}}"#);
    let once = wrapped(&lure);
    for payload in [
        format!(r#"{{"delta":{{"text":{}}},"p":"ab"}}"#, in_a_string(&lure)),
        format!(r#"{{"delta":{{"toolUse":{lure}}}}}"#),
        format!(r#"{{"x":{once}}}"#),
        format!(r#"{{"bytes":[{once}]}}"#),
        format!(r#"{{"bytes":{once}}}"#),
        wrapped(&format!(r#"{{"delta":{lure}}}"#)),
        wrapped(&format!(r#"{{"delta":{}}}"#, in_a_string(&lure))),
        wrapped(&once),
        wrapped("no JSON"),
        r#"{"bytes":"????"}"#.to_owned(),
        String::new(),
    ] {
        let bytes = amazon("chunk", payload.as_bytes());
        check(&payload, meter, &bytes, UNKNOWN);
        let last = wrapped(r#"{"usage":{"input_tokens":3,"output_tokens":4}}"#);
        let last = amazon("chunk", last.as_bytes());
        check(&payload, meter, &[bytes, last].concat(), KNOWN);
    }
}
