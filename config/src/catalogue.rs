//! All providers by id.

use std::{collections::BTreeMap, sync::Arc};

use crate::Provider;

/// The providers that Keyside knows: the built-in ones, with `[providers.*]` laid over them.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    providers: BTreeMap<String, Arc<Provider>>,
}

impl Catalogue {
    /// The built-in providers, without any settings laid over them.
    pub fn builtin() -> Self {
        Self::default()
    }

    /// The provider with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.get(id)
    }

    /// All providers, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }
}
