//! The command line for people and scripts: results on standard output, errors with a next step on
//! standard error, meaningful exit codes, and no flag for a secret.

use crate::harness::{Ask, Builder, Exit, KEY, Keyside, Upstream};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

const OK: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const CONFIGURATION: i32 = 78;

/// A running Keyside, and a person on the same machine with the same settings.
struct Desk {
    keyside: Keyside,
    url: String,
}

impl Desk {
    fn new(upstream: &Upstream) -> Self {
        let keyside = Keyside::builder()
            .provider("openai", &upstream.base_url())
            .start();
        let url = format!("http://{}", keyside.admin_addr());
        Self { keyside, url }
    }

    /// Runs a command that uses the running Keyside.
    fn run(&self, arguments: &[&str], stdin: &[u8]) -> Exit {
        let arguments = [arguments, &["--admin-url", &self.url]].concat();
        self.builder().run(&arguments, stdin)
    }

    fn builder(&self) -> &Builder {
        self.keyside.builder_of()
    }
}

#[test]
fn a_key_is_added_from_a_file_and_from_standard_input_and_used() {
    let upstream = Upstream::wanting_key();
    let desk = Desk::new(&upstream);
    check(OK, &desk.run(&["workspace", "add", "acme"], b""));
    let file = desk.builder().home().join("secret");
    fs::write(&file, format!("{KEY}\n")).expect("a writable folder");
    let mode = |mode| fs::set_permissions(&file, Permissions::from_mode(mode)).expect("our file");
    mode(0o640);
    let added = check(OK, &desk.run(&adding(&["--secret-file", "secret"]), b""));
    assert!(added.stdout.contains("OPENAI_BASE_URL="), "{added:#?}");
    assert!(added.stderr.contains("chmod 600"), "{added:#?}");
    mode(0o600);
    let private = adding(&["--label", "private", "--secret-file", "secret"]);
    let added = check(OK, &desk.run(&private, b""));
    assert!(!added.stderr.contains("chmod"), "{added:#?}");
    assert_eq!(desk.keyside.ask(&Ask::chat()).status(), 200);

    for (label, stdin) in [
        ("plain", KEY.to_owned()),
        ("newline", format!("{KEY}\n")),
        ("windows", format!("{KEY}\r\n")),
    ] {
        let from_stdin = adding(&["--label", label, "--stdin"]);
        check(OK, &desk.run(&from_stdin, stdin.as_bytes()));
        let ask = Ask::chat().header("X-Keyside-Label", label);
        assert_eq!(desk.keyside.ask(&ask).status(), 200, "{label}");
    }
}

#[test]
fn json_output_is_json_and_nothing_else() {
    let upstream = Upstream::ok();
    let desk = Desk::new(&upstream);
    let json = |arguments: &[&str], stdin: &[u8]| -> Value {
        let exit = check(OK, &desk.run(&[arguments, &["--json"]].concat(), stdin));
        serde_json::from_str(&exit.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error} in {:?}", exit.stdout))
    };
    assert_eq!(json(&["workspace", "add", "acme"], b"")["id"], "acme");
    let added = json(&adding(&["--stdin"]), KEY.as_bytes());
    let id = added["id"].as_str().expect("an id");
    assert_eq!(added["label"], "default");
    assert_eq!(json(&["key", "show", id], b"")["id"], id);
    assert_eq!(json(&["key", "list"], b"")["items"][0]["id"], id);
    let none = json(&["key", "list", "--provider", "groq"], b"");
    assert_eq!(none["items"].as_array().map(Vec::len), Some(0));
    assert_eq!(json(&["workspace", "list"], b"")["items"][0]["id"], "acme");
    let rotate = ["key", "rotate", id, "--stdin", "--grace", "1h"];
    let rotated = json(&rotate, format!("{KEY}2").as_bytes());
    assert_eq!(rotated["versions"][0]["state"], "grace");
    let back = json(&["key", "rollback", id], b"");
    assert_eq!(back["versions"][0]["state"], "current");
    let edit = [
        "key",
        "edit",
        id,
        "--label",
        "QA Sandbox",
        "--never-expires",
    ];
    assert_eq!(json(&edit, b"")["label"], "QA Sandbox");
    let revoked = json(&["key", "revoke", id, "--cut", "--yes"], b"");
    assert_eq!(revoked["status"], "revoked");

    let alone = |arguments: &[&str]| -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let exit = check(OK, &desk.builder().run(&arguments, b""));
        serde_json::from_str(&exit.stdout).expect("JSON")
    };
    let settings = alone(&["check"]);
    let mut settings = settings["settings"].as_array().expect("a list").iter();
    let one = settings.find(|one| one["key"] == "proxy.threads");
    let one = one.expect("every setting");
    assert_eq!(one["value"], "1");
    let origin = one["origin"].as_str().unwrap_or_default();
    assert!(origin.contains("keyside.toml:"), "{one}");
    assert_eq!(alone(&["version"])["name"], "keyside");
    assert!(alone(&["master-key", "generate"])["masterKey"].is_string());
}

