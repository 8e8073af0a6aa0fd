//! A data folder with lost or truncated files, or put back to an older state: Keyside reports it
//! with the remedy, or repairs it. It never starts as if the folder were empty, and a restore
//! works.

use crate::harness::{Ask, Builder, CREDENTIALS, Exit, KEY, Keyside, Upstream, Wire};
use crate::startup::{check_serves, refused};
use keyside_sled::EmbeddedStore;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_lost_store_with_its_keyring_left_is_not_replaced_by_an_empty_one() {
    let upstream = Upstream::wanting_key();
    let (builder, backup) = stopped(&upstream);
    fs::remove_dir_all(builder.home().join("data/store")).expect("a folder");
    check_refused_with_remedy("no store", &refused(&builder));
    check_refused_with_remedy("no store, asked again", &refused(&builder));
    // The anchor may be missing; then the keyring alone must reveal the loss.
    let _ = fs::remove_file(builder.home().join("data/audit-head"));
    check_refused_with_remedy("no store and no anchor", &refused(&builder));
    assert!(!builder.home().join("data/store").exists(), "one was made");
    check_restored(&builder, &backup);
}

#[test]
fn a_start_refused_over_a_lost_store_does_not_block_a_restore() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let backup = ["backup", "--out", "b.keyside"];
    let exit = keyside.cli().run(&backup, b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let builder = keyside.kill9();
    let store = builder.home().join("data/store");
    fs::remove_dir_all(&store).expect("a folder");
    let exit = refused(&builder);
    check_refused_with_remedy("no store", &exit);
    assert!(!store.exists(), "one was made");
    // Records that the process itself has written since the backup do not matter here.
    let exit = builder.run(&["restore", "--older", "b.keyside"], b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    check_serves(&builder.start());
}

/// A store that is begun there would be in the way of restoring again.
#[test]
fn a_start_beside_what_a_killed_restore_has_left_is_refused_until_it_was_run_again() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let backup = ["backup", "--out", "b.keyside"];
    let exit = keyside.cli().run(&backup, b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let builder = keyside.kill9();
    let data = builder.home().join("data");
    for folder in ["store", "heads"] {
        fs::remove_dir_all(data.join(folder)).expect("a folder");
    }
    fs::remove_file(data.join("keyring")).expect("a file");
    fs::create_dir(data.join("store.restoring")).expect("a folder");
    let exit = refused(&builder);
    for part in ["store.restoring", "`keyside restore` again"] {
        assert!(exit.stderr.contains(part), "no {part}: {exit:#?}");
    }
    assert!(!data.join("store").exists(), "one was made");
    let exit = builder.run(&["doctor"], b"");
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stdout.contains("`keyside restore` again"), "{exit:#?}");
    let exit = builder.run(&["restore", "b.keyside"], b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    check_serves(&builder.start());
}

#[test]
fn a_lost_keyring_with_its_store_left_is_not_replaced_by_a_new_one() {
    let upstream = Upstream::wanting_key();
    let (builder, backup) = stopped(&upstream);
    let keyring = builder.home().join("data/keyring");
    fs::remove_file(&keyring).expect("a file");
    check_refused_with_remedy("no keyring", &refused(&builder));
    check_refused_with_remedy("no keyring, asked again", &refused(&builder));
    assert!(!keyring.exists(), "a new keyring was made");
    check_restored(&builder, &backup);
}

#[test]
fn a_damaged_keyring_is_named_and_left_as_it_is() {
    let upstream = Upstream::wanting_key();
    let (builder, backup) = stopped(&upstream);
    let keyring = builder.home().join("data/keyring");
    let whole = fs::read(&keyring).expect("a keyring");
    let edited = String::from_utf8(whole.clone())
        .expect("JSON")
        .replace("acme", "acm3");
    for (name, content) in [
        ("empty", Vec::new()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("no JSON", b"keyring".to_vec()),
        ("of other JSON", b"{}".to_vec()),
    ] {
        fs::write(&keyring, &content).expect("a file");
        let exit = refused(&builder);
        check_refused_with_remedy(name, &exit);
        assert!(exit.stderr.contains("keyring"), "{name}: {exit:#?}");
        let left = fs::read(&keyring).expect("a keyring");
        assert_eq!(left, content, "{name}: it was changed");
    }
    assert_ne!(edited.as_bytes(), whole, "the keyring names its workspaces");
    fs::write(&keyring, edited).expect("a file");
    check_noticed("a workspace's key under another name", &builder);
    check_restored(&builder, &backup);
}

#[test]
fn damage_to_any_file_of_the_store_is_detected_or_repaired() {
    let upstream = Upstream::wanting_key();
    let (builder, backup) = stopped(&upstream);
    let store = backup.join("store");
    let files = files_under(&store);
    assert!(
        files.iter().any(|file| file.ends_with("db")),
        "the store's log is its file db: {files:?}"
    );
    for file in files {
        let whole = fs::read(&file).expect("a file of the store");
        let place = file.strip_prefix(&store).expect("inside");
        for (damage, content) in [
            ("gone", None),
            ("empty", Some(Vec::new())),
            ("cut in half", Some(whole[..whole.len() / 2].to_vec())),
            (
                "cut by a byte",
                Some(whole[..whole.len().saturating_sub(1)].to_vec()),
            ),
            ("zeroed", Some(vec![0; whole.len()])),
            ("turned over in the middle", Some(turned(&whole))),
        ] {
            restore(&builder, &backup);
            let damaged = builder.home().join("data/store").join(place);
            match content {
                None => fs::remove_file(&damaged).expect("a file"),
                Some(content) => fs::write(&damaged, content).expect("a file"),
            }
            check_noticed(&format!("{} {damage}", place.display()), &builder);
        }
    }
    check_restored(&builder, &backup);
}

/// On some of these stores sled panics: with a snapshot, and a log of several segments.
#[test]
fn flipped_bits_in_the_log_of_the_store_are_reported_without_a_panic() {
    let upstream = Upstream::wanting_key();
    let mut keyside = Keyside::with_openai(&upstream.base_url());
    for number in 0..120 {
        if number == 80 {
            keyside = keyside.kill9().start();
        }
        keyside.add_key("acme", "openai", &format!("more-{number}"), KEY);
    }
    let builder = keyside.kill9();
    let backup = builder.home().join("backup");
    copy(&builder.home().join("data"), &backup);
    let whole = fs::read(backup.join("store/db")).expect("sled's log");
    for seed in 0..6 {
        restore(&builder, &backup);
        let damaged = builder.home().join("data/store/db");
        fs::write(damaged, with_flipped_bits(&whole, seed)).expect("a file");
        check_noticed(&format!("flipped bits, seed {seed}"), &builder);
    }
    check_restored(&builder, &backup);
}

#[test]
fn an_older_copy_of_the_store_does_not_bring_a_revoked_key_back() {
    let upstream = Upstream::wanting_key();
    let (builder, backup) = stopped(&upstream);
    let keyside = builder.start();
    check_serves(&keyside);
    keyside.revoke(&keyside.list()[0]);
    let (builder, _) = keyside.stop();
    let store = builder.home().join("data/store");
    fs::remove_dir_all(&store).expect("a folder");
    copy(&backup.join("store"), &store);
    match builder.try_start() {
        Err(exit) => check_refused_with_remedy("an older store", &exit),
        Ok(keyside) => {
            let answer = keyside.ask(&Ask::chat());
            assert_ne!(answer.status(), 200, "the revoked key is back");
            assert_eq!(
                answer.json()["code"],
                "credential_undecryptable",
                "{}",
                answer.text()
            );
        }
    }
}

#[test]
fn doctor_and_the_offline_check_report_missing_and_edited_heads() {
    let upstream = Upstream::wanting_key();
    let (builder, backup) = stopped(&upstream);
    let heads = builder.home().join("data/heads");
    let (own, acme) = (heads.join("installation"), heads.join("workspace.acme"));
    fs::remove_file(&own).expect("a head");
    check_told("no head", &builder, "heads/installation is gone");
    fs::remove_dir_all(&heads).expect("a folder");
    check_told("no heads", &builder, "data/heads/installation");
    restore(&builder, &backup);
    fs::write(&own, "edited").expect("a writable folder");
    check_told("an edited head", &builder, "heads/installation is damaged");
    restore(&builder, &backup);
    fs::write(&acme, "edited").expect("a writable folder");
    check_told("a workspace's", &builder, "heads/workspace.acme is damaged");
}

#[test]
fn doctor_and_the_offline_check_report_an_older_store() {
    let upstream = Upstream::wanting_key();
    let (builder, backup) = stopped(&upstream);
    let keyside = builder.start();
    keyside.revoke(&keyside.list()[0]);
    let (builder, _) = keyside.stop();
    let store = builder.home().join("data/store");
    fs::remove_dir_all(&store).expect("a folder");
    copy(&backup.join("store"), &store);
    check_told("an older store", &builder, "put back to an older state");
}

#[test]
fn a_store_that_does_not_open_is_not_said_to_be_without_credentials() {
    let upstream = Upstream::wanting_key();
    let (builder, _) = stopped(&upstream);
    let store = builder.home().join("data/store");
    for name in ["conf", "conf.kept"] {
        fs::remove_file(store.join(name)).expect("a file");
    }
    check_told("no conf", &builder, "conf and the copy conf.kept are both");
    assert_eq!(
        refused(&builder).code,
        Some(78),
        "it would be started again"
    );
}

#[test]
fn deleting_the_token_file_revokes_neither_the_token_nor_the_keys() {
    let upstream = Upstream::wanting_key();
    let (builder, backup) = stopped(&upstream);
    fs::remove_file(builder.home().join("data/admin-token")).expect("a file");
    let keyside = builder.start();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    let token = fs::read_to_string(backup.join("admin-token")).expect("a token");
    let ask = Ask::new("GET", CREDENTIALS)
        .set("Host", &keyside.admin_addr().to_string())
        .header("Authorization", format!("Bearer {}", token.trim()));
    let answer = Wire::tcp(keyside.admin_addr()).ask(&ask);
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

#[test]
fn a_key_whose_record_is_gone_is_listed_as_damaged_and_can_be_revoked() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let id = keyside.list()[0]["id"].as_str().expect("an id").to_owned();
    keyside.add_key("acme", "openai", "other", KEY);
    let (builder, exit) = keyside.stop();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    remove_record(&builder, &id);
    let keyside = builder.start();
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.json()["code"], "credential_undecryptable");
    let other = Ask::chat().header("X-Keyside-Label", "other");
    assert_eq!(keyside.ask(&other).status(), 200);
    let lost = keyside.list().pop().expect("a list");
    assert_eq!(lost["id"], id.as_str());
    assert_eq!(lost["damaged"], true);
    assert!(lost["label"].is_null() && lost["createdAt"].is_null());
    let run = |arguments: &[&str]| {
        let exit = keyside.cli().run(arguments, b"");
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        exit.stdout
    };
    let table = run(&["key", "list"]);
    let mut lines = table.lines();
    let line = lines.find(|line| line.contains(&id)).expect("a line");
    assert!(line.contains("damaged"), "{table}");
    assert!(run(&["key", "show", &id]).contains("damaged"));
    assert!(run(&["key", "revoke", &id, "--yes"]).contains(&id));
    assert_eq!(keyside.list()[1]["status"], "revoked");
    keyside.add_key("acme", "openai", "next", KEY);
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    assert_eq!(keyside.ask(&other).status(), 200);
}

/// Deletes the stored record of a key of `acme`, as an attacker with write access to the store
/// could.
fn remove_record(builder: &Builder, id: &str) {
    let folder = builder.home().join("data/store");
    let begins = format!("{{\"id\":\"{id}\"");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = EmbeddedStore::open(&folder).await.expect("a store");
        let storage = store.backend().storage;
        let mut removed = 0;
        for key in storage.list("workspace/acme/object/").await.expect("keys") {
            let object = storage.get(&key).await.expect("a read");
            // Each object begins with eight random bytes.
            let record = object.as_deref().and_then(|object| object.get(8..));
            if record.is_some_and(|record| record.starts_with(begins.as_bytes())) {
                storage.delete(&key).await.expect("a removal");
                removed += 1;
            }
        }
        storage.sync().await.expect("a disk");
        assert_eq!(removed, 1, "a key has one record");
    });
}

