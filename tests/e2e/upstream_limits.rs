//! Connections to providers and open files are limited and shared: a greedy workspace is refused,
//! others and the owner are served.

mod uploads;

use crate::harness::frames::{END_HEADERS, Frames, HEADERS, block, frame};
use crate::harness::h2_upstream::{H2Answer, H2Upstream};
use crate::harness::h2c::{H2Stream, H2c};
use crate::harness::tls::{Authority, VALID};
use crate::harness::{
    Ask, CHAT, Keyside, Message, Upstream, Wire, allow_sockets, eventually, expect, holds, reply,
};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

const LIMITS: [&str; 2] = [
    "proxy.limits.upstream_connections",
    "proxy.limits.upstream_connections_per_destination",
];

/// A client that sends half of each request and waits, so that each occupies an upstream
/// connection.
struct Hog {
    client: H2c,
    held: Vec<H2Stream>,
    refused: Vec<Message>,
}

impl Hog {
    /// Sends half of `ask` this many times, and returns when each has arrived at `upstream` or was
    /// refused.
    fn new(keyside: &Keyside, upstream: &Upstream, ask: &Ask, times: usize) -> Self {
        let mut client = H2c::connect(keyside.proxy_addr());
        let open = |_| {
            let half = format!("half {};", HALVES.fetch_add(1, Ordering::Relaxed));
            let mut stream = client.open(ask, false);
            client.send(&mut stream, half.as_bytes(), false);
            (stream, half)
        };
        let mut undecided: Vec<_> = (0..times).map(open).collect();
        let (mut held, mut refused) = (Vec::new(), Vec::new());
        eventually("a connection or a refusal for each", || {
            let arrived = upstream.bytes();
            for n in (0..undecided.len()).rev() {
                let (stream, half) = &mut undecided[n];
                if holds(&arrived, half) {
                    held.push(undecided.remove(n).0);
                } else if client.is_answered(stream) {
                    refused.push(client.finish(undecided.remove(n).0));
                }
            }
            undecided.is_empty().then_some(())
        });
        Self {
            client,
            held,
            refused,
        }
    }

    /// Sends the other half of each request, and reads the responses.
    fn finish_all(&mut self) {
        for mut stream in self.held.drain(..) {
            self.client.send(&mut stream, b" and the rest", true);
            assert_eq!(self.client.finish(stream).status(), 200);
        }
    }
}

/// Distinguishes each half-sent request from the others of its test.
static HALVES: AtomicUsize = AtomicUsize::new(0);

fn chat() -> Ask {
    Ask::chat().bare()
}

/// The secret of a second key of `acme`, with the label `second`.
const SECOND_KEY: &str = "sk-proj-e2eSecond0123456789abcdefghijklmnop";

fn second_key(ask: Ask) -> Ask {
    ask.header("X-Keyside-Label", "second")
}

/// Keyside with one of its limits at `limit`, and with OpenAI keys of the workspaces `acme` and
/// `other`.
fn limited(setting: &str, limit: usize, upstream: &Upstream) -> Keyside {
    Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set(setting, &limit.to_string())
        .start()
        .with_key()
        .with_other_key()
}

fn check_overloaded(name: &str, answer: &Message) {
    expect::refused(name, answer, 503, "overloaded");
    let after = answer.header("retry-after").map(str::parse::<u32>);
    assert!(
        matches!(after, Some(Ok(1..))),
        "{name}: {:?}",
        answer.headers
    );
    assert_eq!(answer.header("x-should-retry"), Some("true"), "{name}");
}

/// The view of a workspace's only credential.
fn credential_of(keyside: &Keyside, workspace: &str) -> Value {
    let all = keyside.list();
    let own = all.iter().find(|view| view["workspaceId"] == workspace);
    own.unwrap_or_else(|| panic!("none of {workspace} in {all:?}"))
        .clone()
}

