//! An upstream that echoes the key: the client never sees it, but everything else.

mod fields;
mod forms;

use crate::harness::{
    Ask, CREDENTIALS, Ending, KEY, Keyside, Message, Pair, Then, Upstream, chunk_of, chunked_head,
    expect, holds, reply, reply_in_chunks,
};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// The mask that replaces the key: as many bytes, so that lengths stay correct.
fn masked(text: &str) -> String {
    text.replace(KEY, &"*".repeat(KEY.len()))
}

fn check_body(name: &str, answer: &Message, sent: &str) {
    expect::keyless(name, answer);
    assert_eq!(answer.text(), masked(sent), "{name}");
    assert!(answer.is_whole(), "{name}: {:?}", answer.ending);
}

#[test]
fn a_key_in_a_body_of_known_length_is_masked() {
    let bodies = [
        (
            "an error",
            format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}"#),
        ),
        ("the key alone", KEY.to_owned()),
        ("the key at both ends", format!("{KEY} and {KEY}")),
        ("keys without a gap", format!("{KEY}{KEY}{KEY}")),
        ("a key that begins twice", format!("{}{KEY}", &KEY[..7])),
        (
            "a key that lacks its end",
            format!("as {}", &KEY[..KEY.len() - 1]),
        ),
    ];
    let pair = Pair::new();
    for (name, body) in bodies {
        let (_, answer) = pair.exchange(&Ask::chat(), reply(401, "", body.as_bytes()));
        assert_eq!(answer.status(), 401, "{name}");
        check_body(name, &answer, &body);
        assert_eq!(answer.ending, Ending::Length, "{name}: framing kept");
        assert!(!pair.keyside.logs().contains(KEY), "{name}: logged");
    }
}

#[test]
fn a_key_in_a_header_is_masked() {
    let headers = format!(
        "X-Echo: you sent Bearer {KEY}\r\nWWW-Authenticate: Bearer error=\"{KEY}\"\r\n\
         Set-Cookie: k={KEY}{KEY}; Path=/\r\nX-Plain: kept\r\n"
    );
    let upstream = Upstream::answering(move |_| reply(401, &headers, b"no"));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = keyside.ask(&Ask::chat());
    expect::keyless("headers", &answer);
    assert_eq!(answer.header("x-plain"), Some("kept"));
    assert_eq!(
        answer.header("x-echo"),
        Some(&*masked(&format!("you sent Bearer {KEY}")))
    );
}

#[test]
fn a_key_in_a_trailer_or_a_reason_is_masked() {
    let upstream = Upstream::answering(|_| {
        let trailers = format!("X-Echo: {KEY}\r\nX-Plain: kept\r\n");
        reply_in_chunks("Trailer: X-Echo, X-Plain\r\n", &[b"body"], &trailers)
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    expect::keyless(
        "a trailer",
        &keyside.ask(&Ask::chat().header("TE", "trailers")),
    );

    let line = format!("HTTP/1.1 401 {KEY}\r\nContent-Length: 0\r\n\r\n");
    let upstream = Upstream::answering(move |_| line.clone().into_bytes());
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), 401);
    expect::keyless("a reason phrase", &answer);
}

