//! What was acknowledged is there after a power cut, at whatever moment, and the start after it succeeds.

use crate::disk_full::check_refused;
use crate::harness::{
    Ask, Builder, CREDENTIALS, Keyside, LoopDisk, Upstream, Wire, eventually, reply,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// Keys that a rotation of the workspace's key seals again, in one change.
const KEYS: usize = 30;

/// How often the power is cut where nothing else is going on.
const ROUNDS: usize = 4;

/// After how many acknowledgements it is cut in the middle of changes.
const CUT_AFTER: [usize; 6] = [1, 2, 3, 5, 9, 16];

/// What was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    added: BTreeSet<String>,
    revoked: BTreeSet<String>,
}

/// One acknowledgement.
enum Told {
    WorkspaceKeyRotated,
    Added(String),
    Revoked(String),
}

#[test]
fn changes_that_were_acknowledged_are_there_after_a_power_cut() {
    let Some((mut disk, _upstream, mut builder)) = on_a_disk() else {
        return;
    };
    let mut known = Acknowledged::default();
    for round in 0..ROUNDS {
        let keyside = builder.start();
        match round {
            0 => known.fill(&keyside),
            _ => known.check(&keyside),
        }
        rotate_workspace_key(&keyside);
        let blobs = fs::read_dir(keyside.data().join("store/blobs")).expect("a folder");
        assert_eq!(blobs.count(), 0, "sled does not bring them to disk");
        known.add(&keyside, &format!("round-{round}"));
        known.revoke(&keyside, &format!("key-{round}"));
        disk.cut_power();
        builder = keyside.kill9();
        disk.restore_power();
    }
    let keyside = builder.start();
    known.check(&keyside);
    rotate_workspace_key(&keyside);
    known.check(&keyside);
}

#[test]
fn a_power_cut_in_the_middle_of_changes_loses_none_that_was_acknowledged() {
    let Some((mut disk, _upstream, mut builder)) = on_a_disk() else {
        return;
    };
    let mut known = Acknowledged::default();
    for (round, after) in CUT_AFTER.into_iter().enumerate() {
        let keyside = builder.start();
        match round {
            0 => known.fill(&keyside),
            _ => known.check(&keyside),
        }
        let (stopped, told) = cut_during_changes(keyside, &mut disk, round, after);
        assert!(told.len() >= after, "round {round}: {} told", told.len());
        known.extend(told);
        builder = stopped;
        disk.restore_power();
    }
    let keyside = builder.start();
    known.check(&keyside);
}

#[test]
fn a_disk_that_is_gone_refuses_changes_until_a_restart_and_requests_go_on() {
    let Some((mut disk, _upstream, builder)) = on_a_disk() else {
        return;
    };
    let mut known = Acknowledged::default();
    let keyside = builder.start();
    known.fill(&keyside);
    // The token that it shows is on the disk too.
    let add = keyside.admin_ask("POST", CREDENTIALS, Some(&new_key("too-late")));
    disk.cut_power();
    for _ in 0..2 {
        check_refused(&Wire::tcp(keyside.admin_addr()).ask(&add));
    }
    let ready = keyside.observed("/readyz");
    assert_eq!(ready.status(), 200);
    assert!(ready.text().contains("\nstore: "), "{}", ready.text());
    assert!(keyside.metrics().contains("\nkeyside_store_failed 1\n"));
    assert_eq!(keyside.ask(&labelled("key-0")).status(), 200);
    eventually("the request is counted as unrecorded", || {
        let metrics = keyside.metrics();
        (!metrics.contains("\nkeyside_runs_unrecorded_total 0\n")).then_some(())
    });
    let builder = keyside.kill9();
    disk.restore_power();
    let keyside = builder.start();
    known.check(&keyside);
    known.add(&keyside, "in-time");
    known.check(&keyside);
}

impl Acknowledged {
    /// A workspace with some keys.
    fn fill(&mut self, keyside: &Keyside) {
        keyside.workspace("acme");
        for n in 0..KEYS {
            self.add(keyside, &format!("key-{n}"));
        }
    }

    fn add(&mut self, keyside: &Keyside, label: &str) {
        keyside.add(new_key(label));
        self.added.insert(label.to_owned());
    }

    fn revoke(&mut self, keyside: &Keyside, label: &str) {
        keyside.revoke(&views(keyside)[label]);
        self.revoked.insert(label.to_owned());
    }

    fn extend(&mut self, told: Vec<Told>) {
        for told in told {
            match told {
                Told::WorkspaceKeyRotated => {}
                Told::Added(label) => {
                    self.added.insert(label);
                }
                Told::Revoked(label) => {
                    self.revoked.insert(label);
                }
            }
        }
    }