#[test]
fn half_sent_requests_take_no_more_than_half_of_the_upstream_connections() {
    for setting in LIMITS {
        let upstream = Upstream::ok();
        let keyside = limited(setting, 8, &upstream);
        let hog = Hog::new(&keyside, &upstream, &chat(), 12);
        let held = hog.held.len();
        assert!(
            (1..=4).contains(&held),
            "{setting}: a workspace holds {held} of 8"
        );
        for refusal in &hog.refused {
            check_overloaded(setting, refusal);
        }
        check_overloaded(setting, &keyside.ask(&Ask::chat()));
        let answer = keyside.ask(&Ask::chat().workspace("other"));
        assert_eq!(
            answer.status(),
            200,
            "{setting}: another workspace: {}",
            answer.text()
        );
    }
}

#[test]
fn slots_of_a_greedy_workspace_are_free_again_after_it_disconnects() {
    for setting in LIMITS {
        let upstream = Upstream::ok();
        let keyside = limited(setting, 4, &upstream);
        let hog = Hog::new(&keyside, &upstream, &chat(), 6);
        check_overloaded(setting, &keyside.ask(&Ask::chat()));
        drop(hog);
        eventually("an answer to who was refused", || {
            (keyside.ask(&Ask::chat()).status() == 200).then_some(())
        });
        // All slots that it held are free again.
        let again = Hog::new(&keyside, &upstream, &chat(), 6);
        assert!(!again.held.is_empty(), "{setting}: nothing can be had");
    }
}

#[test]
fn a_request_that_has_a_connection_is_finished_while_others_are_refused() {
    let upstream = Upstream::answering(|seen| reply(200, "", &seen.body));
    let keyside = limited(LIMITS[0], 4, &upstream);
    let mut hog = Hog::new(&keyside, &upstream, &chat(), 6);
    let mut stream = hog.held.pop().expect("a connection");
    hog.client.send(&mut stream, b" and the rest", true);
    let answer = hog.client.finish(stream);
    let text = answer.text();
    assert_eq!(answer.status(), 200, "{text}");
    assert!(text.ends_with("; and the rest"), "{text}");
}

#[test]
fn an_owner_revokes_while_every_upstream_connection_is_taken() {
    let upstream = Upstream::ok();
    let keyside = limited(LIMITS[0], 2, &upstream);
    let other = chat().workspace("other");
    let hogs = [&chat(), &other].map(|ask| Hog::new(&keyside, &upstream, ask, 3));
    keyside.revoke(&credential_of(&keyside, "other"));
    let answer = keyside.ask(&Ask::chat().workspace("other"));
    expect::refused("revoked", &answer, 401, "credential_revoked");
    assert_eq!(keyside.observed("/healthz").status(), 200);
    drop(hogs);
}

#[test]
fn a_new_workspace_is_served_however_many_others_are_greedy() {
    for setting in LIMITS {
        let upstream = Upstream::ok();
        let keyside = limited(setting, 32, &upstream);
        let hogs: Vec<_> = (0..4)
            .map(|n| {
                let workspace = format!("hog-{n}");
                keyside.workspace(&workspace);
                let secret = format!("sk-proj-e2eHog{n}0123456789abcdefghijklmnop");
                keyside.add_key(&workspace, "openai", "default", &secret);
                Hog::new(&keyside, &upstream, &chat().workspace(&workspace), 24)
            })
            .collect();
        let held: Vec<_> = hogs.iter().map(|hog| hog.held.len()).collect();
        assert!(
            held.iter().all(|held| *held > 0),
            "{setting}: who came later got nothing: {held:?}"
        );
        let answer = keyside.ask(&Ask::chat());
        assert_eq!(
            answer.status(),
            200,
            "{setting}: beside {held:?} of 32: {}",
            answer.text()
        );
    }
}

#[test]
fn idle_connections_do_not_block_new_workspaces() {
    for setting in LIMITS {
        let upstream = Upstream::ok();
        let keyside = limited(setting, 2, &upstream);
        let workspaces = ["acme", "other", "third"];
        keyside.workspace("third");
        let secret = "sk-proj-e2eThird0123456789abcdefghijklmnop";
        keyside.add_key("third", "openai", "default", secret);
        for workspace in workspaces {
            let answer = keyside.ask(&Ask::chat().workspace(workspace));
            assert_eq!(
                answer.status(),
                200,
                "{setting}: {workspace}, with nothing in flight: {}",
                answer.text()
            );
        }
    }
}

