//! What several pages show: the contexts of `admin/templates/macros.html`.

use keyside_credentials::{Environment, Status};

use crate::problem::Problem;

/// A word with an icon, so that no state is told by colour alone.
pub(super) struct Badge {
    /// `good`, `warn`, `bad`, `info` or `plain`.
    pub(super) tone: &'static str,
    /// A symbol of `icons.html`.
    pub(super) icon: &'static str,
    pub(super) word: String,
}

/// A message with a way on.
pub(super) struct Notice {
    /// `good`, `warn`, `bad` or `info`.
    pub(super) tone: &'static str,
    pub(super) icon: &'static str,
    pub(super) title: String,
    pub(super) text: String,
    /// Empty if there is nothing to do.
    pub(super) href: String,
    pub(super) action: &'static str,
}

/// A choice of a filter. The first of a list is "All", with an empty value.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) selected: bool,
}

impl Badge {
    pub(super) fn new(tone: &'static str, icon: &'static str, word: impl Into<String>) -> Self {
        let word = word.into();
        Self { tone, icon, word }
    }

    pub(super) fn bad(word: impl Into<String>) -> Self {
        Self::new("bad", "bad", word)
    }

    pub(super) fn status(status: Status) -> Self {
        match status {
            Status::Active => Self::new("good", "good", "Active"),
            Status::Expiring => Self::new("warn", "clock", "Expiring"),
            Status::Expired => Self::new("bad", "bad", "Expired"),
            Status::Revoked => Self::new("plain", "revoked", "Revoked"),
        }
    }

    pub(super) fn environment(environment: Environment) -> Self {
        match environment {
            Environment::Live => Self::new("plain", "live", "Live"),
            Environment::Sandbox => Self::new("info", "sandbox", "Sandbox"),
        }
    }

    /// Where something is unknown because its record cannot be read.
    pub(super) fn unknown() -> Self {
        Self::new("plain", "unknown", "Unknown")
    }
}

impl Notice {
    pub(super) fn new(
        tone: &'static str,
        title: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            tone,
            icon: tone,
            title: title.into(),
            text: text.into(),
            href: String::new(),
            action: "",
        }
    }

    /// With a link to what helps.
    pub(super) fn leading_to(self, href: String, action: &'static str) -> Self {
        Self {
            href,
            action,
            ..self
        }
    }
}

impl Choice {
    /// "All" and the `values`, each with its label; `selected` is the value in force.
    pub(super) fn list(
        values: impl IntoIterator<Item = (String, String)>,
        selected: Option<&str>,
    ) -> Vec<Self> {
        let all = (String::new(), "All".to_owned());
        let selected = selected.unwrap_or_default();
        let choice = |(value, label): (String, String)| Self {
            selected: value == selected,
            value,
            label,
        };
        [all].into_iter().chain(values).map(choice).collect()
    }
}

/// What is wrong with a field of a form; empty if nothing is.
pub(super) fn field_error(problem: &Problem, name: &str) -> String {
    let error = problem.errors().iter().find(|error| error.field == name);
    error.map_or_else(String::new, |error| error.detail.clone())
}
