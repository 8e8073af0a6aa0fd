//! The key outside of the body: in names of headers and trailers, and in values in any form.

use crate::harness::{Ask, KEY, Keyside, Message, Pair, Upstream, expect, reply, reply_in_chunks};

/// Fails if the key is in any header or trailer, in any case, because names are case-insensitive.
fn check_fields(name: &str, answer: &Message) {
    expect::keyless(name, answer);
    let key = KEY.to_lowercase();
    for (field, value) in answer.headers.iter().chain(&answer.trailers) {
        let line = format!("{field}: {value}").to_lowercase();
        assert!(!line.contains(&key), "{name}: {line}");
    }
}

#[test]
fn a_header_that_has_the_key_in_its_name_is_dropped() {
    let escaped = KEY.replacen("sk-", "sk%2D", 1);
    let headers = format!(
        "{KEY}: 1\r\nX-{KEY}-Echo: 2\r\n{escaped}: 3\r\n{upper}: 4\r\n{KEY}: 5\r\nX-Plain: kept\r\n",
        upper = KEY.to_uppercase(),
    );
    let pair = Pair::new();
    let (_, answer) = pair.exchange(&Ask::chat(), reply(200, &headers, b"body"));
    check_fields("header names", &answer);
    let lower = escaped.to_lowercase();
    let is_escaped = |(name, _): &(String, String)| name.to_lowercase() == lower;
    assert!(
        !answer.headers.iter().any(is_escaped),
        "{:?}",
        answer.headers
    );
    assert_eq!(answer.header("x-plain"), Some("kept"));
    assert_eq!(answer.text(), "body");
}

#[test]
fn a_trailer_that_has_the_key_in_its_name_is_dropped() {
    let upstream = Upstream::answering(|_| {
        let trailers = format!("X-{KEY}: 1\r\nX-Plain: kept\r\n{KEY}: 2\r\n");
        let named = format!("Trailer: X-{KEY}, X-Plain\r\n");
        reply_in_chunks(&named, &[b"body"], &trailers)
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = keyside.ask(&Ask::chat().header("TE", "trailers"));
    check_fields("trailer names", &answer);
    assert_eq!(answer.text(), "body");
}

#[test]
fn a_key_in_any_form_is_masked_in_a_header_s_value() {
    let stars = |text: &str| "*".repeat(text.len());
    let forms = [
        KEY.to_owned(),
        KEY.to_lowercase(),
        KEY.replace('-', "%2d"),
        KEY.replacen('s', "%73", 1),
        KEY.replace('-', "\\u002D"),
        KEY.replace('-', "&#45;"),
    ];
    let pair = Pair::new();
    for form in forms {
        for (name, before, behind) in [
            ("Location", "https://x.example/?k=", "&a=1"),
            ("Set-Cookie", "", "=1; Path=/"),
            ("Set-Cookie", "a=", "; Path=/"),
            ("Vary", "x-", ", accept"),
            ("X-Error", "{\"message\":\"", "\"}"),
        ] {
            let headers = format!("{name}: {before}{form}{behind}\r\n");
            let (_, answer) = pair.exchange(&Ask::chat(), reply(307, &headers, b""));
            let masked = format!("{before}{}{behind}", stars(&form));
            assert_eq!(answer.header(name), Some(&*masked), "{headers}");
        }
    }
}

#[test]
fn a_reason_phrase_of_the_upstream_s_own_is_not_passed_on() {
    let pair = Pair::new();
    for reason in [
        KEY.to_owned(),
        KEY.replace('-', "%2d"),
        "Nothing-Of-Ours".into(),
    ] {
        let line = format!("HTTP/1.1 401 {reason}\r\nContent-Length: 0\r\n\r\n");
        let (_, answer) = pair.exchange(&Ask::chat(), line.into_bytes());
        assert_eq!(answer.start, "HTTP/1.1 401 Unauthorized");
    }
}
