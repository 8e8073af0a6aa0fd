//! All providers by id.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    credential_names::CredentialNames,
    embedded::embedded,
    layers::{Mismatch, Node},
    origin::Origin,
    provider::{Provider, ProviderDocument, ProviderId},
    similarity::nearest,
};

/// The providers that Keyside knows: the built-in ones, with `[providers.*]` laid over them.
#[derive(Clone, Debug)]
pub struct Catalogue {
    providers: BTreeMap<String, Arc<Provider>>,
}

impl Catalogue {
    /// The built-in providers, without any settings laid over them.
    pub fn builtin() -> Self {
        let catalogue = layer(None).read().and_then(Self::build);
        catalogue.expect("the built-in providers are read by the tests")
    }

    /// The provider with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.get(id)
    }

    /// The provider whose id is most like `name`, if one is like it. Case and hyphens do not count.
    pub fn most_similar(&self, name: &str) -> Option<&Arc<Provider>> {
        let known = self.providers.keys().map(String::as_str);
        self.get(nearest(name, known)?)
    }

    /// The built-in provider that the id of a new one was probably meant to be. An id that holds a known one whole, such as
    /// `openai-eu`, is no mistake.
    pub fn probably_meant(id: &str) -> Option<&'static str> {
        let known = || BUILTIN.iter().map(|(id, _)| *id);
        let is_new = !known().any(|known| known == id);
        nearest(id, known()).filter(|meant| is_new && !id.contains(*meant))
    }

    /// All providers, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// Where a client's request could carry a credential of its own.
    pub fn credential_names(&self) -> CredentialNames {
        CredentialNames::used_by(self.iter().map(|provider| &**provider))
    }

    pub(crate) fn build(documents: Documents) -> Result<Self, Mismatch> {
        let provider = |(id, document): (ProviderId, ProviderDocument)| {
            let (name, key) = (id.to_string(), format!("providers.{id}"));
            let meant = Self::probably_meant(id.as_str());
            let provider = document
                .build(id, meant)
                .map_err(|mismatch| mismatch.below(&key))?;
            Ok((name, Arc::new(provider)))
        };
        let providers = documents
            .into_iter()
            .map(provider)
            .collect::<Result<_, Mismatch>>()?;
        Ok(Self { providers })
    }
}

/// Providers as they are written.
pub(crate) type Documents = BTreeMap<ProviderId, ProviderDocument>;

/// The table `providers` to lay `over` on: the built-in ones, and a ground for each new one to stand on.
pub(crate) fn layer(over: Option<&Node>) -> Node {
    let mut layer = Node::table(Origin::Default);
    for (id, node) in over.into_iter().flat_map(Node::entries) {
        let ground = Node::builtin(include_str!("../new-provider.toml"));
        layer.insert(
            id,
            Node {
                origin: node.origin.clone(),
                ..ground
            },
        );
    }
    for (id, text) in BUILTIN {
        layer.insert(id, Node::builtin(text));
    }
    layer
}

/// Every file of `providers/` by its name, which a test compares with the folder.
const BUILTIN: &[(&str, &str)] = embedded![
    "providers": "anthropic" "azure-openai" "bedrock" "cohere" "deepseek" "fireworks" "gemini" "groq" "mistral" "openai"
    "openrouter" "perplexity" "sandbox" "together" "xai"
];

#[cfg(test)]
mod tests;
