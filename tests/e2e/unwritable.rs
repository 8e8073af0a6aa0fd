//! Folders that cannot be written while Keyside runs: a key can be revoked all the same.

use crate::disk_full::{check_refused, try_key};
use crate::harness::{Ask, Keyside, Upstream};
use std::fs;

#[test]
fn a_key_is_revoked_while_older_audit_records_cannot_be_moved_to_a_file() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let folder = keyside.data().join("store/audit/workspace");
    fs::create_dir_all(&folder).expect("a writable folder");
    fs::write(folder.join("acme"), "in the way").expect("a writable folder");
    let mut added = (0..40).map(|number| try_key(&keyside, &format!("k{number}")));
    let refused = added.find(|answer| answer.status() != 201);
    check_refused(&refused.expect("a change that needs the file"));
    for view in keyside.list() {
        keyside.revoke(&view);
    }
    assert_eq!(keyside.ask(&Ask::chat()).status(), 401);
    fs::remove_file(folder.join("acme")).expect("a writable folder");
    assert_eq!(try_key(&keyside, "again").status(), 201);
    let verified = keyside.cli().run(&["audit", "verify"], b"");
    assert_eq!(verified.code, Some(0), "{verified:#?}");
}

#[test]
fn heads_that_cannot_be_written_are_reported_and_a_key_is_revoked() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    assert_eq!(keyside.observed("/readyz").text(), "ready\n");
    let lock = keyside.data().join("heads/.lock");
    fs::remove_file(&lock).expect("the lock of heads/");
    fs::create_dir(&lock).expect("a writable folder");
    keyside.revoke(&keyside.list()[0]);
    let ready = keyside.observed("/readyz");
    assert_eq!(ready.status(), 200, "{}", ready.text());
    assert!(ready.text().contains("\nheads: "), "{}", ready.text());
    let metrics = keyside.metrics();
    let mut lines = metrics.lines();
    let behind = lines.find_map(|line| line.strip_prefix("keyside_heads_behind "));
    assert!(behind.is_some_and(|count| count != "0"), "{metrics}");
}
