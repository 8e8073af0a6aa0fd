//! `keyside demo`: the printed lines work when copied.

use crate::harness::{Builder, Exit, Keyside, PATIENCE, Process, eventually, field};
use nix::sys::signal::Signal;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_printed_curl_line_works_as_printed_and_streams() {
    let demo = Demo::start(any_ports(Keyside::builder()));
    let line = demo.line("curl", "/chat/completions");
    let answer = sh(&line);
    assert_eq!(answer.code, Some(0), "{line}: {answer:#?}");
    let events: Vec<_> = answer
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    assert!(events.len() > 3, "not a stream: {answer:#?}");
    assert_eq!(events.last(), Some(&"[DONE]"), "{answer:#?}");
    let status = sh(&format!("{line} -s -o /dev/null -w '%{{http_code}}'"));
    assert_eq!(status.stdout, "200", "{line}");
    assert!(
        !line.to_ascii_lowercase().contains("authorization"),
        "{line}"
    );
}

#[test]
fn the_printed_line_for_the_admin_api_shows_the_key_and_not_its_secret() {
    let demo = Demo::start(any_ports(Keyside::builder()));
    let line = demo.line("curl", "/api/integrations/credentials");
    let answer = sh(&line);
    assert_eq!(answer.code, Some(0), "{line}: {answer:#?}");
    let page: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
    let items = page["items"].as_array().expect("a list");
    assert_eq!(items.len(), 1, "{page}");
    assert_eq!(items[0]["provider"], "sandbox");
    assert_eq!(items[0]["environment"], "sandbox");
    assert!(items[0].get("secret").is_none(), "{page}");
}

#[test]
fn the_printed_link_leads_to_the_admin_page() {
    let demo = Demo::start(any_ports(Keyside::builder()));
    let link = demo.line("http", "/link#");
    let answer = sh(&format!("curl -sS -w '%{{http_code}}' '{link}'"));
    assert!(answer.stdout.ends_with("200"), "{answer:#?}");
    let (page, code) = link.split_once('#').expect("a code");
    let opened = sh(&format!(
        "curl -sS -o /dev/null -w '%{{http_code}} %{{redirect_url}}' '{page}' --data-urlencode 'code={code}'"
    ));
    assert!(opened.stdout.starts_with("303 http"), "{opened:#?}");
    assert!(opened.stdout.contains("/s/"), "{opened:#?}");
}

#[test]
fn the_printed_variables_work_for_each_sdk() {
    let demo = Demo::start(any_ports(Keyside::builder()));
    let openai = demo.line("export", "OPENAI_BASE_URL=");
    let anthropic = demo.line("export", "ANTHROPIC_BASE_URL=");
    let prompt = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    for (export, url, header) in [
        (
            &openai,
            "$OPENAI_BASE_URL/chat/completions",
            "authorization: Bearer $OPENAI_API_KEY",
        ),
        (
            &anthropic,
            "$ANTHROPIC_BASE_URL/v1/messages",
            "x-api-key: $ANTHROPIC_API_KEY",
        ),
    ] {
        let answer = sh(&format!(
            r#"{export}; curl -sS -w '%{{http_code}}' "{url}" -H "{header}" -H 'content-type: application/json' -d '{prompt}'"#
        ));
        assert!(answer.stdout.ends_with("200"), "{export}: {answer:#?}");
    }
}

#[test]
fn a_demo_does_not_warn_about_its_own_master_key() {
    let demo = Demo::start(any_ports(Keyside::builder()));
    let is_ready = |line: &serde_json::Value| field(line, "message").as_deref() == Some("ready");
    assert!(demo.process.log_line(is_ready).is_some());
    let said = demo.process.stderr();
    assert!(!said.contains("master key"), "{said}");
}

#[test]
fn two_demos_run_side_by_side() {
    // On the default ports, or on others if another process, such as another test's, uses those.
    let one = Demo::start(Keyside::builder());
    let other = Demo::start(Keyside::builder());
    for demo in [&one, &other] {
        let answer = sh(&demo.line("curl", "/chat/completions"));
        assert!(answer.stdout.contains("[DONE]"), "{answer:#?}");
    }
}