#[test]
fn text_output_has_the_hint_and_never_the_secret() {
    let upstream = Upstream::ok();
    let desk = Desk::new(&upstream);
    check(OK, &desk.run(&["workspace", "add", "acme"], b""));
    check(OK, &desk.run(&adding(&["--stdin"]), KEY.as_bytes()));
    let view = &desk.keyside.list()[0];
    let id = view["id"].as_str().expect("an id");
    for arguments in [vec!["key", "list"], vec!["key", "show", id]] {
        let exit = check(OK, &desk.run(&arguments, b""));
        for part in [id, "acme", "openai", "default", &KEY[KEY.len() - 4..]] {
            assert!(exit.stdout.contains(part), "no {part} in {exit:#?}");
        }
        assert!(!exit.stdout.contains(KEY), "{exit:#?}");
        assert!(
            !exit.stdout.contains('\u{1b}'),
            "colours in a pipe: {exit:#?}"
        );
    }
}

#[test]
fn a_failure_names_the_next_step_and_exits_with_1() {
    let upstream = Upstream::ok();
    let desk = Desk::new(&upstream);
    let add = adding(&["--stdin"]);
    check_says(
        FAILED,
        &desk.run(&add, KEY.as_bytes()),
        "keyside workspace add",
    );
    check(OK, &desk.run(&["workspace", "add", "acme"], b""));
    check(OK, &desk.run(&add, KEY.as_bytes()));
    check_says(FAILED, &desk.run(&add, KEY.as_bytes()), "label");
    let unknown = [&ADD[..5], &["nosuch", "--stdin"]].concat();
    check_says(FAILED, &desk.run(&unknown, KEY.as_bytes()), "provider");
    check_says(FAILED, &desk.run(&add, b""), "--secret-file");
    let broken = desk.run(&adding(&["--label", "b", "--stdin"]), b"two\nlines");
    check_says(FAILED, &broken, "secret");
    let absent = adding(&["--secret-file", "absent"]);
    check_says(FAILED, &desk.run(&absent, b""), "--secret-file");
    let nobody = ["key", "show", ID];
    check_says(FAILED, &desk.run(&nobody, b""), "no such key");

    let nowhere = ["key", "list", "--admin-url", "http://127.0.0.1:1"];
    check_says(FAILED, &desk.builder().run(&nowhere, b""), "keyside serve");
    let token = desk.keyside.token();
    let quoted = format!("\"{token}\"");
    for wrong in [quoted, format!("Bearer {token}"), KEY.to_owned()] {
        let builder = desk.builder().clone().variable("KEYSIDE_TOKEN", &wrong);
        let refused = builder.run(&["key", "list", "--admin-url", &desk.url], b"");
        check_says(FAILED, &refused, "in KEYSIDE_TOKEN, which begins with ks_");
        assert!(!refused.stderr.contains(&token), "{refused:#?}");
    }
    fs::remove_file(desk.keyside.data().join("admin-token")).expect("a file");
    check_says(FAILED, &desk.run(&["key", "list"], b""), "--token-file");
}

#[test]
fn an_owner_token_is_recovered_from_the_data_folder_while_nothing_runs_on_it() {
    let recover = ["token", "recover"];
    let elsewhere = Keyside::builder();
    check_says(FAILED, &elsewhere.run(&recover, b""), "there is no store");
    assert!(
        !elsewhere.home().join("data").exists(),
        "something was made"
    );

    let keyside = Keyside::builder().start();
    let running = keyside.builder_of().run(&recover, b"");
    check_says(FAILED, &running, "is in use by the process");
    let lost = keyside.token();
    let (at_rest, _) = keyside.stop();
    fs::remove_file(at_rest.home().join("data/admin-token")).expect("a file");
    let token = check(OK, &at_rest.run(&recover, b"")).stdout;
    assert_ne!(token.trim(), lost);

    let keyside = at_rest.variable("KEYSIDE_TOKEN", token.trim()).start();
    let url = format!("http://{}", keyside.admin_addr());
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["--admin-url", &url]].concat();
        check(OK, &keyside.builder_of().run(&arguments, b"")).stdout
    };
    let tokens = run(&["token", "list", "--json"]);
    let tokens: Value = serde_json::from_str(&tokens).expect("JSON");
    let roles = tokens["items"].as_array().expect("a list").iter();
    let roles: Vec<_> = roles.map(|token| &token["role"]).collect();
    assert_eq!(roles, ["owner", "owner"], "{tokens}");
    assert!(run(&["audit", "list", "--event", "token_created"]).contains("system"));
    run(&["workspace", "add", "acme"]);
}

