//! `keyside vault policy`: the minimal policy in HCL for the settings.
//!
//! It names each path of a declared key in full. Stored keys come and go, so for them it has the
//! prefixes of `vault.references.allow`. Finding the mount of a path needs no rule: Vault reports
//! it to every token that may read something in the mount.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use keyside_config::{
    AllowedReferences, DeclaredCredential, Kms, Settings, SourceReference, TransitKms,
    VaultReference,
};
use keyside_credentials::source::SourceError;
use keyside_vault::{KvVersion, Mount, Vault};
use serde_json::json;

use super::{Console, Failure};
use crate::{terminal::printable, validated_settings::Process, vault};

#[derive(Args)]
pub(crate) struct Policy {
    /// The process that signs in [default: the one for `store.backend`]
    #[arg(long, value_enum)]
    role: Option<Role>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// `keyside proxy`: reads the keys that the settings declare
    Sidecar,
    /// `keyside serve`: also reads what vault.references.allow permits, and wraps its workspace
    /// keys if kms.driver is "vault"
    Serve,
}

/// The rules by path: sorted, and each path once.
#[derive(Default)]
struct Rules {
    by_path: BTreeMap<String, Rule>,
    /// Whether a mount or its version comes from the settings or a guess instead of from Vault.
    assumes: bool,
}

struct Rule {
    capabilities: &'static [&'static str],
    reasons: BTreeSet<String>,
}

/// Finds mounts. Asks Vault, which also knows their versions, and otherwise takes the settings'.
struct Mounts {
    vault: Option<Arc<Vault>>,
    reported: Vec<Mount>,
}

/// The KV engine of a secret, and where that is known from.
struct LocatedMount {
    mount: Mount,
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Vault,
    Settings,
    Guess,
}

/// One prefix of `vault.references.allow`.
struct Prefix {
    /// As messages show it.
    shown: String,
    /// As policies write it: `+` is any one segment.
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
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let settings = console.settings()?;
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
        console.print(&json!({ "policy": text }), || text.clone())
    }
}

impl Mounts {
    /// An administrator may print the policy where Keyside cannot sign in, or where its files are
    /// missing. Then Vault is not asked.
    fn of(settings: &Settings) -> Self {
        let vault = match vault::can_sign_in_beside(settings) {
            true => vault::open(settings).ok().flatten(),
            false => None,
        };
        Self {
            vault,
            reported: Vec::new(),
        }
    }

    async fn find(&mut self, path: &str, mount: Option<&str>) -> Result<LocatedMount, Failure> {
        let of_path = |mount: &&Mount| mount.rest_of(path).is_some();
        if let Some(mount) = self.reported.iter().find(of_path) {
            return Ok(LocatedMount::reported(mount));
        }
        let asked = match &self.vault {
            Some(vault) => vault.mount_of(path).await,
            None => Ok(None),
        };
        match asked {
            Ok(Some(mount)) if mount.rest_of(path).is_some() => {
                let found = LocatedMount::reported(&mount);
                self.reported.push(mount);
                return Ok(found);
            }
            Ok(_) => {}
            Err(SourceError::Gone(reason)) => return Err(Failure::configuration(reason)),
            // The next path would wait as long again.
            Err(SourceError::Unavailable(_)) => self.vault = None,
        }
        let first = path.split('/').next().unwrap_or(path);
        Ok(match mount {
            Some(mount) => LocatedMount::second_version(mount, Origin::Settings),
            None => LocatedMount::second_version(first, Origin::Guess),
        })
    }
}

impl LocatedMount {
    fn reported(mount: &Mount) -> Self {
        Self {
            mount: mount.clone(),
            origin: Origin::Vault,
        }
    }

    fn second_version(mount: &str, origin: Origin) -> Self {
        let mount = Mount {
            path: mount.to_owned(),
            version: KvVersion::V2,
        };
        Self { mount, origin }
    }

    /// Says that the mount is a guess, with a `remedy`; nothing if it is not one.
    fn assumed(&self, remedy: &str) -> String {
        let path = &self.mount.path;
        match self.origin {
            Origin::Guess => {
                format!("; Vault did not report the mount, so {path} is assumed{remedy}")
            }
            Origin::Vault | Origin::Settings => String::new(),
        }
    }
}

