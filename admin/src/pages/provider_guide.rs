//! What a person has to know about a provider to get a key from it: the context `provider` of the
//! forms that take a key.

use keyside_config::{Development, Provider, RefusedKey, Upstream};

use super::{marked::Marked, shell::Visit};
use crate::problem::Problem;

pub(super) struct ProviderGuide {
    pub(super) name: String,
    pub(super) steps: Vec<Marked>,
    pub(super) scopes: Vec<Marked>,
    /// Empty if none is known, like the other links.
    pub(super) console: String,
    pub(super) docs: String,
    pub(super) rate_limits: Marked,
    pub(super) sandbox_note: Marked,
    pub(super) development: Development,
    pub(super) pattern: String,
    pub(super) example: String,
    pub(super) refused: Vec<RefusedKey>,
    /// Empty unless each key has an endpoint of its own.
    pub(super) endpoint_example: String,
    pub(super) endpoint_hint: String,
}

impl ProviderGuide {
    pub(super) fn of(provider: &Provider) -> Self {
        let (endpoint_example, endpoint_hint) = match &provider.upstream {
            Upstream::Fixed(_) => (String::new(), String::new()),
            Upstream::PerCredential(rule) => {
                let hosts = rule.suffixes.join(", ");
                let hint = format!(
                    "The address of your own resource: https:// and a host below {hosts}. It cannot be changed later."
                );
                (rule.example.clone(), hint)
            }
        };
        Self {
            name: provider.name.clone(),
            steps: Marked::all(&provider.steps),
            scopes: Marked::all(&provider.key.scopes),
            console: web(&provider.links.console),
            docs: web(&provider.links.docs),
            rate_limits: Marked::new(&provider.rate_limits),
            sandbox_note: Marked::new(&provider.sandbox.note),
            development: provider.development.clone(),
            pattern: provider.key.pattern.to_string(),
            example: provider.key.example.clone(),
            refused: provider.key.refused.clone(),
            endpoint_example,
            endpoint_hint,
        }
    }
}

/// The provider of a key or form.
///
/// # Errors
/// 422 if the catalogue does not have it any more.
pub(super) fn known_provider<'a>(visit: &'a Visit, id: &str) -> Result<&'a Provider, Problem> {
    let provider = visit.state.catalogue.get(id);
    provider
        .map(|provider| &**provider)
        .ok_or_else(|| Problem::field("provider", "the catalogue has no such provider"))
}

/// A link that only leads to a web page: operators may add providers.
fn web(link: &str) -> String {
    let is_web = link.starts_with("https://") || link.starts_with("http://");
    match is_web {
        true => link.to_owned(),
        false => String::new(),
    }
}
