//! The provider catalogue.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    credential_names::CredentialNames,
    embedded::embedded,
    layers::{Mismatch, Node},
    origin::Origin,
    provider::{Provider, ProviderDocument, ProviderId},
    similarity::nearest,
};

/// All providers: the built-in ones, overridden and extended by `[providers.*]`.
#[derive(Clone, Debug)]
pub struct Catalogue {
    providers: BTreeMap<ProviderId, Arc<Provider>>,
}

impl Catalogue {
    /// The built-in providers alone.
    pub fn builtin() -> Self {
        let catalogue = layer(None).read().and_then(Self::build);
        catalogue.expect("the built-in providers are read by the tests")
    }

    /// The provider with an id.
    pub fn get(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.get(id)
    }

    /// The provider with an id, or the reason why there is none, with the id that was probably
    /// meant.
    pub(crate) fn expect(&self, id: &str) -> Result<&Arc<Provider>, String> {
        self.get(id).ok_or_else(|| {
            let meant = self.most_similar(id);
            let meant = meant.map(|meant| format!("; did you mean {}?", meant.id));
            format!("there is no such provider{}", meant.unwrap_or_default())
        })
    }

    /// The provider whose id is most similar to `name`, if one is similar enough. Case and hyphens
    /// do not count.
    pub fn most_similar(&self, name: &str) -> Option<&Arc<Provider>> {
        let known = self.providers.keys().map(ProviderId::as_str);
        self.get(nearest(name, known)?)
    }

    /// The built-in provider that the id of a new provider probably misspells. An id that contains
    /// a known one, such as `openai-eu`, is no misspelling.
    pub fn probably_meant(id: &str) -> Option<&'static str> {
        let known = || BUILTIN.iter().map(|(id, _)| *id);
        let is_new = !known().any(|known| known == id);
        nearest(id, known()).filter(|meant| is_new && !id.contains(*meant))
    }

    /// All providers, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// The providers to add a key for: those that [have an address](Provider::has_address).
    pub fn offered(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.iter().filter(|provider| provider.has_address())
    }

    /// The names under which a client's request could carry a credential.
    pub fn credential_names(&self) -> CredentialNames {
        CredentialNames::used_by(self.iter().map(|provider| &**provider))
    }

    pub(crate) fn build(documents: Documents) -> Result<Self, Mismatch> {
        let provider = |(id, document): (ProviderId, ProviderDocument)| {
            let meant = Self::probably_meant(&id);
            let provider = document
                .build(id.clone(), meant)
                .map_err(|mismatch| mismatch.below(&format!("providers.{id}")))?;
            Ok((id, Arc::new(provider)))
        };
        let providers = documents
            .into_iter()
            .map(provider)
            .collect::<Result<_, Mismatch>>()?;
        Ok(Self { providers })
    }
}

/// Providers in the form of their files.
pub(crate) type Documents = BTreeMap<ProviderId, ProviderDocument>;

/// The layer under the table `over`: the built-in providers, and defaults for each new one.
pub(crate) fn layer(over: Option<&Node>) -> Node {
    let mut layer = Node::table(Origin::Default);
    for (id, node) in over.into_iter().flat_map(Node::entries) {
        let mut ground = Node::builtin(include_str!("../new-provider.toml"));
        ground.origin = node.origin.clone();
        layer.insert(id, ground);
    }
    for (id, text) in BUILTIN {
        layer.insert(id, Node::builtin(text));
    }
    layer
}

/// Every file of `providers/`, by name; a test compares this with the folder.
const BUILTIN: &[(&str, &str)] = embedded![
    "providers": "anthropic" "azure-openai" "bedrock" "cohere" "deepseek" "fireworks" "gemini" "groq" "mistral" "openai"
    "openrouter" "perplexity" "sandbox" "together" "xai"
];

#[cfg(test)]
mod tests;
