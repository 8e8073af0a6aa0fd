//! Creates a credential.
//!
//! With a check, everything is decided twice: before the provider is asked, so that it is not asked
//! in vain, and after, on the state of that time. Nothing is stored in between, and the lock is
//! released, so that other changes need not wait.

use std::sync::Arc;

use jiff::Timestamp;
use keyside_config::{BaseUrl, Catalogue, Provider, Upstream};

use super::{
    ChangeOutcome, Checked, Decision, Trial, about, detail, group::Change, other_label,
    with_default,
};
use crate::{
    chains::Priority,
    documents::{CredentialDocument, Document, SecretMetadata, SourceDocument, WorkspaceDocument},
    live_check::Finding,
    model::{
        ActorContext, CredentialId, Label, Warning, WorkspaceId, has_usual_form, refused_kind,
    },
    record::{Draft, Event},
    registry::{ChangeError, NewCredential, NewSecret, Registry, Saved},
    resolver::Grant,
    sealing::SealingKey,
    secret::Secret,
    snapshot::{CredentialEntry, WorkspaceEntry, signals::Signals},
    source::VaultReference,
};

impl Registry {
    /// Creates a credential.
    ///
    /// # Errors
    /// The request is invalid, or storage failed; nothing has changed then.
    pub async fn add(
        self: &Arc<Self>,
        by: &ActorContext,
        new: NewCredential,
    ) -> Result<Saved, ChangeError> {
        let by = by.clone();
        let outcome = self
            .run_to_completion(|registry| async move {
                let input = registry.obtain_secret(&new.workspace, &new.secret).await?;
                // Drawn once: the check is recorded under the id that the credential gets.
                let drawn = CredentialId::random();
                let Some(check) = new.check.check() else {
                    return retry_on_race!(registry.add_once(&by, &new, &input, &drawn, None));
                };
                let trial = retry_on_race!(registry.try_out(&by, &new, &input, &drawn))?;
                let (on_trial, basis) = match trial {
                    Trial::Repeated(outcome) => return Ok(outcome),
                    Trial::Ready { on_trial, basis } => (on_trial, basis),
                };
                let finding = Finding::of(&on_trial, check).await;
                new.check.judge(&finding)?;
                let checked = Checked { finding, basis };
                retry_on_race!(registry.add_once(&by, &new, &input, &drawn, Some(&checked)))
            })
            .await?;
        self.saved(outcome)
    }

    /// Decides without storing anything, so that the provider can be asked about the secret. Based on
    /// the workspace's incarnation.
    async fn try_out(
        &self,
        by: &ActorContext,
        new: &NewCredential,
        input: &SecretInput<'_>,
        drawn: &CredentialId,
    ) -> Result<Trial<u64>, ChangeError> {
        self.change_workspace(by, &new.workspace, Priority::Normal, || {
            let trial = match self.decide_addition(by, new, input, drawn)? {
                Addition::Repeated(outcome) => Trial::Repeated(outcome),
                Addition::New(prepared) => Trial::Ready {
                    basis: prepared.workspace.document.incarnation,
                    on_trial: Grant::on_trial(prepared.entry),
                },
            };
            Ok(Decision::unchanged(trial))
        })
        .await
    }

    async fn add_once(
        &self,
        by: &ActorContext,
        new: &NewCredential,
        input: &SecretInput<'_>,
        drawn: &CredentialId,
        checked: Option<&Checked<u64>>,
    ) -> Result<ChangeOutcome, ChangeError> {
        let finding = checked.map(|checked| checked.finding);
        let decided = self.change_workspace(by, &new.workspace, Priority::Normal, || {
            if let Some(checked) = checked {
                self.expect_incarnation(&new.workspace, checked.basis)?;
            }
            Ok(match self.decide_addition(by, new, input, drawn)? {
                Addition::Repeated(outcome) => Decision::unchanged((outcome, None)),
                Addition::New(prepared) => {
                    let added = (prepared.entry.secret_in_use(), prepared.now);
                    let (change, outcome) = prepared.into_change(finding);
                    Decision::commit(change, (outcome, Some(added)))
                }
            })
        });
        let (outcome, added) = decided.await?;
        if let (Some(finding), Some((secret, now))) = (finding, added) {
            self.keep_check(&outcome.id, secret, finding, now);
        }
        Ok(outcome)
    }