#[test]
fn a_key_cut_at_any_chunk_boundary_is_masked() {
    let body = format!("data: before {KEY} after\n\n");
    let start = body.find(KEY).expect("the key");
    let cuts: Vec<_> = (start..=start + KEY.len()).collect();
    let sent = body.clone();
    let upstream = Upstream::answering(move |seen| {
        let cut: usize = seen
            .header("x-cut")
            .and_then(|cut| cut.parse().ok())
            .expect("a cut");
        let (head, tail) = sent.as_bytes().split_at(cut);
        reply_in_chunks("Content-Type: text/event-stream\r\n", &[head, tail], "")
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    for cut in cuts {
        let answer = wire.ask(&Ask::chat().header("X-Cut", cut.to_string()));
        check_body(&format!("cut at {cut}"), &answer, &body);
    }
}

#[test]
fn a_key_sent_byte_by_byte_is_masked() {
    let body = format!("{KEY} x {} y {KEY}{}", &KEY[..9], &KEY[..3]);
    let sent = body.clone();
    let upstream = Upstream::scripted(move |_, line| {
        line.write(chunked_head(""));
        for byte in sent.as_bytes() {
            line.write(chunk_of(&[*byte]));
        }
        line.write("0\r\n\r\n");
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    check_body("byte by byte", &keyside.ask(&Ask::chat()), &body);
}

#[test]
fn a_key_sent_in_two_parts_is_masked_and_nothing_else_waits() {
    for cut in [1, KEY.len() / 2, KEY.len() - 1] {
        let (go, gate) = channel();
        let upstream = in_two_steps(gate, cut);
        let keyside = Keyside::with_openai(&upstream.base_url());
        let mut wire = keyside.wire();
        wire.send(Ask::chat().bytes());
        let head = wire.head().expect("a head before the body ends");
        assert_eq!(head.status(), 200);
        // The first half of the key has arrived; bytes before it must not wait for the rest.
        let mut body = wire.body_until("before ");
        go.send(()).expect("the upstream");
        while let Some(piece) = wire.piece() {
            body.extend(piece);
        }
        assert!(!holds(&body, KEY), "cut at {cut}");
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(text, masked(&format!("before {KEY} after")), "cut at {cut}");
    }
}

/// Sends the key's first `cut` bytes, waits for `gate`, then the others.
fn in_two_steps(gate: Receiver<()>, cut: usize) -> Upstream {
    let gate = Arc::new(Mutex::new(gate));
    Upstream::scripted(move |_, line| {
        line.write(chunked_head(""));
        line.write(chunk_of(format!("before {}", &KEY[..cut]).as_bytes()));
        gate.lock()
            .expect("one at a time")
            .recv()
            .expect("the test");
        line.write(chunk_of(format!("{} after", &KEY[cut..]).as_bytes()));
        line.write("0\r\n\r\n");
        Then::Keep
    })
}

#[test]
fn a_key_in_a_body_that_ends_with_the_connection_is_masked() {
    let body = format!(
        "half {} whole {KEY} half {}",
        &KEY[..5],
        &KEY[..KEY.len() - 1]
    );
    let sent = body.clone();
    let upstream = Upstream::scripted(move |_, line| {
        line.write(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{sent}"
        ));
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    check_body("until close", &keyside.ask(&Ask::chat()), &body);
}

#[test]
fn only_the_key_of_this_request_is_masked() {
    let other = "sk-proj-anotherKeyOfAnotherWorkspace0123456789";
    let body = format!("mine {KEY} other {other}");
    let sent = body.clone();
    let upstream = Upstream::answering(move |_| reply(200, "", sent.as_bytes()));
    let keyside = Keyside::with_openai(&upstream.base_url());
    keyside.workspace("other");
    keyside.add_key("other", "openai", "default", other);
    let theirs = keyside.ask(&Ask::chat().workspace("other"));
    assert!(!theirs.holds(other), "{}", theirs.text());
    let mine = keyside.ask(&Ask::chat());
    assert!(!mine.holds(KEY), "{}", mine.text());
}

#[test]
fn a_key_that_was_replaced_is_masked_while_it_is_in_grace() {
    let old = "sk-proj-theKeyBefore0123456789abcdefghijklmnopqrstuvwxyz";
    let escaped = old.replace('-', "%2d");
    let body = format!("new {KEY} old {old} {escaped} end");
    let sent = body.clone();
    let upstream =
        Upstream::answering(move |_| reply(200, &format!("X-Old: {escaped}\r\n"), sent.as_bytes()));
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    let credential = keyside.add_key("acme", "openai", "default", old);
    keyside.rotate(&credential, KEY);
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(
        upstream.only().header("authorization"),
        Some(&*format!("Bearer {KEY}"))
    );
    let mask = |text: &str| "*".repeat(text.len());
    let escaped = old.replace('-', "%2d");
    let masked = format!("new {} old {} {} end", mask(KEY), mask(old), mask(&escaped));
    assert_eq!(answer.text(), masked);
    assert_eq!(answer.header("x-old"), Some(&*mask(&escaped)));
}

#[test]
fn a_secret_too_short_to_be_masked_is_refused_wherever_one_is_given() {
    let keyside = Keyside::builder().start();
    keyside.workspace("acme");
    let fields = |secret: &str| {
        serde_json::json!({
            "workspaceId": "acme", "provider": "openai", "label": "default", "secret": secret,
        })
    };
    let check = |name: &str, answer: &Message| {
        assert_eq!(answer.status(), 422, "{name}: {}", answer.text());
        let errors = &answer.json()["errors"];
        assert_eq!(errors[0]["pointer"], "#/secret", "{name}: {errors}");
        let detail = errors[0]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("shorter than 8 bytes"), "{name}: {detail}");
        assert!(!answer.holds("sk-Q7zX"), "{name}: the secret came back");
    };
    check("a new one", &keyside.try_add(&fields("sk-Q7zX")));
    assert!(keyside.list().is_empty(), "nothing was stored");
    let added = keyside.add(fields("sk-Q7zX8"));
    let path = format!("{CREDENTIALS}/{}", added["id"].as_str().expect("an id"));
    let rotation = serde_json::json!({ "secret": "sk-Q7zX" });
    check(
        "a rotation",
        &keyside.admin("PATCH", &path, Some(&rotation)),
    );
    assert_eq!(keyside.list()[0]["versions"], added["versions"]);

    let id = added["id"].as_str().expect("an id");
    for arguments in [
        vec!["key", "rotate", id, "--stdin"],
        vec![
            "key",
            "add",
            "--workspace",
            "acme",
            "--provider",
            "openai",
            "--label",
            "b",
            "--stdin",
        ],
    ] {
        let exit = keyside.cli().run(&arguments, b"sk-Q7zX\n");
        assert_eq!(exit.code, Some(1), "{exit:#?}");
        assert!(exit.stderr.contains("shorter than 8 bytes"), "{exit:#?}");
    }
}

#[test]
fn the_upstream_is_asked_for_an_encoding_that_can_be_searched() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    keyside.ask(&Ask::chat().header("Accept-Encoding", "gzip, br, zstd"));
    let accepted = upstream.only();
    assert!(matches!(
        accepted.header("accept-encoding"),
        None | Some("identity")
    ));

    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.accept_encoding", "\"pass\"")
        .start()
        .with_key();
    keyside.ask(&Ask::chat().header("Accept-Encoding", "gzip, br, zstd"));
    assert_eq!(
        upstream.only().header("accept-encoding"),
        Some("gzip, br, zstd")
    );
}
