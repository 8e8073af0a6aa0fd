use super::*;
use keyside_config::Catalogue;

fn check(provider: &str, body: &str, input: Option<u64>, output: Option<u64>) {
    let catalogue = Catalogue::builtin();
    let usage = &catalogue.get(provider).unwrap().usage;
    let rules: Arc<[Rule]> = usage.iter().cloned().map(Rule::new).collect();
    let body = body.as_bytes();
    for cut in 0..=body.len() {
        let mut meter = Meter::new(rules.clone());
        meter.push(&body[..cut]);
        meter.push(&body[cut..]);
        assert_eq!(
            meter.usage(),
            Usage { input, output },
            "{provider}, cut at {cut}"
        );
    }
}

#[test]
fn openai_counts_stand_in_the_body() {
    let body = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"completion_tokens_details":{"reasoning_tokens":3}}}"#;
    check("openai", body, Some(9), Some(12));
}

#[test]
fn a_null_usage_in_a_stream_is_not_zero() {
    let body = "data: {\"choices\":[],\"usage\":null}\n\ndata: {\"usage\": {\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    check("openai", body, Some(1), Some(2));
    check("openai", "data: {\"usage\":null}\n\n", None, None);
}

#[test]
fn the_responses_api_reports_in_its_last_event() {
    let body = "event: response.created\ndata: {\"response\":{\"usage\":null}}\n\nevent: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":36,\"output_tokens\":87}}}\n\n";
    check("openai", body, Some(36), Some(87));
}

#[test]
fn anthropic_deltas_are_cumulative() {
    let body = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n";
    check("anthropic", body, Some(25), Some(15));
}

#[test]
fn gemini_and_bedrock_use_their_own_names() {
    check(
        "gemini",
        r#"{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":5}}"#,
        Some(4),
        Some(5),
    );
    check(
        "bedrock",
        r#"{"usage":{"inputTokens":4,"outputTokens":5,"totalTokens":9}}"#,
        Some(4),
        Some(5),
    );
}

#[test]
fn a_usage_that_is_only_talked_about_does_not_count() {
    let body = r#"{"content":"say \"usage\":{\"prompt_tokens\":1}","note":"usage","x":"\"usage"}"#;
    check("openai", body, None, None);
}

#[test]
fn braces_and_quotes_in_strings_do_not_end_the_object() {
    let body = r#"{"usage":{"note":"}\"{","prompt_tokens":3,"completion_tokens":4}}"#;
    check("openai", body, Some(3), Some(4));
}

#[test]
fn only_a_field_of_the_object_itself_counts() {
    let body = r#"{"usage":{"details":{"prompt_tokens":90},"more":[{"completion_tokens":91}],"note":"prompt_tokens","prompt_tokens" : 3 , "completion_tokens":4},"prompt_tokens":92}"#;
    check("openai", body, Some(3), Some(4));
}

#[test]
fn what_is_no_count_is_none() {
    for value in ["null", "\"7\"", "-1", "1e99", "true", "{}", "1-2", ""] {
        let body = format!(r#"{{"usage":{{"prompt_tokens":{value},"completion_tokens":4}}}}"#);
        check("openai", &body, None, Some(4));
    }
}

#[test]
fn each_api_of_a_provider_is_metered() {
    let compatible = r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    check("gemini", compatible, Some(3), Some(4));
    check("cohere", compatible, Some(3), Some(4));
    let native = r#"{"usage":{"billed_units":{"input_tokens":1},"tokens":{"input_tokens":26.0,"output_tokens":7.0}}}"#;
    check("cohere", native, Some(26), Some(7));
}

#[test]
fn a_count_that_no_answer_could_have_is_none() {
    let body = r#"{"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":1e300}}"#;
    check("openai", body, None, None);
    let body = r#"{"usage":{"prompt_tokens":-1.5,"completion_tokens":999999999999999}}"#;
    check("openai", body, None, Some(999_999_999_999_999));
}
