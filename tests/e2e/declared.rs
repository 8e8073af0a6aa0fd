//! Declared keys together with stored ones: requests use both, and the API changes only the stored
//! ones.

use crate::harness::{Ask, Builder, KEY, Keyside, Upstream, Wire, eventually};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use std::fs;

const DECLARED: &str = "sk-proj-declared-one-0123456789abcdefgh";
const LATER: &str = "sk-proj-declared-two-0123456789abcdefgh";

/// Keyside with a stored key of `acme`, labelled `default`, and a declared one, labelled `file`.
fn beside_a_stored_one() -> (Upstream, Keyside) {
    let upstream = Upstream::ok();
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let path = builder.home().join("key");
    fs::write(&path, DECLARED).expect("a writable folder");
    let table = |workspace: &str, label: &str| {
        format!(
            "[[credential]]\nworkspace = \"{workspace}\"\nprovider = \"openai\"\nlabel = \"{label}\"\n\
             source = \"file:{}\"\n",
            path.display()
        )
    };
    let builder = builder
        .config(&table("acme", "file"))
        .config(&table("declared-only", "default"));
    (upstream, builder.start().with_key())
}

fn secret_sent(upstream: &Upstream) -> String {
    let last = upstream.requests().pop().expect("a request");
    last.headers_named("authorization").join(" ")
}

fn declared(keyside: &Keyside) -> Value {
    let mut listed = keyside.list().into_iter();
    let found = listed.find(|key| key["label"] == "file");
    found.expect("the declared key is listed")
}

#[test]
fn a_declared_key_is_used_by_its_label_and_where_nothing_is_stored() {
    let (upstream, keyside) = beside_a_stored_one();
    for (name, ask, secret) in [
        ("the stored default", Ask::chat(), KEY),
        (
            "the declared label",
            Ask::chat().header("X-Keyside-Label", "file"),
            DECLARED,
        ),
        (
            "a workspace that is only declared",
            Ask::chat().workspace("declared-only"),
            DECLARED,
        ),
    ] {
        let answer = keyside.ask(&ask);
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        assert_eq!(secret_sent(&upstream), format!("Bearer {secret}"), "{name}");
    }
}

#[test]
fn a_declared_key_is_shown_with_its_source_and_cannot_be_changed() {
    let (_upstream, keyside) = beside_a_stored_one();
    let key = declared(&keyside);
    let source = key["source"].as_str().expect("a source");
    assert!(
        source.starts_with("file:/") && source.ends_with("/key"),
        "{key}"
    );
    assert!(!key.to_string().contains(DECLARED), "it is write-only");
    let id = key["id"].as_str().expect("an id");
    let path = format!("/api/integrations/credentials/{id}");
    for (method, path, body) in [
        ("PATCH", path.clone(), Some(json!({ "label": "other" }))),
        ("PATCH", path.clone(), Some(json!({ "secret": LATER }))),
        ("DELETE", path.clone(), None),
        ("POST", format!("{path}/rollback"), Some(json!({}))),
    ] {
        let ask = keyside.admin_ask(method, &path, body.as_ref());
        let ask = match body {
            Some(_) => ask,
            None => ask.header("If-Match", "*"),
        };
        let answer = Wire::tcp(keyside.admin_addr()).ask(&ask);
        assert_eq!(answer.status(), 409, "{method} {path}: {}", answer.text());
        assert!(
            answer.text().contains("declared-in-settings"),
            "{}",
            answer.text()
        );
    }
    let added = json!({
        "workspaceId": "declared-only", "provider": "openai", "label": "x", "secret": LATER,
    });
    let answer = keyside.try_add(&added);
    assert_eq!(answer.status(), 409, "{}", answer.text());
    let stored = keyside.ask(&Ask::chat().header("X-Keyside-Label", "file"));
    assert_eq!(stored.status(), 200, "it is used as before");
}

#[test]
fn a_new_secret_in_the_file_is_used_without_refusing_a_request() {
    let (upstream, keyside) = beside_a_stored_one();
    let ask = Ask::chat().header("X-Keyside-Label", "file");
    let path = keyside.builder_of().home().join("key");
    fs::write(&path, LATER).expect("a writable folder");
    eventually("the other secret used", || {
        let answer = keyside.ask(&ask);
        assert_eq!(answer.status(), 200, "no request fails meanwhile");
        (secret_sent(&upstream) == format!("Bearer {LATER}")).then_some(())
    });
    fs::remove_file(&path).expect("the file");
    eventually("the key refused", || {
        (keyside.ask(&ask).status() == 401).then_some(())
    });
    assert_eq!(
        keyside.ask(&Ask::chat()).status(),
        200,
        "the stored one serves"
    );
    let ready = keyside.observed("/readyz");
    assert_eq!(ready.status(), 200);
    assert!(
        ready.text().contains("acme/openai/file"),
        "{}",
        ready.text()
    );
    for secret in [DECLARED, LATER] {
        assert!(!keyside.logs().contains(secret), "a log holds a secret");
    }
}

/// A sidecar whose only key is in the file `key`, which does not exist yet.
fn sidecar(upstream: &Upstream) -> Builder {
    Keyside::sidecar()
        .provider("openai", &upstream.base_url())
        .declare("acme", "openai", "main", "key")
}

