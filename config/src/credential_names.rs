//! The names under which a request could carry a credential: those that match a general rule, and
//! those of the configured providers.

use crate::{
    field::{NormalName, is_credential},
    provider::{Auth, Provider},
};

/// Decides whether a name can belong to a credential: by a rule for all providers, and by the names
/// under which the catalogue's providers take their keys.
///
/// Settings must not set a header with such a name, and a client's fields and parameters with such
/// a name are removed, whichever provider is called.
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

    /// Whether a header field, trailer or query parameter with this name can carry a credential.
    pub fn include(&self, name: &NormalName<'_>) -> bool {
        is_credential(name) || self.own.iter().any(|own| own.is_same_as(name))
    }
}
