//! Edits everything about a key but its secret.

use askama::Template;
use axum::{extract::Path, response::Response};
use keyside_credentials::{Credential, Permission, Timestamp};
use serde_json::{Value, json};

use super::state::{self, etag, seen};
use crate::{
    credential_changes::Change,
    pages::{
        form::{Fields, SessionForm, StoredValue},
        html::{page, problem_page, see_other},
        shell::{Shell, Visit},
        view::{Badge, CheckedKeys, Conflict, FieldErrors, Notice, text_of},
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
    sandbox: Option<Badge>,
    is_default: bool,
    etag: String,
    conflict: Option<Conflict>,
    notice: Option<Notice>,
    /// The values in the hidden fields are those that `etag` names.
    form: Fields,
    checked: CheckedKeys,
    errors: FieldErrors,
}

pub(in crate::pages) async fn show(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    page(&view(&visit, &key)?)
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
    let changes = fields.changes("nothing", &values(&key));
    let conflict = state::conflict(&visit, &key, &problem, changes, ADVICE).await;
    let is_superseded = problem.kind() == Kind::PreconditionFailed;
    let is_told = is_superseded && conflict.is_some();
    let mut shown = EditKey {
        conflict,
        notice: (!is_told).then(|| Notice::refusal(&problem, &FIELDS)),
        errors: FieldErrors::of(&problem),
        ..view(&visit, &key)?
    };
    shown.form = match is_superseded {
        true => fields.made_for(&values(&key)),
        // The person was told of no change, so the form stays one of the state that it was made for.
        false => {
            fields.text("etag").clone_into(&mut shown.etag);
            fields
        }
    };
    Err(problem_page(problem, &shown))
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

fn values(key: &Credential) -> [StoredValue; 5] {
    let [requests, tokens] = [key.limits.requests_per_day, key.limits.tokens_per_day].map(text_of);
    [
        StoredValue::new("Label", "label", "seenLabel", key.label.to_string()),
        StoredValue::new(
            "Tag",
            "usageTag",
            "seenTag",
            text_of(key.usage_tag.as_ref()),
        ),
        StoredValue::new("Expires", "expiresAt", "seenExpires", day(key)),
        StoredValue::new("Requests a day", "requestsPerDay", "seenRequests", requests),
        StoredValue::new("Tokens a day", "tokensPerDay", "seenTokens", tokens),
    ]
}

/// The day of its expiry in UTC; empty if it has none.
pub(super) fn day(key: &Credential) -> String {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    key.expires_at.map_or_else(String::new, day)
}

fn view(visit: &Visit, key: &Credential) -> Result<EditKey, Problem> {
    let workspace = visit.workspace(Some(key.workspace.as_str()))?;
    Ok(EditKey {
        shell: visit.shell("/keys", workspace.as_ref()),
        href: visit.key_href(&key.id),
        label: key.label.to_string(),
        sandbox: Badge::sandbox(key.environment),
        is_default: key.is_default,
        etag: etag(visit, key),
        conflict: None,
        notice: None,
        form: Fields::stored(&values(key)),
        checked: CheckedKeys::of(visit.state.smoke.settings(), &key.workspace),
        errors: FieldErrors::default(),
    })
}

/// The fields beside which errors are shown.
const FIELDS: [&str; 4] = ["label", "usageTag", "expiresAt", "limits"];

const ADVICE: &str =
    "The form has what you changed, and the rest as it is stored now. Save again if that is right.";