#[test]
fn invalid_arguments_exit_with_2_and_no_pasted_key_is_repeated() {
    let builder = Keyside::builder();
    let flag = format!("--secret={KEY}");
    for arguments in [
        vec![],
        vec!["sreve"],
        vec!["serve", "--nosuch"],
        vec!["key", "add"],
        vec!["key", "show", "not-an-id"],
        vec!["key", "list", "--status", "lost"],
        vec!["key", "rotate", ID, KEY],
        vec!["key", "rotate", ID, "--grace", "a while"],
        vec!["key", "edit", ID],
        vec!["key", "edit", ID, "--usage-tag", "ci", "--no-usage-tag"],
        adding(&["--workspace", "No Such Name"]),
        adding(&["--secret-file", "a", "--stdin"]),
        adding(&[KEY]),
        adding(&["--secret", KEY]),
        adding(&[&flag]),
        adding(&["--key", KEY]),
    ] {
        let exit = check(USAGE, &builder.run(&arguments, b""));
        assert!(exit.stdout.is_empty(), "{arguments:?}: {exit:#?}");
        assert!(!exit.stderr.is_empty(), "{arguments:?}");
        assert!(!exit.stderr.contains(KEY), "{arguments:?}: {exit:#?}");
    }
    assert!(!builder.home().join("data").exists(), "something was made");
}

#[test]
fn no_command_has_a_flag_that_takes_a_secret() {
    let builder = Keyside::builder();
    for command in [
        "",
        "serve",
        "key add",
        "key list",
        "key rotate",
        "key rollback",
        "key edit",
        "key revoke",
        "workspace add",
        "master-key generate",
    ] {
        let words: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let help = check(OK, &builder.run(&words, b"")).stdout;
        let flags = help
            .split_whitespace()
            .filter(|word| word.starts_with("--"));
        for flag in flags.map(|flag| flag.trim_matches(|c: char| !c.is_alphanumeric())) {
            let secret = [
                "secret",
                "key",
                "token",
                "password",
                "master-key",
                "api-key",
            ];
            assert!(!secret.contains(&flag), "{command:?} has --{flag}");
        }
    }
}

#[test]
fn check_validates_without_starting_and_repeats_no_value_of_the_environment() {
    let builder = Keyside::builder();
    let exit = check(OK, &builder.run(&["check"], b""));
    for part in ["proxy.listen", "keyside.toml:", "default"] {
        assert!(exit.stdout.contains(part), "no {part} in {exit:#?}");
    }
    assert!(!builder.home().join("data").exists(), "something was made");
    for (name, says) in [
        ("KEYSIDE_PROXY__THREADS", "proxy.threads"),
        ("KEYSIDE_PROXY__TREADS", "proxy.threads"),
        ("KEYSIDE_PROVIDERS__OPENAI__KEY", "providers.openai"),
        ("KEYSIDE_PROXY_ENVIRONMENT", "KEYSIDE_PROXY__ENVIRONMENT"),
    ] {
        let exit = builder.clone().variable(name, KEY).run(&["check"], b"");
        check_says(CONFIGURATION, &exit, says);
        assert!(exit.stderr.contains(name), "{exit:#?}");
        assert!(!exit.stderr.contains(KEY), "{exit:#?}");
    }
    let other = builder.run(&["check", "--config", "nosuch.toml"], b"");
    check_says(CONFIGURATION, &other, "nosuch.toml");
}

