//! What a person has to know about a provider to get a key from it: the context `guide` of the
//! forms that take a key.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use keyside_config::{Catalogue, Provider, Upstream};

pub(super) struct ProviderGuide {
    pub(super) provider: Arc<Provider>,
    /// Empty if none is known, like the other link.
    pub(super) console: String,
    pub(super) docs: String,
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
    pub(super) fn of(provider: &Arc<Provider>, catalogue: &Catalogue) -> Self {
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
            console: web(&provider.links.console),
            docs: web(&provider.links.docs),
            foreign: foreign(provider, catalogue),
            provider: provider.clone(),
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