    /// Checks that all of it is so, and that nothing is damaged, acknowledged or not.
    fn check(&self, keyside: &Keyside) {
        let views = views(keyside);
        for label in &self.added {
            assert!(
                views.contains_key(label),
                "{label} was acknowledged and is gone"
            );
        }
        let mut wire = keyside.wire();
        for label in views.keys() {
            let answer = wire.ask(&labelled(label));
            let said = answer.text();
            match answer.status() {
                200 => assert!(!self.revoked.contains(label), "{label} was revoked"),
                401 => {
                    assert_eq!(answer.json()["code"], "credential_revoked", "{label}");
                    // One may be revoked that nobody was told of, but none of those that were left alone.
                    let left_alone = label.starts_with("key-") && !self.revoked.contains(label);
                    assert!(!left_alone, "{label}: {said}");
                }
                other => panic!("{label}: {other} {said}"),
            }
        }
        let verified = keyside.admin("GET", "/api/audit/verify", None).json();
        assert_eq!(verified["intact"], true, "{verified}");
    }
}

/// An installation whose data folder is on a disk of its own, where this machine has such.
fn on_a_disk() -> Option<(LoopDisk, Upstream, Builder)> {
    let upstream = Upstream::answering(|seen| {
        let label = seen.header("x-label").expect("the test's own header");
        let right = format!("Bearer {}", secret(label));
        let is_right = seen.header("authorization") == Some(&right);
        reply(if is_right { 200 } else { 401 }, "", b"{}")
    });
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    Some((LoopDisk::under(&builder)?, upstream, builder))
}

/// Makes changes side by side until so many are acknowledged; then cuts the power, and kills the process. Returns every
/// acknowledgement that arrived.
fn cut_during_changes(
    keyside: Keyside,
    disk: &mut LoopDisk,
    round: usize,
    after: usize,
) -> (Builder, Vec<Told>) {
    let (heard, acknowledgements) = mpsc::channel();
    // What they ask with, before the disk may be gone that the token is on.
    let rotate = keyside.admin_ask("POST", "/api/workspaces/acme/rotate-key", Some(&json!({})));
    let adds: Vec<_> = (0..100)
        .map(|n| {
            let label = format!("round-{round}-{n}");
            let body = new_key(&label);
            let add = keyside.admin_ask("POST", CREDENTIALS, Some(&body));
            (label, add)
        })
        .collect();
    let revocation = keyside.admin_ask("DELETE", CREDENTIALS, None);
    let address = keyside.admin_addr();
    thread::scope(|scope| {
        let of_rotations = heard.clone();
        scope.spawn(move || rotations(Wire::tcp(address), &rotate, &of_rotations));
        scope.spawn(move || adds_and_revocations(Wire::tcp(address), adds, &revocation, &heard));
        let mut told: Vec<_> = acknowledgements.iter().take(after).collect();
        disk.cut_power();
        let builder = keyside.kill9();
        told.extend(acknowledgements);
        (builder, told)
    })
}

/// Rotates the workspace's key again and again, until it is refused or the connection breaks.
fn rotations(mut wire: Wire, rotate: &Ask, heard: &Sender<Told>) {
    while done(&mut wire, rotate).is_some() {
        let _ = heard.send(Told::WorkspaceKeyRotated);
    }
}

/// Adds one key after the other, and revokes every second one.
fn adds_and_revocations(
    mut wire: Wire,
    adds: Vec<(String, Ask)>,
    revocation: &Ask,
    heard: &Sender<Told>,
) {
    for (n, (label, add)) in adds.into_iter().enumerate() {
        let Some(view) = done(&mut wire, &add) else {
            return;
        };
        let _ = heard.send(Told::Added(label.clone()));
        if n % 2 == 0 {
            continue;
        }
        let id = view["id"].as_str().expect("an id");
        let mut revoke = revocation.clone();
        revoke.target = format!("{CREDENTIALS}/{id}");
        if done(&mut wire, &revoke).is_none() {
            return;
        }
        let _ = heard.send(Told::Revoked(label));
    }
}

/// What a change came to, if it was acknowledged.
fn done(wire: &mut Wire, ask: &Ask) -> Option<Value> {
    wire.send(ask.bytes());
    let answer = wire.answer().filter(|answer| answer.is_whole())?;
    match answer.status() {
        200 | 201 => Some(answer.json()),
        503 => None,
        other => panic!("{other}: {}", answer.text()),
    }
}

fn rotate_workspace_key(keyside: &Keyside) {
    let path = "/api/workspaces/acme/rotate-key";
    let rotated = keyside.admin("POST", path, Some(&json!({})));
    assert_eq!(rotated.status(), 200, "{}", rotated.text());
}

/// The views of all keys by their labels.
fn views(keyside: &Keyside) -> BTreeMap<String, Value> {
    let label = |view: &Value| view["label"].as_str().expect("a label").to_owned();
    let all = keyside.everything().into_iter();
    all.map(|view| (label(&view), view)).collect()
}

fn new_key(label: &str) -> Value {
    json!({ "workspaceId": "acme", "provider": "openai", "label": label, "secret": secret(label) })
}

fn labelled(label: &str) -> Ask {
    Ask::chat()
        .header("X-Keyside-Label", label)
        .header("X-Label", label)
}

/// Long enough for a change of all keys to be more than sled's log takes in one piece.
fn secret(label: &str) -> String {
    let mut secret = format!("sk-proj-powercut0123456789-{label}-");
    secret.push_str(&"abcdefghijklmnopqrstuvwxyz012345".repeat(125));
    secret
}
