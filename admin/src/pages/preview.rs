//! Preview: sends a prompt with a key of the workspace, and shows the answer and which key gave it.
//! The page's script asks for a stream; without it, the answer comes with the page.

mod answer;

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::response::Response;
use http::{HeaderMap, header};
use keyside_config::{AdminPage, Provider};
use keyside_credentials::{Credential, Environment, Permission, Status, Workspace};

use self::answer::AnswerView;
use super::{
    errors::EVENT_STREAM,
    form::{Fields, SessionForm},
    html::{page, problem_page},
    marked::Text,
    remedy,
    shell::{Shell, Visit},
    view::{Choice, FieldErrors, Notice, environments},
};
use crate::{
    concurrency::WorkKind,
    form,
    previews::{self, Answer},
    problem::{Kind, Problem},
    query::Parameters,
    wire::NewPreview,
};

#[derive(Template)]
#[template(path = "preview.html")]
struct Preview {
    shell: Shell,
    can_run: bool,
    form: Form,
    errors: FieldErrors,
    /// Why the selected provider would not answer, unless every page says it.
    obstacle: Option<Notice>,
    /// Why there is no answer.
    failure: Option<Notice>,
    answer: Option<AnswerView>,
}

struct Form {
    providers: Vec<ProviderOption>,
    /// What belongs to no provider: the default, and a label that no key has.
    labels: Vec<Choice>,
    /// The labels of the keys.
    groups: Vec<LabelGroup>,
    environments: Vec<Choice>,
    model: String,
    prompt: String,
}

struct ProviderOption {
    choice: Choice,
    /// The model that is suggested; empty if none is known.
    model: String,
}

/// The labels of a provider's keys.
struct LabelGroup {
    provider: String,
    name: String,
    labels: Vec<Choice>,
}

/// What the page says of the prompt that was sent.
#[derive(Default)]
struct Outcome {
    errors: FieldErrors,
    failure: Option<Notice>,
    answer: Option<AnswerView>,
}

pub(super) async fn show(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = parameters.text("workspace");
    let entered = ["provider", "label", "environment"];
    let entered = entered.map(|name| (name, parameters.text(name).unwrap_or_default()));
    parameters.finish()?;
    let Some(workspace) = visit.workspace(asked.as_deref())? else {
        return Ok(visit.see_other("/workspaces"));
    };
    let _permit = visit.state.acquire(WorkKind::List, &visit.caller).await?;
    let entered = Fields::filled(entered);
    page(&view(&visit, &workspace, &entered, Outcome::default()))
}

/// Its own query only says which page to come back to when the session has ended.
pub(super) async fn send(
    visit: Visit,
    headers: HeaderMap,
    SessionForm(fields): SessionForm,
) -> Result<Response, Problem> {
    visit.caller.require(Permission::Preview)?;
    let is_script = headers
        .get(header::ACCEPT)
        .is_some_and(|types| types == EVENT_STREAM);
    let workspace = visit.workspace_of(&fields)?;
    let answered = match prompt(&fields, is_script) {
        Ok(new) => previews::send(&visit.state, &visit.caller, new).await,
        Err(problem) => Err(problem),
    };
    match answered {
        Ok(Answer::Stream(response)) => Ok(response),
        Ok(Answer::Whole(answer)) => {
            let outcome = Outcome {
                answer: Some(AnswerView::of(&visit, &workspace, *answer)),
                ..Outcome::default()
            };
            page(&view(&visit, &workspace, &fields, outcome))
        }
        Err(problem) if is_script || !is_shown_here(&problem) => Err(problem),
        Err(problem) => {
            let outcome = Outcome::of(&visit, &problem);
            let shown = view(&visit, &workspace, &fields, outcome);
            Err(problem_page(problem, &shown))
        }
    }
}

/// The prompt, read by the rules of the API.
fn prompt(fields: &Fields, stream: bool) -> Result<NewPreview, Problem> {
    let mut new: NewPreview = form::read(&fields.json(&[
        "workspaceId",
        "provider",
        "label",
        "environment",
        "model",
        "prompt",
    ]))?;
    // Forms have line ends of their own (HTML standard, "Constructing the entry list").
    new.prompt.0 = new.prompt.0.replace("\r\n", "\n");
    new.stream = Some(stream);
    Ok(new)
}

/// Whether the page itself says what is wrong, beside what was entered.
fn is_shown_here(problem: &Problem) -> bool {
    let kinds = [
        Kind::PreviewRefused,
        Kind::PreviewFailed,
        Kind::TooManyInProgress,
    ];
    !problem.errors().is_empty() || kinds.contains(&problem.kind())
}

impl Outcome {
    fn of(visit: &Visit, problem: &Problem) -> Self {
        let is_refused = problem.errors().is_empty();
        Self {
            errors: FieldErrors::of(problem),
            failure: is_refused.then(|| notice(visit, problem)),
            answer: None,
        }
    }
}

/// Says why there is no answer, and what a runner is told to do about it.
fn notice(visit: &Visit, problem: &Problem) -> Notice {
    let title = problem.kind().title();
    let way = problem.remediation().map(|way| (way, link(visit, way)));
    let detail = Text::from(problem.detail().to_owned());
    let text = match way {
        Some((_, Some(_))) => detail,
        Some((text, None)) => detail.and(text.to_owned()),
        None => detail.and(remedy::next_step(problem)),
    };
    let mut notice = Notice::new("bad", title, text);
    if let Some((way, Some(href))) = way {
        let new_key = AdminPage::NewKey.url(&visit.state.public_url, None, None);
        notice.href = href;
        notice.action = match way.starts_with(&new_key) {
            true => "Add a key",
            false => "See how to fix it",
        };
    }
    notice
}

