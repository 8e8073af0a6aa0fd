//! Checks that Vault responds and accepts Keyside's sign-in, and reads the secrets of declared
//! credentials as the service does.

use std::sync::Arc;

use keyside_config::{Settings, SourceReference};
use keyside_credentials::SourceHealth;
use keyside_vault::{KvVersion, Vault, VaultError};
use tokio::time::timeout;

use super::{PATIENCE, clock::Report, finding::Finding};
use crate::declared;

pub(super) async fn check(
    settings: &Settings,
    vault: Option<&Arc<Vault>>,
    can_sign_in: bool,
) -> Report {
    let mut report = Report::default();
    let mut readable = settings.clone();
    let signed_in = match vault {
        Some(vault) => report.can_read(settings, vault, can_sign_in).await,
        None => false,
    };
    if !signed_in {
        // The finding about Vault explains why none of them can be read.
        let is_file = |source: &SourceReference| matches!(source, SourceReference::File(_));
        readable
            .declared
            .retain(|credential| is_file(&credential.source));
    }
    let vault = vault.filter(|_| signed_in);
    report.findings.extend(declared(&readable, vault).await);
    report
}

impl Report {
    /// Whether secrets can be read from Vault.
    async fn can_read(&mut self, settings: &Settings, vault: &Vault, can_sign_in: bool) -> bool {
        if !self.answers(settings, vault).await {
            return false;
        }
        if !can_sign_in {
            self.findings.push(wrapped_secret_id());
            return false;
        }
        self.signs_in(settings, vault).await
    }

    async fn answers(&mut self, settings: &Settings, vault: &Vault) -> bool {
        let address = address(settings);
        let date = timeout(PATIENCE, vault.date()).await;
        let finding = match &date {
            Ok(Ok(date)) => {
                self.clock.add_date("Vault", date.as_deref());
                Finding::ok("vault", format!("{address} answers"))
            }
            Ok(Err(error @ VaultError::ErrorResponse(_))) => Finding::fail("vault", error)
                .fix("Check `vault status`, and unseal it or read its log."),
            Ok(Err(error)) => Finding::fail("vault", error),
            Err(_) => silent(&address),
        };
        self.findings.push(finding);
        matches!(date, Ok(Ok(_)))
    }

    async fn signs_in(&mut self, settings: &Settings, vault: &Vault) -> bool {
        let lease = timeout(PATIENCE, vault.sign_in()).await;
        let finding = match &lease {
            Ok(Ok(Some(left))) => {
                let left = left.as_secs();
                let said = format!("the token is valid for {left} s before it is renewed");
                Finding::ok("vault sign-in", said)
            }
            Ok(Ok(None)) => Finding::ok("vault sign-in", "the token does not end"),
            Ok(Err(error)) => Finding::fail("vault sign-in", error),
            Err(_) => silent(&address(settings)),
        };
        self.findings.push(finding);
        matches!(lease, Ok(Ok(_)))
    }
}

fn address(settings: &Settings) -> String {
    let vault = settings.vault.as_ref();
    vault.map_or_else(String::new, |vault| vault.address.to_string())
}

fn silent(address: &str) -> Finding {
    let said = format!("{address} did not answer within {} s", PATIENCE.as_secs());
    Finding::fail("vault", said)
        .fix("Check vault.address, the network on the way, and Vault's own load.")
}

fn wrapped_secret_id() -> Finding {
    Finding::warn(
        "vault sign-in",
        "not checked, and nothing was read from Vault: the wrapped secret id works only once, and Keyside needs it",
    )
    .fix("Ask the running Keyside: its /readyz names each secret that it cannot read.")
}

/// Reads the secret of each credential, and keeps none.
async fn declared(settings: &Settings, vault: Option<&Arc<Vault>>) -> Vec<Finding> {
    let declared = match declared::of(settings, vault.cloned(), None) {
        Ok(declared) => declared,
        Err(failure) => return vec![Finding::fail("credentials", failure)],
    };
    let _ = timeout(PATIENCE, declared.follow()).await;
    let source_health = declared.source_health().into_iter().zip(&settings.declared);
    source_health
        .map(|(health, credential)| of(health, &credential.source, vault))
        .collect()
}

fn of(health: SourceHealth, source: &SourceReference, vault: Option<&Arc<Vault>>) -> Finding {
    let (workspace, provider, label) = (health.workspace, health.provider, health.label);
    let name = format!("credential {workspace}/{provider}/{label}");
    let shown = health.source;
    match (health.fault, health.warning) {
        (Some(fault), _) => Finding::fail(name, fault),
        (None, Some(warning)) => Finding::warn(name, format!("{shown}: {warning}")),
        (None, None) if health.usable => {
            let engine = engine(source, vault).unwrap_or_default();
            Finding::ok(name, format!("{shown} can be read{engine}"))
        }
        (None, None) => {
            let said = format!("{shown} was not read within {} s", PATIENCE.as_secs());
            Finding::fail(name, said)
                .fix("Run doctor again; if the result is the same, Vault is too slow.")
        }
    }
}

/// The KV engine of the secret, which a policy must match.
fn engine(source: &SourceReference, vault: Option<&Arc<Vault>>) -> Option<String> {
    let SourceReference::Vault(reference) = source else {
        return None;
    };
    let mount = vault?.known_mount(&reference.path)?;
    let version = match mount.version {
        KvVersion::V1 => 1,
        KvVersion::V2 => 2,
    };
    Some(format!(", in KV version {version} at {}", mount.path))
}
