//! Answers to forms that store a key: a page, or JSON for `admin/assets/key-form.js`, which keeps
//! what was typed.

use std::collections::BTreeMap;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use serde::Serialize;

use super::{errors::is_of_script, html::see_other, verdict::Refused};
use crate::problem::Problem;

#[derive(Serialize)]
struct Location<'a> {
    location: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    tone: &'a str,
    icon: &'a str,
    title: &'a str,
    text: &'a str,
    can_skip: bool,
    /// The state that the form is now for, if another person has changed the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    /// By field.
    errors: BTreeMap<&'a str, &'a str>,
}

/// Leads to the page about what was stored.
pub(super) fn stored(headers: &HeaderMap, location: &str) -> Response {
    match is_of_script(headers) {
        true => Json(Location { location }).into_response(),
        false => see_other(location),
    }
}

/// Answers a script, if one asks. 200, because browsers report other statuses to the console.
pub(super) fn refused_script(
    headers: &HeaderMap,
    problem: &Problem,
    refused: &Refused,
    etag: Option<&str>,
) -> Option<Response> {
    let Refused { notice, can_skip } = refused;
    let errors = problem.errors().iter();
    let refusal = Refusal {
        tone: notice.tone,
        icon: notice.icon,
        title: &notice.title,
        text: &notice.text,
        can_skip: *can_skip,
        etag,
        errors: errors
            .map(|error| (error.field.as_str(), error.detail.as_str()))
            .collect(),
    };
    is_of_script(headers).then(|| Json(refusal).into_response())
}
