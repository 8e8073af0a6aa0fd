//! What several pages show: the contexts of `admin/templates/macros.html`.

use keyside_config::{EnvironmentPin, Smoke};
use keyside_credentials::{ActorId, Environment, Status, WorkspaceId};
use serde::Serialize;

use super::{marked::Text, number::count, remedy, time::Time};
use crate::problem::{FieldError, Kind, Problem, sentence};

/// A word with an icon, so that no state is told by colour alone.
#[derive(Default)]
pub(super) struct Badge {
    /// `good`, `warn`, `bad`, `info` or `plain`.
    pub(super) tone: &'static str,
    /// A symbol of `icons.html`.
    pub(super) icon: &'static str,
    pub(super) word: String,
}

/// The same thing was changed meanwhile: the context of `conflict.html`.
pub(super) struct Conflict {
    pub(super) actor: String,
    /// "you", which may be another tab, or the actor's name; empty for those who may not read tokens.
    pub(super) name: String,
    pub(super) at: Time,
    /// What happened, in words.
    pub(super) what: String,
    pub(super) advice: &'static str,
}

/// A message with a way on. The function `notice` of `admin/assets/notice.js` takes the same.
#[derive(Serialize)]
pub(super) struct Notice {
    /// `good`, `warn`, `bad` or `info`.
    pub(super) tone: &'static str,
    pub(super) icon: &'static str,
    pub(super) title: String,
    pub(super) text: Text,
    /// Empty if there is nothing to do.
    pub(super) href: String,
    pub(super) action: &'static str,
}

/// What is wrong with a form, to show beside its fields.
#[derive(Default)]
pub(super) struct FieldErrors(Vec<FieldError>);

/// The keys of a workspace that are checked.
pub(super) struct CheckedKeys {
    /// Whether the settings leave the workspace out, so that none of its keys is checked.
    pub(super) is_left_out: bool,
    /// `sandbox key`.
    pub(super) noun: &'static str,
    pub(super) tag: String,
}

/// A choice of a form, with what it means.
pub(super) struct Described {
    pub(super) value: &'static str,
    pub(super) label: &'static str,
    pub(super) what: &'static str,
    pub(super) selected: bool,
}

/// A choice of a filter. The first of a list is "All", with an empty value.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) selected: bool,
    /// Whether it cannot be chosen, and says how many others there are.
    pub(super) is_rest: bool,
}

impl Badge {
    pub(super) fn new(tone: &'static str, icon: &'static str, word: impl Into<String>) -> Self {
        let word = word.into();
        Self { tone, icon, word }
    }

    pub(super) fn good(word: impl Into<String>) -> Self {
        Self::new("good", "good", word)
    }

    pub(super) fn warn(word: impl Into<String>) -> Self {
        Self::new("warn", "warn", word)
    }

    pub(super) fn plain(word: impl Into<String>) -> Self {
        Self::new("plain", "info", word)
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

    /// What marks a sandbox key.
    pub(super) fn sandbox(environment: Environment) -> Option<Self> {
        let is_sandbox = environment == Environment::Sandbox;
        is_sandbox.then(|| Self::environment(environment))
    }

    /// Where something is unknown because its record cannot be read.
    pub(super) fn unknown() -> Self {
        Self::new("plain", "unknown", "Unknown")
    }
}

impl Notice {
    pub(super) fn new(tone: &'static str, title: impl Into<String>, text: impl Into<Text>) -> Self {
        Self {
            tone,
            icon: tone,
            title: title.into(),
            text: text.into(),
            href: String::new(),
            action: "",
        }
    }

    /// Why a form changed nothing. `fields` are those beside which it shows errors.
    pub(super) fn refusal(problem: &Problem, fields: &[&str]) -> Self {
        let of_others = |error: &&FieldError| !fields.contains(&error.field.as_str());
        let others = problem.errors().iter().filter(of_others);
        let others: Vec<_> = others.map(|error| sentence(&error.detail)).collect();
        let is_marked = others.len() < problem.errors().len();
        let (title, text) = match is_marked && problem.kind() == Kind::FieldsInvalid {
            true => (
                "Nothing was changed",
                Text::from("Correct what is marked below, and send the form again."),
            ),
            false => (
                problem.kind().title(),
                remedy::detail(problem).and(remedy::next_step(problem)),
            ),
        };
        Self::new("bad", title, others.into_iter().fold(text, Text::and))
    }

    /// The same notice, with a way on if the person can go there.
    pub(super) fn leading_if(self, can: bool, href: String, action: &'static str) -> Self {
        match can {
            true => self.leading_to(href, action),
            false => self,
        }
    }

