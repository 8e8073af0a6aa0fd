//! `keyside vault policy`: the least policy in HCL for what the settings name. Each path of a key is named in full.
//!
//! Finding the mount of a path needs no rule: Vault tells it to every token that may read something in the mount.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use keyside_config::{
    DeclaredCredential, Kms, Settings, SourceReference, Sources, TransitKms, VaultReference,
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
    /// `keyside serve`: also wraps its workspace keys, where kms.driver is "vault"
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
                let found = mounts.find(reference).await?;
                rules.secret(credential, reference, &found)?;
            }
        }
        if let (Kms::Vault(transit), Role::Serve) = (&settings.kms, role) {
            rules.transit(transit);
        }
        if rules.by_path.is_empty() {
            return Err(Failure::configuration(
                "expected settings that use Vault, found none for this process",
            )
            .next(
                "Declare a credential with `source = \"vault:…\"`, or set kms.driver = \"vault\".",
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

    async fn find(&mut self, reference: &VaultReference) -> Result<Found, Failure> {
        let path = reference.path.as_str();
        if let Some(mount) = &reference.mount {
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
            Err(SourceError::Away(_)) => self.vault = None,
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
mod tests {
    use super::*;

    fn credential(label: &str, source: &str) -> DeclaredCredential {
        DeclaredCredential {
            workspace: "acme".to_owned(),
            provider: "openai".parse().unwrap(),
            label: label.to_owned(),
            environment: keyside_config::DeclaredEnvironment::Live,
            usage_tag: None,
            endpoint: None,
            source: source.parse().unwrap(),
        }
    }

    fn add(rules: &mut Rules, label: &str, path: &str, found: &Found) -> Result<(), Failure> {
        let credential = credential(label, &format!("vault:{path}#api_key"));
        let SourceReference::Vault(reference) = &credential.source else {
            panic!("a source in Vault")
        };
        rules.secret(&credential, reference, found)
    }

    fn lines(text: &str) -> Vec<&str> {
        text.lines()
            .filter(|line| line.starts_with("path "))
            .collect()
    }

    #[test]
    fn two_credentials_at_one_path_share_its_rules_and_all_are_sorted() {
        let mut rules = Rules::default();
        rules.own_token();
        let found = Found::second_version("kv/teams", How::Set);
        for label in ["main", "ci"] {
            add(&mut rules, label, "kv/teams/acme/openai", &found).unwrap();
        }
        let text = rules.to_hcl(Role::Sidecar, Some("team"));
        assert_eq!(
            lines(&text),
            [
                r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#,
                r#"path "auth/token/renew-self" { capabilities = ["update"] }"#,
                r#"path "kv/teams/data/acme/openai" { capabilities = ["read"] }"#,
                r#"path "kv/teams/metadata/acme/openai" { capabilities = ["read"] }"#,
            ]
        );
        for part in [
            "# the key of credential acme/openai/ci\n# the key of credential acme/openai/main\npath",
            "# For namespace team.\n",
            ASSUMED,
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn in_version_1_there_is_no_metadata_to_read() {
        let mut rules = Rules::default();
        let mount = Mount {
            path: "secret".to_owned(),
            version: KvVersion::V1,
        };
        add(&mut rules, "main", "secret/openai", &Found::told(&mount)).unwrap();
        let text = rules.to_hcl(Role::Sidecar, None);
        assert_eq!(
            lines(&text),
            [r#"path "secret/openai" { capabilities = ["read"] }"#]
        );
        assert!(!text.contains(ASSUMED), "{text}");
    }

    #[test]
    fn a_mount_that_is_guessed_is_said_to_be() {
        let mut rules = Rules::default();
        let found = Found::second_version("kv", How::Guessed);
        add(&mut rules, "main", "kv/teams/openai", &found).unwrap();
        let text = rules.to_hcl(Role::Sidecar, None);
        assert!(text.contains("taken to be kv"), "{text}");
        assert!(text.contains(r#"path "kv/data/teams/openai" {"#), "{text}");
    }

    #[test]
    fn a_path_that_a_policy_would_read_as_more_than_itself_is_refused() {
        for path in ["kv/a*", "kv/+/a", "kv/{{x}}", "kv/a\"b", "kv/${x"] {
            let found = Found::second_version("kv", How::Set);
            let refused = add(&mut Rules::default(), "main", path, &found);
            assert!(refused.is_err(), "{path}");
        }
        for path in ["kv/a*b", "kv/a+", "kv/{x}", "kv/$x"] {
            let found = Found::second_version("kv", How::Set);
            let added = add(&mut Rules::default(), "main", path, &found);
            assert!(added.is_ok(), "{path}");
        }
    }

    #[test]
    fn a_label_with_a_line_break_adds_no_rule() {
        let mut rules = Rules::default();
        let found = Found::second_version("kv", How::Set);
        let label = "main\npath \"*\" { capabilities = [\"sudo\"] }";
        add(&mut rules, label, "kv/a", &found).unwrap();
        let text = rules.to_hcl(Role::Sidecar, None);
        assert_eq!(lines(&text).len(), 2, "{text}");
    }

    #[test]
    fn transit_gets_what_the_settings_page_says() {
        let mut rules = Rules::default();
        rules.transit(&TransitKms {
            mount: "transit".to_owned(),
            key_prefix: "keyside-".to_owned(),
        });
        let text = rules.to_hcl(Role::Serve, None);
        let page = include_str!("../../../docs/CONFIGURATION.md");
        let one_space = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut documented: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("path \"transit/"))
            .map(one_space)
            .collect();
        documented.sort();
        assert_eq!(lines(&text), documented);
    }
}