#[test]
fn check_and_serve_warn_of_an_unpinned_listener_on_the_network() {
    let listening = |entry: &str| Keyside::builder().set("proxy.listen", &format!("[{entry}]"));
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7380"] {
        let builder = listening(&format!("{address:?}"));
        let exit = check(OK, &builder.run(&["check"], b""));
        for part in ["warning: proxy.listen", address, "workspaces"] {
            assert!(exit.stderr.contains(part), "no {part} in {exit:#?}");
        }
        let exit = check(OK, &builder.run(&["check", "--json"], b""));
        let json: Value = serde_json::from_str(&exit.stdout).expect("JSON");
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1), "{json}");

        let pinned = format!("{{ address = {address:?}, workspaces = [\"acme\"] }}");
        let exit = check(OK, &listening(&pinned).run(&["check"], b""));
        assert_eq!(exit.stderr, "", "{address}");
    }
    let exit = check(OK, &Keyside::builder().run(&["check"], b""));
    assert_eq!(exit.stderr, "");

    let warned = |entry: &str| {
        listening(entry)
            .start()
            .logs()
            .contains("of every workspace")
    };
    assert!(warned(r#""0.0.0.0:0""#));
    assert!(!warned(
        r#"{ address = "0.0.0.0:0", workspaces = ["acme"] }"#
    ));
    assert!(!warned(r#""127.0.0.1:0""#));
}

#[test]
fn check_accepts_nothing_that_serve_refuses() {
    for (name, value) in [
        ("log.filter", "keyside=loudest"),
        ("log.filter", "warning"),
        ("log.filter", "info,verbose"),
        ("store.backend", "vault"),
        ("kms.driver", "aws"),
    ] {
        let builder = Keyside::builder().set(name, &format!("{value:?}"));
        let [checked, served] = ["check", "serve"].map(|command| builder.run(&[command], b""));
        check_says(CONFIGURATION, &checked, name);
        assert_eq!(checked.stderr, served.stderr);
        assert_eq!(served.code, checked.code, "{served:#?}");
        assert!(!builder.home().join("data").exists(), "something was made");
    }
}

#[test]
fn healthcheck_distinguishes_ready_from_draining_and_absent() {
    let upstream = Upstream::ok();
    let desk = Desk::new(&upstream);
    let url = format!("http://{}", desk.keyside.observe_addr());
    for more in [&[][..], &["--live"]] {
        let ask = [&["healthcheck", "--url", &url], more].concat();
        check(OK, &desk.builder().run(&ask, b""));
    }
    let builder = desk.builder().clone();
    desk.keyside.stop();
    let exit = builder.run(&["healthcheck", "--url", &url], b"");
    check_says(FAILED, &exit, &url);
}

#[test]
fn a_generated_master_key_is_32_random_bytes_and_never_overwrites_another() {
    let builder = Keyside::builder();
    let print = || check(OK, &builder.run(&["master-key", "generate"], b"")).stdout;
    let (one, other) = (print(), print());
    assert_ne!(one, other);
    for key in [&one, &other] {
        assert_eq!(key.trim_end().len(), 44, "32 bytes in base64: {key:?}");
    }
    let write = ["master-key", "generate", "--out", "new.key"];
    let written = check(OK, &builder.run(&write, b""));
    let kept = fs::read_to_string(builder.home().join("new.key")).expect("a file");
    assert!(!written.stdout.contains(kept.trim()), "{written:#?}");
    check_says(FAILED, &builder.run(&write, b""), "new.key");
    let left = fs::read_to_string(builder.home().join("new.key")).expect("a file");
    assert_eq!(left, kept, "it was written over");
    builder.variable("KMS_MASTER_KEY_FILE", "new.key").start();
}

#[test]
fn clock_accept_refuses_a_clock_that_is_not_behind_and_a_running_keyside() {
    let keyside = Keyside::builder().start();
    let accept = ["clock", "accept", "--yes"];
    check_says(
        FAILED,
        &keyside.builder_of().run(&accept, b""),
        "Stop Keyside there first",
    );
    let (at_rest, _) = keyside.stop();
    check_says(
        FAILED,
        &at_rest.run(&accept, b""),
        "expected a clock behind the audit log",
    );
}

#[test]
fn version_and_completions_are_printed() {
    let builder = Keyside::builder();
    let version = concat!("keyside ", env!("CARGO_PKG_VERSION"));
    for arguments in [["version"], ["--version"]] {
        let exit = check(OK, &builder.run(&arguments, b""));
        assert!(exit.stdout.starts_with(version), "{exit:#?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let exit = check(OK, &builder.run(&["completions", shell], b""));
        for word in ["keyside", "serve", "master-key"] {
            assert!(exit.stdout.contains(word), "{shell}: no {word}");
        }
    }
    check(USAGE, &builder.run(&["completions", "cmd.exe"], b""));
}

/// `key add` with further arguments.
fn adding<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&ADD[..], more].concat()
}

fn check(code: i32, exit: &Exit) -> Exit {
    assert_eq!(exit.code, Some(code), "{exit:#?}");
    exit.clone()
}

fn check_says(code: i32, exit: &Exit, part: &str) {
    check(code, exit);
    assert!(exit.stderr.contains(part), "no {part:?} in {exit:#?}");
    assert!(
        exit.stdout.is_empty(),
        "an error on standard output: {exit:#?}"
    );
    assert!(!exit.stderr.contains(KEY), "{exit:#?}");
}

/// The required arguments of a new key.
const ID: &str = "cred_aaaaaaaaaaaaaaaaaaaaaaaaaa";

const ADD: [&str; 6] = ["key", "add", "--workspace", "acme", "--provider", "openai"];
