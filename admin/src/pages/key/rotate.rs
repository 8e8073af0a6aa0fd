//! Rotates a key: another secret takes the place of the one in use.

use askama::Template;
use axum::{extract::Path, response::Response};
use http::HeaderMap;
use keyside_credentials::{Credential, Permission, VersionState};

use super::{
    edit::day,
    state::{self, etag, seen},
};
use crate::{
    credential_changes::Change,
    pages::{
        form::{Fields, SessionForm},
        html::{page, problem_page},
        provider_guide::ProviderGuide,
        saved::{refused_script, stored},
        shell::{Shell, Visit},
        verdict::Refused,
        view::{Badge, Conflict, Described, FieldErrors, Notice, text_of},
    },
    problem::{Kind, Problem},
};

#[derive(Template)]
#[template(path = "rotate.html")]
struct RotateKey {
    shell: Shell,
    href: String,
    label: String,
    sandbox: Option<Badge>,
    hint: String,
    guide: ProviderGuide,
    etag: String,
    conflict: Option<Conflict>,
    verdict: Option<Notice>,
    can_skip: bool,
    /// The expiry, and what it was when the form was made; both empty if the key had none.
    form: Fields,
    errors: FieldErrors,
    /// How many seconds the old secret is kept.
    overlaps: Vec<Described>,
    /// The versions that "Now" destroys too; empty if there are none.
    replaces: String,
}

pub(in crate::pages) async fn show(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    let form = Fields::filled([
        ("graceSeconds", A_DAY.to_owned()),
        ("expiresAt", day(&key)),
        ("seenExpires", day(&key)),
    ]);
    page(&view(&visit, &key, form)?)
}

pub(in crate::pages) async fn save(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
    headers: HeaderMap,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::ChangeCredentials)?;
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    let problem = match rotate(&visit, &key, &fields).await {
        Ok(()) => return Ok(stored(&headers, &visit.key_href(&key.id))),
        Err(problem) if problem.refused().is_some() => return Err(problem),
        Err(problem) => problem,
    };
    let name = visit.provider_name(&key.provider);
    let mut refused = Refused::of(&problem, &name, &FIELDS);
    // As it is now: another person may have changed it.
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    let conflict = state::conflict(&visit, &key, &problem, String::new(), ADVICE).await;
    if let Some(conflict) = &conflict {
        let by = match conflict.name.as_str() {
            "" => &conflict.actor,
            _ => &conflict.name,
        };
        let text = format!(
            "{}, by {by}, {}. {}",
            conflict.what, conflict.at.relative, conflict.advice
        );
        refused.notice = Notice::new("warn", "Changed meanwhile", text);
    }
    let is_superseded = problem.kind() == Kind::PreconditionFailed;
    let now = is_superseded.then(|| etag(&visit, &key));
    if let Some(answer) = refused_script(&headers, &problem, &refused, now.as_deref()) {
        return Ok(answer);
    }
    let is_told = is_superseded && conflict.is_some();
    let shown = RotateKey {
        // Of the state that the person knows.
        etag: now.unwrap_or_else(|| fields.text("etag").to_owned()),
        conflict,
        verdict: (!is_told).then_some(refused.notice),
        can_skip: refused.can_skip,
        errors: FieldErrors::of(&problem),
        ..view(&visit, &key, fields.without_secret())?
    };
    Err(problem_page(problem, &shown))
}

async fn rotate(visit: &Visit, key: &Credential, fields: &Fields) -> Result<(), Problem> {
    let mut others = vec![
        ("graceSeconds", fields.number("graceSeconds")),
        ("check", fields.check_mode()),
    ];
    // The form has days: one that stays does not move the time.
    if fields.text("expiresAt") != fields.text("seenExpires") {
        others.push(("expiresAt", fields.day("expiresAt")));
    }
    let change = Change::rotation(&fields.json_with(&["secret"], &others))?;
    let expected = seen(visit, fields);
    let made = change.make(&visit.state, &visit.caller, key, expected, None);
    let made = made.await?;
    let text = match fields.text("graceSeconds") {
        "0" => "New requests use the new secret. The old one is destroyed.",
        _ => "New requests use the new secret. Until the old one ends, you can roll back below.",
    };
    visit.flash_with("Rotated", text, made.warnings);
    Ok(())
}

fn view(visit: &Visit, key: &Credential, form: Fields) -> Result<RotateKey, Problem> {
    let workspace = visit.workspace(Some(key.workspace.as_str()))?;
    let provider = visit.state.known_provider(&key.provider)?;
    Ok(RotateKey {
        shell: visit.shell("/keys", workspace.as_ref()),
        href: visit.key_href(&key.id),
        label: key.label.to_string(),
        sandbox: Badge::sandbox(key.environment),
        hint: text_of(key.hint.as_ref()),
        guide: ProviderGuide::of(provider, &visit.state.catalogue),
        etag: etag(visit, key),
        conflict: None,
        verdict: None,
        can_skip: false,
        errors: FieldErrors::default(),
        overlaps: Described::all(OVERLAPS, form.text("graceSeconds")),
        form,
        replaces: replaces(key),
    })
}

fn replaces(key: &Credential) -> String {
    let versions = key.versions.iter();
    let in_grace = versions.filter(|version| version.state == VersionState::Grace);
    let numbers: Vec<_> = in_grace.map(|version| version.number.to_string()).collect();
    match numbers.is_empty() {
        true => String::new(),
        false => format!(
            "“Now” also destroys what is still in grace: version {}.",
            numbers.join(", ")
        ),
    }
}

/// The fields beside which errors are shown.
const FIELDS: [&str; 3] = ["secret", "graceSeconds", "expiresAt"];

const A_DAY: &str = "86400";

const OVERLAPS: [(&str, &str, &str); 4] = [
    (
        A_DAY,
        "In 24 hours",
        "Time to see a nightly run succeed with the new secret.",
    ),
    ("3600", "In an hour", "For a change that you watch."),
    ("604800", "In 7 days", "For workflows that run weekly."),
    (
        "0",
        "Now",
        "Nothing can be rolled back: if the new secret does not work, every request with this key fails. For a leaked key.",
    ),
];

const ADVICE: &str = "Look at the key first: the secret may have been rotated already. To rotate it again, send the secret once more.";
