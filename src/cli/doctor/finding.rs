//! One finding of `doctor`: what was checked, its state, and the fix.

use std::fmt;

use serde::Serialize;

use crate::terminal::printable;

/// One finding.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was checked.
    name: String,
    pub(super) state: State,
    message: String,
    /// The fix; `None` if nothing is wrong or no remedy is known.
    fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// It works but should be changed, or it could not be checked.
    Warn,
    Fail,
}

impl Finding {
    pub(super) fn ok(name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(State::Ok, name, message)
    }

    pub(super) fn warn(name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(State::Warn, name, message)
    }

    pub(super) fn fail(name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(State::Fail, name, message)
    }

    pub(super) fn fix(mut self, step: impl Into<String>) -> Self {
        self.fix = Some(step.into());
        self
    }

    /// Moves the remedy at the end of an error's text to `fix`, unless there is a fix already. The
    /// service's errors are one text with the remedy last, for its log.
    pub(super) fn with_remedy_as_fix(mut self) -> Self {
        if self.state == State::Ok || self.fix.is_some() {
            return self;
        }
        if let Some((end, start)) = remedy_in(&self.message) {
            self.fix = Some(self.message[start..].to_owned());
            self.message.truncate(end);
        }
        self
    }

    /// The message may come from elsewhere, so it is kept on one line.
    fn new(state: State, name: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            name: printable(&name.into()),
            state,
            message: printable(message.to_string().trim_end()),
            fix: None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        write!(f, "{state} {}: {}", self.name, self.message)?;
        match &self.fix {
            Some(step) => write!(f, "\n     fix: {step}"),
            None => Ok(()),
        }
    }
}

/// Where the text before a remedy ends, and where the remedy starts.
fn remedy_in(message: &str) -> Option<(usize, usize)> {
    let mut ends = message.match_indices([';', ':', '.']);
    ends.find_map(|(end, _)| {
        let rest = message[end + 1..].strip_prefix(' ')?;
        begins_remedy(rest).then_some((end, message.len() - rest.len()))
    })
}

fn begins_remedy(text: &str) -> bool {
    REMEDIES.iter().any(|remedy| {
        let parts = text.split_at_checked(remedy.len());
        parts.is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(remedy) && !rest.starts_with(char::is_alphanumeric)
        })
    })
}

/// How the remedies of errors and warnings begin.
const REMEDIES: [&str; 38] = [
    "add",
    "allow",
    "ask",
    "check",
    "chmod",
    "choose",
    "copy",
    "correct",
    "create",
    "delete",
    "did you mean",
    "expected",
    "free",
    "give",
    "its policy needs",
    "leave",
    "let",
    "make",
    "most likely it should be",
    "mount",
    "move",
    "name",
    "pin",
    "put",
    "raise",
    "remove",
    "renew",
    "replace",
    "restore",
    "run",
    "set",
    "start",
    "stop",
    "try",
    "use",
    "wait",
    "write",
    "unseal",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_fix_the_next() {
        let found = Finding::fail("vault", "sealed").fix("Unseal it.");
        assert_eq!(
            found.to_string(),
            "fail vault: sealed\n     fix: Unseal it."
        );
        assert_eq!(
            Finding::ok("vault", "answers").to_string(),
            "ok   vault: answers"
        );
        let json = serde_json::to_value(Finding::warn("clock", "nothing to compare")).unwrap();
        let expected = serde_json::json!({
            "name": "clock", "state": "warn", "message": "nothing to compare", "fix": null
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn the_remedy_at_the_end_of_an_error_becomes_the_fix() {
        for (said, message, fix) in [
            (
                "/k: it is a folder; name the file in it",
                "/k: it is a folder",
                "name the file in it",
            ),
            (
                "the key k1 failed authentication: restore the keyring; it is in a backup",
                "the key k1 failed authentication",
                "restore the keyring; it is in a backup",
            ),
            (
                "proxy.listen: 0.0.0.0:7380 can be reached. Pin it to workspaces",
                "proxy.listen: 0.0.0.0:7380 can be reached",
                "Pin it to workspaces",
            ),
            (
                "Vault does not allow it; its policy needs: path \"kv\"",
                "Vault does not allow it",
                "its policy needs: path \"kv\"",
            ),
        ] {
            let found = Finding::fail("vault", said).with_remedy_as_fix();
            assert_eq!(found.message, message);
            assert_eq!(found.fix.as_deref(), Some(fix));
        }
    }

    #[test]
    fn a_fix_of_its_own_and_a_message_without_a_remedy_stay() {
        let own = || Finding::fail("vault", "sealed; check it").fix("Unseal it.");
        assert_eq!(own().with_remedy_as_fix(), own());
        for said in [
            "/k: cannot be read: Input/output error",
            "a: username taken; names differ",
        ] {
            let found = Finding::fail("store", said);
            assert_eq!(found.with_remedy_as_fix(), Finding::fail("store", said));
        }
        let ok = || Finding::ok("store", "it opens; use it");
        assert_eq!(ok().with_remedy_as_fix(), ok());
    }

    #[test]
    fn a_message_from_elsewhere_starts_no_line_of_its_own() {
        let found = Finding::fail("vault", "sealed\nok   vault: fine\x1b[2K\n");
        assert_eq!(found.to_string().lines().count(), 1, "{found}");
    }
}
