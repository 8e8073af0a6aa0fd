//! A disk on which only the reserve is left: keys can be revoked but not added, and requests are
//! not recorded.

use crate::disk_full::{SmallDisk, check_recorded, check_refused, try_key, try_workspace};
use crate::harness::{
    Ask, CREDENTIALS, KEY, Keyside, Message, Upstream, eventually, expect, runs_as_root,
};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::path::PathBuf;

/// Free bytes: less than the reserve, but enough to write.
const FREE: u64 = 10 << 20;

#[test]
fn in_the_reserve_keys_tokens_and_workspaces_can_be_ended_but_nothing_added() {
    if !runs_as_root() {
        return;
    }
    let upstream = Upstream::wanting_key();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let disk = SmallDisk::under(&builder);
    let keyside = builder.start().with_key();
    keyside.workspace("globex");
    let spare = keyside.add_key("globex", "openai", "spare", KEY);
    let body = json!({ "name": "of a person", "role": "editor" });
    let token = keyside.admin("POST", "/api/tokens", Some(&body)).json();
    let ballast = all_but_the_reserve(&disk);
    check_refused(&try_key(&keyside, "more"));
    check_refused(&try_workspace(&keyside, "more"));
    check_refused(&edited(&keyside, &spare, "2999-01-01T00:00:00Z"));
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    let key = keyside.list()[0].clone();
    keyside.revoke(&key);
    expect::refused(
        "revoked",
        &keyside.ask(&Ask::chat()),
        401,
        "credential_revoked",
    );
    let id = token["id"].as_str().expect("an id");
    for path in [format!("/api/tokens/{id}"), "/api/workspaces/globex".into()] {
        let ended = keyside.admin("DELETE", &path, None);
        assert_eq!(ended.status(), 200, "{path}: {}", ended.text());
    }
    check_refused(&try_key(&keyside, "still-more"));
    let keyside = keyside.kill9().start();
    let revoked = keyside.list();
    assert_eq!(revoked.len(), 1, "{revoked:?}");
    assert_eq!(revoked[0]["status"], "revoked");
    fs::remove_file(ballast).expect("a file");
    eventually("there is room again", || {
        (try_key(&keyside, "more").status() == 201).then_some(())
    });
}

#[test]
fn a_revocation_without_even_the_reserve_is_refused_and_does_not_happen() {
    if !runs_as_root() {
        return;
    }
    let upstream = Upstream::wanting_key();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let disk = SmallDisk::under(&builder);
    let keyside = builder.start().with_key();
    let key = keyside.list()[0].clone();
    let path = format!("{CREDENTIALS}/{}", key["id"].as_str().expect("an id"));
    let ballast = disk.fill();
    check_refused(&keyside.admin("DELETE", &path, None));
    assert_eq!(keyside.list()[0]["status"], "active");
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    fs::remove_file(ballast).expect("a file");
    eventually("it is revoked", || {
        (keyside.admin("DELETE", &path, None).status() == 200).then_some(())
    });
    assert_eq!(keyside.ask(&Ask::chat()).status(), 401);
}

#[test]
fn requests_on_a_full_disk_are_served_and_counted_or_refused_as_the_settings_say() {
    if !runs_as_root() {
        return;
    }
    for (when_full, status) in [("serve", 200), ("refuse", 503)] {
        let upstream = Upstream::wanting_key();
        let builder = Keyside::builder().provider("openai", &upstream.base_url());
        let builder = builder.set("runs.when_full", &format!("{when_full:?}"));
        let disk = SmallDisk::under(&builder);
        let keyside = builder.start().with_key();
        check_recorded(&keyside);
        let ballast = all_but_the_reserve(&disk);
        eventually("records are not written", || {
            keyside.ask(&Ask::chat());
            let ready = keyside.observed("/readyz");
            assert_eq!(ready.status() == 200, !ready.text().starts_with("refusing"));
            ready.text().contains("\nruns: ").then_some(())
        });
        let answer = keyside.ask(&Ask::chat());
        assert_eq!(answer.status(), status, "{when_full}: {}", answer.text());
        let unrecorded = "\nkeyside_runs_unrecorded_total 0\n";
        assert!(!keyside.metrics().contains(unrecorded), "{when_full}");
        // A start detects it before the first request.
        let keyside = keyside.kill9().start();
        if when_full == "refuse" {
            assert_eq!(keyside.observed("/readyz").status(), 503);
            assert_eq!(keyside.ask(&Ask::chat()).status(), 503);
            assert!(keyside.metrics().contains(unrecorded));
        }
        fs::remove_file(ballast).expect("a file");
        eventually("requests are served", || {
            (keyside.ask(&Ask::chat()).status() == 200).then_some(())
        });
        check_recorded(&keyside);
    }
}

/// Changes when a key ends.
fn edited(keyside: &Keyside, key: &Value, end: &str) -> Message {
    let path = format!("{CREDENTIALS}/{}", key["id"].as_str().expect("an id"));
    let body = json!({ "label": "renamed", "expiresAt": end });
    keyside.admin("PATCH", &path, Some(&body))
}

/// Fills the disk up to the reserve; returns the file to delete to free it again.
fn all_but_the_reserve(disk: &SmallDisk) -> PathBuf {
    let ballast = disk.fill();
    let file = OpenOptions::new().write(true).open(&ballast);
    let file = file.expect("the file that fills it");
    let full = file.metadata().expect("a file").len();
    file.set_len(full - FREE).expect("a shorter file");
    ballast
}
