//! The settings as written in TOML, and their conversion to [`Settings`].

use std::path::PathBuf;

use serde::Deserialize;

use super::{
    CredentialRules, DeclaredCredential, Egress, Kms, Log, Observe, Runs, Settings, Smoke,
    SourceReference, Store,
    declared::{self, DeclaredDocument},
    kms::KmsDocument,
    proxy::ProxyDocument,
    vault::VaultDocument,
    web::AdminDocument,
    webhook::{self, WebhookDocument},
};
use crate::{
    catalogue::{Catalogue, Documents},
    layers::Mismatch,
    parsed,
};

/// The root of the merged tree of layers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    proxy: ProxyDocument,
    egress: Egress,
    admin: AdminDocument,
    observe: Observe,
    store: StoreDocument,
    kms: KmsDocument,
    vault: VaultDocument,
    log: Log,
    runs: Runs,
    credentials: CredentialRules,
    smoke: Smoke,
    providers: Documents,
    #[serde(default)]
    credential: Vec<DeclaredDocument>,
    #[serde(default)]
    webhook: Vec<WebhookDocument>,
}

/// Facts that the merged tree of layers does not contain.
pub(crate) struct EnvironmentFacts {
    /// `KMS_MASTER_KEY` is set.
    pub(crate) master_key_in_variable: bool,
    /// `VAULT_TOKEN` is set.
    pub(crate) vault_token_in_variable: bool,
    /// A setting of `[vault]` comes from the file or from a `KEYSIDE_` variable.
    pub(crate) vault_is_set: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreDocument {
    backend: Backend,
    #[serde(deserialize_with = "parsed::path")]
    path: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Backend {
    Sled,
    Vault,
    None,
}

impl Document {
    /// Builds the settings.
    pub(crate) fn build(self, facts: EnvironmentFacts) -> Result<Settings, Mismatch> {
        let in_variable = facts.master_key_in_variable;
        let kms = self.kms.build(&self.store.path, in_variable)?;
        let catalogue = Catalogue::build(self.providers)?;
        let declared = declared::build(self.credential, &catalogue)?;
        let in_vault =
            |declared: &DeclaredCredential| matches!(declared.source, SourceReference::Vault(_));
        let vault_is_used =
            facts.vault_is_set || matches!(kms, Kms::Vault(_)) || declared.iter().any(in_vault);
        let vault = match vault_is_used {
            true => Some(self.vault.build(facts.vault_token_in_variable)?),
            false => None,
        };
        Ok(Settings {
            declared,
            proxy: self.proxy.build()?,
            egress: self.egress.build()?,
            admin: self.admin.build()?,
            observe: self.observe,
            kms,
            vault,
            store: self.store.build(),
            log: self.log,
            runs: self.runs,
            credentials: self.credentials,
            smoke: self.smoke.build(&catalogue)?,
            catalogue,
            webhooks: webhook::build(self.webhook)?,
        })
    }
}

impl StoreDocument {
    fn build(self) -> Store {
        match self.backend {
            Backend::Sled => Store::Sled { path: self.path },
            Backend::Vault => Store::Vault,
            Backend::None => Store::None,
        }
    }
}
