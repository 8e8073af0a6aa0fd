//! `keyside key`: provider keys, through the admin API.

mod change;
mod development;
mod view;

use clap::{Args, Subcommand};
use hyper::Method;
use keyside_admin::wire::{CheckMode, NewCredential, SecretRef};
use keyside_config::{ProviderId, VaultReference, shell};
use keyside_credentials::{
    CredentialId, Environment, Label, Status, Timestamp, UsageTag, WorkspaceId,
};
use serde_json::Value;

use self::{
    change::{Edit, RollBack, Rotate, Verify},
    view::Credential,
};
use super::{
    Admin, Console, Failure,
    choice::{choice, environment},
    confirm::Confirmation,
    duration::end,
    items::{CREDENTIALS, filter, list_all, print_list},
    limits::NewLimits,
    provider::{self, Provider},
    sdk_lines,
    secret::{SecretInput, SecretOwner},
    workspace,
};
use crate::client::Client;

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Store a key. Prompts for it unless --secret-file, --stdin or --from-vault is given
    #[command(alias = "create")]
    Add(Box<Add>),
    /// List keys, without their secrets
    List(List),
    /// Show everything about one key but its secret
    Show(KeyArguments),
    /// Replace a key's secret. Prompts for it unless --secret-file or --stdin is given
    Rotate(Rotate),
    /// Return to the previous secret, while it is kept
    #[command(name = "rollback")]
    RollBack(RollBack),
    /// Read a key that stays in Vault now instead of at the next poll
    Refresh(KeyArguments),
    /// Ask the provider whether it accepts a key
    Verify(Verify),
    /// Change a key's label, usage tag, expiry or limits, or make it the default
    Edit(Edit),
    /// Revoke a key immediately and permanently
    Revoke(Revoke),
}

#[derive(Args)]
pub(crate) struct Add {
    /// The workspace that may use it
    #[arg(long, short)]
    workspace: WorkspaceId,
    /// The provider it is for, such as openai
    #[arg(long, short)]
    provider: ProviderId,
    /// Its name, unique among the unrevoked keys of this workspace and provider
    #[arg(long, short, default_value = "default")]
    label: Label,
    /// Whether requests with it cost money
    #[arg(long, short, default_value = "live", value_parser = environment())]
    environment: Environment,
    /// What it is used for
    #[arg(long)]
    usage_tag: Option<UsageTag>,
    /// Expiry: a time such as 2027-01-31T12:00:00Z, or a date, which means its start in UTC
    #[arg(long, value_name = "TIME", value_parser = end)]
    expires_at: Option<Timestamp>,
    /// The provider's host, for providers with a host per customer (Azure OpenAI)
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    limits: NewLimits,
    /// Make it the default of its workspace, provider and environment; the first one always is
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    check: CheckArguments,
    #[command(flatten)]
    secret: SecretInput,
    /// Leave the key in Vault and follow it there: the path, beginning with the mount, and the
    /// field
    #[arg(
        long,
        value_name = "PATH#FIELD",
        value_parser = in_vault,
        conflicts_with_all = ["secret_file", "stdin"]
    )]
    from_vault: Option<VaultReference>,
    /// The mount in that path, if Vault may not be asked for it
    #[arg(long, requires = "from_vault")]
    mount: Option<String>,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only of this workspace
    #[arg(long, short)]
    workspace: Option<WorkspaceId>,
    /// Only for this provider
    #[arg(long, short)]
    provider: Option<ProviderId>,
    /// Only with this status
    #[arg(long, short, value_parser = choice::<Status>(Status::ALL.map(Status::as_str)))]
    status: Option<Status>,
    /// Only for this environment
    #[arg(long, short, value_parser = environment())]
    environment: Option<Environment>,
    #[command(flatten)]
    admin: Admin,
}

/// Whether the provider is asked before a secret is stored.
#[derive(Args)]
struct CheckArguments {
    /// Ask the provider first: `required` stores the secret only if the provider accepts it, `try`
    /// warns if it does not
    #[arg(long, value_name = "WHEN", default_value = "try", value_parser = choice::<CheckMode>(CHECK_MODES))]
    check: CheckMode,
    /// Let that check be a minimal prompt, which costs a few tokens
    #[arg(long)]
    prompt: bool,
}

