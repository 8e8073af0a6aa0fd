//! What a terminal shows: the prompt for a secret, and log lines.

use crate::harness::{Ask, KEY, Keyside, Terminal, Upstream, Wire};

/// A Keyside with workspace `acme`, whose OpenAI keys are sent to `upstream`.
fn with_acme(upstream: &Upstream) -> Keyside {
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let keyside = builder.start();
    keyside.workspace("acme");
    keyside
}

/// A terminal on which `keyside key add` runs. `options` are separated by spaces.
fn adding(keyside: &Keyside, options: &str) -> Terminal {
    let words: Vec<_> = ["key", "add"]
        .into_iter()
        .chain(options.split(' '))
        .collect();
    keyside.cli().terminal(&words)
}

#[test]
fn the_prompt_names_the_key_and_text_pasted_around_it_is_removed() {
    let upstream = Upstream::wanting_key();
    let keyside = with_acme(&upstream);
    let mut terminal = adding(&keyside, "-w acme -p openai -l ci");
    let prompt = terminal.until(PROMPT);
    for part in [
        "OpenAI key \"ci\" of workspace acme",
        "such as sk-proj-EXAMPLE",
        "https://platform.openai.com/api-keys",
    ] {
        assert!(prompt.contains(part), "no {part} in {prompt:?}");
    }
    terminal.type_line(&format!("export OPENAI_API_KEY='{KEY}'"));
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("Removed around the key: a variable's name, quotes"),
        "{shown}"
    );
    assert!(!shown.contains(KEY), "shown");
    let ask = Ask::chat().header("X-Keyside-Label", "ci");
    assert_eq!(keyside.ask(&ask).status(), 200);

    let id = keyside.list()[0]["id"].as_str().expect("an id").to_owned();
    let mut terminal = keyside.cli().terminal(&["key", "rotate", &id]);
    assert!(
        terminal
            .until(PROMPT)
            .contains("OpenAI key \"ci\" of workspace acme")
    );
    terminal.type_line("sk-admin-e2eKeySideOnlyAnAdminKey0123456789");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("Create a secret key in a project instead."),
        "{shown}"
    );
    assert!(!shown.contains("e2eKeySideOnlyAnAdminKey"), "shown");
    assert_eq!(keyside.ask(&ask).status(), 200, "the old one is in use");
}

#[test]
fn a_development_key_comes_with_advice_and_without_an_expiry() {
    let upstream = Upstream::wanting_key();
    let keyside = with_acme(&upstream);
    let mut terminal = adding(&keyside, "-w acme -p openai -l live");
    let prompt = terminal.until(PROMPT);
    assert!(!prompt.contains("hard spend limit"), "{prompt:?}");
    terminal.type_line(KEY);
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("--expires-at"), "{shown}");

    let mut terminal = adding(&keyside, "-w acme -p openai -l dev -e sandbox");
    let prompt = terminal.until(PROMPT);
    assert!(prompt.contains("hard spend limit"), "{prompt:?}");
    terminal.type_line(KEY);
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    let keys = keyside.list();
    let key = keys.iter().find(|key| key["label"] == "dev");
    let key = key.expect("the stored key");
    assert!(key["expiresAt"].is_null(), "{key}");
    let id = key["id"].as_str().expect("an id");
    let next = format!("keyside key edit {id} --expires-at 20");
    assert!(shown.contains(&next), "{shown}");
}

#[test]
fn a_mistyped_argument_is_reported_before_the_prompt_for_a_secret() {
    let upstream = Upstream::ok();
    let keyside = with_acme(&upstream);
    for (workspace, provider, meant) in [
        ("acmee", "openai", "did you mean acme?"),
        ("acme", "opennai", "did you mean openai?"),
        ("initech", "openai", "keyside workspace add"),
    ] {
        let named = format!("-w {workspace} -p {provider}");
        let (code, shown) = adding(&keyside, &named).end();
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains(meant), "{shown}");
        assert!(!shown.contains("Secret"), "{shown}");
    }
}

#[test]
fn a_demo_shows_its_message_and_then_requests_but_no_lines_of_its_start() {
    let listeners = ["PROXY", "ADMIN", "OBSERVE"];
    let builder = Keyside::builder().variable("NO_COLOR", "1");
    let builder = listeners.iter().fold(builder, |builder, listener| {
        builder.variable(&format!("KEYSIDE_{listener}__LISTEN"), "127.0.0.1:0")
    });
    let mut terminal = builder.terminal(&["demo"]);
    let shown = terminal.until("/api/integrations/credentials\r\n");
    assert!(shown.starts_with("Keyside is running"), "{shown:?}");
    let (_, rest) = shown.split_once("OPENAI_BASE_URL=http://").expect("a URL");
    let (base, _) = rest.split_once(' ').expect("a URL that ends");
    let (address, path) = base.split_once('/').expect("a path");
    let mut wire = Wire::tcp(address.parse().expect("an address"));
    wire.send(format!(
        "GET /{path}/models HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(wire.answer().expect("an answer").status(), 200);
    let shown = terminal.until("provider=sandbox");
    let logged: Vec<_> = shown
        .lines()
        .filter(|line| ["INFO ", "WARN "].iter().any(|level| line.contains(level)))
        .collect();
    assert!(
        matches!(logged.as_slice(), [line] if line.contains(" INFO  request request_id=req_\u{2026}")),
        "{logged:?}"
    );
}

#[test]
fn log_lines_are_short_and_coloured_unless_no_color_is_set() {
    for (no_color, coloured) in [("", true), ("1", false)] {
        let builder = Keyside::builder().variable("NO_COLOR", no_color);
        let mut terminal = builder.terminal(&["serve"]);
        let shown = terminal.until("observe=127.0.0.1:");
        assert_eq!(shown.contains('\u{1b}'), coloured, "{shown:?}");
        assert!(shown.contains("made a master key"), "{shown}");
        for never in ["audit_head", "{\"timestamp\"", "audit record on disk"] {
            assert!(!shown.contains(never), "{never}: {shown}");
        }
        let plain = shown.lines().filter(|line| line.contains(" ready proxy="));
        for line in plain.filter(|_| !coloured) {
            let (time, rest) = line.split_at(8);
            let digits = time.bytes().filter(u8::is_ascii_digit).count();
            assert_eq!((digits, time.matches(':').count()), (6, 2), "{line:?}");
            assert!(rest.starts_with(" INFO  ready proxy="), "{line:?}");
        }
    }
}

#[test]
fn a_start_on_a_terminal_prints_a_link_to_the_admin_page_until_there_is_a_workspace() {
    // A start before this one may have failed late, for a port that is taken.
    let (builder, _) = Keyside::builder().start().stop();
    let mut terminal = builder.terminal(&["serve"]);
    let shown = terminal.until("/link#");
    assert!(shown.contains("keyside link"), "{shown}");
    let (before, _) = shown.split_once("/link#").expect("a link");
    assert!(before.contains("http://127.0.0.1:"), "{shown}");
    drop(terminal);

    let keyside = builder.start();
    keyside.workspace("acme");
    let (builder, _) = keyside.stop();
    let mut terminal = builder.terminal(&["serve"]);
    terminal.until("ready proxy=");
    terminal.type_line("\u{3}");
    let (_, shown) = terminal.end();
    assert!(!shown.contains("/link#"), "{shown}");
}

const PROMPT: &str = "Secret (not shown): ";
