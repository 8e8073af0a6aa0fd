//! What a person has to know about a provider to get a key from it: the context `provider` of the
//! forms that take a key.

use std::{cmp::Reverse, collections::BTreeMap};

use keyside_config::{Catalogue, Development, Provider, RefusedKey, Upstream};

pub(super) struct ProviderGuide {
    pub(super) name: String,
    pub(super) steps: Vec<String>,
    pub(super) scopes: Vec<String>,
    /// Empty if none is known, like the other links.
    pub(super) console: String,
    pub(super) docs: String,
    pub(super) rate_limits: String,
    pub(super) sandbox_note: String,
    pub(super) development: Development,
    pub(super) pattern: String,
    pub(super) example: String,
    pub(super) refused: Vec<RefusedKey>,
    /// How keys of other providers begin, longest first.
    pub(super) foreign: Vec<ForeignPrefix>,
    /// Empty unless each key has an endpoint of its own.
    pub(super) endpoint_example: String,
    pub(super) endpoint_hint: String,
}

pub(super) struct ForeignPrefix {
    pub(super) prefix: String,
    /// `DeepSeek or OpenAI`.
    pub(super) providers: String,
}

impl ProviderGuide {
    pub(super) fn of(provider: &Provider, catalogue: &Catalogue) -> Self {
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
            steps: provider.steps.clone(),
            scopes: provider.key.scopes.clone(),
            console: web(&provider.links.console),
            docs: web(&provider.links.docs),
            rate_limits: provider.rate_limits.clone(),
            sandbox_note: provider.sandbox.note.clone(),
            development: provider.development.clone(),
            pattern: provider.key.pattern.to_string(),
            example: provider.key.example.clone(),
            refused: provider.key.refused.clone(),
            foreign: foreign(provider, catalogue),
            endpoint_example,
            endpoint_hint,
        }
    }
}

/// Prefixes of other providers' keys that no key of this provider has.
fn foreign(provider: &Provider, catalogue: &Catalogue) -> Vec<ForeignPrefix> {
    let own = &provider.key.prefix;
    let is_own = |prefix: &str| own.iter().any(|own| own.starts_with(prefix));
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for other in catalogue.iter().filter(|other| other.id != provider.id) {
        let prefixes = other.key.prefix.iter().map(String::as_str);
        for prefix in prefixes.filter(|prefix| !is_own(prefix)) {
            found.entry(prefix).or_default().push(&other.name);
        }
    }
    let found = found.into_iter().map(|(prefix, providers)| ForeignPrefix {
        prefix: prefix.to_owned(),
        providers: providers.join(" or "),
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|foreign| Reverse(foreign.prefix.len()));
    found
}

/// A link that only leads to a web page: operators may add providers.
fn web(link: &str) -> String {
    let is_web = link.starts_with("https://") || link.starts_with("http://");
    match is_web {
        true => link.to_owned(),
        false => String::new(),
    }
}
