//! A person's prompt takes the way of a runner's request: the same key, the same refusals, one run
//! record, and nothing of its content anywhere else.

use crate::harness::{
    Ask, Builder, CHAT, KEY, Keyside, Message, Process, Then, Upstream, chunk_of, chunked_head,
    eventually, expect, field, reply, reply_in_chunks,
};
use serde_json::{Value, json};
use std::fs;

const JSON: &str = "Content-Type: application/json\r\n";
const EVENTS: &str = "Content-Type: text/event-stream\r\n";
/// Words that occur nowhere else.
const PROMPT: &str = "Canaryprompt \"one\"\nand two";
const TEXT: &str = "Canarytext";

/// One with a sandbox key labelled `QA Sandbox`.
fn with_sandbox_key(upstream: &Upstream) -> Keyside {
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": "QA Sandbox", "environment": "sandbox",
        "secret": KEY,
    }));
    keyside
}

fn preview(keyside: &Keyside, other: Value) -> Message {
    let mut body = json!({
        "workspaceId": "acme", "provider": "openai", "model": "gpt-4o-mini", "prompt": PROMPT,
    });
    let fields = body.as_object_mut().expect("an object");
    fields.extend(other.as_object().expect("an object").clone());
    let answer = keyside.admin("POST", "/api/preview", Some(&body));
    expect::keyless("preview", &answer);
    expect::closed_to_browsers("preview", &answer);
    answer
}

fn run_of(keyside: &Keyside, answer: &Message) -> Value {
    let id = answer.header("x-keyside-request-id").expect("an id");
    let path = format!("/api/runs?requestId={id}");
    eventually("the preview is a run", || {
        let runs = keyside.admin("GET", &path, None).json();
        runs["items"].get(0).cloned()
    })
}

/// Nothing of the prompt or of the text is logged, or in the run record.
fn assert_no_content(keyside: &Keyside, run: &Value) {
    for word in ["Canaryprompt", TEXT] {
        assert!(!keyside.logs().contains(word), "{word} was logged");
        assert!(!run.to_string().contains(word), "{word} in {run}");
    }
}

/// The events of a stream: names and data.
fn events(answer: &Message) -> Vec<(String, Value)> {
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let text = answer.text();
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').expect("two lines");
        let name = name.strip_prefix("event: ").expect("a name");
        let data = data.strip_prefix("data: ").expect("data");
        let data = serde_json::from_str(data).expect("JSON");
        (name.to_owned(), data)
    };
    text.split_terminator("\n\n").map(event).collect()
}

#[test]
fn a_prompt_is_sent_with_the_key_and_the_response_names_it() {
    let body = json!({
        "choices": [{ "message": { "role": "assistant", "content": TEXT } }],
        "usage": { "prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": { "cached_tokens": 0 } },
    });
    let upstream = Upstream::answering(move |_| reply(200, JSON, body.to_string().as_bytes()));
    let keyside = with_sandbox_key(&upstream);
    let answer = preview(&keyside, json!({}));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let view = answer.json();
    assert_eq!(view["text"], TEXT);
    assert_eq!(view["credential"]["label"], "QA Sandbox");
    assert_eq!(view["credential"]["environment"], "sandbox");
    let tokens = json!({
        "input": 9, "output": 4, "cachedInput": 0, "cacheWrite": null, "reasoning": null,
    });
    assert_eq!(view["tokens"], tokens);
    assert!(view["latencyMs"].as_f64() >= view["timeToFirstByteMs"].as_f64());

    let seen = upstream.only();
    assert_eq!(
        seen.start,
        format!("POST {} HTTP/1.1", &CHAT["/openai".len()..])
    );
    let authorization = format!("Bearer {KEY}");
    assert_eq!(seen.header("authorization"), Some(&*authorization));
    assert!(!seen.holds(&keyside.token()), "the asker's token");
    assert!(!seen.holds("x-keyside"), "{}", seen.text());
    let sent = seen.json();
    assert_eq!(sent["model"], "gpt-4o-mini");
    assert_eq!(
        sent["messages"],
        json!([{ "role": "user", "content": PROMPT }])
    );
    assert_eq!(sent["max_completion_tokens"], 1024);
    assert_eq!(sent.get("stream"), None);

    assert_eq!(
        view["requestId"].as_str(),
        answer.header("x-keyside-request-id")
    );
    let run = run_of(&keyside, &answer);
    assert_eq!(run["credentialId"], view["credential"]["id"]);
    assert_eq!(run["environment"], "sandbox");
    assert_eq!(
        (&run["inputTokens"], &run["outputTokens"]),
        (&json!(9), &json!(4))
    );
    assert_eq!(run["outcome"], "ok");
    assert_eq!(run["latencyMs"], view["latencyMs"]);
    assert_no_content(&keyside, &run);
}

