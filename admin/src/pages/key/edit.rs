//! Edits everything about a key but its secret.

use askama::Template;
use axum::{extract::Path, response::Response};
use keyside_credentials::{Credential, Permission, Timestamp};
use serde_json::{Value, json};

use super::state::{self, etag, seen};
use crate::{
    credential_changes::Change,
    pages::{
        form::{Fields, SessionForm},
        html::{page, problem_page, see_other, text},
        shell::{Shell, Visit},
        view::{Badge, Conflict, Notice, field_error, text_of},
    },
    problem::{Kind, Problem},
};

#[derive(Template)]
#[template(path = "key_edit.html")]
struct EditKey {
    shell: Shell,
    href: String,
    /// Of the key as it is stored.
    label: String,
    sandbox: Vec<Badge>,
    is_default: bool,
    etag: String,
    conflict: Vec<Conflict>,
    notices: Vec<Notice>,
    form: Entered,
    /// The values that `etag` names, so that a later form can say what has changed since.
    seen: Entered,
    errors: Errors,
}

/// What was entered, so that an error loses nothing.
struct Entered {
    label: String,
    tag: String,
    /// A day.
    expires: String,
    requests_per_day: String,
    tokens_per_day: String,
    make_default: bool,
}

#[derive(Default)]
struct Errors {
    label: String,
    tag: String,
    expires: String,
    limits: String,
}

pub(in crate::pages) async fn show(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    let form = Entered::stored(&key);
    page(&view(&visit, &key, form, Errors::default())?)
}

pub(in crate::pages) async fn save(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::ChangeCredentials)?;
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    let problem = match edit(&visit, &key, &fields).await {
        Ok(()) => return Ok(see_other(&visit.key_href(&key.id))),
        Err(problem) => problem,
    };
    // As it is now: another person may have changed it.
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    let changes = changes(&fields, &key);
    let conflict = state::conflict(&visit, &key, &problem, changes, ADVICE).await;
    let is_superseded = problem.kind() == Kind::PreconditionFailed;
    let notice = match is_superseded && conflict.is_some() {
        true => None,
        false => Some(Notice::refusal(&problem, &FIELDS)),
    };
    let errors = Errors {
        label: field_error(&problem, "label"),
        tag: field_error(&problem, "usageTag"),
        expires: field_error(&problem, "expiresAt"),
        limits: match field_error(&problem, "limits").is_empty() {
            true => String::new(),
            false => LIMITS.to_owned(),
        },
    };
    let mut shown = EditKey {
        conflict: conflict.into_iter().collect(),
        notices: notice.into_iter().collect(),
        ..view(&visit, &key, Entered::read(&fields), errors)?
    };
    if !is_superseded {
        // The person was told of no change, so the form stays one of the state that it was made for.
        fields.text("etag").clone_into(&mut shown.etag);
        shown.seen = Entered::seen(&fields);
    }
    Err(problem_page(problem, text(&shown)?))
}

async fn edit(visit: &Visit, key: &Credential, fields: &Fields) -> Result<(), Problem> {
    let tag = match fields.text("usageTag") {
        "" => Value::Null,
        tag => tag.into(),
    };
    let limits = json!({
        "requestsPerDay": fields.number("requestsPerDay"),
        "tokensPerDay": fields.number("tokensPerDay"),
    });
    let mut others = vec![("usageTag", tag), ("limits", limits)];
    // The form has days: one that stays does not move the time.
    if fields.text("expiresAt") != day(key) {
        others.push(("expiresAt", fields.day("expiresAt")));
    }
    if fields.is_ticked("default") {
        others.push(("default", true.into()));
    }
    // A label cannot be removed, so an empty one is an error.
    others.push(("label", fields.text("label").into()));
    let change = Change::read(&fields.json_with(&[], &others))?;
    let expected = seen(visit, fields);
    let made = change.make(&visit.state, &visit.caller, key, expected, None);
    let made = made.await?;
    let text = format!("{} is up to date.", made.credential.label);
    visit.flash_with("Saved", text, made.warnings);
    Ok(())
}

impl Entered {
    fn stored(key: &Credential) -> Self {
        Self {
            label: key.label.to_string(),
            tag: text_of(key.usage_tag.as_ref()),
            expires: day(key),
            requests_per_day: text_of(key.limits.requests_per_day),
            tokens_per_day: text_of(key.limits.tokens_per_day),
            make_default: false,
        }
    }

    /// From the hidden fields.
    fn seen(fields: &Fields) -> Self {
        let text = |name: &str| fields.text(name).to_owned();
        Self {
            label: text("seenLabel"),
            tag: text("seenTag"),
            expires: text("seenExpires"),
            requests_per_day: text("seenRequests"),
            tokens_per_day: text("seenTokens"),
            make_default: false,
        }
    }

    fn read(fields: &Fields) -> Self {
        let text = |name: &str| fields.text(name).to_owned();
        Self {
            label: text("label"),
            tag: text("usageTag"),
            expires: text("expiresAt"),
            requests_per_day: text("requestsPerDay"),
            tokens_per_day: text("tokensPerDay"),
            make_default: fields.is_ticked("default"),
        }
    }
}

/// What has changed since the form was made.
fn changes(fields: &Fields, key: &Credential) -> String {
    let now = Entered::stored(key);
    let values = [
        ("Label", "seenLabel", now.label),
        ("Tag", "seenTag", now.tag),
        ("Expires", "seenExpires", now.expires),
        ("Requests a day", "seenRequests", now.requests_per_day),
        ("Tokens a day", "seenTokens", now.tokens_per_day),
    ];
    fields.changes("nothing", values)
}

/// The day of its expiry in UTC; empty if it has none.
fn day(key: &Credential) -> String {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    key.expires_at.map_or_else(String::new, day)
}

fn view(
    visit: &Visit,
    key: &Credential,
    form: Entered,
    errors: Errors,
) -> Result<EditKey, Problem> {
    let workspace = visit.workspace(Some(key.workspace.as_str()))?;
    Ok(EditKey {
        shell: visit.shell("/keys", workspace.as_ref()),
        href: visit.key_href(&key.id),
        label: key.label.to_string(),
        sandbox: Badge::sandbox(key.environment),
        is_default: key.is_default,
        etag: etag(visit, key),
        conflict: Vec::new(),
        notices: Vec::new(),
        form,
        seen: Entered::stored(key),
        errors,
    })
}

/// The fields beside which errors are shown.
const FIELDS: [&str; 4] = ["label", "usageTag", "expiresAt", "limits"];

/// The API's own text names its fields.
const LIMITS: &str = "Expected whole numbers from 1 to 1000000000000, or nothing.";

const ADVICE: &str =
    "What you entered is still in the form. Save again to put it in place of that change.";
