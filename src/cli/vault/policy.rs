//! `keyside vault policy`: the least policy in HCL for what the settings name. Each path of a declared key is named in full; stored
//! ones come and go, so that those have the prefixes of `vault.references.allow`.
//!
//! Finding the mount of a path needs no rule: Vault tells it to every token that may read something in the mount.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use keyside_config::{
    AllowedReferences, DeclaredCredential, Kms, Settings, SourceReference, Sources, TransitKms,
    VaultReference,
};
use keyside_credentials::source::SourceError;
use keyside_vault::{KvVersion, Mount, Vault};
use serde_json::json;

use super::{Answer, Failure};
use crate::{runnable::Process, terminal::printable, vault};

/// `keyside vault policy`.
#[derive(Args)]
pub(crate) struct Policy {
    /// The process that signs in [default: the one that `store.backend` is for]
    #[arg(long, value_enum)]
    role: Option<Role>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// `keyside proxy`: reads the keys that the settings declare
    Sidecar,
    /// `keyside serve`: also reads what vault.references.allow permits, and wraps its workspace keys where kms.driver is "vault"
    Serve,
}

/// The rules by path: sorted, and each path once.
#[derive(Default)]
struct Rules {
    by_path: BTreeMap<String, Rule>,
    /// A mount or its version is what the settings suggest, and not what Vault said.
    assumes: bool,
}

struct Rule {
    capabilities: &'static [&'static str],
    /// What it is for, in comments.
    reasons: BTreeSet<String>,
}

/// Finds mounts. Vault is asked for those that the settings do not name.
struct Mounts {
    vault: Option<Arc<Vault>>,
    told: Vec<Mount>,
}

/// The KV engine of a secret, and how it is known.
struct Found {
    mount: Mount,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Told,
    Set,
    Guessed,
}

/// One of `vault.references.allow`.
struct Prefix {
    /// As messages have it.
    shown: String,
    /// As policies have it: `+` is any one segment.
    pattern: String,
    /// A path under it.
    example: String,
}

impl Prefix {
    fn all(allowed: &AllowedReferences) -> impl Iterator<Item = Self> {
        let of = |workspace: &str| allowed.of_workspace(workspace).into_iter();
        let examples = of("workspace").map(|prefix| format!("{prefix}key"));
        let all = of("{workspace}").zip(of("+")).zip(examples);
        all.map(|((shown, pattern), example)| Self {
            shown,
            pattern,
            example,
        })
    }
}

impl Policy {
    pub(super) async fn run(&self, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
        let settings = Settings::load(sources)?.settings;
        let usual = match Process::for_store(&settings.store) {
            Process::Proxy => Role::Sidecar,
            Process::Serve => Role::Serve,
        };
        let role = self.role.unwrap_or(usual);
        let mut mounts = Mounts::of(&settings);
        let mut rules = Rules::default();
        for credential in &settings.declared {
            if let SourceReference::Vault(reference) = &credential.source {
                let found = mounts
                    .find(&reference.path, reference.mount.as_deref())
                    .await?;
                rules.secret(credential, reference, &found)?;
            }
        }
        if let (Kms::Vault(transit), Role::Serve) = (&settings.kms, role) {
            rules.transit(transit);
        }
        if let (Some(vault), Role::Serve) = (&settings.vault, role) {
            for prefix in Prefix::all(&vault.references) {
                let found = mounts.find(&prefix.example, None).await?;
                rules.references(&prefix, &found)?;
            }
        }
        if rules.by_path.is_empty() {
            return Err(Failure::configuration(
                "expected settings that use Vault, found none for this process",
            )
            .next(
                "Declare a credential with `source = \"vault:…\"`, name paths for stored ones in vault.references.allow, or set \
                 kms.driver = \"vault\".",
            ));
        }
        rules.own_token();
        let namespace = settings.vault.and_then(|vault| vault.namespace);
        let text = rules.to_hcl(role, namespace.as_deref());
        answer.give(&json!({ "policy": text }), |_| text.clone())
    }
}

impl Mounts {
    /// An administrator may print the policy where Keyside cannot sign in yet, and where its files are not: then nothing is asked.
    fn of(settings: &Settings) -> Self {
        let vault = match vault::can_sign_in_beside(settings) {
            true => vault::open(settings).ok().flatten(),
            false => None,
        };
        Self {
            vault,
            told: Vec::new(),
        }
    }

    async fn find(&mut self, path: &str, mount: Option<&str>) -> Result<Found, Failure> {
        if let Some(mount) = mount {
            return Ok(Found::second_version(mount, How::Set));
        }
        let of_path = |mount: &&Mount| mount.rest_of(path).is_some();
        if let Some(mount) = self.told.iter().find(of_path) {
            return Ok(Found::told(mount));
        }
        let asked = match &self.vault {
            Some(vault) => vault.mount_of(path).await,
            None => Ok(None),
        };
        match asked {
            Ok(Some(mount)) if mount.rest_of(path).is_some() => {
                let found = Found::told(&mount);
                self.told.push(mount);
                return Ok(found);
            }
            Ok(_) => {}
            Err(SourceError::Gone(reason)) => return Err(Failure::configuration(reason)),
            // The next path would wait as long.
            Err(SourceError::Unavailable(_)) => self.vault = None,
        }
        let first = path.split('/').next().unwrap_or(path);
        Ok(Found::second_version(first, How::Guessed))
    }
}

impl Found {
    fn told(mount: &Mount) -> Self {
        Self {
            mount: mount.clone(),
            how: How::Told,
        }
    }

    fn second_version(mount: &str, how: How) -> Self {
        let mount = Mount {
            path: mount.to_owned(),
            version: KvVersion::V2,
        };
        Self { mount, how }
    }
}