#[test]
fn a_stream_arrives_as_text_and_then_the_report() {
    let delta = |text: &str| {
        let chunk = json!({ "choices": [{ "delta": { "content": text } }], "usage": null });
        format!("data: {chunk}\n\n")
    };
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": 2 } });
    let chunks = [
        delta("Canary"),
        delta("text"),
        format!("data: {usage}\n\ndata: [DONE]\n\n"),
    ];
    let upstream = Upstream::answering(move |_| {
        let chunks: Vec<_> = chunks.iter().map(String::as_bytes).collect();
        reply_in_chunks(EVENTS, &chunks, "")
    });
    let keyside = with_sandbox_key(&upstream);
    let answer = preview(&keyside, json!({ "stream": true }));
    let mut events = events(&answer);
    let (last, report) = events.pop().expect("a report");
    assert_eq!(last, "done");
    assert!(events.iter().all(|(name, _)| name == "text"), "{events:?}");
    let text = events
        .iter()
        .map(|(_, data)| data["text"].as_str().expect("a text"));
    assert_eq!(text.collect::<String>(), TEXT);
    assert_eq!(report["credential"]["label"], "QA Sandbox");
    assert_eq!(report["tokens"]["output"], 2);
    let sent = upstream.only().json();
    assert_eq!(sent["stream"], true);
    assert_eq!(sent["stream_options"], json!({ "include_usage": true }));
    assert_no_content(&keyside, &run_of(&keyside, &answer));
}

#[test]
fn a_key_that_the_provider_spells_out_in_single_deltas_is_masked() {
    let spelled: String = format!("It is {KEY}.")
        .chars()
        .map(|character| {
            let content = character.to_string();
            let delta = json!({ "choices": [{ "delta": { "content": content } }] });
            format!("data: {delta}\n\n")
        })
        .collect();
    let upstream = Upstream::answering(move |_| reply(200, EVENTS, spelled.as_bytes()));
    let keyside = with_sandbox_key(&upstream);
    let answer = preview(&keyside, json!({ "stream": true }));
    let events = events(&answer);
    let text: String = events
        .iter()
        .filter_map(|(_, data)| data["text"].as_str())
        .collect();
    assert_eq!(text, format!("It is {}.", "*".repeat(KEY.len())));
}

#[test]
fn a_refusal_is_the_one_that_a_runner_gets() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .provider("mistral", "http://127.0.0.1:1")
        .start()
        .with_key();
    keyside.add_key("acme", "mistral", "default", "mistral-key-0123456789");
    let revoked = keyside.add_key("acme", "anthropic", "default", "sk-ant-api03-0123456789");
    keyside.revoke(&revoked);
    let chat = |provider: &str, path: &str| Ask::post(&format!("/{provider}{path}"));
    let v1 = "/v1/chat/completions";
    for (other, ask, status, code) in [
        (
            json!({ "provider": "groq" }),
            chat("groq", "/openai/v1/chat/completions"),
            409,
            "credential_missing",
        ),
        (
            json!({ "provider": "anthropic" }),
            chat("anthropic", "/v1/messages"),
            409,
            "credential_revoked",
        ),
        (
            json!({ "label": "nightly" }),
            Ask::chat().header("X-Keyside-Label", "nightly"),
            409,
            "label_unknown",
        ),
        (
            json!({ "environment": "sandbox" }),
            Ask::chat().header("X-Keyside-Environment", "sandbox"),
            409,
            "credential_missing",
        ),
        (
            json!({ "provider": "mistral", "stream": true }),
            chat("mistral", v1),
            502,
            "upstream_unreachable",
        ),
    ] {
        let runner = keyside.ask(&ask);
        assert_eq!(runner.json()["code"], code, "{}", runner.text());
        let answer = preview(&keyside, other);
        assert_eq!(answer.status(), status, "{code}: {}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["remediation"], runner.json()["remediation"]);
        let message = expect::message_of(&runner.json()).map(str::to_owned);
        assert_eq!(problem["detail"].as_str(), message.as_deref());
    }
    assert!(upstream.requests().is_empty(), "nothing was sent");
}