    /// The key was meant for the workspace as it was before the check. One that was erased and
    /// created again meanwhile has only its id.
    fn expect_incarnation(&self, id: &WorkspaceId, incarnation: u64) -> Result<(), ChangeError> {
        let workspace = self.sound_workspace(id)?;
        match workspace.document.incarnation == incarnation {
            true => Ok(()),
            false => Err(ChangeError::WorkspaceUnknown),
        }
    }

    /// Decides everything about the new credential.
    fn decide_addition(
        &self,
        by: &ActorContext,
        new: &NewCredential,
        input: &SecretInput<'_>,
        drawn: &CredentialId,
    ) -> Result<Addition, ChangeError> {
        let provider: &Provider = self
            .catalogue
            .get(&new.provider)
            .ok_or(ChangeError::ProviderUnknown)?;
        let endpoint = endpoint(provider, new.endpoint.as_deref())?;
        let secret = input.secret();
        let workspace = self.sound_workspace(&new.workspace)?;
        let id = self.new_id(by, new, &workspace.document, drawn);
        if workspace.lost.contains_key(&id) {
            // An earlier request with the same idempotency key created it, but its response was
            // lost with the record.
            return Err(ChangeError::Damaged);
        }
        if let Some(outcome) = self.repeated(by, new, workspace.credentials.get(&id))? {
            return Ok(Addition::Repeated(outcome));
        }
        expect_kind(provider, secret)?;
        expect_secret_once(new, secret)?;
        let key = self.sealing_key(&workspace.document);
        let key = key.ok_or(ChangeError::KeyLost)?;
        let now = self.clock.now();
        expect_future_and_free(new, &workspace, now)?;
        let default = workspace.default(&new.provider, new.environment);
        let becomes_default = new.default || default.is_none();
        let other = other_label(default, &id);
        let warnings = warnings(provider, secret, other, becomes_default);
        let idempotency = new
            .idempotency
            .clone()
            .map(|by_key| by_key.into_record(by, &warnings));
        let metadata = SecretMetadata::of(secret, &provider.key.prefix, idempotency);
        let mut document = unsealed(by, id, new, (provider, endpoint), now);
        document.source = input
            .in_vault()
            .map(|(_, initial)| SourceDocument::Version(initial.version.clone()));
        add_first_version(&mut document, &key, input, &metadata, now);
        let settings = becomes_default.then(|| with_default(&workspace.document, &document));
        let draft = Draft {
            detail: detail(&key, &metadata.fingerprint),
            note: input.in_vault().map(|(reference, _)| reference.to_string()),
            ..about(Event::CredentialCreated, by, &document)
        };
        let signals = Arc::new(Signals::new(self.notices.clone()));
        let mut entry = CredentialEntry::new(document, &*self.keyring, signals);
        if let Some((_, initial)) = input.in_vault() {
            entry = self.with_initial_secret(&entry, initial, metadata);
        }
        Ok(Addition::New(Box::new(Prepared {
            entry,
            draft,
            warnings,
            settings,
            workspace,
            now,
        })))
    }

