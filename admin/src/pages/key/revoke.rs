//! Revokes a key, which is final.

use std::collections::HashSet;

use askama::Template;
use axum::{extract::Path, response::Response};
use jiff::SignedDuration;
use keyside_credentials::{
    Listed, Permission, Revocation,
    runs::{Dimension, GroupFigures, RunFilter},
};

use crate::{
    concurrency::WorkKind,
    credential_changes,
    pages::{
        form::{Fields, SessionForm},
        html::{page, problem_page, see_other},
        keys::{is_revoked, known},
        reauthentication::prove,
        record_rows::label,
        run_rows::kind,
        shell::{Shell, Visit},
        view::{Badge, FieldErrors, Notice, text_of},
    },
    problem::Problem,
};

#[derive(Template)]
#[template(path = "revoke.html")]
struct RevokeKey {
    shell: Shell,
    href: String,
    /// The label, or the id of a key whose record cannot be read: what is to be typed.
    label: String,
    sandbox: Option<Badge>,
    can_rotate: bool,
    is_default: bool,
    uses: Vec<Use>,
    uses_total: String,
    reauthenticate: bool,
    notice: Option<Notice>,
    form: Fields,
    errors: FieldErrors,
}

/// Requests that used it in the last day.
struct Use {
    tag: String,
    kind: &'static str,
    count: u64,
}

pub(in crate::pages) async fn show(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let listed = visit.caller.listed(&visit.state.registry, &id)?;
    page(&view(&visit, &listed).await?)
}

pub(in crate::pages) async fn revoke(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::ChangeCredentials)?;
    let listed = visit.caller.listed(&visit.state.registry, &id)?;
    let problem = match confirmed(&visit, listed.clone(), &fields).await {
        Ok(()) => return Ok(see_other(&visit.key_href(listed.id()))),
        Err(problem) => problem,
    };
    let shown = RevokeKey {
        notice: Some(Notice::refusal(&problem, &FIELDS)),
        form: fields,
        errors: FieldErrors::of(&problem),
        ..view(&visit, &listed).await?
    };
    Err(problem_page(problem, &shown))
}

async fn confirmed(visit: &Visit, listed: Listed, fields: &Fields) -> Result<(), Problem> {
    let label = label(&listed);
    if fields.text("label") != label {
        return Err(Problem::field("label", "is not the label of this key"));
    }
    prove(visit, fields).await?;
    let revocation = Revocation {
        cut: fields.is_ticked("cut"),
        expected: None,
    };
    credential_changes::revoke(&visit.state, &visit.caller, listed, revocation).await?;
    let text = format!("{label} is revoked, and every version of its secret is destroyed.");
    visit.flash("Revoked", text);
    Ok(())
}

async fn view(visit: &Visit, listed: &Listed) -> Result<RevokeKey, Problem> {
    let workspace = visit.workspace(Some(listed.workspace().as_str()))?;
    let (uses, uses_total) = uses(visit, listed).await?;
    let (is_default, can_rotate) = match listed {
        Listed::Known(key) => (key.is_default, key.declared.is_none() && !key.damaged),
        Listed::Lost(lost) => (lost.is_default, false),
    };
    Ok(RevokeKey {
        shell: visit.shell("/keys", workspace.as_ref()),
        href: visit.key_href(listed.id()),
        label: label(listed),
        sandbox: known(listed).and_then(|key| Badge::sandbox(key.environment)),
        can_rotate,
        is_default,
        uses,
        uses_total,
        reauthenticate: !visit.session.is_fresh,
        notice: is_revoked(listed).then(|| {
            let text = "Nothing is left to revoke.";
            Notice::new("info", "It is revoked already", text)
        }),
        form: Fields::default(),
        errors: FieldErrors::default(),
    })
}

/// The uses of the last day by tag and kind, and their number in words; nothing if there are none.
async fn uses(visit: &Visit, listed: &Listed) -> Result<(Vec<Use>, String), Problem> {
    let _permit = visit.state.acquire(WorkKind::List, &visit.caller).await?;
    let registry = &visit.state.registry;
    let filter = RunFilter {
        credential: Some(listed.id().clone()),
        since: registry
            .now()
            .checked_sub(SignedDuration::from_hours(24))
            .ok(),
        ..visit.runs_of(listed.workspace())
    };
    let by = HashSet::from([Dimension::Tag, Dimension::Kind]);
    let figures = registry.runs().figures(&filter, &by, GROUPS).await;
    let figures = figures.map_err(Problem::unreadable)?;
    let total = match figures.total.count {
        0 => String::new(),
        1 => "One request.".to_owned(),
        count => format!("{count} requests."),
    };
    let one = |group: GroupFigures| Use {
        tag: text_of(group.group.tag),
        kind: group.group.kind.map_or("", kind),
        count: group.figures.count,
    };
    Ok((figures.groups.into_iter().map(one).collect(), total))
}

/// The fields beside which errors are shown.
const FIELDS: [&str; 2] = ["label", "proof"];

/// Rows of the table: the largest groups.
const GROUPS: usize = 20;
