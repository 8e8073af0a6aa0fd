//! A backup that is made during writes restores one consistent state on another machine; an invalid
//! file is refused.

use crate::harness::{
    Ask, Builder, CREDENTIALS, Exit, Keyside, PATIENCE, Then, Upstream, Wire, eventually,
};
use crate::startup::{check_serves, refused};
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

#[test]
fn a_backup_during_writes_restores_everything_acknowledged_before_it() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let done = AtomicBool::new(false);
    let file = keyside.builder_of().home().join("b.keyside");
    let before = thread::scope(|scope| {
        let (heard, made) = mpsc::channel();
        let (keyside, done) = (&keyside, &done);
        scope.spawn(move || {
            let mut wire = Wire::tcp(keyside.admin_addr());
            for number in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let label = format!("k{number}");
                let answer = wire.ask(&adding(keyside, &label));
                assert_eq!(answer.status(), 201, "{}", answer.text());
                let _ = heard.send(label);
            }
        });
        let before: Vec<String> = made.iter().take(30).collect();
        let exit = desk(keyside, &["backup", "--out", "b.keyside", "--json"]);
        done.store(true, Ordering::Relaxed);
        let header = json_of(&exit);
        assert_eq!(header["file"], "b.keyside");
        before
    });
    let restored = another_machine(keyside.builder_of(), &upstream);
    let exit = restored.run(&["restore", &text(&file), "--json"], b"");
    assert_eq!(json_of(&exit)["epoch"], 1);
    drop(keyside);
    let keyside = restored.start();
    for label in before {
        let ask = Ask::chat().header("X-Keyside-Label", label.as_str());
        let answer = keyside.ask(&ask);
        assert_eq!(answer.status(), 200, "{label}: {}", answer.text());
    }
    assert!(
        keyside
            .everything()
            .iter()
            .all(|key| key["damaged"] == false)
    );
}

#[test]
fn a_restore_over_a_store_or_from_half_a_file_is_refused_with_the_remedy() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let exit = desk(&keyside, &["backup", "--out", "b.keyside"]);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let again = desk(&keyside, &["backup", "--out", "b.keyside"]);
    assert_eq!(again.code, Some(1), "written over: {again:#?}");
    let over = keyside.builder_of().run(&["restore", "b.keyside"], b"");
    assert_eq!(over.code, Some(1), "{over:#?}");
    assert!(
        over.stderr.contains("move its data folder aside"),
        "{over:#?}"
    );
    let file = keyside.builder_of().home().join("b.keyside");
    let whole = fs::read(&file).expect("a backup");
    fs::write(&file, &whole[..whole.len() / 2]).expect("a writable folder");
    let restored = another_machine(keyside.builder_of(), &upstream);
    let half = restored.run(&["restore", &text(&file)], b"");
    assert_eq!(half.code, Some(1), "{half:#?}");
    assert!(half.stderr.contains("cut short"), "{half:#?}");
    fs::write(&file, &whole).expect("a writable folder");
    fs::remove_file(restored.home().join("data.master-key")).expect("a copy");
    let keyless = restored.run(&["restore", &text(&file)], b"");
    assert_eq!(keyless.code, Some(78), "{keyless:#?}");
    assert!(keyless.stderr.contains("master key"), "{keyless:#?}");
    assert!(!restored.home().join("data").join("store").exists());
}

#[test]
fn a_store_left_by_a_refused_first_start_does_not_block_a_restore() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let exit = desk(&keyside, &["backup", "--out", "b.keyside"]);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let file = keyside.builder_of().home().join("b.keyside");
    let restored = another_machine(keyside.builder_of(), &upstream);
    let keyless = restored.clone().variable("KMS_MASTER_KEY_FILE", "absent");
    assert_eq!(refused(&keyless).code, Some(78));
    assert!(restored.home().join("data/store/db").exists());
    json_of(&restored.run(&["restore", &text(&file), "--json"], b""));
    check_serves(&restored.start());
}

/// After a restore, revisions are assigned again, with different content.
#[test]
fn an_etag_from_before_a_restore_does_not_match_after_it() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let exit = desk(&keyside, &["backup", "--out", "b.keyside"]);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let id = keyside.list()[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("{CREDENTIALS}/{id}");
    let rename = |keyside: &Keyside, tag: &str, label: &str| {
        let ask = keyside.admin_ask("PATCH", &path, Some(&json!({ "label": label })));
        Wire::tcp(keyside.admin_addr()).ask(&ask.set("If-Match", tag))
    };
    let before = rename(&keyside, "*", "before");
    assert_eq!(before.status(), 200, "{}", before.text());
    let before = before.header("etag").expect("a tag").to_owned();
    let file = keyside.builder_of().home().join("b.keyside");
    let restored = another_machine(keyside.builder_of(), &upstream);
    json_of(&restored.run(&["restore", &text(&file), "--json"], b""));
    let keyside = restored.start();
    let after = rename(&keyside, "*", "after");
    assert_eq!(after.status(), 200, "{}", after.text());
    let late = rename(&keyside, &before, "late");
    assert_eq!(late.status(), 412, "{}", late.text());
    let after = after.header("etag").expect("a tag");
    assert_eq!(rename(&keyside, after, "next").status(), 200);
}