/// An installation with the key of `acme`, stopped, and a copy of its data folder.
fn stopped(upstream: &Upstream) -> (Builder, PathBuf) {
    let (builder, exit) = Keyside::with_openai(&upstream.base_url()).stop();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let backup = builder.home().join("backup");
    copy(&builder.home().join("data"), &backup);
    (builder, backup)
}

/// Starts with a damaged folder. Keyside must report the damage with a remedy, or serve the key
/// normally, or refuse that key as undecryptable. It must not behave as if there were no key.
fn check_noticed(name: &str, builder: &Builder) {
    match builder.clone().try_start() {
        Err(exit) => check_refused_with_remedy(name, &exit),
        Ok(keyside) => {
            let answer = keyside.ask(&Ask::chat());
            let code = match answer.status() {
                200 => return,
                _ => answer.json()["code"].clone(),
            };
            assert_eq!(
                code,
                "credential_undecryptable",
                "{name}: {}",
                answer.text()
            );
        }
    }
}

/// `doctor` and `audit verify --offline` both fail, with the cause and the remedy.
fn check_told(name: &str, builder: &Builder, part: &str) {
    let doctor = builder.run(&["doctor"], b"");
    let is_told = |line: &str| line.starts_with("fail store: ") && line.contains(part);
    assert!(doctor.stdout.lines().any(is_told), "{name}: {doctor:#?}");
    let checked = builder.run(&["audit", "verify", "--offline"], b"");
    assert!(checked.stderr.contains(part), "{name}: {checked:#?}");
    for exit in [doctor, checked] {
        let said = format!("{}{}", exit.stdout, exit.stderr);
        assert_eq!(exit.code, Some(1), "{name}: {said}");
        assert!(
            said.to_ascii_lowercase().contains("restore the "),
            "{name}: {said}"
        );
        for untrue in ["no credential is", "ok   store", "Stop Keyside"] {
            assert!(!said.contains(untrue), "{name}: {said}");
        }
    }
}

