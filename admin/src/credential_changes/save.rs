//! Storing a secret, and editing what belongs to it.

use std::time::Duration;

use keyside_config::Catalogue;
use keyside_credentials::{
    ChangeError, CheckBeforeSave, Credential, Edit, Environment, GRACE_DEFAULT, Idempotency,
    Limits, LimitsChange, NewCredential, NewSecret, Rotation, Saved, Secret, other_providers,
};

use super::{
    Changed,
    check::{self, CheckRequest, SaveCheck},
};
use crate::{
    access::Caller,
    form::{self, Form},
    problem::Problem,
    state::AdminState,
    wire::{self, CredentialEdit, CredentialRotation, WriteOnly},
};

/// A credential to store, and what is to be checked first.
pub(crate) struct Addition {
    new: NewCredential,
    wanted: CheckRequest,
}

/// What is to change about a credential.
pub(crate) enum Change {
    /// With what is to be checked first.
    Rotate(Rotation, CheckRequest),
    Edit(Edit),
}

impl Addition {
    /// Reads a [`wire::NewCredential`].
    ///
    /// # Errors
    /// The problem that names each wrong field.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut form = Form::parse(body)?;
        match (form.has("secret"), form.has("secretRef")) {
            (true, true) => form.refuse(
                "secretRef",
                "is present beside `secret`; send one of the two",
            ),
            (false, false) => form.refuse("secret", "is missing"),
            _ => {}
        }
        let new: wire::NewCredential = form.read(&[])?;
        let reference = new.secret_ref.and_then(|place| place.reference());
        let secret = match (new.secret, reference) {
            (Some(WriteOnly(secret)), _) => NewSecret::Given(secret),
            (None, Some(reference)) => NewSecret::InVault(reference),
            (None, None) => return Err(Problem::field("secret", "is missing")),
        };
        let wanted = CheckRequest::of(new.check, new.prompt);
        let new = NewCredential {
            workspace: new.workspace_id,
            provider: new.provider,
            label: new.label,
            environment: new.environment.unwrap_or(Environment::Live),
            secret,
            usage_tag: new.usage_tag,
            expires_at: new.expires_at,
            endpoint: new.endpoint,
            limits: new
                .limits
                .map_or_else(Limits::default, wire::Limits::into_domain),
            default: new.default.unwrap_or(false),
            idempotency: None,
            check: CheckBeforeSave::Skip,
        };
        Ok(Self { new, wanted })
    }

    /// Checks the secret as wanted, and stores it.
    ///
    /// # Errors
    /// The workspace is outside of the caller's scope; the secret did not pass the check; others as
    /// the registry says.
    pub(crate) async fn store(
        self,
        state: &AdminState,
        caller: &Caller,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed, Problem> {
        let Self { new, wanted } = self;
        caller.enter_workspace(&new.workspace, ChangeError::WorkspaceUnknown)?;
        let checking = SaveCheck::begin(state, caller, wanted)?;
        let new = NewCredential {
            idempotency,
            check: checking.check.clone(),
            ..new
        };
        let foreign = match &new.secret {
            NewSecret::Given(secret) => foreign(&state.catalogue, &new.provider, secret),
            NewSecret::InVault(_) => None,
        };
        let provider = state.provider(&new.provider);
        let added = state.registry.add(&caller.context(), new).await;
        let added = added.map_err(|error| check::problem(error, provider))?;
        let checked = checking.warnings(added.finding.as_ref(), provider);
        Ok(Changed::of(added, foreign.into_iter().chain(checked)))
    }
}

