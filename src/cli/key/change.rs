//! `keyside key rotate`, `rollback`, `refresh`, `verify` and `edit`.

use std::time::Duration;

use clap::Args;
use hyper::Method;
use keyside_admin::wire::{
    CredentialCheck, CredentialEdit, CredentialRollback, CredentialRotation,
};
use keyside_credentials::{Label, Timestamp, UsageTag, Verification};
use serde_json::{Value, json};

use super::{CheckArguments, KeyArguments, path, view::Credential};
use crate::cli::{
    Console, Failure,
    duration::{duration, end},
    limits::ChangedLimits,
    provider,
    secret::{SecretInput, SecretOwner},
};

#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    one: KeyArguments,
    /// How long the old secret is kept for a rollback: 0, or a number and s, m, h or d, at most 90d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    grace: Duration,
    #[command(flatten)]
    check: CheckArguments,
    #[command(flatten)]
    expiry: Expiry,
    #[command(flatten)]
    secret: SecretInput,
}

#[derive(Args)]
pub(crate) struct RollBack {
    #[command(flatten)]
    one: KeyArguments,
    /// The version to return to [default: the newest in grace]
    #[arg(long, value_name = "NUMBER")]
    to: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    one: KeyArguments,
    /// Send a minimal prompt, which costs a few tokens, instead of the cheapest request
    #[arg(long)]
    prompt: bool,
}

#[derive(Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    one: KeyArguments,
    /// Its new name, unique among the unrevoked keys of its workspace and provider
    #[arg(long, short)]
    label: Option<Label>,
    /// What it is used for
    #[arg(long)]
    usage_tag: Option<UsageTag>,
    /// Remove the usage tag
    #[arg(long, conflicts_with = "usage_tag")]
    no_usage_tag: bool,
    #[command(flatten)]
    expiry: Expiry,
    #[command(flatten)]
    limits: ChangedLimits,
    /// Make it the default of its workspace, provider and environment
    #[arg(long)]
    default: bool,
}

/// The options for a key's expiry.
#[derive(Args)]
struct Expiry {
    /// New expiry: a time such as 2027-01-31T12:00:00Z, or a date, which means its start in UTC
    #[arg(long, value_name = "TIME", value_parser = end)]
    expires_at: Option<Timestamp>,
    /// Remove the expiry
    #[arg(long, conflicts_with = "expires_at")]
    never_expires: bool,
}

impl Rotate {
    /// Reports a key that does not exist before it prompts for the secret, and names the key in the
    /// prompt.
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.one.admin.client(console)?;
        let current = match self.secret.is_prompted() {
            true => {
                let credential = Credential::of(&client.get(&path(&self.one.id)).await?)?;
                credential.expect_sealed()?;
                let (provider, _) = credential.expect_readable()?;
                let known = provider::find(&client, provider).await?;
                Some((credential, known))
            }
            false => None,
        };
        let body = CredentialRotation {
            secret: None,
            grace_seconds: Some(self.grace.as_secs()),
            check: Some(self.check.check),
            prompt: Some(self.check.prompt),
            expires_at: self.expiry.change(),
        };
        let owner = match &current {
            Some((credential, known)) => {
                let (provider, label) = credential.expect_readable()?;
                Some(SecretOwner {
                    workspace: credential.workspace_id.as_str(),
                    provider,
                    label,
                    known: known.as_ref(),
                })
            }
            None => None,
        };
        let secret = self.secret.read(owner.as_ref(), console)?;
        let rotated = client
            .send_secret(Method::PATCH, &path(&self.one.id), secret, &body)
            .await?;
        print_key(&rotated, "Rotated", self.check.prompt, console)
    }
}

impl RollBack {
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.one.admin.client(console)?;
        let one = path(&self.one.id);
        let before = Credential::of(&client.get(&one).await?)?;
        let path = format!("{one}/rollback");
        let back = client
            .post(&path, &CredentialRollback { version: self.to })
            .await?;
        if Credential::of(&back)?.has_secret_of(&before) {
            console.warn(
                "both versions have the same secret, so requests carry the same key as before; \
                 `keyside key show ID` lists the versions, and --to NUMBER goes back to another one",
            );
        }
        print_key(&back, "Rolled back", false, console)
    }
}

/// `keyside key refresh`: fails if the key cannot be read, so that scripts notice.
pub(super) async fn refresh(one: &KeyArguments, console: &Console) -> Result<(), Failure> {
    let path = format!("{}/refresh", path(&one.id));
    let refreshed = one.admin.client(console)?.post(&path, &json!({})).await?;
    match refreshed["sourceFault"].as_str() {
        None => print_key(&refreshed, "Read", false, console),
        Some(fault) => {
            console.print(&refreshed, String::new)?;
            Err(Failure::failed(format!("the secret was not read: {fault}")))
        }
    }
}

impl Verify {
    /// Fails if the provider does not accept the key, so that scripts notice.
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.one.admin.client(console)?;
        let body = CredentialCheck {
            prompt: Some(self.prompt),
        };
        let path = format!("{}/verify", path(&self.one.id));
        let verified = client.post(&path, &body).await?;
        let credential = Credential::of(&verified)?;
        let verb = match credential.verification {
            Some(Verification::Accepted) => "Accepted",
            Some(Verification::Limited) => "Accepted in part",
            Some(Verification::Rejected) => "Rejected",
            _ => "Could not check",
        };
        if credential.verification.is_some_and(Verification::is_usable) {
            return print_key(&verified, verb, self.prompt, console);
        }
        // The warnings say what the provider answered and what to do.
        credential.print_warnings(console);
        console.print(&verified, String::new)?;
        Err(Failure::failed(credential.summary(verb)))
    }
}

impl Edit {
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let body = self.body();
        if body == CredentialEdit::default() {
            return Err(Failure::usage("expected something to change, found nothing")
                .next("`keyside key edit --help` lists what can be changed; a new secret comes with `key rotate`."));
        }
        let client = self.one.admin.client(console)?;
        let edited = client.patch(&path(&self.one.id), &body).await?;
        print_key(&edited, "Changed", false, console)
    }

    fn body(&self) -> CredentialEdit {
        let tag = self.usage_tag.clone().map(Some);
        CredentialEdit {
            label: self.label.clone(),
            usage_tag: tag.or_else(|| self.no_usage_tag.then_some(None)),
            expires_at: self.expiry.change(),
            limits: self.limits.change(),
            default: self.default.then_some(true),
        }
    }
}

impl Expiry {
    /// The new expiry: `None` keeps it, `Some(None)` removes it.
    fn change(&self) -> Option<Option<Timestamp>> {
        let end = self.expires_at.map(Some);
        end.or_else(|| self.never_expires.then_some(None))
    }
}

/// Prints the key's new state, its warnings, and what the check's prompt has cost if it was
/// `prompted`.
fn print_key(value: &Value, verb: &str, prompted: bool, console: &Console) -> Result<(), Failure> {
    let credential = Credential::of(value)?;
    credential.print_warnings(console);
    let cost = credential.cost_of_prompt(prompted);
    console.print(value, || format!("{}\n{cost}", credential.summary(verb)))
}