    /// The secret of a new credential. A secret in Vault is read before any lock is taken.
    async fn obtain_secret<'a>(
        &self,
        workspace: &WorkspaceId,
        secret: &'a NewSecret,
    ) -> Result<SecretInput<'a>, ChangeError> {
        match secret {
            NewSecret::Given(secret) => Ok(SecretInput::Given(secret)),
            NewSecret::InVault(reference) => {
                let initial = self.read_initial_secret(workspace, reference).await?;
                Ok(SecretInput::Read { reference, initial })
            }
        }
    }

    /// Derived from the idempotency key, if there is one, so that a repeated request finds the same
    /// credential without a search; else the one that was `drawn` for this request.
    fn new_id(
        &self,
        by: &ActorContext,
        new: &NewCredential,
        workspace: &WorkspaceDocument,
        drawn: &CredentialId,
    ) -> CredentialId {
        match &new.idempotency {
            Some(by_key) => by_key.credential_id(by, workspace, self.keyring.installation()),
            None => drawn.clone(),
        }
    }

    /// The result of an earlier request with the same idempotency key.
    fn repeated(
        &self,
        by: &ActorContext,
        new: &NewCredential,
        existing: Option<&Arc<CredentialEntry>>,
    ) -> Result<Option<ChangeOutcome>, ChangeError> {
        let (Some(by_key), Some(entry)) = (&new.idempotency, existing) else {
            return Ok(None);
        };
        let metadata = match entry.damage() {
            None => entry.document.open_metadata(1, &self.keyring).ok(),
            Some(_) => None,
        };
        let warnings = by_key
            .answer(by, &metadata.ok_or(ChangeError::Damaged)?)?
            .ok_or(ChangeError::IdempotencyKeyReused)?;
        Ok(Some(ChangeOutcome::repeated(&entry.document.id, warnings)))
    }
}

/// A new credential that is decided and not yet stored.
struct Prepared {
    entry: CredentialEntry,
    draft: Draft,
    warnings: Vec<Warning>,
    /// The workspace's document, if the default changes.
    settings: Option<WorkspaceDocument>,
    workspace: Arc<WorkspaceEntry>,
    now: Timestamp,
}

impl Prepared {
    /// The change that stores it, and its result. `finding` is what the provider said, if it was
    /// asked.
    fn into_change(self, finding: Option<Finding>) -> (Change, ChangeOutcome) {
        let checked = finding.map(|finding| finding.audit_note());
        let notes: Vec<_> = self.draft.note.into_iter().chain(checked).collect();
        let draft = Draft {
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            ..self.draft
        };
        let outcome = ChangeOutcome {
            id: self.entry.document.id.clone(),
            warnings: self.warnings,
            repeated: false,
            finding,
        };
        let write = self.entry.document.write();
        let stored = (self.entry, write);
        let change = Change::of_credential(self.workspace, self.settings, stored, vec![draft]);
        (change, outcome)
    }
}

/// What a request to create a credential leads to.
enum Addition {
    /// An earlier request with the same idempotency key has created it.
    Repeated(ChangeOutcome),
    New(Box<Prepared>),
}

/// The secret that a new credential refers to.
pub(in crate::registry) struct InitialSecret {
    /// Vault's version.
    pub(in crate::registry) version: String,
    pub(in crate::registry) secret: Secret,
}

enum SecretInput<'a> {
    Given(&'a Secret),
    Read {
        reference: &'a VaultReference,
        initial: InitialSecret,
    },
}

impl SecretInput<'_> {
    fn secret(&self) -> &Secret {
        match self {
            Self::Given(secret) => secret,
            Self::Read { initial, .. } => &initial.secret,
        }
    }

    fn in_vault(&self) -> Option<(&VaultReference, &InitialSecret)> {
        match self {
            Self::Given(_) => None,
            Self::Read { reference, initial } => Some((*reference, initial)),
        }
    }
}

/// The document without versions.
fn unsealed(
    by: &ActorContext,
    id: CredentialId,
    new: &NewCredential,
    (provider, endpoint): (&Provider, Option<String>),
    now: Timestamp,
) -> CredentialDocument {
    CredentialDocument {
        id,
        workspace: new.workspace.clone(),
        provider: provider.id.clone(),
        label: new.label.clone(),
        environment: new.environment,
        usage_tag: new.usage_tag.clone(),
        expires_at: new.expires_at,
        endpoint,
        limits: new.limits,
        reference: match &new.secret {
            NewSecret::Given(_) => None,
            NewSecret::InVault(reference) => Some(Box::new(reference.clone())),
        },
        source: None,
        created_by: by.actor.clone(),
        created_at: now,
        last_rotated_at: None,
        revoked_at: None,
        revision: 1,
        current: 0,
        versions: Vec::new(),
    }
}