#[derive(Args)]
pub(crate) struct KeyArguments {
    /// The key's id, as `keyside key list` shows it
    #[arg(value_parser = key_id)]
    id: CredentialId,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    one: KeyArguments,
    /// Cut off responses in flight
    #[arg(long)]
    cut: bool,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(key: Key, console: &Console) -> Result<(), Failure> {
    match key {
        Key::Add(add) => add.run(console).await,
        Key::List(list) => list.run(console).await,
        Key::Show(one) => {
            let shown = one.admin.client(console)?.get(&path(&one.id)).await?;
            let credential = Credential::of(&shown)?;
            console.print(&shown, || console.table(&credential.fields()))
        }
        Key::Rotate(rotate) => rotate.run(console).await,
        Key::RollBack(back) => back.run(console).await,
        Key::Refresh(one) => change::refresh(&one, console).await,
        Key::Verify(verify) => verify.run(console).await,
        Key::Edit(edit) => edit.run(console).await,
        Key::Revoke(revoke) => revoke.run(console).await,
    }
}

impl Add {
    /// Reports a missing token and a mistyped workspace or provider before it prompts for the key.
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        let known = match self.from_vault.is_none() && self.secret.is_prompted() {
            true => self.check_arguments(&client).await?,
            // Without a prompt the server reports the error, and only then a suggestion is looked
            // up.
            false => None,
        };
        let is_sandbox = self.environment == Environment::Sandbox;
        let for_development = known.as_ref().filter(|_| is_sandbox);
        if let Some(provider) = for_development {
            development::print_steps(provider, console);
        }
        let owner = SecretOwner {
            workspace: self.workspace.as_str(),
            provider: self.provider.as_str(),
            label: self.label.as_str(),
            known: known.as_ref(),
        };
        let body = self.body();
        let added = match body.secret_ref.is_some() {
            true => client.post(CREDENTIALS, &body).await,
            false => {
                let secret = self.secret.read(Some(&owner), console)?;
                client
                    .send_secret(Method::POST, CREDENTIALS, secret, &body)
                    .await
            }
        };
        if added.is_err() && known.is_none() {
            self.check_arguments(&client).await?;
        }
        let added = added?;
        let credential = Credential::of(&added)?;
        credential.print_warnings(console);
        credential.print_next_steps(console);
        if let Some(provider) = for_development.filter(|_| self.expires_at.is_none()) {
            development::print_expiry(provider, &credential.id, console);
        }
        let known = match known {
            None => provider::find(&client, self.provider.as_str()).await,
            known => Ok(known),
        };
        let known = known.ok().flatten();
        let workspace = self.workspace.as_str();
        let lines = known.map(|known| sdk_lines::of(&known, console, workspace));
        let mut lines = lines.unwrap_or_default();
        if !lines.is_empty() {
            lines += &self.note_on_label(&client, &credential).await;
        }
        let summary = credential.summary("Stored");
        let cost = credential.cost_of_prompt(self.check.prompt);
        let accepted = credential.acceptance();
        console.print(&added, || format!("{summary}\n{accepted}{cost}{lines}"))
    }

    /// A comment below the SDK lines if they lead to another key: a request without a label gets
    /// the live default, or the one for the sandbox if there is none.
    async fn note_on_label(&self, client: &Client, stored: &Credential) -> String {
        if stored.is_default && self.environment == Environment::Live {
            return String::new();
        }
        let filters = format!("&workspaceId={}&provider={}", self.workspace, self.provider);
        let items = list_all(client, CREDENTIALS, &filters).await;
        let items = items.unwrap_or_default();
        let default = |environment: &str| {
            let mut items = items.iter();
            items.find(|item| item["isDefault"] == true && item["environment"] == environment)
        };
        let Some(used) = default("live").or_else(|| default("sandbox")) else {
            return String::new();
        };
        let (own, used_id) = (stored.id.to_string(), used["id"].as_str());
        if used_id == Some(own.as_str()) {
            return String::new();
        }
        let text = |field: &str| used[field].as_str().unwrap_or_default();
        let note = format!(
            "Requests without a label get \"{}\" ({}). For this key send X-Keyside-Label: {}",
            text("label"),
            text("environment"),
            self.label
        );
        format!("\n{}", shell::comment(&note))
    }

