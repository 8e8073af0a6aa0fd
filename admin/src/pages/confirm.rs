//! The page that asks before something final: what goes, what stays and why. The person types a
//! name, and gives the token again unless that was a moment ago.

use askama::Template;
use axum::response::Response;
use keyside_credentials::Workspace;

use super::{
    form::Fields,
    html::{page, problem_page},
    reauthentication::prove,
    shell::{Shell, Visit},
    view::FieldErrors,
};
use crate::problem::Problem;

/// The question, and what the form needs to answer it.
pub(super) struct Confirm {
    pub(super) title: String,
    /// The address of this page, which its form is sent to.
    pub(super) action: String,
    pub(super) back_href: String,
    pub(super) back_label: String,
    pub(super) warning: &'static str,
    pub(super) goes: Vec<String>,
    /// What stays, and why.
    pub(super) stays: &'static [(&'static str, &'static str)],
    /// The text to type, and what it is.
    pub(super) expect: String,
    pub(super) expect_what: &'static str,
    pub(super) button: &'static str,
    /// The workspace of the page's frame.
    pub(super) workspace: Option<Workspace>,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    shell: Shell,
    confirm: &'a Confirm,
    reauthenticate: bool,
    typed: &'a str,
    errors: FieldErrors,
}

impl Confirm {
    pub(super) fn page(&self, visit: &Visit) -> Result<Response, Problem> {
        page(&self.view(visit, "", FieldErrors::default()))
    }

    /// The page with what is wrong, under the problem's status.
    pub(super) fn again(&self, visit: &Visit, problem: Problem, typed: &str) -> Problem {
        if problem.errors().is_empty() {
            return problem;
        }
        let errors = FieldErrors::of(&problem);
        problem_page(problem, &self.view(visit, typed, errors))
    }

    fn view<'a>(&'a self, visit: &Visit, typed: &'a str, errors: FieldErrors) -> ConfirmPage<'a> {
        ConfirmPage {
            shell: visit.shell("/workspace", self.workspace.as_ref()),
            confirm: self,
            reauthenticate: !visit.session.is_fresh,
            typed,
            errors,
        }
    }
}

/// Checks that the person typed `expected`, which is `what`, and is still the one who signed in.
pub(super) async fn confirmed(
    visit: &Visit,
    fields: &Fields,
    expected: &str,
    what: &str,
) -> Result<(), Problem> {
    match fields.text("typed") == expected {
        true => prove(visit, fields).await,
        false => Err(Problem::field("typed", format!("is not {what}"))),
    }
}