impl Rules {
    /// Reading a declared credential's key, and the metadata that tells of another version.
    fn secret(
        &mut self,
        credential: &DeclaredCredential,
        reference: &VaultReference,
        found: &Found,
    ) -> Result<(), Failure> {
        let mount = &found.mount;
        let rest = mount.rest_of(&reference.path).unwrap_or_default();
        let data = mount.data_path(rest);
        if !is_literal(&data) {
            let said = format!(
                "expected paths that a policy can name, found {} in a source",
                printable(&data)
            );
            return Err(Failure::configuration(said).next(
                "Keep the key at a path without \", ${ and {{, without a segment + and without * at the end.",
            ));
        }
        self.assumes |= found.how != How::Told;
        let DeclaredCredential {
            workspace,
            provider,
            label,
            ..
        } = credential;
        let mut of = format!("of credential {workspace}/{provider}/{label}");
        if found.how == How::Guessed {
            let _ = write!(
                of,
                "; Vault did not say the mount, so it is taken to be {}: set `mount` if it is another",
                mount.path
            );
        }
        if let Some(metadata) = mount.metadata_path(rest) {
            self.add(metadata, &["read"], format!("changes {of}"));
        }
        self.add(data, &["read"], format!("the key {of}"));
        Ok(())
    }

    /// Reading what a prefix of `vault.references.allow` lets stored credentials name, of whichever workspace.
    fn references(&mut self, prefix: &Prefix, found: &Found) -> Result<(), Failure> {
        let told = found
            .mount
            .rest_of(&prefix.pattern)
            .map(|rest| (found, rest));
        // A mount of a workspace's own is not that of the others.
        let first = prefix.pattern.split('/').next().unwrap_or_default();
        let guessed = Found::second_version(first, How::Guessed);
        let (Found { mount, how }, rest) = match told {
            Some(told) => told,
            None => (
                &guessed,
                guessed.mount.rest_of(&prefix.pattern).unwrap_or_default(),
            ),
        };
        if !is_literal(&prefix.example) {
            let said = format!(
                "expected prefixes that a policy can name, found {} in vault.references.allow",
                printable(&prefix.shown)
            );
            return Err(Failure::configuration(said)
                .next("Use one without \", ${ and {{ and without a segment +."));
        }
        self.assumes |= *how != How::Told;
        let mut of = format!("of stored credentials under {}", prefix.shown);
        if *how == How::Guessed {
            let _ = write!(
                of,
                "; Vault did not say the mount, so it is taken to be {}",
                mount.path
            );
        }
        if let Some(metadata) = mount.metadata_path(rest) {
            self.add(format!("{metadata}*"), &["read"], format!("changes {of}"));
        }
        self.add(
            format!("{}*", mount.data_path(rest)),
            &["read"],
            format!("the keys {of}"),
        );
        Ok(())
    }

    /// What docs/CONFIGURATION.md says that Transit has to allow. Workspaces come and go, so it names a prefix.
    fn transit(&mut self, transit: &TransitKms) {
        let TransitKms { mount, key_prefix } = transit;
        for (operation, capabilities) in TRANSIT {
            let path = format!("{mount}/{operation}/{key_prefix}*");
            self.add(path, capabilities, "kms.driver = \"vault\"".to_owned());
        }
    }

    fn own_token(&mut self) {
        let rules: [(&str, &'static [&'static str], &str); 2] = [
            (
                "auth/token/lookup-self",
                &["read"],
                "whether Keyside's token is alive",
            ),
            (
                "auth/token/renew-self",
                &["update"],
                "keeping Keyside's token alive",
            ),
        ];
        for (path, capabilities, reason) in rules {
            self.add(path.to_owned(), capabilities, reason.to_owned());
        }
    }

    fn add(&mut self, path: String, capabilities: &'static [&'static str], reason: String) {
        let rule = self.by_path.entry(path).or_insert_with(|| Rule {
            capabilities,
            reasons: BTreeSet::new(),
        });
        rule.reasons.insert(reason);
    }

    fn to_hcl(&self, role: Role, namespace: Option<&str>) -> String {
        let process = match role {
            Role::Sidecar => "proxy",
            Role::Serve => "serve",
        };
        let mut text =
            format!("# The least that `keyside {process}` needs of Vault with these settings.\n");
        if let Some(namespace) = namespace {
            let _ = writeln!(text, "# For namespace {}.", printable(namespace));
        }
        if self.assumes {
            text.push_str(ASSUMED);
        }
        for (path, rule) in &self.by_path {
            text.push('\n');
            for reason in &rule.reasons {
                // A line break would end the comment.
                let _ = writeln!(text, "# {}", printable(reason));
            }
            let capabilities: Vec<_> = rule
                .capabilities
                .iter()
                .map(|name| format!("\"{name}\""))
                .collect();
            let capabilities = capabilities.join(", ");
            let _ = writeln!(
                text,
                "path \"{path}\" {{ capabilities = [{capabilities}] }}"
            );
        }
        text
    }
}

/// Whether a policy takes the path for itself: no end of a text, no template, no wildcard.
fn is_literal(path: &str) -> bool {
    let means_more = ["\"", "${", "{{"].iter().any(|sign| path.contains(sign));
    !means_more && !path.ends_with('*') && path.split('/').all(|segment| segment != "+")
}

const TRANSIT: [(&str, &[&str]); 3] = [
    ("decrypt", &["update"]),
    ("encrypt", &["update"]),
    ("keys", &["create", "update", "delete"]),
];

const ASSUMED: &str = "\
# For KV version 2. In a mount of version 1 the paths have no data/, and there is no metadata/.
";

#[cfg(test)]
mod tests;
