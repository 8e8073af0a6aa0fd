//! CR, LF, NUL and other control characters: refused on input, and never forwarded raw.

use crate::harness::{Ask, Keyside, Upstream, field, holds};
use serde_json::{Value, json};

/// Each is in the middle of a value, so that trimming does not remove it.
const BAD: &[(&str, &str)] = &[
    ("CR LF", "x\r\nX-Injected: 1"),
    ("LF", "x\ny"),
    ("CR", "x\ry"),
    ("NUL", "x\0y"),
    ("ESC", "x\u{1b}[2Jy"),
    ("DEL", "x\u{7f}y"),
    ("tab", "x\ty"),
];

/// Tries to add a credential with each bad value in `name`.
fn check_refused(name: &str, values: &[(&str, String)]) {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    for (what, value) in values {
        let mut fields = json!({
            "workspaceId": "acme", "provider": "openai", "label": "default",
            "secret": "sk-proj-0123456789abcdef0123456789",
        });
        fields[name] = Value::from(value.as_str());
        let answer = keyside.try_add(&fields);
        let status = answer.status();
        assert!(
            (400..500).contains(&status),
            "{name} with {what}: {status} {}",
            answer.text()
        );
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(
            kind.starts_with("application/problem+json"),
            "{name} with {what}: {kind}"
        );
        assert!(
            !holds(&answer.raw, "\r\nX-Injected"),
            "{name} with {what}: {:?}",
            answer.text()
        );
        if name == "secret" && !value.trim().is_empty() {
            assert!(!answer.holds(value), "{what}: the secret came back");
        }
    }
    assert_eq!(keyside.list(), Vec::<Value>::new(), "nothing was stored");
    raw_in_no_log(&keyside);
}

/// Every line of the log is one JSON object with nothing raw in it.
fn raw_in_no_log(keyside: &Keyside) {
    for line in keyside.logs().lines() {
        assert!(!line.contains(['\0', '\u{1b}', '\r', '\u{7f}']), "{line:?}");
        assert!(!line.starts_with("X-Injected"), "{line:?}");
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    }
}

#[test]
fn a_secret_with_a_character_that_no_header_carries_is_refused_at_write() {
    let wrap = |text: &str| format!("sk-proj-01234{text}6789abcdef0123456789");
    let mut values: Vec<_> = BAD.iter().map(|(what, text)| (*what, wrap(text))).collect();
    values.push(("a letter outside ASCII", wrap("\u{e9}")));
    values.push(("a zero-width space", wrap("\u{200b}")));
    values.push(("a soft hyphen", wrap("\u{ad}")));
    values.push(("a space inside", wrap(" ")));
    values.push(("nothing", String::new()));
    values.push(("spaces only", "   ".into()));
    values.push(("more than 8192 characters", "k".repeat(8193)));
    check_refused("secret", &values);
}

#[test]
fn a_label_with_a_control_character_is_refused_at_write() {
    let mut values: Vec<_> = BAD
        .iter()
        .map(|(what, text)| (*what, (*text).to_owned()))
        .collect();
    values.push(("nothing", String::new()));
    values.push(("more than 64 characters", "l".repeat(65)));
    values.push(("a letter outside ASCII", "Z\u{fc}rich".into()));
    values.push(("a direction override", "a\u{202e}b".into()));
    check_refused("label", &values);
}

#[test]
fn a_usage_tag_with_a_control_character_is_refused_at_write() {
    let values: Vec<_> = BAD
        .iter()
        .map(|(what, text)| (*what, (*text).to_owned()))
        .collect();
    check_refused("usageTag", &values);
}

#[test]
fn a_newline_at_the_end_of_a_pasted_secret_is_removed() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    keyside.add_key(
        "acme",
        "openai",
        "default",
        "sk-proj-0123456789abcdef0123456789\n",
    );
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    let sent = upstream.only();
    assert_eq!(
        sent.headers_named("authorization"),
        ["Bearer sk-proj-0123456789abcdef0123456789"]
    );
}

#[test]
fn a_request_header_of_ours_outside_visible_ascii_is_refused() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let names = ["Workspace", "Label", "Environment", "Run", "Tag"];
    let values: &[(&str, &[u8])] = &[
        ("UTF-8", "caf\u{e9}".as_bytes()),
        ("Latin-1", b"caf\xe9"),
        ("a byte that is no text", b"a\xff\xfeb"),
        ("ESC", b"a\x1b[2Jb"),
        ("NUL", b"a\0b"),
        ("DEL", b"a\x7fb"),
        ("a bare CR", b"a\rb"),
    ];
    for name in names {
        for (what, value) in values {
            let header = format!("X-Keyside-{name}");
            let answer = keyside.ask(&Ask::chat().without(&header).header(&header, value));
            let text = answer.text();
            assert_eq!(answer.status(), 400, "{header} with {what}: {text}");
        }
    }
    assert_eq!(upstream.connections(), 0);
    raw_in_no_log(&keyside);
}

#[test]
fn a_label_with_a_space_and_a_percent_travels_both_ways() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    keyside.add_key(
        "acme",
        "openai",
        "QA 100% Sandbox",
        "sk-proj-0123456789abcdef0123456789",
    );
    for asked in ["QA 100%25 Sandbox", "QA%20100%25%20Sandbox"] {
        let answer = keyside.ask(&Ask::chat().header("X-Keyside-Label", asked));
        assert_eq!(answer.status(), 200, "{asked}: {}", answer.text());
        let told = answer
            .header("x-keyside-credential-label")
            .unwrap_or_default()
            .to_owned();
        let again = keyside.ask(&Ask::chat().header("X-Keyside-Label", &told));
        assert_eq!(again.status(), 200, "a returned label works: {told}");
    }
}

#[test]
fn a_run_and_a_tag_are_logged_as_they_are_and_on_one_line() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let hostile = r#"a"b\n{"level":"ERROR"}\u0000"#;
    let ask = Ask::chat()
        .header("X-Keyside-Run", hostile)
        .header("X-Keyside-Tag", hostile);
    let answer = keyside.ask(&ask);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let id = answer
        .header("x-keyside-request-id")
        .expect("a request id")
        .to_owned();
    keyside.log_line(|line| field(line, "request_id").as_deref() == Some(&id));
    raw_in_no_log(&keyside);
}

#[test]
fn a_label_that_unescapes_to_control_characters_is_no_label() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for label in [
        "a%0d%0aX-Injected:%201",
        "a%00b",
        "%1b[2J",
        "a%0Ab",
        "%c3%28",
        "%ff",
    ] {
        let answer = keyside.ask(&Ask::chat().header("X-Keyside-Label", label));
        assert_eq!(answer.status(), 400, "{label}: {}", answer.text());
        assert_eq!(answer.header("x-injected"), None, "{label}");
        assert!(
            !answer.body.iter().any(u8::is_ascii_control),
            "{label}: {:?}",
            answer.text()
        );
    }
    assert_eq!(upstream.connections(), 0);
    raw_in_no_log(&keyside);
}