/// The endpoint as it is stored and sealed: the canonical URL, by the provider's rule.
fn endpoint(provider: &Provider, given: Option<&str>) -> Result<Option<String>, ChangeError> {
    match (&provider.upstream, given) {
        (Upstream::PerCredential(rule), Some(given)) => {
            rule.accept(given).map(origin).map_err(ChangeError::from)
        }
        (Upstream::PerCredential(rule), None) => {
            Err(ChangeError::EndpointMissing(rule.example.clone()))
        }
        (Upstream::Fixed(_), None) => Ok(None),
        // The settings may send all of a provider's credentials to one host. The endpoint is then
        // unused, but kept in case the settings change, so it must be valid.
        (Upstream::Fixed(_), Some(given)) => match Catalogue::builtin()
            .get(provider.id.as_str())
            .map(|of| &of.upstream)
        {
            Some(Upstream::PerCredential(rule)) => {
                rule.accept(given).map(origin).map_err(ChangeError::from)
            }
            _ => Err(ChangeError::EndpointNotTaken),
        },
    }
}

fn origin(url: BaseUrl) -> Option<String> {
    Some(format!("https://{}", url.authority()))
}

/// Refuses keys that cannot call models or are personal, by the provider's catalogue entry.
pub(super) fn expect_kind(provider: &Provider, secret: &Secret) -> Result<(), ChangeError> {
    match refused_kind(secret, &provider.key) {
        Some(kind) => Err(ChangeError::SecretOfOtherKind(kind.why.clone())),
        None => Ok(()),
    }
}

/// Refuses a secret that was pasted into a field that everyone may read, too.
fn expect_secret_once(new: &NewCredential, secret: &Secret) -> Result<(), ChangeError> {
    let tag = new.usage_tag.as_ref();
    if secret.is_repeated_in(new.label.as_str()) {
        return Err(ChangeError::LabelRepeatsSecret);
    }
    match tag.is_some_and(|tag| secret.is_repeated_in(tag.as_str())) {
        true => Err(ChangeError::UsageTagRepeatsSecret),
        false => Ok(()),
    }
}

/// Refuses an expiry that has passed, and a label that another key has.
fn expect_future_and_free(
    new: &NewCredential,
    workspace: &WorkspaceEntry,
    now: Timestamp,
) -> Result<(), ChangeError> {
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(ChangeError::ExpiryPast);
    }
    match workspace.has_label(&new.provider, &new.label) {
        true => Err(ChangeError::LabelTaken(new.label.clone())),
        false => Ok(()),
    }
}

fn add_first_version(
    document: &mut CredentialDocument,
    key: &SealingKey,
    input: &SecretInput<'_>,
    metadata: &SecretMetadata,
    now: Timestamp,
) {
    let version = match input {
        SecretInput::Given(secret) => document.seal(key, secret, metadata, now),
        SecretInput::Read { .. } => document.refer(key, metadata, now),
    };
    let number = version.number;
    document.push(version);
    document.promote(number, now, now);
}

/// What to say about a secret that is stored nevertheless. `other` is the default besides it.
fn warnings(
    provider: &Provider,
    secret: &Secret,
    other: Option<Label>,
    becomes_default: bool,
) -> Vec<Warning> {
    let default = other.map(|label| match becomes_default {
        true => Warning::DefaultReplaced { label },
        false => Warning::OtherIsDefault { label },
    });
    unusual_form(provider, secret)
        .into_iter()
        .chain(default)
        .collect()
}

pub(super) fn unusual_form(provider: &Provider, secret: &Secret) -> Option<Warning> {
    (!has_usual_form(secret, &provider.key)).then_some(Warning::SecretUnusualForm)
}

impl WorkspaceEntry {
    pub(super) fn has_label(&self, provider: &str, label: &Label) -> bool {
        self.choices(provider)
            .is_some_and(|choices| choices.labels.is_taken(label))
    }
}
