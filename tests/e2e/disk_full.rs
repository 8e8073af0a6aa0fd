//! A full disk: changes are refused with a problem document, nothing is half-written, existing keys
//! keep working, and everything acknowledged survives.

use crate::harness::{Ask, Builder, KEY, Keyside, Message, Upstream, eventually, runs_as_root};
use crate::startup::{check_serves, refused};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn changes_are_refused_on_a_full_disk_and_accepted_when_space_is_freed() {
    if !runs_as_root() {
        return;
    }
    let upstream = Upstream::wanting_key();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let disk = SmallDisk::under(&builder);
    let keyside = builder.start().with_key();
    let mut made = vec![keyside.list()[0].clone()];
    for round in 0..3 {
        let ballast = disk.fill();
        let label = format!("while-full-{round}");
        for refused in [try_key(&keyside, &label), try_workspace(&keyside, &label)] {
            check_refused(&refused);
            check_cause_logged(&keyside, &refused);
        }
        check_unchanged(&keyside, &made);
        fs::remove_file(ballast).expect("a file");
        let view = eventually("changes are made again", || {
            let answer = try_key(&keyside, &label);
            (answer.status() == 201).then(|| answer.json())
        });
        made.push(view);
        check_unchanged(&keyside, &made);
        check_recorded(&keyside);
    }
    let (builder, exit) = keyside.stop();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    check_unchanged(&builder.start(), &made);
}

#[test]
fn a_disk_that_fills_up_loses_no_acknowledged_change() {
    if !runs_as_root() {
        return;
    }
    let upstream = Upstream::wanting_key();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let disk = SmallDisk::under(&builder);
    let keyside = builder.start().with_key();
    let mut made = vec![keyside.list()[0].clone()];
    let full = AtomicBool::new(false);
    let (ballast, more) = thread::scope(|scope| {
        let changes = scope.spawn(|| keys_until_refused(&keyside, &full));
        let ballast = disk.fill();
        full.store(true, Ordering::SeqCst);
        (ballast, changes.join().expect("no panic"))
    });
    made.extend(more);
    check_unchanged(&keyside, &made);
    // A power cut while the disk is full, and still no space at the next start.
    let keyside = keyside.kill9().start();
    check_unchanged(&keyside, &made);
    check_refused(&try_key(&keyside, "still-full"));
    let builder = keyside.kill9();
    fs::remove_file(ballast).expect("a file");
    let keyside = builder.start();
    check_unchanged(&keyside, &made);
    made.push(keyside.add_key("acme", "openai", "with-room", KEY));
    check_unchanged(&keyside, &made);
}

#[test]
fn a_start_needs_no_disk_space_and_neither_does_the_next_one() {
    if !runs_as_root() {
        return;
    }
    let upstream = Upstream::wanting_key();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let disk = SmallDisk::under(&builder);
    let mut keyside = builder.start().with_key();
    let mut made = vec![keyside.list()[0].clone()];
    // sled continues a partly filled segment while it opens.
    made.push(keyside.add_key("acme", "openai", "another", KEY));
    let mut filled = Vec::new();
    for round in 0..3 {
        filled.push(disk.fill_as(&format!("ballast-{round}")));
        keyside = keyside.kill9().start();
        check_unchanged(&keyside, &made);
    }
    check_refused(&try_key(&keyside, "still-full"));
    for ballast in filled {
        fs::remove_file(ballast).expect("a file");
    }
    let view = eventually("changes are made again", || {
        let answer = try_key(&keyside, "with-room");
        (answer.status() == 201).then(|| answer.json())
    });
    made.push(view);
    // The space that the starts used is reserved again.
    disk.fill();
    check_unchanged(&keyside.kill9().start(), &made);
}

#[test]
fn a_first_start_on_a_full_disk_says_so_and_the_next_with_space_succeeds() {
    if !runs_as_root() {
        return;
    }
    let upstream = Upstream::wanting_key();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let disk = SmallDisk::under(&builder);
    let ballast = disk.fill();
    for _ in 0..2 {
        let exit = refused(&builder);
        assert_eq!(exit.code, Some(1), "{exit:#?}");
        let said = exit.stderr.to_ascii_lowercase();
        assert!(said.contains("free some space"), "{exit:#?}");
        assert!(!said.contains("panicked"), "{exit:#?}");
    }
    fs::remove_file(ballast).expect("a file");
    check_serves(&builder.start().with_key());
}

