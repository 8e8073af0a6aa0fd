//! The filters of the list of runs.

use keyside_credentials::{
    Environment, Timestamp, Workspace,
    runs::{RunFilter, RunKind, RunPosition, RunPositionError},
};

use super::days::Period;
use crate::{form::choice, pages::shell::query, query::Parameters};

/// Each field without a value includes everything.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) period: Period,
    pub(super) provider: Option<String>,
    pub(super) label: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) kind: Option<RunKind>,
    pub(super) environment: Option<Environment>,
    pub(super) tag: Option<String>,
    pub(super) run_id: Option<String>,
    pub(super) request_id: Option<String>,
    /// Only runs before this one.
    pub(super) before: Option<RunPosition>,
}

impl Filters {
    pub(super) fn read(parameters: &mut Parameters) -> Self {
        let text = |text: &str| Ok(text.trim().to_owned());
        Self {
            period: parameters.filter("days", choice).unwrap_or_default(),
            provider: parameters.filter("provider", text),
            label: parameters.filter("label", text),
            outcome: parameters.filter("outcome", text),
            kind: parameters.filter("kind", choice),
            environment: parameters.filter("environment", choice),
            tag: parameters.filter("tag", text),
            run_id: parameters.filter("run", text),
            request_id: parameters.filter("request", text),
            before: parameters.filter("cursor", |text| {
                text.parse()
                    .map_err(|error: RunPositionError| error.to_string())
            }),
        }
    }

    /// The runs of `all` that it leaves, since a time.
    pub(super) fn applied_to(&self, all: &RunFilter, since: Option<Timestamp>) -> RunFilter {
        RunFilter {
            provider: self.provider.clone(),
            label: self.label.clone(),
            outcome: self.outcome.clone(),
            kind: self.kind,
            environment: self.environment,
            tag: self.tag.clone(),
            run_id: self.run_id.clone(),
            request_id: self.request_id.clone(),
            since,
            ..all.clone()
        }
    }

    /// The query of this list's page, which begins with `?`.
    pub(super) fn query(&self, workspace: &Workspace, cursor: &str) -> String {
        let period = match self.period == Period::default() {
            true => "",
            false => self.period.as_str(),
        };
        query(&[
            ("workspace", workspace.id.as_ref()),
            ("days", period),
            ("provider", given(self.provider.as_ref())),
            ("label", given(self.label.as_ref())),
            ("outcome", given(self.outcome.as_ref())),
            ("kind", self.kind.map_or("", RunKind::as_str)),
            (
                "environment",
                self.environment.map_or("", Environment::as_str),
            ),
            ("tag", given(self.tag.as_ref())),
            ("run", given(self.run_id.as_ref())),
            ("request", given(self.request_id.as_ref())),
            ("cursor", cursor),
        ])
    }

    /// Whether it leaves out runs, other than those before its period.
    pub(super) fn is_active(&self) -> bool {
        let texts = [
            &self.provider,
            &self.label,
            &self.outcome,
            &self.tag,
            &self.run_id,
            &self.request_id,
        ];
        texts.iter().any(|text| text.is_some()) || self.kind.is_some() || self.environment.is_some()
    }
}

fn given(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}
