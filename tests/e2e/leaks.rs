//! The key is only in the upstream's request: no response contains it in any form.

use crate::harness::{Ask, CHAT, KEY, Keyside, Pair, Upstream, Wire, holds, reply};

/// The forms of a leak: raw, and as logs and encoders would write it.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let escaped: String = bytes
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let reversed = secret.chars().rev().collect();
    // Inside other bytes, a key can have three offsets in base64; only whole groups are
    // recognisable.
    let inner = (0..3).map(|skip| base64(&bytes[skip..]));
    let inner = inner.map(|text| text[..text.len() - 4].to_owned());
    [
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        escaped,
        reversed,
    ]
    .into_iter()
    .chain(inner)
    .collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let wide = chunk
            .iter()
            .fold(0_usize, |wide, byte| wide << 8 | usize::from(*byte));
        (0..4)
            .rev()
            .map(move |digit| char::from(DIGITS[wide >> (6 * digit) & 63]))
            .collect::<String>()
    };
    bytes.chunks_exact(3).map(group).collect()
}

fn check(name: &str, said: &[u8]) {
    for form in forms(KEY) {
        assert!(
            !holds(said, &form),
            "{name}: {form} in {}",
            String::from_utf8_lossy(said)
        );
    }
}

#[test]
fn the_forms_that_are_looked_for_are_those_of_the_standards() {
    assert_eq!(base64(b"key side"), "a2V5IHNp");
    let found = forms("sk-a_b");
    assert!(found.contains(&"736b2d615f62".to_owned()), "{found:?}");
    assert!(found.contains(&"sk%2Da%5Fb".to_owned()), "{found:?}");
}

#[test]
fn no_answer_of_any_kind_holds_the_key() {
    let pair = Pair::new();
    let keyside = &pair.keyside;
    let echo = format!(r#"{{"error":"Incorrect API key provided: {KEY}"}}"#);
    let headers = format!("X-Echo: Bearer {KEY}\r\nSet-Cookie: k={KEY}\r\n");
    let asks: Vec<(&str, Ask)> = vec![
        ("an echo", Ask::chat()),
        ("an unknown workspace", Ask::chat().workspace("nobody")),
        ("no workspace", Ask::chat().without("X-Keyside-Workspace")),
        (
            "an unknown label",
            Ask::chat().header("X-Keyside-Label", "x"),
        ),
        (
            "a path that is not allowed",
            Ask::get("/openai/v1/organization/users"),
        ),
        ("an unknown provider", Ask::get("/nosuch/v1/models")),
        ("a web page", Ask::chat().header("Origin", "null")),
        ("another host", Ask::chat().set("Host", "attacker.example")),
        (
            "a malformed request",
            Ask::chat().header("X-Keyside-Environment", "x"),
        ),
        // If the client sends the key itself, an echo reveals nothing.
        (
            "the key sent as a credential",
            Ask::chat().header("Authorization", format!("Bearer {KEY}")),
        ),
        ("the key sent as a workspace", Ask::chat().workspace(KEY)),
        (
            "the key sent as a workspace in the path",
            Ask::post(&format!("/w/{KEY}{CHAT}")).without("X-Keyside-Workspace"),
        ),
        (
            "the key sent as a provider",
            Ask::post(&format!("/{KEY}/v1/chat/completions")),
        ),
        (
            "the key sent as a path",
            Ask::post(&format!("/openai/{KEY}")),
        ),
    ];
    pair.will_answer(reply(401, &headers, echo.as_bytes()));
    for (name, ask) in asks {
        check(name, &keyside.ask(&ask).raw);
    }
    check("a cut request", &keyside.raw("GARBAGE\r\n\r\n"));
    check("metrics", keyside.metrics().as_bytes());
    check(
        "the list",
        &keyside
            .admin("GET", "/api/integrations/credentials", None)
            .raw,
    );
    check(
        "the providers",
        &keyside
            .admin("GET", "/api/integrations/providers", None)
            .raw,
    );
    let (_, exit) = pair.keyside.stop();
    check("standard output", exit.stdout.as_bytes());
    check("the log", exit.stderr.as_bytes());
}

#[test]
fn the_loudest_log_holds_no_key_and_no_header() {
    let upstream =
        Upstream::answering(|_| reply(401, &format!("X-Echo: {KEY}\r\n"), KEY.as_bytes()));
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("log.filter", "\"trace\"")
        .start()
        .with_key();
    let private = "prompt-that-is-nobody-elses-business";
    for _ in 0..3 {
        let ask = Ask::chat()
            .header("Authorization", "Bearer client-own-credential-ZZ81")
            .header("X-Private", private)
            .body(private.as_bytes());
        assert_eq!(keyside.ask(&ask).status(), 401);
    }
    let token = keyside.token();
    let (_, exit) = keyside.stop();
    let said = [exit.stderr, exit.stdout].concat();
    check("at trace", said.as_bytes());
    for secret in ["client-own-credential-ZZ81", private, &token] {
        assert!(!said.contains(secret), "{secret} was logged");
    }
    assert!(said.contains("req_"), "it did log: {said}");
}

#[test]
fn a_wrong_certificate_or_a_dead_upstream_says_nothing_of_the_key() {
    let plain = Upstream::ok();
    for base_url in [
        plain.base_url().replace("http://", "https://"),
        "https://no-such-name.invalid".to_owned(),
        "http://127.0.0.1:1".to_owned(),
    ] {
        let keyside = Keyside::with_openai(&base_url);
        let answer = Wire::tcp(keyside.proxy_addr()).ask(&Ask::chat());
        assert_eq!(answer.status(), 502, "{}", answer.text());
        check(&base_url, &answer.raw);
        let (_, exit) = keyside.stop();
        check(&base_url, exit.stderr.as_bytes());
    }
    check("what arrived without TLS", &plain.bytes());
}