#[test]
fn a_store_that_may_not_grow_refuses_changes_and_keeps_what_it_acknowledged() {
    let upstream = Upstream::wanting_key();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    // Without this the system would end the process, which `kill_9` shows already.
    let unsignalled = ["/bin/sh", "-c", r#"trap '' XFSZ; exec "$0" "$@""#];
    let keyside = builder.launched_by(&unsignalled).start().with_key();
    let mut made = vec![keyside.list()[0].clone()];
    // The error (EFBIG) occurs although the disk has free space.
    let db = keyside.data().join("store/db");
    limit_files_to(fs::metadata(db).expect("sled's log").len(), &keyside);
    made.extend(keys_until_refused(&keyside, &AtomicBool::new(true)));
    check_refused(&try_key(&keyside, "refused-again"));
    check_unchanged(&keyside, &made);
    let builder = keyside.kill9();
    let keyside = builder.start();
    check_unchanged(&keyside, &made);
    made.push(keyside.add_key("acme", "openai", "after-all", KEY));
    check_unchanged(&keyside, &made);
}

/// Creates keys one after another until one is refused; after `full` is set, at most a thousand
/// more.
fn keys_until_refused(keyside: &Keyside, full: &AtomicBool) -> Vec<Value> {
    let (mut made, mut left) = (Vec::new(), 1_000);
    for number in 0.. {
        let answer = try_key(keyside, &format!("key-{number}"));
        if answer.status() != 201 {
            check_refused(&answer);
            break;
        }
        made.push(answer.json());
        left -= i32::from(full.load(Ordering::SeqCst));
        assert!(left > 0, "a thousand keys found room on a full disk");
    }
    made
}

/// Checks the refusal that the client receives.
pub fn check_refused(answer: &Message) {
    let text = answer.text();
    assert_eq!(answer.status(), 503, "{text}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{text}"
    );
    assert!(answer.header("retry-after").is_some(), "{text}");
    let problem = answer.json();
    let kinds = ["store-unavailable", "outcome-unknown"];
    let kinds = kinds.map(|kind| format!("urn:keyside:problem:{kind}"));
    let kind = problem["type"].as_str().unwrap_or_default();
    assert!(kinds.iter().any(|known| known == kind), "{text}");
    // Only said if it is certain.
    let says_so = problem["detail"].as_str().unwrap_or_default();
    let is_certain = says_so.contains("nothing was changed");
    assert_eq!(is_certain, kind == kinds[0], "{text}");
    assert_eq!(problem["status"], 503);
    for field in ["title", "detail", "remedy", "requestId"] {
        let said = problem[field].as_str().unwrap_or_default();
        assert!(!said.is_empty(), "no {field} in {text}");
    }
}

/// Checks that the storage error was logged with the id of the request.
fn check_cause_logged(keyside: &Keyside, refused: &Message) {
    let problem = refused.json();
    if problem["type"] == "urn:keyside:problem:store-unavailable" {
        keyside.log_line(|line| {
            line["fields"]["message"] == "a change failed"
                && line["request_id"] == problem["requestId"]
        });
    }
}

/// Checks that exactly the acknowledged keys exist, except one with an unknown outcome, and that
/// requests still use their key.
fn check_unchanged(keyside: &Keyside, made: &[Value]) {
    let there = keyside.everything();
    let is_made = |view: &&Value| made.iter().any(|made| made["id"] == view["id"]);
    assert_eq!(there.iter().filter(is_made).count(), made.len());
    assert!(there.len() <= made.len() + 1, "{there:#?}");
    let workspaces = keyside.admin("GET", "/api/workspaces", None).json();
    assert_eq!(
        workspaces["items"].as_array().map(Vec::len),
        Some(1),
        "{workspaces}"
    );
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    check_serves(keyside);
}

/// Checks that requests are recorded again.
pub fn check_recorded(keyside: &Keyside) {
    let answer = keyside.ask(&Ask::chat());
    let id = answer.header("x-keyside-request-id").expect("an id");
    eventually("the request is recorded", || {
        let runs = keyside.admin("GET", "/api/runs?limit=5", None).json();
        let runs = runs["items"].as_array().expect("a list");
        runs.iter().any(|run| run["requestId"] == id).then_some(())
    });
}

pub fn try_key(keyside: &Keyside, label: &str) -> Message {
    keyside.try_add(&json!({
        "workspaceId": "acme", "provider": "openai", "label": label, "secret": KEY,
    }))
}

pub fn try_workspace(keyside: &Keyside, id: &str) -> Message {
    let body = json!({ "id": id, "name": id });
    keyside.admin("POST", "/api/workspaces", Some(&body))
}

/// A file system of a few megabytes in the place of the data folder.
pub struct SmallDisk {
    folder: PathBuf,
    /// Keeps the folder that it is mounted in until it no longer is.
    _home: Builder,
}

impl SmallDisk {
    /// Mounts it, which asks for root.
    pub fn under(builder: &Builder) -> Self {
        let folder = builder.home().join("data");
        fs::create_dir(&folder).expect("a new folder");
        let mount = ["-t", "tmpfs", "-o", "size=48m,mode=0700", "keyside-test"];
        let mounted = Command::new("mount").args(mount).arg(&folder).output();
        let mounted = mounted.expect("mount(8)");
        assert!(mounted.status.success(), "{mounted:?}");
        Self {
            folder,
            _home: builder.clone(),
        }
    }

    /// Fills the disk; returns the file to delete to free it again.
    pub fn fill(&self) -> PathBuf {
        self.fill_as("ballast")
    }

    fn fill_as(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        let mut file = File::create(&path).expect("a file");
        let block = vec![0x5a; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[0x5a]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// From now on, no file of this process grows beyond `bytes`.
fn limit_files_to(bytes: u64, keyside: &Keyside) {
    let (pid, size) = (keyside.pid().to_string(), format!("--fsize={bytes}:"));
    let limited = Command::new("prlimit")
        .args(["--pid", &pid, &size])
        .output();
    assert!(
        limited.as_ref().is_ok_and(|output| output.status.success()),
        "{limited:?}"
    );
}