fn check_refused_with_remedy(name: &str, exit: &Exit) {
    assert!(matches!(exit.code, Some(1 | 78)), "{name}: {exit:#?}");
    let said = exit.stderr.to_ascii_lowercase();
    let remedy = said.contains("restore") && (said.contains("backup") || said.contains("copy"));
    assert!(remedy && said.contains("data"), "{name}: {exit:#?}");
    assert!(!said.contains("panicked"), "{name}: {exit:#?}");
}

/// Puts the copy back; the next start serves the earlier data.
fn check_restored(builder: &Builder, backup: &Path) {
    restore(builder, backup);
    check_serves(&builder.clone().start());
}

fn restore(builder: &Builder, backup: &Path) {
    let data = builder.home().join("data");
    fs::remove_dir_all(&data).expect("a folder");
    copy(backup, &data);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a writable folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file");
        }
    }
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Flips 16 bits, in places that depend on `seed`.
fn with_flipped_bits(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    // A linear congruential generator, by Donald Knuth.
    let mut drawn = seed;
    for bit in 0..16 {
        drawn = drawn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = (drawn >> 33) as usize % bytes.len();
        bytes[at] ^= 1 << (bit % 8);
    }
    bytes
}

/// Flips the bits of a range in the middle.
fn turned(whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let middle = bytes.len() / 2;
    let end = (middle + 64).min(bytes.len());
    for byte in &mut bytes[middle..end] {
        *byte = !*byte;
    }
    bytes
}
