//! Answers to forms that store a key: a page, or JSON for `admin/assets/key-form.js`, which keeps
//! what was typed.

use std::collections::BTreeMap;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use serde::Serialize;
use serde_json::json;

use super::{errors::is_of_script, html::see_other, verdict::Refused, view::Notice};
use crate::problem::Problem;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    #[serde(flatten)]
    notice: &'a Notice,
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
        true => Json(json!({ "location": location })).into_response(),
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
        notice,
        can_skip: *can_skip,
        etag,
        errors: errors
            .map(|error| (error.field.as_str(), error.detail.as_str()))
            .collect(),
    };
    is_of_script(headers).then(|| Json(refusal).into_response())
}
