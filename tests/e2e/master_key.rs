//! The master key is rotated while requests continue, and after any interruption the next start
//! opens everything.

use crate::harness::{Ask, Keyside, Upstream, Wire};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const ROTATE: &str = "/api/master-key/rotate";

#[test]
fn no_request_fails_while_the_master_key_and_the_workspace_key_are_replaced() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut wire = keyside.wire();
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = wire.ask(&Ask::chat());
                assert_eq!(answer.status(), 200, "{}", answer.text());
                asked += 1;
            }
            asked
        });
        for _ in 0..10 {
            for path in [ROTATE, "/api/workspaces/acme/rotate-key"] {
                let rotated = keyside.admin("POST", path, Some(&json!({})));
                assert_eq!(rotated.status(), 200, "{}", rotated.text());
            }
        }
        done.store(true, Ordering::Relaxed);
        let asked = asking.join().expect("no request failed");
        assert!(asked > 10, "only {asked} requests came between");
    });
    let keyside = keyside.kill9().start();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
}

#[test]
fn a_rotation_that_is_killed_at_any_moment_is_finished_or_forgotten() {
    let upstream = Upstream::wanting_key();
    let mut builder = Keyside::builder().provider("openai", &upstream.base_url());
    let mut keyside = builder.start().with_key();
    for n in 0..20 {
        keyside.workspace(&format!("other-{n}"));
    }
    for moment in moments() {
        let before = masters(&keyside);
        builder = killed_during_rotation(keyside, moment);
        keyside = builder.start();
        let answer = keyside.ask(&Ask::chat());
        assert_eq!(answer.status(), 200, "{moment:?}: {}", answer.text());
        let after = masters(&keyside);
        let more = after.iter().filter(|name| !before.contains(name));
        assert!(
            more.clone().all(|name| name.contains(".retired-mk_")) && more.count() <= 1,
            "{moment:?}: {before:?} became {after:?}"
        );
    }
    // The next one is like the first.
    let rotated = keyside.admin("POST", ROTATE, Some(&json!({})));
    assert_eq!(rotated.json()["keys"], 23, "{}", rotated.text());
}

#[test]
fn the_command_line_rotates_and_says_what_to_keep() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let exit = keyside.cli().run(&["master-key", "rotate", "--json"], b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let rotated: serde_json::Value = serde_json::from_str(&exit.stdout).expect("JSON");
    let retired = format!(
        "data.master-key.retired-{}",
        rotated["previous"].as_str().expect("an id")
    );
    assert_eq!(masters(&keyside), ["data.master-key".to_owned(), retired]);
    let exit = keyside.cli().run(&["workspace", "rotate-key", "acme"], b"");
    assert!(exit.stdout.contains("Encrypted 1 keys"), "{exit:#?}");
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
}

/// The files that hold master keys, or did.
fn masters(keyside: &Keyside) -> Vec<String> {
    let home: &Path = keyside.builder_of().home();
    let entries = fs::read_dir(home).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.contains("master-key"))
        .collect();
    names.sort();
    names
}

fn killed_during_rotation(keyside: Keyside, moment: Duration) -> crate::harness::Builder {
    let ask = Ask::new("POST", ROTATE)
        .set("Host", &keyside.admin_addr().to_string())
        .header("Authorization", format!("Bearer {}", keyside.token()));
    let mut wire = Wire::tcp(keyside.admin_addr());
    wire.send(ask.bytes());
    // The sleep is the fault, not a wait for an event.
    let (_never, alarm) = mpsc::channel::<()>();
    let _ = alarm.recv_timeout(moment);
    keyside.kill9()
}

/// From before it has begun to after it is done.
fn moments() -> impl Iterator<Item = Duration> {
    (0..16).map(|step| Duration::from_micros(step * step * 150))
}
