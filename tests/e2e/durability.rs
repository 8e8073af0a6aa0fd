//! Acknowledged changes survive kill -9 at any time: during changes, during a first start, during a
//! start that repairs the effects of the last kill.

use crate::harness::{Ask, Builder, CREDENTIALS, Keyside, Upstream, Wire, reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// Number of installations in parallel.
const INSTALLATIONS: usize = 4;

/// Number of acknowledgements before each kill: from the first to most of them.
const KILLED_AFTER: [usize; 5] = [1, 30, 120, 280, 600];

/// Number of concurrent creates each time.
const CREATES: usize = 1_000;

/// Number of connections for them.
const CONNECTIONS: usize = 16;

/// Views by label, as they were acknowledged.
type Acknowledged = BTreeMap<String, Value>;

#[test]
fn every_acknowledged_key_is_there_after_kill_9_during_a_thousand_creates() {
    thread::scope(|scope| {
        for installation in 0..INSTALLATIONS {
            let killed_after = KILLED_AFTER.map(|after| after + installation * 37);
            scope.spawn(move || check_survives(&killed_after));
        }
    });
}

/// Kills an installation repeatedly; nothing acknowledged may ever be missing afterwards.
fn check_survives(killed_after: &[usize]) {
    let upstream = knowing_every_secret();
    let mut builder = Keyside::builder().provider("openai", &upstream.base_url());
    let mut acknowledged = Acknowledged::new();
    for (round, &after) in killed_after.iter().enumerate() {
        let keyside = builder.start();
        if round == 0 {
            keyside.workspace("acme");
        }
        check_present(&keyside, &acknowledged);
        let (stopped, new) = killed_during_creates(keyside, round, after);
        assert!(
            new.len() >= after && new.len() < CREATES,
            "round {round} was not cut in the middle: {}",
            new.len()
        );
        acknowledged.extend(new);
        builder = stopped;
    }
    let keyside = builder.start();
    check_present(&keyside, &acknowledged);
    check_usable(&keyside);
}

#[test]
fn a_first_start_that_is_killed_can_be_repeated() {
    for moment in moments() {
        let builder = Keyside::builder().provider("openai", "http://127.0.0.1:9");
        kill_during_start(&builder, moment);
        let keyside = builder.start().with_key();
        assert_eq!(keyside.list().len(), 1, "killed after {moment:?}");
    }
}

#[test]
fn a_start_that_is_killed_during_repair_can_be_repeated_without_loss() {
    let upstream = knowing_every_secret();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    let (mut builder, acknowledged) = killed_during_creates(keyside, 0, 100);
    for moment in moments() {
        kill_during_start(&builder, moment);
        let keyside = builder.start();
        check_present(&keyside, &acknowledged);
        builder = keyside.kill9();
    }
    check_usable(&builder.start());
}

#[test]
fn a_revocation_that_was_acknowledged_outlives_kill_9() {
    let upstream = knowing_every_secret();
    let mut builder = Keyside::builder().provider("openai", &upstream.base_url());
    for round in 0..5 {
        let keyside = builder.start();
        if round == 0 {
            keyside.workspace("acme");
        }
        let label = format!("key-{round}");
        let view = keyside.add_key("acme", "openai", &label, &secret(&label));
        assert_eq!(keyside.ask(&labelled(&label)).status(), 200);
        keyside.revoke(&view);
        builder = keyside.kill9();
        let keyside = builder.start();
        let refused = keyside.ask(&labelled(&label));
        assert_eq!(refused.status(), 401, "round {round}: {}", refused.text());
        assert_eq!(refused.json()["code"], "credential_revoked");
        builder = keyside.kill9();
    }
}

/// Creates over several connections until `after` of them are acknowledged; then kills the process
/// while the next ones are under way. Returns every acknowledgement that arrived.
fn killed_during_creates(keyside: Keyside, round: usize, after: usize) -> (Builder, Acknowledged) {
    let (token, address) = (keyside.token(), keyside.admin_addr());
    let (heard, acknowledgements) = mpsc::channel();
    let next = AtomicUsize::new(0);
    // Send all of them first: the process may be killed after the first acknowledgement.
    let connected = [(); CONNECTIONS].map(|()| TcpStream::connect(address).expect("a listener"));
    thread::scope(|scope| {
        for stream in connected {
            let (heard, next, token) = (heard.clone(), &next, &token);
            scope.spawn(move || create(Wire::from_tcp(stream), token, round, next, &heard));
        }
        drop(heard);
        let mut acknowledged: Acknowledged = acknowledgements.iter().take(after).collect();
        let builder = keyside.kill9();
        acknowledged.extend(acknowledgements);
        (builder, acknowledged)
    })
}

/// Creates one key after the other over one connection, until it breaks or all are made.
fn create(
    mut wire: Wire,
    token: &str,
    round: usize,
    next: &AtomicUsize,
    heard: &Sender<(String, Value)>,
) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= CREATES {
            return;
        }
        let label = format!("round-{round}-{number}");
        let body = json!({
            "workspaceId": "acme", "provider": "openai", "label": label, "secret": secret(&label),
        });
        let ask = Ask::new("POST", CREDENTIALS)
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "application/json")
            .body(body.to_string().as_bytes());
        wire.send(ask.bytes());
        match wire.answer() {
            Some(answer) if answer.is_whole() => {
                assert_eq!(answer.status(), 201, "{label}: {}", answer.text());
                let _ = heard.send((label, answer.json()));
            }
            _ => return,
        }
    }
}

