//! What a person sees while `keyside smoke` waits, and what a pipe gets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{FAILED, on_request, run, tagged};
use crate::harness::{KEY, Keyside, Upstream, gate::Gate, reply};

/// Workspace `acme` with a provider that accepts the key, one that rejects and repeats it, and one
/// that answers its first request when the gate opens to step 1, its second at step 2, and so on.
struct Slow {
    keyside: Keyside,
    gate: Arc<Gate>,
}

impl Slow {
    fn start() -> Self {
        let (gate, asked) = (Arc::new(Gate::default()), AtomicUsize::new(0));
        let closed = Arc::clone(&gate);
        let slow = Upstream::answering(move |_| {
            closed.wait_for(1 + asked.fetch_add(1, Ordering::Relaxed));
            reply(200, "", b"{}")
        });
        let echo = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}"#);
        let bad = Upstream::answering(move |_| reply(401, "", echo.as_bytes()));
        let keyside = on_request(&[
            ("openai", &Upstream::ok().base_url()),
            ("groq", &bad.base_url()),
            ("mistral", &slow.base_url()),
        ]);
        for provider in ["openai", "groq", "mistral"] {
            tagged(&keyside, provider, "ci");
        }
        Self { keyside, gate }
    }
}

#[test]
fn on_a_terminal_one_line_says_what_is_waited_for_and_only_the_results_stay() {
    let Slow { keyside, gate } = Slow::start();
    for (step, no_color, coloured) in [(1, "", true), (2, "1", false)] {
        let builder = keyside.cli().variable("NO_COLOR", no_color);
        let mut terminal = builder.terminal(&["smoke"]);
        // The time goes on while nothing else changes.
        let waiting = "s: 2 of 3 checked, 1 failed, waiting for mistral";
        let later = terminal.until(&format!("1 {waiting}"));
        assert!(!later.contains("WORKSPACE"), "no result yet: {later:?}");
        gate.open(step);
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(FAILED), "{shown:?}");
        assert!(!shown.contains(KEY), "the key was shown");

        let drawn: Vec<_> = shown
            .split(CLEAR)
            .filter(|line| is_progress(line))
            .collect();
        assert!(drawn.len() > 1, "{shown:?}");
        for line in &drawn {
            let cut_off = line.starts_with("\u{1b}[?7l") && line.ends_with("\u{1b}[?7h");
            assert!(cut_off, "wraps in a narrow terminal: {line:?}");
        }
        let changes = drawn.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(changes, "drawn again without a change: {drawn:?}");

        let seen = visible(&shown);
        assert!(!is_progress(&seen), "stayed: {seen}");
        assert_eq!(seen.contains('\u{1b}'), coloured, "{seen:?}");
        let table = seen.lines().next().expect("a line");
        assert!(table.contains("WORKSPACE  PROVIDER"), "{seen}");
        for part in [
            "acme       groq      ci     sandbox      rejected  401 ",
            "acme       mistral   ci     sandbox      accepted  200 ",
            "acme       openai    ci     sandbox      accepted  200 ",
            "groq key \"ci\" of workspace acme: rejected, the provider",
            "3 checks: 2 passed, 1 failed",
            "1 of 3 smoke checks did not pass",
        ] {
            assert_eq!(seen.matches(part).count(), 1, "{part} in {seen}");
        }
    }
}

#[test]
fn a_pipe_gets_no_progress_and_a_timeout_says_what_was_missing() {
    let Slow { keyside, gate } = Slow::start();
    let exit = run(&keyside, &["--timeout", TIMEOUT]);
    gate.open(1);
    assert_eq!(exit.code, Some(FAILED), "{exit:#?}");
    assert_eq!(exit.stdout, "");
    assert!(exit.stderr.starts_with(TIMED_OUT), "{exit:#?}");
    assert_eq!(exit.stderr.matches(" checked").count(), 1, "{exit:#?}");
    assert!(!exit.stderr.contains(['\r', '\u{1b}']), "{exit:#?}");
}

#[test]
fn a_terminal_without_escape_sequences_gets_no_progress() {
    let Slow { keyside, gate } = Slow::start();
    let dumb = keyside.cli().variable("TERM", "dumb");
    let arguments = ["smoke", "--timeout", TIMEOUT];
    let (code, shown) = dumb.terminal(&arguments).end();
    gate.open(1);
    assert_eq!(code, Some(FAILED), "{shown:?}");
    assert!(shown.starts_with(TIMED_OUT), "{shown:?}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

fn is_progress(shown: &str) -> bool {
    shown.contains(" checked")
}

/// What is left on the terminal: of each line, what was written after it was last erased.
fn visible(shown: &str) -> String {
    let left = shown.lines().filter_map(|line| line.rsplit(CLEAR).next());
    left.collect::<Vec<_>>().join("\n")
}

/// On a busy machine the two checks that answer at once take a while too.
const TIMEOUT: &str = "5s";
const TIMED_OUT: &str = "error: the smoke run has not finished within 5 s: \
    2 of 3 checked, 1 failed, waiting for mistral";

/// Returns to the start of the line and erases it.
const CLEAR: &str = "\r\u{1b}[2K";
