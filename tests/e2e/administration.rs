//! The command line for tokens (create, limit, revoke) and for the audit log (read, export, verify,
//! also while Keyside is stopped).

use crate::harness::{Ask, Builder, CREDENTIALS, Exit, KEY, Keyside, Wire};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A running Keyside with workspace `acme` and its key, and a user of the command line.
struct Office {
    keyside: Keyside,
}

impl Office {
    fn open() -> Self {
        let keyside = Keyside::builder().start().with_key();
        Self { keyside }
    }

    fn run(&self, words: &str) -> Exit {
        let words: Vec<_> = words.split_whitespace().collect();
        self.keyside.cli().run(&words, b"")
    }

    /// The output of a command that must succeed.
    fn printed(&self, words: &str) -> String {
        let exit = self.run(words);
        assert_eq!(exit.code, Some(0), "{words}: {exit:#?}");
        exit.stdout
    }

    fn json(&self, words: &str) -> Value {
        let printed = self.printed(&format!("{words} --json"));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    fn builder(&self) -> &Builder {
        self.keyside.builder_of()
    }

    /// Creates a token and stores it in the file `token`.
    fn token(&self, options: &str) -> Value {
        let made = self.json(&format!("token create {options}"));
        let text = made["token"].as_str().expect("its text");
        fs::write(self.builder().home().join("token"), text).expect("a file");
        made
    }
}

#[test]
fn a_token_allows_what_it_was_created_for_until_it_is_revoked() {
    let office = Office::open();
    office.keyside.workspace("beta");
    let made = office.token("--name CI --role viewer --workspace acme");
    let workspaces = office.printed("workspace list --token-file token");
    assert!(
        workspaces.contains("acme") && !workspaces.contains("beta"),
        "{workspaces}"
    );
    let change = office.run("workspace add gamma --token-file token");
    assert_eq!(change.code, Some(1), "{change:#?}");
    assert!(change.stderr.contains("role"), "{change:#?}");
    let listed = office.printed("token list");
    let id = made["id"].as_str().expect("an id");
    for part in [id, "CI", "viewer", "acme", "active"] {
        assert!(listed.contains(part), "no {part} in {listed}");
    }
    let revoked = office.json(&format!("token revoke {id} --yes"));
    assert_eq!(revoked["status"], "revoked");
    let refused = office.run("workspace list --token-file token");
    assert_eq!(refused.code, Some(1), "{refused:#?}");
}

#[test]
fn a_token_is_printed_alone_so_that_it_can_go_into_a_file() {
    let office = Office::open();
    let exit = office.run("token create --name CI --role editor");
    let token = exit.stdout.trim_end();
    assert!(token.starts_with("ks_") && token.len() == 46, "{exit:#?}");
    assert!(exit.stderr.contains("this once"), "{exit:#?}");
    assert!(!exit.stderr.contains(token), "{exit:#?}");
    let logs = office.keyside.logs();
    assert!(!logs.contains(token), "the token is in the log");
}

#[test]
fn a_token_outlives_the_process_that_made_it() {
    let office = Office::open();
    office.token("--name CI --role editor");
    let builder = office.keyside.kill9();
    let keyside = builder.start();
    let office = Office { keyside };
    office.printed("key list --token-file token");
}

#[test]
fn a_cookie_does_not_authenticate_and_there_is_no_sign_in() {
    let keyside = Keyside::builder().start();
    let host = keyside.admin_addr().to_string();
    let token = keyside.token();
    let with_cookie = Ask::new("GET", "/api/workspaces")
        .set("Host", &host)
        .header("Cookie", format!("keyside={token}; __Host-keyside={token}"));
    let answer = Wire::tcp(keyside.admin_addr()).ask(&with_cookie);
    assert_eq!(answer.status(), 401, "{}", answer.text());
    let shown = json!({ "token": token });
    let answer = keyside.admin("POST", "/api/session", Some(&shown));
    assert_eq!(answer.status(), 404, "{}", answer.text());
    assert_eq!(answer.header("set-cookie"), None);
}

#[test]
fn wrong_tokens_are_rate_limited_and_do_not_lock_out_valid_ones() {
    let keyside = Keyside::builder().start();
    let guess = Ask::new("GET", "/api/workspaces")
        .set("Host", &keyside.admin_addr().to_string())
        .header("Authorization", "Bearer ks_wrong");
    let mut wire = Wire::tcp(keyside.admin_addr());
    let answers: Vec<_> = (0..30).map(|_| wire.ask(&guess)).collect();
    assert_eq!(answers[0].status(), 401);
    let last = &answers[29];
    assert_eq!(last.status(), 429, "{}", last.text());
    let wait: u64 = last
        .header("retry-after")
        .expect("a wait")
        .parse()
        .expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(keyside.admin("GET", "/api/workspaces", None).status(), 200);
}

#[test]
fn the_audit_log_lists_events_newest_first() {
    let office = Office::open();
    let credential = office.keyside.list()[0].clone();
    office.keyside.revoke(&credential);
    let page = office.json("audit list --workspace acme --limit 2");
    let events: Vec<_> = page["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["event"].as_str().expect("a name"))
        .collect();
    assert_eq!(events, ["credential_revoked", "credential_created"]);
    for item in page["items"].as_array().expect("a list") {
        assert_eq!(item["credentialId"], credential["id"]);
        assert_eq!(item["fingerprint"], credential["fingerprint"]);
    }
    let table = office.printed("audit list --event credential_created");
    assert!(table.contains("credential_created") && !table.contains(KEY));
}

#[test]
fn an_export_is_verified_with_only_the_public_key() {
    let office = Office::open();
    let whole = office.printed("audit export");
    let key = office.printed("audit key");
    let key = key.trim();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("export.ndjson");
    // No settings, no data folder, no running Keyside.
    let verify = |text: &str, key: &str| {
        fs::write(&file, text).expect("a file");
        let file = file.to_str().expect("a path");
        Keyside::builder().run(&["audit", "verify", file, "--key", key], b"")
    };
    let good = verify(&whole, key);
    assert_eq!(good.code, Some(0), "{good:#?}");
    assert!(good.stdout.contains("2 chains"), "{good:#?}");
    let lines: Vec<_> = whole.lines().collect();
    for left_out in 0..lines.len() {
        let rest: String = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != left_out)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        let found = verify(&rest, key);
        assert_eq!(found.code, Some(1), "without line {left_out}: {found:#?}");
    }
    let edited = whole.replacen("token_created", "token_revoked", 2);
    assert_eq!(verify(&edited, key).code, Some(1));
    assert_eq!(verify(&whole, &"0".repeat(64)).code, Some(1));
    let later = office.printed("audit export --from 2100-01-01T00:00:00Z");
    assert!(!later.contains("\"event\""), "{later}");
    let csv = office.printed("audit export --format csv --workspace acme");
    assert!(csv.starts_with("\"chain\",\"position\","), "{csv}");
    assert!(!csv.contains("token_created"), "{csv}");
    assert!(!whole.contains(KEY) && !csv.contains(KEY));
}

#[test]
fn the_audit_log_is_verified_while_running_and_offline() {
    let office = Office::open();
    let online = office.json("audit verify");
    assert_eq!(online["intact"], true);
    let serving = office.run("audit verify --offline");
    assert_eq!(serving.code, Some(1), "{serving:#?}");
    assert!(
        serving.stderr.contains("in use by the process"),
        "{serving:#?}"
    );
    assert!(serving.stderr.contains("Stop Keyside"), "{serving:#?}");
    let (builder, _) = office.keyside.stop();
    let at_rest = builder.run(&["audit", "verify", "--offline", "--json"], b"");
    let at_rest: Value = serde_json::from_str(&at_rest.stdout).expect("JSON");
    // A link to the workspace's chain is recorded in between.
    assert_eq!(at_rest["intact"], true);
    assert_eq!(at_rest["chains"], online["chains"]);
    assert!(at_rest["records"].as_u64() >= online["records"].as_u64());
}

#[test]
fn an_offline_check_reports_a_log_that_was_put_back_to_an_older_state() {
    let (builder, _) = Office::open().keyside.stop();
    let (store, older) = (
        builder.home().join("data/store"),
        builder.home().join("older"),
    );
    copy(&store, &older);
    let keyside = builder.start();
    keyside.revoke(&keyside.list()[0]);
    let (builder, _) = keyside.stop();
    fs::remove_dir_all(&store).expect("a folder");
    copy(&older, &store);
    let exit = builder.run(&["audit", "verify", "--offline", "--json"], b"");
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let found: Value = serde_json::from_str(&exit.stdout).expect("JSON");
    assert_eq!(found["intact"], false);
    assert_ne!(found["chain"], Value::Null);
    assert!(
        exit.stderr.contains("put back to an older state"),
        "{exit:#?}"
    );
}

#[test]
fn an_offline_check_creates_nothing_in_an_empty_folder() {
    let builder = Keyside::builder();
    let exit = builder.run(&["audit", "verify", "--offline"], b"");
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(!exit.stderr.contains("Stop Keyside"), "{exit:#?}");
    assert!(!builder.home().join("data").exists(), "something was made");
    assert!(!builder.home().join("data.master-key").exists());
}

#[test]
fn the_description_that_is_printed_is_the_one_that_is_served() {
    let keyside = Keyside::builder().start();
    let printed = keyside.builder_of().run(&["openapi"], b"").stdout;
    assert_eq!(keyside.admin("GET", "/openapi.json", None).text(), printed);
    assert!(printed.contains(CREDENTIALS));
}

/// Preserves modes and times, as `cp -a` does.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp").success());
}

#[test]
fn a_key_of_a_provider_removed_from_the_settings_is_counted_once_at_each_scrape() {
    let keyside = Keyside::builder()
        .set("providers.mine.base_url", r#""https://llm.example""#)
        .start()
        .with_key();
    keyside.add_key("acme", "mine", "default", KEY);
    let (builder, _) = keyside.stop();
    let keyside = builder.unset("providers.mine.base_url").start();
    for _ in 0..3 {
        let metrics = keyside.metrics();
        let counted =
            metrics.contains(r#"integration_credentials_total{provider="mine",status="active"} 1"#);
        assert!(counted, "{metrics}");
    }
}
