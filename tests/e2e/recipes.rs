//! `keyside env` and the lines after `key add`: a real shell evaluates what is printed.

use crate::harness::{Builder, Exit, KEY, Keyside};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

#[test]
fn the_output_sets_the_variables_in_a_shell_and_does_nothing_else() {
    let builder = Keyside::builder();
    let clients = clients(&builder);
    assert!(clients.contains(&"openai".to_owned()), "{clients:?}");
    for client in clients {
        let script = env(&builder, &client, &[]);
        let json = env(&builder, &client, &["--json"]);
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let set = variables_after(&builder, r#"eval "$1""#, &script);
        for variable in json["variables"].as_array().expect("a list") {
            let name = variable["name"].as_str().expect("a name");
            let value = variable["value"].as_str().map(str::to_owned);
            assert_eq!(set.get(name), value.as_ref(), "{client}: {script}");
        }
        let no_proxy = match json["noProxy"].as_array().map(Vec::len) {
            Some(0) => "corp.example",
            _ => "localhost,127.0.0.1,::1,corp.example",
        };
        assert_eq!(set["NO_PROXY"], no_proxy, "{client}: {script}");
        for name in json["unset"].as_array().expect("a list") {
            let name = name.as_str().expect("a name");
            let set = variables_after(
                &builder,
                &format!(r#"export {name}=own; eval "$1""#),
                &script,
            );
            assert_eq!(set.get(name), None, "{client}: {script}");
        }
        let files = fs::read_dir(builder.home()).expect("a folder").count();
        assert_eq!(files, 1, "{client}: something was written");
    }
}

#[test]
fn an_eval_without_quotes_which_joins_all_lines_sets_the_variables_too() {
    let builder = Keyside::builder();
    let script = env(&builder, "openai", &[]);
    let set = variables_after(&builder, "eval $1", &script);
    assert_eq!(
        set["OPENAI_BASE_URL"],
        "http://127.0.0.1:7380/w/acme/openai/v1"
    );
    assert_eq!(set["OPENAI_API_KEY"], "keyside");
    assert_eq!(set["no_proxy"], "localhost,127.0.0.1,::1,corp.example");
}

#[test]
fn exemptions_from_a_proxy_survive_in_both_variables_and_are_added_once() {
    let builder = Keyside::builder();
    let script = env(&builder, "openai", &[]);
    for (before, upper, lower) in [
        ("NO_PROXY=a", ",a", ",a"),
        ("unset NO_PROXY; no_proxy=a", ",a", ",a"),
        ("NO_PROXY=a no_proxy=b", ",a", ",b"),
        ("unset NO_PROXY", "", ""),
    ] {
        for times in ["", r#"; eval "$1""#, "; eval $1"] {
            let set = variables_after(&builder, &format!(r#"{before}; eval "$1"{times}"#), &script);
            let listed = |name: &str| set.get(name).and_then(|list| list.strip_prefix(HOSTS));
            assert_eq!(listed("NO_PROXY"), Some(upper), "{before}{times}");
            assert_eq!(listed("no_proxy"), Some(lower), "{before}{times}");
        }
    }
}

#[test]
fn the_path_names_the_workspace_and_the_provider() {
    let script = env(&Keyside::builder(), "openai", &[]);
    for line in [
        r#"export OPENAI_BASE_URL="http://127.0.0.1:7380/w/acme/openai/v1""#,
        r#"export OPENAI_API_KEY="keyside""#,
        "export NO_PROXY no_proxy",
    ] {
        assert!(
            script.lines().any(|found| found == line),
            "{line}: {script}"
        );
    }
    let builder = Keyside::builder();
    let container = ["env", "openai", "-w", "acme", "--listener", "keyside:7380"];
    let exit = builder.run(&container, b"");
    assert!(
        exit.stdout.contains("http://keyside:7380/w/acme/openai"),
        "{exit:#?}"
    );
    assert!(exit.stdout.contains("::1,keyside,"), "{exit:#?}");
}

#[test]
fn the_documentation_shows_the_output() {
    let page = include_str!("../../docs/CLIENTS.md");
    let builder = Keyside::builder();
    for client in clients(&builder) {
        let script = env(&builder, &client, &[]);
        for line in script.lines().filter(|line| !line.starts_with('#')) {
            assert!(page.contains(line), "{client}: {line}");
        }
    }
}

#[test]
fn the_listener_that_the_workspace_may_use_is_printed() {
    let pinned = |listeners: &str| {
        let builder = Keyside::builder().set("proxy.listen", listeners);
        builder.run(&["env", "openai", "-w", "acme"], b"")
    };
    let beta = r#"{ address = "127.0.0.1:7391", workspaces = ["beta"] }"#;
    let acme = r#"{ address = "127.0.0.1:7390", workspaces = ["acme"] }"#;
    let exit = pinned(&format!("[{beta}, {acme}]"));
    assert!(exit.stdout.contains("127.0.0.1:7390/w/acme"), "{exit:#?}");
    assert_eq!(exit.stderr, "");
    let exit = pinned(&format!("[{beta}]"));
    assert!(exit.stdout.contains("127.0.0.1:7391/w/acme"), "{exit:#?}");
    for part in ["warning:", "127.0.0.1:7391", "beta", "acme"] {
        assert!(exit.stderr.contains(part), "no {part} in {exit:#?}");
    }
}

#[test]
fn a_failure_names_its_cause_and_the_next_step() {
    let builder = Keyside::builder();
    let socket = builder
        .clone()
        .set("proxy.listen", r#"["unix:/run/keyside/proxy.sock"]"#);
    let ask = ["env", "openai", "-w", "acme"];
    let nearest = ["env", "opnai", "-w", "acme"];
    let pasted = ["env", KEY, "-w", "acme"];
    let scheme = [&ask[..], &["--listener", "http://127.0.0.1:7380"]].concat();
    for (exit, code, says) in [
        (socket.run(&ask, b""), 1, "proxy.listen"),
        (builder.run(&ask, b""), 1, "--listener"),
        (builder.run(&nearest, b""), 2, "did you mean openai?"),
        (builder.run(&pasted, b""), 2, "`keyside env`"),
        (builder.run(&scheme, b""), 2, "HOST:PORT"),
        (builder.run(&["env", "openai"], b""), 2, "--workspace"),
    ] {
        assert_eq!(exit.code, Some(code), "{exit:#?}");
        assert!(exit.stderr.contains(says), "no {says} in {exit:#?}");
        assert!(
            exit.stdout.is_empty() && !exit.stderr.contains(KEY),
            "{exit:#?}"
        );
    }
    assert!(!builder.home().join("data").exists(), "something was made");
}

#[test]
fn a_new_key_comes_with_lines_for_a_shell_also_for_a_custom_provider() {
    let keyside = Keyside::builder()
        .set("providers.mine.base_url", r#""https://llm.example""#)
        .start();
    keyside.workspace("acme");
    // Only the command reads this setting: the running Keyside is on a port that the system chose.
    let desk = keyside.cli().set("proxy.listen", r#"["127.0.0.1:7380"]"#);
    for (provider, expected) in [
        (
            "mine",
            &[
                ("OPENAI_BASE_URL", "http://127.0.0.1:7380/w/acme/mine/v1"),
                ("OPENAI_API_KEY", "keyside"),
            ][..],
        ),
        (
            "anthropic",
            &[
                (
                    "ANTHROPIC_BASE_URL",
                    "http://127.0.0.1:7380/w/acme/anthropic",
                ),
                ("ANTHROPIC_API_KEY", "keyside"),
            ][..],
        ),
        (
            "bedrock",
            &[
                ("AWS_ACCESS_KEY_ID", "keyside"),
                ("AWS_SECRET_ACCESS_KEY", "keyside"),
            ][..],
        ),
        ("mistral", &[("MISTRAL_API_KEY", "keyside")][..]),
    ] {
        // These providers are not stood in for here.
        let add = ["key", "add", "-w", "acme", "-p", provider, "--stdin"];
        let add = [&add[..], &["--check", "skip"]].concat();
        let added = succeeded(desk.run(&add, KEY.as_bytes()));
        let exports = added.lines().filter(|line| line.starts_with("export "));
        let script = exports.collect::<Vec<_>>().join("\n");
        let set = variables_after(&desk, r#"eval "$1""#, &script);
        for (name, value) in expected {
            let found = set.get(*name).map(String::as_str);
            assert_eq!(found, Some(*value), "{provider}: {added}");
        }
    }
}

#[test]
fn check_and_serve_warn_of_a_base_url_that_repeats_the_routes_prefix() {
    let builder = Keyside::builder().provider("openai", "https://gw.example/llm/v1");
    let exit = builder.run(&["check"], b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    for part in [
        "warning: providers.openai.base_url",
        "https://gw.example/llm/v1/v1/",
        "should be https://gw.example/llm\n",
    ] {
        assert!(exit.stderr.contains(part), "no {part} in {exit:#?}");
    }
    assert!(builder.start().logs().contains("providers.openai.base_url"));
    let right = Keyside::builder().provider("openai", "https://gw.example/llm");
    assert_eq!(right.run(&["check"], b"").stderr, "");
}

/// The ids of all clients.
fn clients(builder: &Builder) -> Vec<String> {
    let listed = succeeded(builder.run(&["env", "--json"], b""));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let items = listed["items"].as_array().expect("a list").iter();
    items
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The output of `keyside env` for workspace `acme` with the default listener.
fn env(builder: &Builder, client: &str, more: &[&str]) -> String {
    let ask = ["env", client, "-w", "acme", "--listener", "127.0.0.1:7380"];
    succeeded(builder.run(&[&ask[..], more].concat(), b""))
}

/// The environment of a shell after `eval` of the script in `$1`.
fn variables_after(builder: &Builder, eval: &str, script: &str) -> BTreeMap<String, String> {
    let command = format!("{eval}; env -0");
    let output = Command::new("/bin/sh")
        .args(["-eu", "-c", &command, "sh", script])
        .current_dir(builder.home())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("NO_PROXY", "corp.example")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{said}: {script}"
    );
    let environment = String::from_utf8(output.stdout).expect("text");
    let variables = environment.split('\0');
    variables
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The hosts that a recipe exempts from a proxy.
const HOSTS: &str = "localhost,127.0.0.1,::1";

fn succeeded(exit: Exit) -> String {
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    exit.stdout
}