/// Each key has its own connections, and the idle ones of a key that is no longer used count towards
/// the workspace's share.
#[test]
fn all_requests_with_another_key_get_the_slots_of_idle_connections() {
    for setting in LIMITS {
        let upstream = Upstream::ok();
        let keyside = limited(setting, 16, &upstream);
        keyside.add_key("acme", "openai", "second", SECOND_KEY);
        let mut first = Hog::new(&keyside, &upstream, &chat(), 8);
        assert_eq!(first.held.len(), 8, "{setting}: its share");
        first.finish_all();
        let hog = Hog::new(&keyside, &upstream, &second_key(chat()), 8);
        assert_eq!(hog.held.len(), 8, "{setting}: in place of the idle ones");
    }
}

/// Others hold so many that the workspace has more than are free.
#[test]
fn a_workspace_beside_others_exchanges_its_own_idle_connections() {
    for setting in LIMITS {
        let upstream = Upstream::ok();
        let keyside = limited(setting, 16, &upstream);
        keyside.add_key("acme", "openai", "second", SECOND_KEY);
        let others = Hog::new(&keyside, &upstream, &chat().workspace("other"), 3);
        assert_eq!(others.held.len(), 3, "{setting}: less than their share");
        let mut first = Hog::new(&keyside, &upstream, &chat(), 8);
        assert_eq!(first.held.len(), 7, "{setting}: its share of the other 13");
        first.finish_all();
        let hog = Hog::new(&keyside, &upstream, &second_key(chat()), 8);
        assert_eq!(hog.held.len(), 7, "{setting}: in place of the idle ones");
    }
}

#[test]
fn an_idle_connection_of_one_listener_gives_its_slot_to_another() {
    for setting in LIMITS {
        let upstream = Upstream::ok();
        let keyside = Keyside::builder()
            .set("proxy.listen", r#"["127.0.0.1:0", "127.0.0.1:0"]"#)
            .provider("openai", &upstream.base_url())
            .set(setting, "1")
            .start()
            .with_key()
            .with_other_key();
        let listeners = keyside.proxy_addrs();
        for (listener, workspace) in [(0, "acme"), (1, "acme"), (0, "other")] {
            let ask = Ask::chat().workspace(workspace);
            let answer = Wire::tcp(listeners[listener]).ask(&ask);
            assert_eq!(
                answer.status(),
                200,
                "{setting}: {workspace} at {listener}: {}",
                answer.text()
            );
        }
    }
}

#[test]
fn an_idle_http_2_connection_gives_its_slot_to_another_key() {
    for setting in LIMITS {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"], VALID);
        let upstream = H2Upstream::start(&identity, false, H2Answer::default());
        let keyside = authority
            .trusted_at(&upstream.url_for("localhost"))
            .set(setting, "1")
            .start()
            .with_key();
        keyside.add_key("acme", "openai", "second", SECOND_KEY);
        for ask in [Ask::chat(), second_key(Ask::chat()), Ask::chat()] {
            let answer = keyside.ask(&ask);
            assert_eq!(answer.status(), 200, "{setting}: {}", answer.text());
        }
        let used: Vec<_> = upstream.requests().iter().map(|it| it.connection).collect();
        assert_eq!(
            used,
            [0, 1, 2],
            "{setting}: a connection for each change of key"
        );
    }
}

#[test]
fn a_full_destination_does_not_affect_others() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .provider("anthropic", &upstream.base_url())
        .set(LIMITS[1], "2")
        .start()
        .with_key();
    let secret = "sk-ant-api03-e2eKeySideOnly0123456789abcdef";
    keyside.add_key("acme", "anthropic", "default", secret);
    let hog = Hog::new(&keyside, &upstream, &chat(), 4);
    check_overloaded("a full destination", &keyside.ask(&Ask::chat()));
    let answer = keyside.ask(&Ask::post("/anthropic/v1/messages"));
    assert_eq!(answer.status(), 200, "another: {}", answer.text());
    drop(hog);
}

