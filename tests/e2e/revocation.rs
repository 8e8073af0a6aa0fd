//! After a revocation is acknowledged, no request uses the key.

use crate::harness::{
    Ask, Ending, KEY, Keyside, Seen, Then, Upstream, chunk_of, chunked, chunked_head, eventually,
    expect, holds,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

/// Enough that several requests are in every step at any moment.
const CONNECTIONS: usize = 32;

#[test]
fn no_request_after_a_revocation_uses_the_key() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let credential = keyside.list().pop().expect("the key");
    let revoked = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut wire = keyside.wire();
                loop {
                    // Read before the request is sent: what is sent later must be refused.
                    let late = revoked.load(Ordering::SeqCst);
                    let ask = Ask::chat().header("X-Late", late.to_string());
                    let answer = wire.ask(&ask);
                    if late {
                        return expect::refused("late", &answer, 401, "credential_revoked");
                    }
                    let fine = answer.status() == 200 || answer.status() == 401;
                    assert!(fine, "{}", answer.text());
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        eventually("traffic on every connection", || {
            (answered.load(Ordering::SeqCst) > 4 * CONNECTIONS).then_some(())
        });
        keyside.revoke(&credential);
        revoked.store(true, Ordering::SeqCst);
    });
    let late = |seen: &&Seen| seen.header("x-late") == Some("true");
    let requests = upstream.requests();
    assert_eq!(
        requests.iter().filter(late).count(),
        0,
        "a late request went upstream"
    );
    assert!(
        requests.iter().all(|seen| seen.holds(KEY)),
        "each that did had the key"
    );
}

#[test]
fn a_revoked_key_stays_revoked_over_a_restart() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    keyside.revoke(&keyside.list()[0]);
    let keyside = keyside.kill9().start();
    expect::refused(
        "restarted",
        &keyside.ask(&Ask::chat()),
        401,
        "credential_revoked",
    );
    assert_eq!(keyside.list()[0]["status"], "revoked");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn an_answer_that_had_begun_is_finished_after_a_revocation() {
    let (go, gate) = channel();
    let gate = Mutex::new(gate);
    let upstream = Upstream::scripted(move |_, line| {
        line.write(chunked_head(""));
        line.write(chunk_of(b"first"));
        gate.lock().expect("one request").recv().expect("the test");
        line.write(chunked(&[format!("last {KEY}").as_bytes()], ""));
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    assert_eq!(wire.head().expect("a head").status(), 200);
    wire.body_until("first");
    keyside.revoke(&keyside.list()[0]);
    go.send(()).expect("the upstream");
    let mut rest = wire.body_until("last ");
    while let Some(piece) = wire.piece() {
        rest.extend(piece);
    }
    assert_eq!(wire.ending(), Ending::Chunked);
    assert!(!holds(&rest, KEY), "masked even then");
}

#[test]
fn an_answer_that_had_begun_is_cut_off_when_the_revocation_says_so() {
    // Continues the stream if the second request asks for it, otherwise stays silent.
    for talks in [true, false] {
        let (go, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let upstream = Upstream::scripted(move |_, line| {
            line.write(chunked_head(""));
            line.write(chunk_of(b"first"));
            if talks {
                let _ = gate.lock().expect("one request").recv();
                line.write(chunked(&[b"last"], ""));
            }
            let _ = gate.lock().expect("one request").recv();
            Then::Close
        });
        let keyside = Keyside::with_openai(&upstream.base_url());
        let mut wire = keyside.wire();
        wire.send(Ask::chat().bytes());
        assert_eq!(wire.head().expect("a head").status(), 200);
        wire.body_until("first");
        let id = keyside.list()[0]["id"].as_str().expect("an id").to_owned();
        let path = format!("/api/integrations/credentials/{id}?cut=true");
        let revoked = keyside.admin("DELETE", &path, None);
        assert_eq!(revoked.status(), 200, "{}", revoked.text());
        if talks {
            let _ = go.send(());
        }
        assert_eq!(wire.piece(), None, "nothing more comes through");
        assert_eq!(wire.ending(), Ending::Cut, "it does not look whole");
        let _ = go.send(());
        eventually("the cut in the metrics", || {
            let cut = "outcome=\"revoked\",provider=\"openai\"} 1";
            keyside.metrics().contains(cut).then_some(())
        });
    }
}

#[test]
fn a_request_that_waits_for_its_answer_is_refused_when_the_revocation_says_so() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::scripted(move |_, _| {
        let _ = gate.lock().expect("one request").recv();
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    eventually("the request at the upstream", || {
        (upstream.requests().len() == 1).then_some(())
    });
    let id = keyside.list()[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/integrations/credentials/{id}?cut=true");
    assert_eq!(keyside.admin("DELETE", &path, None).status(), 200);
    let answer = wire.answer().expect("an answer");
    expect::refused("a request cut off", &answer, 401, "credential_revoked");
    let _ = go.send(());
    eventually("the cut in the metrics", || {
        let cut = "outcome=\"revoked\",provider=\"openai\"} 1";
        keyside.metrics().contains(cut).then_some(())
    });
}
