//! The page that asks before something final: what goes, what stays and why. The person types a
//! name, and gives the token again unless that was a moment ago.

use askama::Template;
use axum::response::Response;
use keyside_credentials::Workspace;

use super::{
    html::{page, problem_page, text},
    shell::{Shell, Visit},
    view::field_error,
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
    pub(super) stays: Vec<Stay>,
    /// The text to type, and what it is.
    pub(super) expect: String,
    pub(super) expect_what: &'static str,
    pub(super) button: &'static str,
    /// The workspace of the page's frame.
    pub(super) workspace: Option<Workspace>,
}

pub(super) struct Stay {
    pub(super) what: &'static str,
    pub(super) why: &'static str,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    shell: Shell,
    title: &'a str,
    action: &'a str,
    back_href: &'a str,
    back_label: &'a str,
    warning: &'a str,
    goes: &'a [String],
    stays: &'a [Stay],
    expect: &'a str,
    expect_what: &'a str,
    button: &'a str,
    reauthenticate: bool,
    typed: &'a str,
    errors: Errors,
}

#[derive(Default)]
struct Errors {
    typed: String,
    proof: String,
}

impl Confirm {
    pub(super) fn page(&self, visit: &Visit) -> Result<Response, Problem> {
        page(&self.view(visit, "", Errors::default()))
    }

    /// The page with what is wrong, under the problem's status.
    pub(super) fn again(&self, visit: &Visit, problem: Problem, typed: &str) -> Problem {
        if problem.errors().is_empty() {
            return problem;
        }
        let errors = Errors {
            typed: field_error(&problem, "typed"),
            proof: field_error(&problem, "proof"),
        };
        match text(&self.view(visit, typed, errors)) {
            Ok(page) => problem_page(problem, page),
            Err(problem) => problem,
        }
    }

    fn view<'a>(&'a self, visit: &Visit, typed: &'a str, errors: Errors) -> ConfirmPage<'a> {
        ConfirmPage {
            shell: visit.shell("/workspace", self.workspace.as_ref()),
            title: &self.title,
            action: &self.action,
            back_href: &self.back_href,
            back_label: &self.back_label,
            warning: self.warning,
            goes: &self.goes,
            stays: &self.stays,
            expect: &self.expect,
            expect_what: self.expect_what,
            button: self.button,
            reauthenticate: !visit.session.is_fresh,
            typed,
            errors,
        }
    }
}

/// The problem for a text that is not the expected one.
pub(super) fn mistyped(what: &str) -> Problem {
    Problem::field("typed", format!("is not {what}"))
}