/// The address in this session of a page of this installation.
fn link(visit: &Visit, url: &str) -> Option<String> {
    let path = url.strip_prefix(&*visit.state.public_url)?;
    match path == AdminPage::Guide.url("", None, None) {
        // The guide is for programs too, so it is outside of all sessions.
        true => Some(format!("{}{path}", visit.state.site.base())),
        false => Some(format!("{}{path}", visit.base())),
    }
}

fn view(visit: &Visit, workspace: &Workspace, entered: &Fields, outcome: Outcome) -> Preview {
    let shell = visit.shell("/preview", Some(workspace));
    let form = form_of(visit, workspace, entered);
    let mut choices = form.providers.iter().map(|option| &option.choice);
    let selected = choices.find(|choice| choice.selected);
    let provider = selected.and_then(|choice| visit.state.provider(&choice.value));
    let obstacle = provider.and_then(|provider| visit.obstacle(workspace, &provider.id));
    let is_news = |notice: &Notice| {
        let is_first = outcome.answer.is_none() && outcome.failure.is_none();
        is_first && shell.banners.iter().all(|it| it.title != notice.title)
    };
    Preview {
        obstacle: obstacle.filter(is_news),
        shell,
        can_run: visit.may(Permission::Preview),
        form,
        errors: outcome.errors,
        failure: outcome.failure,
        answer: outcome.answer,
    }
}

fn form_of(visit: &Visit, workspace: &Workspace, entered: &Fields) -> Form {
    let label = entered.text("label");
    let keys = visit.keys(workspace);
    let providers: Vec<_> = previews::providers(&visit.state.catalogue).collect();
    let asked = providers
        .iter()
        .find(|provider| provider.id.as_str() == entered.text("provider"));
    let selected = asked.or_else(|| {
        let by_keys = |provider: &&&Arc<Provider>| fitness(&keys, provider, label);
        // Of several, `max_by_key` takes the last.
        providers.iter().rev().max_by_key(by_keys)
    });
    let suggested = selected.and_then(|provider| model(provider));
    let selected = selected.map_or("", |provider| provider.id.as_str());
    let options = providers.iter().map(|provider| ProviderOption {
        choice: Choice::new(
            provider.id.as_str(),
            provider.name.as_str(),
            provider.id.as_str() == selected,
        ),
        model: model(provider).unwrap_or_default(),
    });
    let any = (String::new(), "Any".to_owned());
    let groups = groups(visit, &keys, selected, label);
    Form {
        providers: options.collect(),
        labels: of_no_provider(&groups, label),
        groups,
        environments: Choice::of(
            [any].into_iter().chain(environments()),
            entered.text("environment"),
        ),
        model: match entered.text("model") {
            "" => suggested.unwrap_or_default(),
            model => model.to_owned(),
        },
        prompt: entered.text("prompt").to_owned(),
    }
}

/// How well a provider fits a page that names none: first one with the label that the page names, then
/// one with a key that can be used, then one whose keys are revoked, which the answer then says.
fn fitness(keys: &[Credential], provider: &Provider, label: &str) -> Option<(bool, bool)> {
    let keys = keys.iter().filter(|key| key.provider == provider.id);
    let fits = |key: &Credential| {
        let is_usable = !matches!(key.status, Status::Revoked | Status::Expired);
        (key.label.as_str() == label, is_usable)
    };
    keys.map(fits).max()
}

/// The labels of the keys by provider, the selected one first. A revoked key stays a choice, because
/// a workflow that asks for it is refused in the same way.
fn groups(visit: &Visit, keys: &[Credential], provider: &str, label: &str) -> Vec<LabelGroup> {
    let mut found: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    // A label can be that of revoked keys and of one in use, which requests then get.
    let (revoked, in_use): (Vec<_>, Vec<_>) =
        keys.iter().partition(|key| key.status == Status::Revoked);
    for key in revoked.into_iter().chain(in_use) {
        let labels = found.entry(key.provider.as_str()).or_default();
        labels.insert(key.label.as_str(), described(key));
    }
    let groups = found.into_iter().map(|(id, labels)| LabelGroup {
        provider: id.to_owned(),
        name: visit.provider_name(id),
        labels: {
            let is_selected = |value: &str| id == provider && value == label;
            let labels = labels.into_iter();
            let choices = labels.map(|(value, text)| Choice::new(value, text, is_selected(value)));
            Choice::first(choices.collect())
        },
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by_key(|group| group.provider != provider);
    groups
}

/// `nightly (sandbox, revoked)`.
fn described(key: &Credential) -> String {
    let sandbox = (key.environment == Environment::Sandbox).then_some("sandbox");
    let revoked = (key.status == Status::Revoked).then_some("revoked");
    let notes: Vec<_> = [sandbox, revoked].into_iter().flatten().collect();
    match notes.is_empty() {
        true => key.label.to_string(),
        false => format!("{} ({})", key.label, notes.join(", ")),
    }
}

/// The default, and the label that was asked for if the provider has no key with it.
fn of_no_provider(groups: &[LabelGroup], label: &str) -> Vec<Choice> {
    let mut labels = groups.iter().flat_map(|group| &group.labels);
    let is_unknown = !label.is_empty() && !labels.any(|choice| choice.selected);
    let asked = is_unknown.then(|| (label.to_owned(), label.to_owned()));
    let default = (String::new(), "Default".to_owned());
    Choice::of([default].into_iter().chain(asked), label)
}

/// The model that the provider's own check uses: a cheap one that every key can use.
fn model(provider: &Provider) -> Option<String> {
    let body = provider.check.prompt.as_ref()?.body.as_deref()?;
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    body.get("model")?.as_str().map(str::to_owned)
}