impl Rules {
    /// Permits reading a declared credential's key, and the metadata that shows a new version.
    fn secret(
        &mut self,
        credential: &DeclaredCredential,
        reference: &VaultReference,
        found: &LocatedMount,
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
        let (workspace, provider) = (&credential.workspace, &credential.provider);
        let (label, assumed) = (&credential.label, found.assumed(SET_MOUNT));
        let of = format!("of credential {workspace}/{provider}/{label}{assumed}");
        self.read(found, rest, "the key", &of);
        Ok(())
    }

    /// Permits reading what a prefix of `vault.references.allow` permits stored credentials to
    /// name, in any workspace.
    fn references(&mut self, prefix: &Prefix, found: &LocatedMount) -> Result<(), Failure> {
        let reported = found
            .mount
            .rest_of(&prefix.pattern)
            .map(|rest| (found, rest));
        // A mount of one workspace is not that of the others.
        let first = prefix.pattern.split('/').next().unwrap_or_default();
        let guessed = LocatedMount::second_version(first, Origin::Guess);
        let (found, rest) = reported.unwrap_or_else(|| {
            let rest = guessed.mount.rest_of(&prefix.pattern);
            (&guessed, rest.unwrap_or_default())
        });
        if !is_literal(&prefix.example) {
            let said = format!(
                "expected prefixes that a policy can name, found {} in vault.references.allow",
                printable(&prefix.shown)
            );
            return Err(Failure::configuration(said)
                .next("Use one without \", ${ and {{ and without a segment +."));
        }
        let (shown, assumed) = (&prefix.shown, found.assumed(""));
        let of = format!("of stored credentials under {shown}{assumed}");
        self.read(found, &format!("{rest}*"), "the keys", &of);
        Ok(())
    }

    /// Permits reading what is at `rest` in a mount, and when it was changed.
    fn read(&mut self, found: &LocatedMount, rest: &str, keys: &str, of: &str) {
        let mount = &found.mount;
        self.assumes |= found.origin != Origin::Vault;
        if let Some(metadata) = mount.metadata_path(rest) {
            self.add(metadata, &["read"], format!("changes {of}"));
        }
        self.add(mount.data_path(rest), &["read"], format!("{keys} {of}"));
    }

    /// Permits what docs/CONFIGURATION.md requires for Transit. Workspaces come and go, so it has a
    /// prefix.
    fn transit(&mut self, transit: &TransitKms) {
        let TransitKms { mount, key_prefix } = transit;
        for (operation, capabilities) in TRANSIT {
            let path = format!("{mount}/{operation}/{key_prefix}*");
            self.add(path, capabilities, "kms.driver = \"vault\"");
        }
    }

    fn own_token(&mut self) {
        let lookup = "checking whether Keyside's token is valid";
        self.add("auth/token/lookup-self", &["read"], lookup);
        let renewal = "renewing Keyside's token";
        self.add("auth/token/renew-self", &["update"], renewal);
    }

    fn add(
        &mut self,
        path: impl Into<String>,
        capabilities: &'static [&'static str],
        reason: impl Into<String>,
    ) {
        let rule = self.by_path.entry(path.into()).or_insert_with(|| Rule {
            capabilities,
            reasons: BTreeSet::new(),
        });
        rule.reasons.insert(reason.into());
    }

    fn to_hcl(&self, role: Role, namespace: Option<&str>) -> String {
        let process = match role {
            Role::Sidecar => "proxy",
            Role::Serve => "serve",
        };
        let mut text = format!("# The minimal policy of `keyside {process}` for these settings.\n");
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
            let capabilities = rule.capabilities.join("\", \"");
            let _ = writeln!(
                text,
                "path \"{path}\" {{ capabilities = [\"{capabilities}\"] }}"
            );
        }
        text
    }
}

/// Whether a policy reads the path literally: without quotes, templates and wildcards.
fn is_literal(path: &str) -> bool {
    let means_more = ["\"", "${", "{{"].iter().any(|sign| path.contains(sign));
    !means_more && !path.ends_with('*') && path.split('/').all(|segment| segment != "+")
}

const SET_MOUNT: &str = ": set `mount` if it is another";

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
