//! Adds a key in steps: the provider, the key with a live check, and what was stored.

use askama::Template;
use axum::{extract::Path, response::Response};
use http::HeaderMap;
use keyside_config::{Provider, ProviderId};
use keyside_credentials::{
    Credential, CredentialId, Environment, Label, Permission, Status, Warning, Workspace,
};

use super::{
    form::{Fields, SessionForm},
    html::{page, problem_page, see_other},
    key::Duplicate,
    lines::{self, Line},
    provider_guide::ProviderGuide,
    saved::{refused_script, stored},
    shell::{Shell, Visit, query},
    time::Day,
    verdict::{self, Refused},
    view::{Badge, CheckedKeys, FieldErrors, Notice, text_of},
};
use crate::{
    credential_changes::Addition, form::choice, problem::Problem, query::Parameters,
    wire::CheckView,
};

#[derive(Template)]
#[template(path = "key_new_provider.html")]
struct Choose {
    shell: Shell,
    providers: Vec<ProviderChoice>,
}

struct ProviderChoice {
    href: String,
    name: String,
    /// The number of its keys, or nothing.
    note: String,
}

#[derive(Template)]
#[template(path = "key_new_paste.html")]
struct Paste {
    shell: Shell,
    guide: ProviderGuide,
    suggestion: Option<Suggestion>,
    form: Fields,
    checked: CheckedKeys,
    /// The keys that requests without a label use today.
    defaults: Vec<DefaultKey>,
    errors: FieldErrors,
    verdict: Option<Notice>,
    can_skip: bool,
}

/// The expiry that is suggested for a development key of this provider.
struct Suggestion {
    day: Day,
    /// This page with the environment sandbox and this day filled in, for browsers without scripts.
    href: String,
}

struct DefaultKey {
    label: String,
    environment: &'static str,
}

#[derive(Template)]
#[template(path = "key_new_done.html")]
struct Done {
    shell: Shell,
    key: Added,
    verdict: Option<Notice>,
    duplicates: Vec<Duplicate>,
    lines: Vec<Line>,
    preview_href: String,
}

struct Added {
    href: String,
    label: String,
    provider: String,
    environment: Badge,
    status: Badge,
    fingerprint: String,
    is_default: bool,
    default_label: String,
}

/// The first step. A refusal for want of a key links here with its provider, which is the second.
pub(super) async fn choose(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = parameters.text("workspace");
    let provider = parameters.text("provider");
    let environment = parameters.filter("environment", choice);
    parameters.finish()?;
    let Some(workspace) = visit.workspace(asked.as_deref())? else {
        return Ok(visit.see_other("/workspaces"));
    };
    if let Some(known) = provider.and_then(|id| visit.state.provider(&id)) {
        let form = step_two(&visit, &workspace, &known.id, environment);
        return Ok(see_other(&form));
    }
    let keys = in_use(&visit, &workspace);
    let choice = |provider: &Provider| {
        let of_provider = keys.iter().filter(|key| key.provider == provider.id);
        ProviderChoice {
            href: step_two(&visit, &workspace, &provider.id, environment),
            name: provider.name.clone(),
            note: match of_provider.count() {
                0 => String::new(),
                1 => "1 key here".to_owned(),
                count => format!("{count} keys here"),
            },
        }
    };
    let providers = visit.state.catalogue.offered();
    let providers = providers.map(|provider| choice(provider)).collect();
    page(&Choose {
        shell: visit.shell("/keys", Some(&workspace)),
        providers,
    })
}

/// The second step: a form with the provider's own instructions beside it. An expiry is filled in
/// only for a development key; a person may clear it.
pub(super) async fn paste(
    visit: Visit,
    Path((_session, provider)): Path<(String, String)>,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let asked = parameters.text("workspace");
    let environment = parameters.filter("environment", choice);
    parameters.finish()?;
    let Some(workspace) = visit.workspace(asked.as_deref())? else {
        return Ok(visit.see_other("/workspaces"));
    };
    let environment = environment.unwrap_or(Environment::Live);
    let mut shown = form_page(&visit, &workspace, &provider)?;
    let suggestion = shown.suggestion.as_ref();
    let suggestion = suggestion.filter(|_| environment == Environment::Sandbox);
    shown.form = Fields::filled([
        ("environment", environment.to_string()),
        ("expiresAt", text_of(suggestion.map(|it| &it.day.value))),
    ]);
    page(&shown)
}

/// Checks the key and stores it. The form names its workspace, because another page may have
/// selected another one since.
pub(super) async fn save(
    visit: Visit,
    Path((_session, provider)): Path<(String, String)>,
    headers: HeaderMap,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::ChangeCredentials)?;
    let workspace = visit.workspace_of(&fields)?;
    let problem = match add(&visit, &provider, &fields).await {
        Ok(id) => return Ok(stored(&headers, &format!("{}/added", visit.key_href(&id)))),
        Err(problem) if problem.refused().is_some() => return Err(problem),
        Err(problem) => problem,
    };
    let name = visit.provider_name(&provider);
    let refused = Refused::of(&problem, &name, &FIELDS);
    if let Some(answer) = refused_script(&headers, &problem, &refused, None) {
        return Ok(answer);
    }
    let shown = Paste {
        form: fields.without_secret(),
        errors: FieldErrors::of(&problem),
        verdict: Some(refused.notice),
        can_skip: refused.can_skip,
        ..form_page(&visit, &workspace, &provider)?
    };
    Err(problem_page(problem, &shown))
}