#[test]
fn a_demo_does_not_touch_a_real_installation() {
    let real = Keyside::builder();
    let master_key = real.home().join("real.master-key");
    let file = master_key.to_str().expect("text");
    let made = real.run(&["master-key", "generate", "--out", file], b"");
    assert_eq!(made.code, Some(0), "{made:#?}");
    let (real, _) = real
        .set("kms.master_key_file", &format!("{master_key:?}"))
        .set("proxy.workspaces", r#"["acme"]"#)
        .start()
        .with_key()
        .stop();
    let before = fs::read(&master_key).expect("a master key");
    for variable in [("KMS_MASTER_KEY_FILE", file), ("KMS_MASTER_KEY", "x")] {
        let demo = Demo::start(any_ports(real.clone()).variable(variable.0, variable.1));
        let answer = sh(&demo.line("curl", "/chat/completions"));
        assert!(answer.stdout.contains("[DONE]"), "{answer:#?}");
        let admin = demo.line("curl", "/api/integrations/credentials");
        let rotate = admin.replace("/api/integrations/credentials", "/api/master-key/rotate");
        let rotated = sh(&format!("{rotate} -sS --json '{{}}'"));
        assert!(rotated.stdout.contains("masterKey"), "{rotated:#?}");
    }
    assert_eq!(fs::read(&master_key).expect("a master key"), before);
    assert_eq!(real.start().list().len(), 1);
}

#[test]
fn a_demo_whose_output_is_closed_keeps_running() {
    let unread = r#"mkfifo lines; true < lines & exec "$0" "$@" > lines"#;
    let demo = any_ports(Keyside::builder())
        .variable("PATH", &std::env::var("PATH").expect("a path to programs"))
        .launched_by(&["/bin/sh", "-c", unread]);
    let process = demo.spawn(&["demo"], None);
    let ready = process.log_line(|line| field(line, "message").as_deref() == Some("ready"));
    let admin = field(&ready.expect("it is ready"), "admin").expect("an address");
    let answer = sh(&format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' http://{admin}/api"
    ));
    assert_eq!(answer.stdout, "401", "{answer:#?}");
}

#[test]
fn a_demo_leaves_nothing_behind() {
    let (builder, scratch) = with_temporary_folder();
    let mut demo = Demo::start(builder.clone());
    assert_eq!(
        names_in(&scratch).len(),
        1,
        "its data is in the temporary folder"
    );
    demo.process.signal(Signal::SIGINT);
    let exit = demo.process.exit_within(PATIENCE);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert_eq!(names_in(&scratch), Vec::<PathBuf>::new());
    let home = names_in(builder.home());
    let expected = ["keyside.toml", "scratch"].map(|name| builder.home().join(name));
    assert_eq!(home, expected, "it wrote into the working folder");
}

#[test]
fn a_demo_that_is_killed_at_the_end_of_a_test_leaves_nothing_behind() {
    let demo = Demo::start(any_ports(Keyside::builder()));
    let said = demo.said.clone();
    let (_, rest) = said.split_once("$(cat ").expect("a token");
    let (token, _) = rest.split_once(')').expect("a path");
    let folder = Path::new(token).ancestors().nth(2).expect("a folder");
    assert!(folder.exists(), "{token}");
    drop(demo);
    assert!(!folder.exists(), "{}", folder.display());
}

#[test]
fn a_demo_that_is_stopped_before_it_is_ready_leaves_nothing_behind() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (builder, scratch) = with_temporary_folder();
        let mut demo = builder.spawn(&["demo"], None);
        eventually("its folder is there", || {
            (!names_in(&scratch).is_empty()).then_some(())
        });
        demo.signal(signal);
        let exit = demo.exit_within(PATIENCE);
        assert_eq!(exit.code, Some(0), "{signal}: {exit:#?}");
        assert_eq!(names_in(&scratch), Vec::<PathBuf>::new(), "{signal}");
    }
}

#[test]
fn a_demo_that_cannot_start_leaves_nothing_behind() {
    let (builder, scratch) = with_temporary_folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let builder = builder.variable("KEYSIDE_ADMIN__LISTEN", &address);
    let exit = builder.run(&["demo"], b"");
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stderr.contains(&address), "{exit:#?}");
    assert_eq!(names_in(&scratch), Vec::<PathBuf>::new());
}

/// A running demo that has printed its message.
struct Demo {
    process: Process,
    said: String,
    /// Keeps the folder of its data until the process has ended.
    _builder: Builder,
}

impl Demo {
    fn start(builder: Builder) -> Self {
        let process = builder.spawn(&["demo"], None);
        let said = eventually("the demo prints its lines", || {
            let said = process.stdout();
            said.contains("/api/integrations/credentials\n")
                .then_some(said)
        });
        Self {
            process,
            said,
            _builder: builder,
        }
    }

    /// The line that begins with `word` and contains `part`, ready for a shell.
    fn line(&self, word: &str, part: &str) -> String {
        let mut lines = self.said.lines().map(str::trim);
        let found = lines.find(|line| line.starts_with(word) && line.contains(part));
        found
            .unwrap_or_else(|| panic!("no line {word} … {part} in\n{}", self.said))
            .to_owned()
    }
}

/// A demo takes nothing but the three addresses from its environment.
fn any_ports(builder: Builder) -> Builder {
    let listeners = ["PROXY", "ADMIN", "OBSERVE"];
    listeners.iter().fold(builder, |builder, listener| {
        builder.variable(&format!("KEYSIDE_{listener}__LISTEN"), "127.0.0.1:0")
    })
}

/// A demo on any ports whose temporary files are in a folder of their own, and that folder.
fn with_temporary_folder() -> (Builder, PathBuf) {
    let builder = Keyside::builder();
    let scratch = builder.home().join("scratch");
    fs::create_dir(&scratch).expect("a new folder");
    let name = scratch.to_str().expect("text").to_owned();
    (any_ports(builder).variable("TMPDIR", &name), scratch)
}

/// Runs a line as a person would after copying it.
fn sh(line: &str) -> Exit {
    Process::spawn(Command::new("sh").args(["-c", line]), None).exit_within(PATIENCE)
}

fn names_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    names
}
