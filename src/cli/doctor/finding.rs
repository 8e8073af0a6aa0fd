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
    /// The fix; `None` if `message` has it or nothing is wrong.
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
    fn a_message_from_elsewhere_starts_no_line_of_its_own() {
        let found = Finding::fail("vault", "sealed\nok   vault: fine\x1b[2K\n");
        assert_eq!(found.to_string().lines().count(), 1, "{found}");
    }
}