/// Returns the id of the stored key.
async fn add(visit: &Visit, provider: &str, fields: &Fields) -> Result<CredentialId, Problem> {
    let mut others = vec![
        ("provider", provider.into()),
        ("expiresAt", fields.day("expiresAt")),
        ("check", fields.check_mode()),
    ];
    if fields.is_ticked("default") {
        others.push(("default", true.into()));
    }
    let addition = Addition::read(&fields.json_with(&TEXTS, &others))?;
    let added = addition.store(&visit.state, &visit.caller, None).await?;
    visit.flash_warnings(unsaid(visit, &added.credential, added.warnings));
    Ok(added.credential.id)
}

/// The warnings that the last step does not repeat: it shows the verdict, and which key is the default.
fn unsaid(visit: &Visit, key: &Credential, mut warnings: Vec<String>) -> Vec<String> {
    let workspace = visit.state.registry.workspace(&key.workspace);
    let other = workspace.and_then(|workspace| other_default(visit, &workspace, key));
    let other = other.map(|label| Warning::OtherIsDefault { label }.to_string());
    let check = CheckView::last(&visit.state, key);
    let advice = check.and_then(|check| check.remediation);
    warnings.retain(|text| {
        let is_advice = advice.as_ref().is_some_and(|advice| text.ends_with(advice));
        !is_advice && other.as_ref() != Some(text)
    });
    warnings
}

/// The last step: what was stored, and how to use it.
pub(super) async fn done(
    visit: Visit,
    Path((_session, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let key = visit.caller.credential(&visit.state.registry, &id)?;
    let workspace = visit.workspace(Some(key.workspace.as_str()))?;
    let check = CheckView::last(&visit.state, &key);
    let name = visit.provider_name(&key.provider);
    let verdict = match check {
        Some(check) => verdict::notice(&check, &name),
        None => Notice::new(
            "warn",
            "Stored without a check",
            "Whether the provider accepts it is unknown until it is checked on its page, or used.",
        ),
    };
    let default_label = workspace
        .as_ref()
        .and_then(|workspace| other_default(&visit, workspace, &key));
    page(&Done {
        shell: visit.shell("/keys", workspace.as_ref()),
        verdict: Some(verdict),
        duplicates: Duplicate::all(&visit, &key),
        lines: lines::of(&visit, &key),
        preview_href: visit.preview_href(&key),
        key: Added {
            href: visit.key_href(&key.id),
            label: key.label.to_string(),
            provider: name,
            environment: Badge::environment(key.environment),
            status: Badge::status(key.status),
            fingerprint: text_of(key.fingerprint.as_ref()),
            is_default: key.is_default,
            default_label: text_of(default_label),
        },
    })
}

/// The form with nothing entered.
fn form_page(visit: &Visit, workspace: &Workspace, provider: &str) -> Result<Paste, Problem> {
    let provider = visit.state.known_provider(provider)?;
    let keys = in_use(visit, workspace).into_iter();
    let defaults = keys.filter(|key| key.is_default && key.provider == provider.id);
    let defaults = defaults.map(|key| DefaultKey {
        label: key.label.to_string(),
        environment: key.environment.as_str(),
    });
    Ok(Paste {
        shell: visit.shell("/keys", Some(workspace)),
        guide: ProviderGuide::of(provider, &visit.state.catalogue),
        suggestion: Suggestion::of(visit, workspace, provider),
        form: Fields::default(),
        checked: CheckedKeys::of(visit.state.smoke.settings(), &workspace.id),
        defaults: defaults.collect(),
        errors: FieldErrors::default(),
        verdict: None,
        can_skip: false,
    })
}

fn step_two(
    visit: &Visit,
    workspace: &Workspace,
    provider: &ProviderId,
    environment: Option<Environment>,
) -> String {
    let query = query(&[
        ("workspace", workspace.id.as_ref()),
        ("environment", environment.map_or("", Environment::as_str)),
    ]);
    format!("{}/keys/new/{provider}{query}", visit.base())
}

/// The keys of a workspace that are not revoked.
fn in_use(visit: &Visit, workspace: &Workspace) -> Vec<Credential> {
    let mut keys = visit.keys(workspace);
    keys.retain(|key| key.status != Status::Revoked);
    keys
}

/// The label of the key that requests without a label use instead.
fn other_default(visit: &Visit, workspace: &Workspace, key: &Credential) -> Option<Label> {
    let keys = in_use(visit, workspace).into_iter();
    let mut defaults = keys.filter(|other| {
        other.is_default && other.provider == key.provider && other.environment == key.environment
    });
    defaults.next().map(|other| other.label)
}

impl Suggestion {
    fn of(visit: &Visit, workspace: &Workspace, provider: &Provider) -> Option<Self> {
        let days = provider.development.expires_in_days?;
        let sandbox = Some(Environment::Sandbox);
        Some(Self {
            day: Day::after(visit.state.registry.now(), days),
            href: step_two(visit, workspace, &provider.id, sandbox),
        })
    }
}

/// The fields of the form that are texts in the API too.
const TEXTS: [&str; 6] = [
    "workspaceId",
    "secret",
    "label",
    "environment",
    "usageTag",
    "endpoint",
];

/// The fields beside which errors are shown.
const FIELDS: [&str; 5] = ["secret", "label", "usageTag", "expiresAt", "endpoint"];
