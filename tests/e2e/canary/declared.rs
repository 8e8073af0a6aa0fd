//! The same search for `keyside proxy`, which reads keys from a file: only the file may contain
//! them as well.

use super::Hunt;
use super::codings::Canary;
use crate::harness::{Ask, Keyside, eventually};
use std::fs;

/// The file, by its path from the folder.
const FILE: &str = "key";

#[test]
fn a_declared_key_is_only_in_its_file_and_in_requests_to_its_provider() {
    let mut hunt = Hunt::over_a_sidecar(Canary::like_a_key());
    hunt.successes();
    hunt.refusals();
    hunt.malformed_requests();
    hunt.echoes();
    hunt.broken_upstreams();
    hunt.assert_delivered();
    hunt.files_that_are_no_key();
    hunt.commands_beside_it();
    hunt.assert_only_in_its_file();
}

#[test]
fn a_declared_key_with_special_characters_is_only_in_its_file_and_requests() {
    let mut hunt = Hunt::over_a_sidecar(Canary::of_odd_characters());
    hunt.successes();
    hunt.refusals();
    hunt.broken_upstreams();
    hunt.assert_delivered();
    hunt.files_that_are_no_key();
    hunt.commands_beside_it();
    hunt.assert_only_in_its_file();
}

impl Hunt {
    /// Each provider of the other searches has a declared key, all in one file.
    fn over_a_sidecar(key: Canary) -> Self {
        let mut builder = Keyside::sidecar();
        fs::write(builder.home().join(FILE), key.text()).expect("a writable folder");
        for provider in ["openai", "gemini", "mistral", "groq", "xai"] {
            builder = builder.declare("acme", provider, "default", FILE);
        }
        // A known workspace without a key for the request.
        Self::start(key, builder.declare("other", "gemini", "default", FILE))
    }

    /// The log, `/readyz` and `doctor` report faults of a file that contains the key.
    fn files_that_are_no_key(&mut self) {
        let key = self.key.text().to_owned();
        let file = self.keyside.builder_of().home().join(FILE);
        for (contents, said) in [
            (format!("{key}\n{key}\n"), "a line break inside"),
            (format!("{key} {key}"), "a space inside"),
            (format!(" {key}"), "begins or ends with a space"),
            (format!("\u{feff}{key}"), "not ASCII"),
            (format!("{key}\0"), "a control character"),
            (format!("{key}...{key}"), "shortened"),
            (key.repeat(200), "longer than"),
        ] {
            fs::write(&file, contents).expect("a writable folder");
            let page = eventually("/readyz says what is wrong", || {
                let page = self.keyside.observed("/readyz");
                // Each of the six credentials is polled separately.
                (page.text().matches(said).count() == 6).then_some(page)
            });
            self.sweep.saw("/readyz", &page.raw);
            let metrics = self.keyside.observed("/metrics");
            self.sweep.saw("/metrics", &metrics.raw);
            assert_eq!(self.ask(said, Ask::chat()), 401, "{said}");
        }
        self.commands_beside_it();
        fs::write(&file, &key).expect("a writable folder");
        eventually("the key used again", || {
            (self.ask("the key is back", Ask::chat()) == 200).then_some(())
        });
    }

    /// The output of commands that read the same settings; `doctor` also reads the keys.
    fn commands_beside_it(&mut self) {
        let builder = self.keyside.builder_of().clone();
        for command in [
            &["check"][..],
            &["check", "--json"],
            &["doctor"],
            &["doctor", "--json"],
        ] {
            let exit = builder.run(command, b"");
            let said = format!("{}{}", exit.stdout, exit.stderr);
            assert!(said.contains("credential"), "{command:?}: {exit:#?}");
            self.sweep
                .saw(&format!("{command:?} says"), exit.stdout.as_bytes());
            self.sweep.saw(
                &format!("{command:?} says in error"),
                exit.stderr.as_bytes(),
            );
        }
    }

    fn assert_only_in_its_file(mut self) {
        self.sweep.everything_of(&self.keyside);
        let (_builder, exit) = self.keyside.stop();
        self.sweep.saw("standard error", exit.stderr.as_bytes());
        self.sweep.saw("standard output", exit.stdout.as_bytes());
        self.sweep.assert_without("the key", &self.key, &[FILE]);
        self.sweep
            .assert_without("the client's own", &self.own, &[]);
    }
}
