//! Where a request could carry a credential: the names that every provider's do, and those of the providers that there are.

use crate::{
    field::{NormalName, is_credential},
    provider::{Auth, Provider},
};

/// What can be a credential's name: what a rule for all providers takes for one, and the names under which the providers
/// of a catalogue take their keys.
///
/// One decision, for what settings must not set and for what a client must not send on, whichever provider it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialNames {
    own: Vec<NormalName<'static>>,
}

impl CredentialNames {
    pub(crate) fn used_by<'a>(providers: impl Iterator<Item = &'a Provider>) -> Self {
        let mut own = Vec::new();
        for provider in providers {
            let name = match &provider.auth {
                Auth::Header { name, .. } => NormalName::of_header(name).into_owned(),
                Auth::Query { name } => NormalName::of_text(name),
            };
            if !is_credential(&name) && !own.contains(&name) {
                own.push(name);
            }
        }
        Self { own }
    }

    /// Whether a header field, a trailer or a query parameter of this name can hold one.
    pub fn include(&self, name: &NormalName<'_>) -> bool {
        is_credential(name) || self.own.iter().any(|own| own.is_same_as(name))
    }
}