/// Another folder with the same settings and a copy of the master key.
fn another_machine(like: &Builder, upstream: &Upstream) -> Builder {
    let there = Keyside::builder().provider("openai", &upstream.base_url());
    let key = |builder: &Builder| builder.home().join("data.master-key");
    fs::copy(key(like), key(&there)).expect("a master key");
    there
}

/// Runs a command that uses the running Keyside.
/// A backup has the damage too, and an export that looked whole would hide what was removed.
#[test]
fn a_backup_and_an_export_of_a_log_that_lost_records_fail_and_say_of_which_chain() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = Wire::tcp(keyside.admin_addr());
    for number in 0..40 {
        let answer = wire.ask(&adding(&keyside, &format!("k{number}")));
        assert_eq!(answer.status(), 201, "{}", answer.text());
    }
    let home = keyside.builder_of().home().to_owned();
    let segments = home.join("data/store/audit/workspace/acme");
    fs::remove_dir_all(&segments).expect("segments of the log");
    let all: [&[&str]; 3] = [
        &["backup", "--out", "b.keyside"],
        &["audit", "export"],
        &["audit", "export", "--format", "csv"],
    ];
    for arguments in all {
        let exit = desk(&keyside, arguments);
        assert_eq!(exit.code, Some(1), "{arguments:?}: {exit:#?}");
        let is_named = exit.stderr.contains("workspace/acme");
        assert!(is_named, "{arguments:?}: {exit:#?}");
    }
    assert!(home.join("b.keyside").exists(), "what can be read is kept");
    let exit = desk(&keyside, &["audit", "list", "--limit", "1000"]);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let is_named = exit.stderr.contains("warning: ") && exit.stderr.contains("workspace/acme");
    assert!(is_named, "{exit:#?}");
}

#[test]
fn a_command_that_is_stopped_while_it_writes_a_file_leaves_nothing_behind() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
    let admin = Upstream::scripted(|_, line| {
        line.write(HEAD);
        Then::Keep
    });
    let url = admin.base_url();
    let commands: [&[&str]; 2] = [
        &["backup", "--out", "file"],
        &["workspace", "export", "acme", "--out", "file"],
    ];
    for (arguments, signal) in commands.into_iter().zip([Signal::SIGINT, Signal::SIGTERM]) {
        let builder = Keyside::builder().variable("KEYSIDE_TOKEN", "ks_test");
        let mut command = builder.spawn(&[arguments, &["--admin-url", &url]].concat(), None);
        let is_half = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes == b"half");
        eventually("half of the file is written", || {
            let written = files_in(builder.home());
            written.iter().any(|path| is_half(path)).then_some(())
        });
        assert!(!builder.home().join("file").exists(), "{arguments:?}");
        command.signal(signal);
        let exit = command.exit_within(PATIENCE);
        assert_eq!(exit.code, Some(1), "{exit:#?}");
        assert!(exit.stderr.contains(signal.as_str()), "{exit:#?}");
        let settings = builder.home().join("keyside.toml");
        assert_eq!(files_in(builder.home()), [settings], "{arguments:?}");
    }
}

#[test]
fn a_command_that_waits_for_a_token_from_a_pipe_can_be_stopped() {
    let commands: [&[&str]; 2] = [&["backup"], &["workspace", "export", "acme"]];
    for arguments in commands {
        let builder = Keyside::builder();
        let pipe = builder.home().join("pipe");
        mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a writable folder");
        let options: &[&str] = &["--admin-url", "http://127.0.0.1:9", "--token-file", "pipe"];
        let mut command = builder.spawn(&[arguments, options].concat(), None);
        // Fails without a reader.
        let _writer = eventually("the command reads the pipe", || {
            let mut writer = fs::OpenOptions::new();
            let writer = writer.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
            writer.open(&pipe).ok()
        });
        command.signal(Signal::SIGTERM);
        let exit = command.exit_within(PATIENCE);
        assert_eq!(exit.signal, Some(Signal::SIGTERM as i32), "{exit:#?}");
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn desk(keyside: &Keyside, arguments: &[&str]) -> Exit {
    keyside.cli().run(arguments, b"")
}

fn adding(keyside: &Keyside, label: &str) -> Ask {
    let body = json!({
        "workspaceId": "acme", "provider": "openai", "label": label, "secret": crate::harness::KEY,
    });
    Ask::new("POST", CREDENTIALS)
        .set("Host", &keyside.admin_addr().to_string())
        .header("Authorization", format!("Bearer {}", keyside.token()))
        .header("Content-Type", "application/json")
        .body(body.to_string().as_bytes())
}

fn json_of(exit: &Exit) -> Value {
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    serde_json::from_str(&exit.stdout).unwrap_or_else(|error| panic!("{error} in {exit:#?}"))
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}
