//! `keyside key rotate`, `rollback`, `refresh`, `verify` and `edit`.

use std::time::Duration;

use clap::Args;
use keyside_admin::wire::{CredentialEdit, CredentialRollback, CredentialRotation};
use keyside_config::Sources;
use keyside_credentials::{Label, Timestamp, UsageTag};
use serde_json::{Value, json};

use super::{One, path, view::Credential};
use crate::cli::{
    Answer, Failure,
    duration::{duration, end},
    provider,
    secret::{SecretFrom, Wanted},
};

/// `keyside key rotate`.
#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    one: One,
    /// How long the old secret is kept to roll back to: 0, or a number and s, m, h or d, at most 90d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    grace: Duration,
    /// Have the provider asked about the new secret first; if it does not take it, the old one stays in use
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    end: End,
    #[command(flatten)]
    secret: SecretFrom,
}

/// `keyside key rollback`.
#[derive(Args)]
pub(crate) struct RollBack {
    #[command(flatten)]
    one: One,
    /// The version to go back to; the newest in grace if this is left out
    #[arg(long, value_name = "NUMBER")]
    to: Option<u32>,
}

/// `keyside key edit`.
#[derive(Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    one: One,
    /// Its new name, unique among the keys of its workspace and provider that are not revoked
    #[arg(long, short)]
    label: Option<Label>,
    /// What it is used for
    #[arg(long)]
    usage_tag: Option<UsageTag>,
    /// It is used for nothing in particular
    #[arg(long, conflicts_with = "usage_tag")]
    no_usage_tag: bool,
    #[command(flatten)]
    end: End,
    /// Make it the default of its workspace, provider and environment
    #[arg(long)]
    default: bool,
}

/// When a key stops being used from now on.
#[derive(Args)]
struct End {
    /// When it ends from now on: a time such as 2027-01-31T12:00:00Z, or a date, at whose beginning in UTC it ends
    #[arg(long, value_name = "TIME", value_parser = end)]
    expires_at: Option<Timestamp>,
    /// It no longer ends
    #[arg(long, conflicts_with = "expires_at")]
    never_expires: bool,
}

impl Rotate {
    /// Reports a key that does not exist before it asks for the secret, and says whose secret it asks for.
    pub(super) async fn run(&self, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
        let client = self.one.admin.client(sources)?;
        let asked_for = match self.secret.is_asked_for() {
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
            check: Some(self.check),
            expires_at: self.end.change(),
        };
        let wanted = match &asked_for {
            Some((credential, known)) => {
                let (provider, label) = credential.expect_readable()?;
                Some(Wanted {
                    workspace: credential.workspace(),
                    provider,
                    label,
                    known: known.as_ref(),
                })
            }
            None => None,
        };
        let secret = self.secret.read(wanted.as_ref(), answer)?;
        let rotated = client
            .patch_secret(&path(&self.one.id), secret, &body)
            .await?;
        tell(&rotated, "Rotated", answer)
    }
}

impl RollBack {
    pub(super) async fn run(&self, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
        let client = self.one.admin.client(sources)?;
        let one = path(&self.one.id);
        let before = Credential::of(&client.get(&one).await?)?;
        let path = format!("{one}/rollback");
        let back = client
            .post(&path, &CredentialRollback { version: self.to })
            .await?;
        if Credential::of(&back)?.has_secret_of(&before) {
            answer.remark(
                "warning: both versions have the same secret, so requests carry the same key as before; \
                 `keyside key show ID` lists the versions, and --to NUMBER goes back to another one",
            );
        }
        tell(&back, "Rolled back", answer)
    }
}

/// `keyside key refresh`: a key that cannot be read is a failure, so that scripts notice.
pub(super) async fn refresh(one: &One, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
    let path = format!("{}/refresh", path(&one.id));
    let refreshed = one.admin.client(sources)?.post(&path, &json!({})).await?;
    match refreshed["sourceFault"].as_str() {
        None => tell(&refreshed, "Read", answer),
        Some(fault) => {
            answer.give(&refreshed, |_| String::new())?;
            Err(Failure::failed(format!("the secret was not read: {fault}")))
        }
    }
}

/// `keyside key verify`: a key that its provider does not take is a failure, so that scripts notice.
pub(super) async fn verify(one: &One, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
    let path = format!("{}/verify", path(&one.id));
    let verified = one.admin.client(sources)?.post(&path, &json!({})).await?;
    match verified["verification"].as_str() {
        Some("accepted") => tell(&verified, "Accepted", answer),
        Some("limited") => tell(&verified, "Accepted in part", answer),
        _ => {
            let credential = Credential::of(&verified)?;
            // The warnings say what the provider answered, and what to do.
            credential.remark_on(answer);
            answer.give(&verified, |_| String::new())?;
            let verb = match verified["verification"].as_str() {
                Some("rejected") => "not accepted",
                _ => "not verified",
            };
            Err(Failure::failed(credential.in_words(verb)))
        }
    }
}

impl Edit {
    pub(super) async fn run(&self, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
        let body = self.body();
        if body == CredentialEdit::default() {
            return Err(Failure::usage("expected something to change, found nothing")
                .next("`keyside key edit --help` lists what can be changed; a new secret comes with `key rotate`."));
        }
        let client = self.one.admin.client(sources)?;
        let edited = client.patch(&path(&self.one.id), &body).await?;
        tell(&edited, "Changed", answer)
    }

    fn body(&self) -> CredentialEdit {
        let tag = self.usage_tag.clone().map(Some);
        CredentialEdit {
            label: self.label.clone(),
            usage_tag: tag.or_else(|| self.no_usage_tag.then_some(None)),
            expires_at: self.end.change(),
            default: self.default.then_some(true),
        }
    }
}

impl End {
    /// The new expiry: `None` keeps it, `Some(None)` removes it.
    fn change(&self) -> Option<Option<Timestamp>> {
        let end = self.expires_at.map(Some);
        end.or_else(|| self.never_expires.then_some(None))
    }
}

/// Prints the key and its warnings.
fn tell(value: &Value, verb: &str, answer: &Answer) -> Result<(), Failure> {
    let credential = Credential::of(value)?;
    credential.remark_on(answer);
    answer.give(value, |_| format!("{}\n", credential.in_words(verb)))
}
