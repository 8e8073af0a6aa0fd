//! `/api/integrations/providers`: the catalogue of providers.

use axum::{Json, extract::State};
use keyside_config::{Auth, Development, NamedLink, Provider, Upstream};

use crate::{
    paging::Page,
    state::AdminState,
    wire::{
        AuthView, DevelopmentView, EndpointView, KeyView, LinksView, NamedLinkView, ProviderView,
        SandboxView, SdkView,
    },
};

/// The catalogue of providers, with the steps to create a key for each.
#[utoipa::path(
    get, path = "/api/integrations/providers", tag = "catalogue", operation_id = "listProviders",
    responses((status = 200, body = Page<ProviderView>, description = "All of them"))
)]
pub(super) async fn list(State(state): State<AdminState>) -> Json<Page<ProviderView>> {
    let providers = state.catalogue.iter();
    let views = providers.map(|provider| ProviderView::of(provider));
    Json(Page::complete(views.collect()))
}

impl ProviderView {
    fn of(provider: &Provider) -> Self {
        let (base_url, endpoint) = match &provider.upstream {
            Upstream::Fixed(url) => (Some(url.to_string()), None),
            Upstream::PerCredential(rule) => (
                None,
                Some(EndpointView {
                    suffixes: rule.suffixes.clone(),
                    example: rule.example.clone(),
                }),
            ),
        };
        Self {
            id: provider.id.clone(),
            name: provider.name.clone(),
            auth: AuthView::of(&provider.auth),
            base_url,
            endpoint,
            key: KeyView {
                pattern: provider.key.pattern.to_string(),
                example: provider.key.example.clone(),
                prefixes: provider.key.prefix.clone(),
                scopes: provider.key.scopes.clone(),
            },
            steps: provider.steps.clone(),
            links: LinksView {
                docs: provider.links.docs.clone(),
                console: provider.links.console.clone(),
                billing: provider.links.billing.clone(),
                status: provider.links.status.clone(),
            },
            rate_limits: provider.rate_limits.clone(),
            sandbox: SandboxView {
                available: provider.sandbox.available,
                note: provider.sandbox.note.clone(),
            },
            development: DevelopmentView::of(&provider.development),
            sdks: SdkView::all(provider),
        }
    }
}

impl AuthView {
    fn of(auth: &Auth) -> Self {
        let (place, name, prefix) = match auth {
            Auth::Header { name, prefix } => ("header", name.to_string(), prefix.clone()),
            Auth::Query { name } => ("query", name.clone(), String::new()),
        };
        Self {
            place: place.to_owned(),
            name,
            prefix,
        }
    }
}

impl DevelopmentView {
    fn of(advice: &Development) -> Self {
        let links = advice.links.iter();
        let link = |link: &NamedLink| NamedLinkView {
            name: link.name.clone(),
            url: link.url.clone(),
        };
        Self {
            steps: advice.steps.clone(),
            expires_in_days: advice.expires_in_days,
            links: links.map(link).collect(),
        }
    }
}

impl SdkView {
    fn all(provider: &Provider) -> Vec<Self> {
        let lines = provider.sdk.iter();
        lines
            .map(|line| Self {
                name: line.name.clone(),
                variable: line.variable.clone(),
                base_url_path: format!("/w/{{workspaceId}}/{}{}", provider.id, line.suffix),
                key_variables: line.key_variables.clone(),
            })
            .collect()
    }
}