    /// Checks everything but the secret, so that nobody pastes one in vain. Returns the provider,
    /// if the catalogue can be read.
    async fn check_arguments(&self, client: &Client) -> Result<Option<Provider>, Failure> {
        workspace::expect(client, Some(&self.workspace)).await?;
        let known = provider::find(client, self.provider.as_str()).await?;
        let needs_endpoint = |known: &Provider| known.endpoint.is_some();
        if known.as_ref().is_some_and(needs_endpoint) && self.endpoint.is_none() {
            return Err(Failure::usage(
                "expected --endpoint, found none: each key of this provider names its own host",
            )
            .next("`keyside provider show ID` shows an example."));
        }
        self.check_label_is_free(client).await?;
        Ok(known)
    }

    async fn check_label_is_free(&self, client: &Client) -> Result<(), Failure> {
        let filters = format!("&workspaceId={}&provider={}", self.workspace, self.provider);
        let items = list_all(client, CREDENTIALS, &filters).await?;
        let label = self.label.as_str();
        let is_taken = |item: &Value| item["label"] == label && item["status"] != "revoked";
        match items.iter().any(is_taken) {
            true => Err(Failure::failed(
                "--label: another key of this workspace and provider has this label",
            )
            .next("Choose another label, or replace the secret of that key with `keyside key rotate ID`.")),
            false => Ok(()),
        }
    }

    /// The request body without the secret, which the client writes itself.
    fn body(&self) -> NewCredential {
        let secret_ref = self.from_vault.as_ref().map(|reference| SecretRef {
            mount: self.mount.clone(),
            path: reference.path.clone(),
            field: reference.field.clone(),
            version: None,
        });
        NewCredential {
            workspace_id: self.workspace.clone(),
            provider: self.provider.to_string(),
            label: self.label.clone(),
            environment: Some(self.environment),
            secret: None,
            secret_ref,
            usage_tag: self.usage_tag.clone(),
            expires_at: self.expires_at,
            endpoint: self.endpoint.clone(),
            limits: self.limits.limits(),
            default: Some(self.default),
            check: Some(self.check.check),
            prompt: Some(self.check.prompt),
        }
    }
}

impl List {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        workspace::expect(&client, self.workspace.as_ref()).await?;
        provider::expect(&client, self.provider.as_ref()).await?;
        let query = self.query();
        let items = list_all(&client, CREDENTIALS, &query).await?;
        print_list(&items, view::A_KEY, console, |keys, console| {
            match keys.is_empty() && !query.is_empty() {
                true => "No keys match.\n".to_owned(),
                false => view::table(keys, console),
            }
        })
    }

    fn query(&self) -> String {
        [
            filter("workspaceId", &self.workspace),
            filter("provider", &self.provider),
            filter("status", &self.status),
            filter("environment", &self.environment),
        ]
        .concat()
    }
}

impl Revoke {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.one.admin.client(console)?;
        if !self.yes {
            let credential = Credential::of(&client.get(&path(&self.one.id)).await?)?;
            let (name, name_kind) = credential.name_to_confirm();
            Confirmation {
                action: credential.summary("About to revoke"),
                name,
                name_kind,
                if_declined: "nothing was revoked",
            }
            .confirm()?;
        }
        let cut = if self.cut { "?cut=true" } else { "" };
        let revoked = client
            .delete(&format!("{}{cut}", path(&self.one.id)))
            .await?;
        let credential = Credential::of(&revoked)?;
        console.print(&revoked, || format!("{}\n", credential.summary("Revoked")))
    }
}

/// Parses a field of a secret in Vault, with or without `vault:`.
fn in_vault(text: &str) -> Result<VaultReference, String> {
    let place = text.strip_prefix("vault:").unwrap_or(text);
    place.parse().map_err(|_| {
        "expected PATH#FIELD with a path such as kv/teams/acme/openai, without // or a slash at an end"
            .to_owned()
    })
}

/// Parses a key's id, which the API calls a credential's.
pub(crate) fn key_id(text: &str) -> Result<CredentialId, String> {
    text.parse().map_err(|_| {
        "expected the id of a key, as `keyside key list` shows it: cred_ and 26 letters and digits"
            .to_owned()
    })
}

fn path(id: &CredentialId) -> String {
    format!("{CREDENTIALS}/{id}")
}

const CHECK_MODES: [&str; 3] = ["required", "try", "skip"];
