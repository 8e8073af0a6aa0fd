//! Acknowledged changes survive a power cut at any moment, and the next start succeeds.

mod busy;

use crate::disk_full::check_refused;
use crate::harness::{
    Ask, Builder, CREDENTIALS, Keyside, LoopDisk, Upstream, Wire, eventually, reply,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Keys that a rotation of the workspace's key seals again, in one change.
const KEYS: usize = 30;

/// Number of power cuts while nothing else happens.
const ROUNDS: usize = 4;

/// What was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    added: BTreeSet<String>,
    revoked: BTreeSet<String>,
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
fn after_a_disk_failure_changes_are_refused_until_a_restart_and_requests_continue() {
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

    /// Checks the acknowledged state, and that nothing is damaged, acknowledged or not.
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
                    assert!(self.revoked.contains(label), "{label}: {said}");
                }
                other => panic!("{label}: {other} {said}"),
            }
        }
        let verified = keyside.admin("GET", "/api/audit/verify", None).json();
        assert_eq!(verified["intact"], true, "{verified}");
    }
}

/// An installation whose data folder is on a separate disk, if this machine supports it.
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

/// Long enough that a change of all keys exceeds a single write of sled's log.
fn secret(label: &str) -> String {
    let mut secret = format!("sk-proj-powercut0123456789-{label}-");
    secret.push_str(&"abcdefghijklmnopqrstuvwxyz012345".repeat(125));
    secret
}
