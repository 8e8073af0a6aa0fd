//! Kept HTTP/1.1 connections, which a provider may close while a request is being sent.

use crate::harness::{Ask, Keyside, Line, Message, PATIENCE, Seen, Then, Upstream, expect, reply};
use std::sync::mpsc::channel;

const MODELS: &str = "/openai/v1/models";
/// What requests of these tests may do.
const ROUTES: &str = r#"["GET HEAD PUT DELETE /v1/models", "POST /v1/chat/completions"]"#;

/// A provider that breaks off on demand: applies `fault` to requests with `X-Fault` on connections
/// before number `healthy`, from 0.
fn breaking(
    healthy: usize,
    fault: impl Fn(&mut Line) + Send + Sync + 'static,
) -> (Upstream, Keyside) {
    let upstream = Upstream::scripted(move |seen, line| {
        if seen.connection < healthy && seen.header("x-fault").is_some() {
            fault(line);
            return Then::Close;
        }
        let body: &[u8] = match seen.method() {
            "HEAD" => b"",
            _ => b"{}",
        };
        line.write(reply(200, "", body));
        Then::Keep
    });
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("providers.openai.routes", ROUTES)
        .start()
        .with_key();
    (upstream, keyside)
}

/// Sends a harmless request, so that a connection is kept, and then one with the fault. Returns its
/// response, and every copy of it that arrived.
fn on_a_kept_connection(upstream: &Upstream, keyside: &Keyside, ask: &Ask) -> (Message, Vec<Seen>) {
    let mut wire = keyside.wire();
    let first = wire.ask(&Ask::get(MODELS));
    assert_eq!(first.status(), 200, "the first: {}", first.text());
    let answer = wire.ask(&ask.clone().header("X-Fault", "1"));
    let mut arrived = upstream.requests();
    arrived.retain(|seen| seen.header("x-fault").is_some());
    assert_eq!(arrived[0].connection, 0, "it went over the kept connection");
    (answer, arrived)
}

fn reading() -> [(&'static str, Ask); 2] {
    [
        ("GET", Ask::get(MODELS)),
        ("HEAD", Ask::new("HEAD", MODELS).workspace("acme")),
    ]
}

#[test]
fn a_get_or_head_is_sent_once_more_when_a_kept_connection_closes_without_a_byte() {
    for (name, ask) in reading() {
        let (upstream, keyside) = breaking(1, |_| {});
        let (answer, arrived) = on_a_kept_connection(&upstream, &keyside, &ask);
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        let over: Vec<_> = arrived.iter().map(|seen| seen.connection).collect();
        assert_eq!(over, [0, 1], "{name}: the connections that it came over");
        assert_eq!(arrived[0].target(), arrived[1].target(), "{name}");
        assert_eq!(arrived[0].headers, arrived[1].headers, "{name}");
    }
}

#[test]
fn a_get_is_sent_once_more_and_not_twice() {
    for (name, ask) in reading() {
        let (upstream, keyside) = breaking(100, |_| {});
        let (answer, arrived) = on_a_kept_connection(&upstream, &keyside, &ask);
        assert_eq!(answer.status(), 502, "{name}: {}", answer.text());
        assert_eq!(arrived.len(), 2, "{name}: it was sent once");
    }
}

#[test]
fn a_get_is_not_sent_again_when_a_byte_of_an_answer_came() {
    for said in ["H", "HTTP/1.1 200 OK\r\nContent-Le", "\r\n"] {
        let (upstream, keyside) = breaking(1, move |line| {
            line.write(said);
        });
        let (answer, arrived) = on_a_kept_connection(&upstream, &keyside, &Ask::get(MODELS));
        expect::refused(said, &answer, 502, "upstream_unreachable");
        assert_eq!(arrived.len(), 1, "{said:?}: it was sent so often");
    }
}

#[test]
fn a_request_that_may_do_something_is_not_sent_again() {
    let with_body = |method| Ask::new(method, MODELS).workspace("acme").body(b"body");
    for (name, ask) in [
        ("a POST", Ask::chat()),
        ("a POST without a body", Ask::chat().bare()),
        ("a PUT", with_body("PUT")),
        ("a DELETE", Ask::new("DELETE", MODELS).workspace("acme")),
        ("a GET with a body", with_body("GET")),
    ] {
        let (upstream, keyside) = breaking(1, |_| {});
        let (answer, arrived) = on_a_kept_connection(&upstream, &keyside, &ask);
        expect::refused(name, &answer, 502, "upstream_unreachable");
        let advice = answer.header("x-should-retry");
        assert_eq!(advice, Some("false"), "{name}: SDKs must not retry");
        assert_eq!(arrived.len(), 1, "{name}: it was sent once");
    }
}

#[test]
fn a_get_is_not_sent_again_when_a_new_connection_closes() {
    let (upstream, keyside) = breaking(100, |_| {});
    let answer = keyside.ask(&Ask::get(MODELS).header("X-Fault", "1"));
    expect::refused("a GET", &answer, 502, "upstream_unreachable");
    assert_eq!(upstream.requests().len(), 1, "it was sent so often");
}

#[test]
fn an_idle_connection_is_let_go_before_its_provider_closes_it() {
    // Reports which provider's connection Keyside closed, in order.
    let (closed, order) = channel::<&'static str>();
    let keeping = |name: &'static str, keep_alive: &'static str| {
        let closed = closed.clone();
        Upstream::scripted(move |_, line| {
            line.write(reply(200, keep_alive, b"{}"));
            if line.peek().is_ok_and(|more| !more) {
                let _ = closed.send(name);
                return Then::Close;
            }
            Then::Keep
        })
    };
    let usual = keeping("no Keep-Alive", "");
    let short = keeping("Keep-Alive: timeout=1", "Keep-Alive: timeout=1\r\n");
    let keyside = Keyside::builder()
        .provider("openai", &usual.base_url())
        .provider("groq", &short.base_url())
        .start()
        .with_key();
    keyside.add_key(
        "acme",
        "groq",
        "default",
        "gsk_e2eKeySideOnly0123456789abcdefghijklmnopqrstuvwxyz01234567",
    );
    let hasty = Ask::post("/groq/openai/v1/chat/completions");
    // The connection that must close first is used last.
    for ask in [Ask::chat(), hasty.clone()] {
        let answer = keyside.ask(&ask);
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    let first = order
        .recv_timeout(PATIENCE)
        .expect("an idle connection is let go");
    assert_eq!(first, "Keep-Alive: timeout=1", "was let go first");
    let answer = keyside.ask(&hasty);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let seen = short.requests();
    let over: Vec<_> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(over, [0, 1], "the connections that its requests came over");
}