#[test]
fn an_error_of_the_provider_is_named_without_its_text() {
    let echo = json!({ "error": {
        "message": format!("Incorrect API key provided: {KEY}. {TEXT}"), "code": "invalid_api_key",
    }});
    let upstream = Upstream::answering(move |_| reply(401, JSON, echo.to_string().as_bytes()));
    let keyside = with_sandbox_key(&upstream);
    for stream in [false, true] {
        let answer = preview(&keyside, json!({ "stream": stream }));
        assert_eq!(answer.status(), 502, "{}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:keyside:problem:preview-failed");
        assert_eq!(problem["code"], "provider_error");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(
            detail.starts_with(
                "OpenAI answered 401 (invalid_api_key) to the key \"QA Sandbox\". Replace the key."
            ),
            "{detail}"
        );
        assert!(!answer.holds(TEXT), "{}", answer.text());
        let remediation = problem["remediation"].as_str().expect("a link");
        assert!(
            remediation.ends_with("/keys?workspace=acme&provider=openai"),
            "{remediation}"
        );
        let run = run_of(&keyside, &answer);
        assert_eq!(
            (&run["status"], &run["outcome"]),
            (&json!(401), &json!("client_error"))
        );
        assert_no_content(&keyside, &run);
    }
}

#[test]
fn a_stream_that_breaks_off_ends_in_an_error_and_not_in_a_report() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(chunked_head(EVENTS));
        line.write(chunk_of(
            b"data: {\"choices\":[{\"delta\":{\"content\":\"Canary\"}}]}\n\n",
        ));
        Then::Close
    });
    let keyside = with_sandbox_key(&upstream);
    let answer = preview(&keyside, json!({ "stream": true }));
    let events = events(&answer);
    assert_eq!(events[0], ("text".to_owned(), json!({ "text": "Canary" })));
    assert_eq!(events.len(), 2, "{events:?}");
    let (name, problem) = &events[1];
    assert_eq!(name, "error");
    assert_eq!(problem["code"], "upstream_aborted");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.contains(" to the key \"QA Sandbox\" "), "{detail}");
    assert_eq!(run_of(&keyside, &answer)["outcome"], "upstream_aborted");
    let whole = preview(&keyside, json!({}));
    assert_eq!(whole.status(), 502, "{}", whole.text());
}

#[test]
fn the_command_prints_the_sandbox_s_text_and_which_key_answered() {
    let listeners = ["PROXY", "ADMIN", "OBSERVE"];
    let builder = listeners.iter().fold(Keyside::builder(), |builder, name| {
        builder.variable(&format!("KEYSIDE_{name}__LISTEN"), "127.0.0.1:0")
    });
    let demo = builder.spawn(&["demo"], None);
    let (url, token) = way_in(&demo, &builder);
    let run = |arguments: &[&str], stdin: &[u8]| {
        let common = [
            "preview",
            "-w",
            "demo",
            "-p",
            "sandbox",
            "-m",
            "sandbox",
            "--admin-url",
            &url,
            "--token-file",
            &token,
        ];
        Keyside::builder().run(&[&common[..], arguments].concat(), stdin)
    };
    let said = "Hello from the Keyside sandbox. You said: Say hello.";
    for (arguments, stdin) in [
        (&["Say hello"][..], &b""[..]),
        (&[][..], &b"Say hello\n"[..]),
    ] {
        let exit = run(arguments, stdin);
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        assert!(exit.stdout.starts_with(said), "{exit:#?}");
        assert!(exit.stdout.ends_with(".\n"), "{exit:#?}");
        assert!(
            exit.stderr.contains("Live response · demo · sandbox · "),
            "{exit:#?}"
        );
        assert!(exit.stderr.contains("tokens: 2 in, "), "{exit:#?}");
    }
    let exit = run(&["--json", "Say hello"], b"");
    let view: Value = serde_json::from_str(&exit.stdout).expect("JSON");
    assert!(
        view["text"]
            .as_str()
            .is_some_and(|text| text.starts_with(said)),
        "{view}"
    );
    assert_eq!(view["credential"]["environment"], "sandbox");
    let refused = run(&["-e", "live", "Say hello"], b"");
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(
        refused
            .stderr
            .contains("/keys/new?workspace=demo&provider=sandbox"),
        "{refused:#?}"
    );
    assert_eq!(refused.stdout, "");
    let empty = run(&[], b"\n");
    assert_eq!(empty.code, Some(2), "{empty:#?}");
}

/// The demo's admin address, and a copy of its token's file that another command can read.
fn way_in(demo: &Process, builder: &Builder) -> (String, String) {
    let ready = demo.log_line(|line| field(line, "message").as_deref() == Some("ready"));
    let admin = field(&ready.expect("it is ready"), "admin").expect("an address");
    let token = eventually("the demo prints where the token is", || {
        let said = demo.stdout();
        let (_, rest) = said.split_once("$(cat ")?;
        Some(rest.split_once(')')?.0.to_owned())
    });
    let copy = builder.home().join("token");
    fs::copy(token, &copy).expect("a readable token");
    (format!("http://{admin}"), copy.display().to_string())
}