    /// The same notice with a way on.
    pub(super) fn leading_to(self, href: String, action: &'static str) -> Self {
        Self {
            href,
            action,
            ..self
        }
    }
}

/// Actors without a token, and what to call them.
pub(super) fn unnamed() -> [(ActorId, &'static str); 2] {
    [
        (ActorId::system(), "Keyside itself"),
        (ActorId::anonymous(), "Unknown caller"),
    ]
}

/// The environments, as choices.
pub(super) fn environments() -> [(String, String); 2] {
    [Environment::Live, Environment::Sandbox]
        .map(|it| (it.to_string(), Badge::environment(it).word))
}

impl CheckedKeys {
    pub(super) fn of(settings: &Smoke, workspace: &WorkspaceId) -> Self {
        Self {
            is_left_out: !settings.includes(workspace.as_str()),
            noun: match settings.environment {
                EnvironmentPin::Any => "key",
                EnvironmentPin::Sandbox => "sandbox key",
                EnvironmentPin::Live => "live key",
            },
            tag: settings.usage_tag.clone(),
        }
    }
}

impl Described {
    /// Of `choices`, each with its value, label and meaning, the one with the value `selected`.
    pub(super) fn all<const N: usize>(
        choices: [(&'static str, &'static str, &'static str); N],
        selected: &str,
    ) -> Vec<Self> {
        choices
            .map(|(value, label, what)| Self {
                value,
                label,
                what,
                selected: value == selected,
            })
            .into()
    }
}

impl Choice {
    pub(super) fn new(value: impl Into<String>, label: impl Into<String>, selected: bool) -> Self {
        Self {
            value: value.into(),
            label: label.into(),
            selected,
            is_rest: false,
        }
    }

    /// "All" and the first of the `values`, each with its label; `selected` is the value in force.
    pub(super) fn list(
        values: impl IntoIterator<Item = (String, String)>,
        selected: Option<&str>,
    ) -> Vec<Self> {
        let all = (String::new(), "All".to_owned());
        Self::first(Self::of(
            [all].into_iter().chain(values),
            selected.unwrap_or_default(),
        ))
    }

    /// The first choices, the one in force, and how many others there are. Nobody reads more, and
    /// they make a page heavy; the page of what is chosen leads on too.
    pub(super) fn first(mut choices: Vec<Self>) -> Vec<Self> {
        let rest = choices.split_off(choices.len().min(MOST));
        let (selected, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|it| it.selected);
        choices.extend(selected);
        if !others.is_empty() {
            let label = format!("and {} more", count(others.len() as u64));
            let is_rest = true;
            choices.push(Self {
                is_rest,
                ..Self::new("", label, false)
            });
        }
        choices
    }

    /// The `values`, each with its label; `selected` is the value in force.
    pub(super) fn of(
        values: impl IntoIterator<Item = (String, String)>,
        selected: &str,
    ) -> Vec<Self> {
        let choice = |(value, label): (String, String)| {
            let is_selected = value == selected;
            Self::new(value, label, is_selected)
        };
        values.into_iter().map(choice).collect()
    }
}

/// Choices of a list.
const MOST: usize = 200;

/// The text of something that may be absent; empty if it is.
pub(super) fn text_of(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

impl FieldErrors {
    pub(super) fn of(problem: &Problem) -> Self {
        Self(problem.errors().to_vec())
    }

    /// What is wrong with this field; empty if nothing is.
    pub(super) fn on(&self, field: &str) -> &str {
        let error = self.0.iter().find(|error| error.field == field);
        error.map_or("", |error| error.detail.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::marked::tests::shown, *};

    #[test]
    fn a_long_list_has_its_first_choices_and_the_one_in_force() {
        let values = |count: usize| (0..count).map(|it| (it.to_string(), it.to_string()));
        let shown = |count, selected| {
            let list = Choice::list(values(count), selected);
            let in_force = list.iter().find(|choice| choice.selected);
            let in_force = in_force.map(|choice| choice.label.clone());
            let last = list.last().map(|it| (it.label.clone(), it.is_rest));
            (list.len(), in_force.unwrap(), last.unwrap())
        };
        let all = || "All".to_owned();
        assert_eq!(shown(3, None), (4, all(), ("2".to_owned(), false)));
        assert_eq!(shown(199, None), (200, all(), ("198".to_owned(), false)));
        let rest = |label: &str| (label.to_owned(), true);
        assert_eq!(shown(10_000, None), (201, all(), rest("and 9,801 more")));
        let far = shown(10_000, Some("9999"));
        assert_eq!(far, (202, "9999".to_owned(), rest("and 9,800 more")));
    }

    #[test]
    fn a_refusal_leaves_to_the_fields_what_they_show_and_tells_the_rest() {
        let problem = || {
            Problem::fields(vec![
                FieldError::field("label", "is missing"),
                FieldError::field("provider", "is unknown"),
            ])
        };
        let all = Notice::refusal(&problem(), &["label", "provider"]);
        assert_eq!(all.title, "Nothing was changed");
        let all = shown(&all.text);
        assert!(!all.contains("is unknown"), "{all}");
        let one = shown(&Notice::refusal(&problem(), &["label"]).text);
        assert!(one.ends_with("Is unknown."), "{one}");
        let none = shown(&Notice::refusal(&Problem::superseded(), &["label"]).text);
        assert!(none.starts_with(&shown(&remedy::detail(&Problem::superseded()))));
    }
}