/// Checks that what was acknowledged is listed, in every field.
fn check_present(keyside: &Keyside, acknowledged: &Acknowledged) {
    let mut listed: Acknowledged = keyside
        .everything()
        .into_iter()
        .map(|view| (text(&view, "label"), view))
        .collect();
    for (label, told) in acknowledged {
        let view = listed
            .remove(label)
            .unwrap_or_else(|| panic!("{label} was acknowledged and is gone"));
        for field in [
            "id",
            "fingerprint",
            "hint",
            "status",
            "environment",
            "isDefault",
            "createdAt",
        ] {
            assert_eq!(view[field], told[field], "{label}: {field}");
        }
    }
}

/// Checks that every key that is listed, acknowledged or not, opens to the secret it was made with.
fn check_usable(keyside: &Keyside) {
    let mut wire = keyside.wire();
    for view in keyside.everything() {
        let answer = wire.ask(&labelled(&text(&view, "label")));
        assert_eq!(answer.status(), 200, "{view}: {}", answer.text());
    }
}

/// A provider that answers 200 to the secret that belongs to the label in `X-Label`, and 401 to any
/// other.
fn knowing_every_secret() -> Upstream {
    Upstream::answering(|seen| {
        let label = seen.header("x-label").expect("the test's own header");
        let right = format!("Bearer {}", secret(label));
        let status = if seen.header("authorization") == Some(&right) {
            200
        } else {
            401
        };
        reply(status, "", b"{}")
    })
}

fn labelled(label: &str) -> Ask {
    Ask::chat()
        .header("X-Keyside-Label", label)
        .header("X-Label", label)
}

fn secret(label: &str) -> String {
    format!("sk-proj-durable0123456789abcdefghijklmnopqrstuvwxyz-{label}")
}

fn text(view: &Value, field: &str) -> String {
    view[field].as_str().expect("text").to_owned()
}

/// Points in time during a start, from the first instruction until after it is ready.
fn moments() -> impl Iterator<Item = Duration> {
    (0..20).map(|step| Duration::from_millis(step * step / 2))
}

/// Kills a starting process after that time. The sleep is the fault, not a wait for an event.
fn kill_during_start(builder: &Builder, moment: Duration) {
    let mut process = builder.spawn(&["serve"], None);
    let (_never, alarm) = mpsc::channel::<()>();
    let _ = alarm.recv_timeout(moment);
    process.kill();
}