impl Change {
    /// Reads a change: a body with a `secret` is a rotation, any other one an edit.
    ///
    /// # Errors
    /// The problem that names each wrong field.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        let form = Form::parse(body)?;
        match form.has("secret") {
            true => read_rotation(form),
            false => read_edit(form),
        }
    }

    /// Reads a [`CredentialRotation`].
    ///
    /// # Errors
    /// The problem that names each wrong field.
    pub(crate) fn rotation(body: &[u8]) -> Result<Self, Problem> {
        read_rotation(Form::parse(body)?)
    }

    /// Makes the change, unless the caller has seen another revision than the current one.
    ///
    /// # Errors
    /// The secret did not pass the check; others as the registry says.
    pub(crate) async fn make(
        self,
        state: &AdminState,
        caller: &Caller,
        credential: &Credential,
        expected: Option<u64>,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed, Problem> {
        let (act, id) = (caller.context(), &credential.id);
        let (rotation, wanted) = match self {
            Self::Rotate(rotation, wanted) => (rotation, wanted),
            Self::Edit(edit) => {
                let edit = Edit { expected, ..edit };
                let edited = state.registry.edit(&act, id, edit).await?;
                return Ok(Changed::of(edited, []));
            }
        };
        let provider = &credential.provider;
        let foreign = foreign(&state.catalogue, provider, &rotation.secret);
        let known = state.provider(provider);
        let checking = SaveCheck::begin(state, caller, wanted)?;
        let rotation = Rotation {
            expected,
            idempotency,
            check: checking.check.clone(),
            ..rotation
        };
        let rotated = state.registry.rotate(&act, id, rotation).await;
        let rotated = rotated.map_err(|error| check::problem(error, known))?;
        let checked = checking.warnings(rotated.finding.as_ref(), known);
        Ok(Changed::of(rotated, foreign.into_iter().chain(checked)))
    }
}

impl Changed {
    /// The saved credential with its warnings, and others after them.
    fn of(saved: Saved, others: impl IntoIterator<Item = String>) -> Self {
        let warnings = saved.warnings.iter().map(ToString::to_string);
        Self {
            warnings: warnings.chain(others).collect(),
            credential: saved.credential,
        }
    }
}

fn read_rotation(form: Form<'_>) -> Result<Change, Problem> {
    let new: CredentialRotation = form.read(&[
        (form::fields::<CredentialEdit>(), NOT_WITH_SECRET),
        (form::fields::<wire::NewCredential>(), FIXED),
    ])?;
    let Some(WriteOnly(secret)) = new.secret else {
        return Err(Problem::field("secret", "is missing"));
    };
    let rotation = Rotation {
        grace: new.grace_seconds.map_or(GRACE_DEFAULT, Duration::from_secs),
        expires_at: new.expires_at,
        ..Rotation::to(secret)
    };
    let wanted = CheckRequest::of(new.check, new.prompt);
    Ok(Change::Rotate(rotation, wanted))
}

fn read_edit(form: Form<'_>) -> Result<Change, Problem> {
    let new: CredentialEdit = form.read(&[
        (form::fields::<CredentialRotation>(), ONLY_WITH_SECRET),
        (form::fields::<wire::NewCredential>(), FIXED),
    ])?;
    Ok(Change::Edit(Edit {
        label: new.label,
        usage_tag: new.usage_tag,
        expires_at: new.expires_at,
        limits: new
            .limits
            .map_or_else(LimitsChange::default, wire::LimitsEdit::into_domain),
        default: new.default,
        expected: None,
    }))
}

/// A warning if the key has the usual form of another provider's keys.
fn foreign(catalogue: &Catalogue, provider: &str, secret: &Secret) -> Option<String> {
    let others = other_providers(secret, provider, catalogue);
    (!others.is_empty()).then(|| {
        format!(
            "it has the usual form of a key of {}: check that it is stored for the right provider",
            others.join(" or ")
        )
    })
}

const NOT_WITH_SECRET: &str =
    "cannot be changed together with the secret; send it in a separate request";

const ONLY_WITH_SECRET: &str =
    "belongs to a rotation, and the body has no `secret`; POST …/verify checks the secret in use";

/// The secret is sealed for its workspace, provider and endpoint, and runners pinned to the sandbox
/// must not get a live key.
const FIXED: &str = "cannot be changed; store the key as another credential";