#[test]
fn a_fifo_instead_of_a_key_is_refused_and_blocks_nothing() {
    let upstream = Upstream::ok();
    let builder = sidecar(&upstream);
    let path = builder.home().join("key");
    mkfifo(&path, Mode::S_IRWXU).expect("a writable folder");
    let keyside = builder.start();
    let is_refused = || {
        let page = keyside.observed("/readyz").text();
        let is_refused = keyside.ask(&Ask::chat()).status() == 401;
        (is_refused && page.contains("name a regular file")).then_some(())
    };
    eventually("the FIFO refused at start", is_refused);
    fs::remove_file(&path).expect("the FIFO");
    fs::write(&path, DECLARED).expect("a writable folder");
    eventually("the key used", || {
        (keyside.ask(&Ask::chat()).status() == 200).then_some(())
    });
    fs::remove_file(&path).expect("the file");
    mkfifo(&path, Mode::S_IRWXU).expect("a writable folder");
    eventually("the FIFO refused later", is_refused);
    let (_builder, exit) = keyside.stop();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

#[test]
fn replacing_a_key_constantly_fails_no_request_and_the_last_one_is_used() {
    let upstream = Upstream::ok();
    let builder = sidecar(&upstream);
    let (path, next) = (builder.home().join("key"), builder.home().join("next"));
    fs::write(&path, DECLARED).expect("a writable folder");
    let keyside = builder.start();
    for secret in [LATER, DECLARED].into_iter().cycle().take(301) {
        fs::write(&next, secret).expect("a writable folder");
        fs::rename(&next, &path).expect("a writable folder");
        let answer = keyside.ask(&Ask::chat());
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let sent = secret_sent(&upstream);
        let is_one = [DECLARED, LATER].map(|one| format!("Bearer {one}"));
        assert!(is_one.contains(&sent), "neither of the two: {sent}");
    }
    eventually("the last one used", || {
        keyside.ask(&Ask::chat());
        (secret_sent(&upstream) == format!("Bearer {LATER}")).then_some(())
    });
}

#[test]
fn check_finds_what_no_start_would_accept() {
    let upstream = Upstream::ok();
    let named = |workspace: &str, label: &str| {
        let builder = Keyside::sidecar().provider("openai", &upstream.base_url());
        builder
            .declare("acme", "openai", "main", "key")
            .declare(workspace, "openai", label, "key")
            .run(&["check"], b"")
    };
    assert_eq!(named("acme", "other").code, Some(0));
    for (label, said) in [
        ("main", "credential[1].label"),
        (" main", "credential[1]: "),
        ("m\nready", "credential[1]: "),
    ] {
        let exit = named("acme", label);
        assert_eq!(exit.code, Some(78), "{label:?}: {exit:#?}");
        assert!(exit.stderr.contains(said), "{label:?}: {exit:#?}");
    }
    assert_eq!(named("other", "main").code, Some(0));
}

#[test]
fn a_key_in_quotes_is_used_and_warned_of_in_check_doctor_and_the_log() {
    let upstream = Upstream::ok();
    let builder = sidecar(&upstream);
    fs::write(builder.home().join("key"), format!("\"{LATER}\"")).expect("a writable folder");
    let warning = "/key: the key is in quotes, which are sent with it; write it without quotes";
    let checked = builder.run(&["check"], b"");
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    assert!(
        checked.stderr.contains("warning: credential[0].source: "),
        "{checked:#?}"
    );
    assert!(checked.stderr.contains(warning), "{checked:#?}");
    let examined = builder.run(&["doctor", "--json"], b"");
    let findings: Value = serde_json::from_str(&examined.stdout).expect("JSON");
    let is_warning = |found: &&Value| {
        found["state"] == "warn" && found["name"].to_string().contains("credential")
    };
    let found = findings.as_array().expect("a list").iter().find(is_warning);
    let found = found.unwrap_or_else(|| panic!("no warning in {examined:#?}"));
    assert!(
        found.to_string().contains("the key is in quotes"),
        "{found}"
    );
    let keyside = builder.start();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    assert_eq!(secret_sent(&upstream), format!("Bearer \"{LATER}\""));
    let logs = keyside.logs();
    assert_eq!(logs.matches("the key is in quotes").count(), 1, "{logs}");
    assert!(!logs.contains(LATER), "{logs}");
}

#[test]
fn serve_audits_once_that_a_declared_key_is_lost_and_that_it_is_back() {
    let (_upstream, keyside) = beside_a_stored_one();
    let path = keyside.builder_of().home().join("key");
    let audited = |event: &str| {
        let page = keyside.admin("GET", &format!("/api/audit?event={event}"), None);
        page.json()["items"].as_array().expect("items").clone()
    };
    fs::remove_file(&path).expect("the key");
    // Two credentials have this file.
    let lost = eventually("both losses audited", || {
        let lost = audited("credential_source_lost");
        (lost.len() == 2).then_some(lost)
    });
    assert_eq!(lost[0]["provider"], "openai");
    let ids = [&lost[0], &lost[1]].map(|record| record["credentialId"].clone());
    assert!(ids.contains(&declared(&keyside)["id"]), "{lost:#?}");
    fs::write(&path, LATER).expect("a writable folder");
    eventually("both returns audited", || {
        (audited("credential_source_changed").len() == 2).then_some(())
    });
    assert_eq!(audited("credential_source_lost").len(), 2);
}