/// Its share of all connections is in use, so a slot of the destination would not help it.
#[test]
fn a_workspace_that_gets_no_connection_closes_none_of_another() {
    let upstream = Upstream::answering(|_| reply(200, "Keep-Alive: timeout=60\r\n", b"kept"));
    let mut builder = Keyside::builder().set(LIMITS[0], "4").set(LIMITS[1], "1");
    for provider in ["openai", "anthropic", "mistral"] {
        builder = builder.provider(provider, &upstream.base_url());
    }
    let keyside = builder.start().with_key().with_other_key();
    let paths = [
        ("anthropic", "/anthropic/v1/messages"),
        ("mistral", "/mistral/v1/chat/completions"),
    ];
    let hogs = paths.map(|(provider, path)| {
        let secret = format!("{provider}-e2eKeySideOnly0123456789abcdef");
        keyside.add_key("acme", provider, "default", &secret);
        Hog::new(&keyside, &upstream, &Ask::post(path).bare(), 1)
    });
    assert!(hogs.iter().all(|hog| hog.held.len() == 1), "its share");
    let other = Ask::chat().workspace("other");
    assert_eq!(keyside.ask(&other).status(), 200);
    let before = upstream.connections();
    check_overloaded("more than its share", &keyside.ask(&Ask::chat()));
    assert_eq!(keyside.ask(&other).status(), 200);
    assert_eq!(upstream.connections(), before, "its connection was closed");
}

#[test]
fn a_refusal_for_want_of_a_connection_has_the_provider_s_own_shape() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("anthropic", &upstream.base_url())
        .set(LIMITS[0], "2")
        .start();
    keyside.workspace("acme");
    let secret = "sk-ant-api03-e2eKeySideOnly0123456789abcdef";
    keyside.add_key("acme", "anthropic", "default", secret);
    let ask = Ask::post("/anthropic/v1/messages");
    let hog = Hog::new(&keyside, &upstream, &ask.clone().bare(), 4);
    let answer = keyside.ask(&ask);
    check_overloaded("anthropic", &answer);
    let body = answer.json();
    assert_eq!(body["type"], "error", "{body}");
    assert_eq!(body["error"]["type"], "overloaded_error", "{body}");
    drop(hog);
}

/// A connection with the maximum of half-sent requests, then left alone.
fn flood(keyside: &Keyside) -> Frames {
    let mut client = Frames::connect(keyside.proxy_addr());
    let head = block(&[
        (":method", b"POST"),
        (":scheme", b"http"),
        (":path", CHAT.as_bytes()),
        (":authority", b"localhost"),
        ("x-keyside-workspace", b"acme"),
    ]);
    let requests: Vec<u8> = (0..128)
        .flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &head))
        .collect();
    // Some get no slot, and are closed.
    client.write_raw(&requests);
    client
}

#[test]
fn a_flood_of_half_sent_requests_leaves_descriptors_to_the_owner() {
    allow_sockets(2_000);
    for limit in ["-n 256", "-n 512", "-n 1024"] {
        let upstream = Upstream::ok();
        let keyside = Keyside::builder()
            .provider("openai", &upstream.base_url())
            .open_files(limit)
            .start()
            .with_key()
            .with_other_key();
        let flood: Vec<_> = (0..33).map(|_| flood(&keyside)).collect();
        eventually("the flood's first request", || {
            (upstream.connections() > 0).then_some(())
        });
        let answer = eventually("an answer to a new client", || other_asks(&keyside));
        assert!(
            [200, 503].contains(&answer.status()),
            "{limit}: {} {}",
            answer.start,
            answer.text()
        );
        for page in ["/healthz", "/metrics"] {
            let status = keyside.observed(page).status();
            assert_eq!(status, 200, "{limit}: {page}");
        }
        keyside.revoke(&credential_of(&keyside, "acme"));
        drop(flood);
        eventually("service after the flood", || {
            other_asks(&keyside).filter(|answer| answer.status() == 200)
        });
    }
}

/// The response to another workspace over a new connection, unless that closes without one.
fn other_asks(keyside: &Keyside) -> Option<Message> {
    let mut wire = keyside.wire();
    wire.send(Ask::chat().workspace("other").bytes());
    wire.answer()
}
