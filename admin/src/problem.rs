//! What a caller reads when the answer is no: RFC 9457 problem documents.
//!
//! A problem says what is wrong, names the fields, and what to do next. It never repeats a value that came in: any of
//! them may be a secret in the wrong place.

mod kind;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use keyside_credentials::{ActorId, ChangeError, CommitError, StorageError};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use self::kind::Kind;

/// A request that gets no other answer.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    remedy: &'static str,
    errors: Box<[FieldError]>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Who was kept out, where that is known.
    refused: Option<ActorId>,
    /// What went wrong here: for the log, never for the answer.
    cause: Option<Box<str>>,
}

/// What is wrong with one field of a body, or one parameter of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Its name on the wire.
    pub(crate) field: String,
    /// Where it stands in the body, as a JSON pointer (RFC 6901) in fragment form; parameters have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// What was expected.
    pub(crate) detail: String,
}

impl FieldError {
    /// About a field of the body.
    pub(crate) fn field(name: &str, detail: impl Into<String>) -> Self {
        let pointer = Some(format!("#/{name}"));
        let (field, detail) = (name.to_owned(), detail.into());
        Self {
            field,
            pointer,
            detail,
        }
    }

    /// About a parameter of the query.
    pub(crate) fn parameter(name: &str, detail: impl Into<String>) -> Self {
        let (field, detail) = (name.to_owned(), detail.into());
        Self {
            field,
            pointer: None,
            detail,
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>, remedy: &'static str) -> Self {
        let detail = detail.into();
        Self {
            kind,
            detail,
            remedy,
            errors: Box::default(),
            headers: Vec::new(),
            refused: None,
            cause: None,
        }
    }

    /// Fields that are not what they should be. The first ones are named; of the rest it is said how many they are.
    pub(crate) fn fields(mut errors: Vec<FieldError>) -> Self {
        let more = match errors.len().saturating_sub(ERRORS_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        errors.truncate(ERRORS_MAX);
        let names: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        let detail = format!(
            "Not as expected: {}{more}. Nothing was changed.",
            names.join(", ")
        );
        Self::new(
            Kind::FieldsInvalid,
            detail,
            "Correct what `errors` names and send the request again.",
        )
        .with_errors(errors)
    }

    /// Something that is our own fault. What it was goes to the log, under the request's id.
    pub(crate) fn internal(cause: impl Into<Box<str>>) -> Self {
        let remedy = "Look for the request's id in Keyside's log and report what stands there.";
        Self::new(Kind::Internal, "The request could not be finished.", remedy).caused_by(cause)
    }

    /// Says in the log, under the request's id, what the answer does not.
    fn caused_by(self, cause: impl Into<Box<str>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }

    pub(crate) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors.into();
        self
    }

    pub(crate) fn with_header(self, name: HeaderName, value: &'static str) -> Self {
        self.with_value(name, HeaderValue::from_static(value))
    }

    pub(crate) fn with_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Puts it on record that `actor` was kept out, whatever the answer says: one that hides what there is says nothing.
    pub(crate) fn refusing(mut self, actor: &ActorId) -> Self {
        self.refused = Some(actor.clone());
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Who was kept out, for the audit log; nothing where the answer is no refusal.
    pub(crate) fn refused(&self) -> Option<ActorId> {
        let known = self.refused.clone();
        known.or_else(|| self.kind.is_refusal().then(ActorId::anonymous))
    }

    /// The one place where a refusal or an error becomes bytes, and where what only we may know of it goes to the log.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(request_id, cause, "a request could not be finished");
        }
        let body = serde_json::to_vec(&Document {
            kind: self.kind.uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            remedy: self.remedy,
            request_id,
            errors: &self.errors,
        });
        let mut response = match body {
            Ok(body) => (self.kind.status(), body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        };
        let headers = response.headers_mut();
        headers.extend(self.headers.iter().cloned());
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        response
    }
}

/// A handler's error travels to the outermost layer as it is; that one knows the request's id, and audits and logs.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    remedy: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// Why the registry did not make a change, in the caller's terms.
impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let said = sentence(&error);
        match error {
            ChangeError::WorkspaceUnknown => Self::new(
                Kind::WorkspaceUnknown,
                said,
                "Make the workspace first (POST /api/workspaces, `keyside workspace add`), or correct the id.",
            )
            .with_errors(vec![FieldError::field("workspaceId", "no such workspace")]),
            ChangeError::WorkspaceExists => Self::new(
                Kind::WorkspaceExists,
                said,
                "Use the workspace that is there, or choose another id.",
            )
            .with_errors(vec![FieldError::field("id", "taken")]),
            ChangeError::LabelTaken { .. } => Self::new(
                Kind::LabelTaken,
                said,
                "Choose another label, or revoke the credential that has this one: a revoked credential gives its label up.",
            )
            .with_errors(vec![FieldError::field("label", "taken")]),
            ChangeError::CredentialUnknown => Self::credential_unknown(),
            ChangeError::Declared => Self::new(
                Kind::DeclaredInSettings,
                said,
                "Change its [[credential]] table, or its secret where that is kept. To store keys for a workspace that only \
                 the settings name, make it first (`keyside workspace add`).",
            ),
            ChangeError::KeptInVault { .. } => Self::new(
                Kind::KeptInVault,
                said,
                "Rotate it in Vault. Keyside follows within vault.poll, or at once with POST …/refresh (`keyside key refresh`).",
            ),
            ChangeError::NotKeptInVault => Self::new(
                Kind::NotKeptInVault,
                said,
                "There is nothing to refresh. A new secret comes with PATCH and `secret` (`keyside key rotate`).",
            ),
            ChangeError::SecretUnread { .. } => Self::new(
                Kind::SecretUnread,
                said,
                "See that Vault answers and lets Keyside read the secret, then try again.",
            ),
            ChangeError::ReferenceNotAllowed { .. } | ChangeError::ReferenceRefused { .. } => {
                one_field("secretRef", said)
            }
            ChangeError::TokenUnknown => Self::token_unknown(),
            ChangeError::LastOwner => Self::new(
                Kind::LastOwner,
                said,
                "Make another owner's token that is not limited to workspaces first.",
            ),
            ChangeError::AccessEnded => Self::new(
                Kind::Unauthenticated,
                said,
                "Send the request with another token.",
            )
            .with_header(header::WWW_AUTHENTICATE, r#"Bearer realm="keyside", error="invalid_token""#),
            ChangeError::ScopeExceeded => one_field("workspaces", said),
            ChangeError::Superseded { .. } => Self::superseded(),
            ChangeError::IdempotencyKeyReused => Self::new(
                Kind::IdempotencyKeyReused,
                said,
                "Send another Idempotency-Key, or exactly the request that this one was used for.",
            ),
            ChangeError::Revoked => Self::new(
                Kind::CredentialRevoked,
                said,
                "Store the key as a new credential. It may have the same label.",
            ),
            ChangeError::NothingInGrace => Self::new(
                Kind::NothingInGrace,
                said,
                "Rotate to the secret that is wanted (PATCH with `secret`, `keyside key rotate`).",
            ),
            ChangeError::CheckFailed(_) => Self::new(
                Kind::SecretRefused,
                said,
                "The old secret is used as before. Look at the new one in the provider's console and send it again.",
            ),
            ChangeError::Replaced => Self::new(
                Kind::SecretReplaced,
                said,
                "Ask again: it is about the one in use then.",
            ),
            ChangeError::GraceTooLong | ChangeError::TooManyInGrace => {
                one_field("graceSeconds", said)
            }
            ChangeError::VersionNotInGrace { .. } => one_field("version", said),
            ChangeError::DefaultNeeded => one_field("default", said),
            ChangeError::Damaged => Self::new(
                Kind::RecordDamaged,
                said,
                "Restore the data folder from a backup, or store the key again under a new label. Where the whole workspace is \
                 damaged, it can also be erased (DELETE /api/workspaces/{id}) and made again.",
            ),
            ChangeError::ChainDamaged(_) => Self::new(
                Kind::RecordDamaged,
                said,
                "Choose another id, put back the newest copy of the whole data folder, or restore a backup. Nothing was changed.",
            ),
            ChangeError::HeadInTheWay { .. } => Self::new(
                Kind::RecordDamaged,
                said,
                "Move that file away and send the request again, or choose another id. Nothing was changed.",
            ),
            ChangeError::AnchorsDamaged { .. } => Self::new(
                Kind::RecordDamaged,
                said,
                "Put those files back from the newest copy of the data folder, or erase their workspaces; then rotate again. Nothing \
                 was changed.",
            ),
            ChangeError::MasterKeyFixed(_) => Self::new(
                Kind::MasterKeyFixed,
                said,
                "Give a new master key and name the old one in kms.previous_master_key_file, restart, and rotate again.",
            ),
            ChangeError::NameUnfit => one_field("name", said),
            ChangeError::ProviderUnknown => one_field(
                "provider",
                "the catalogue has no such provider",
            ),
            ChangeError::EndpointMissing { .. }
            | ChangeError::EndpointRefused(_)
            | ChangeError::EndpointNotTaken => one_field("endpoint", said),
            ChangeError::SecretOfOtherKind { why } => one_field("secret", why),
            ChangeError::ExpiryPast => one_field("expiresAt", said),
            ChangeError::ErasingUnfinished(_) => Self::new(
                Kind::ErasingUnfinished,
                "The workspace is erased, and storage has not let go of all of it yet.",
                "It goes on by itself. Send the request again: once nothing is left, the answer is the receipt.",
            )
            .with_header(header::RETRY_AFTER, "5")
            .caused_by(said),
            ChangeError::OutcomeUnknown { .. } => Self::new(
                Kind::OutcomeUnknown,
                "The store did not say whether it took the change.",
                "Look at what is listed before you try again: the change may have been made. With an Idempotency-Key, sending the \
                 same request again is safe.",
            )
            .with_header(header::RETRY_AFTER, "5")
            .caused_by(said),
            ChangeError::Raced => Self::new(
                Kind::StoreUnavailable,
                "Others changed the same thing each time before this change could be made, so nothing was changed.",
                "Try again.",
            )
            .with_header(header::RETRY_AFTER, "1"),
            ChangeError::TooMany => one_field("workspaceId", said),
            ChangeError::StoreUnavailable(storage) => Self::from(storage),
            _ => Self::internal(said),
        }
    }
}

/// Nothing was changed: where that is not certain, the error is another.
impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let (detail, remedy) = match &error {
            StorageError::Full { .. } => (
                "The disk that holds the store is nearly full, so nothing was changed.",
                "Free some space on the disk of the data folder and try again.",
            ),
            StorageError::Conflict { .. } => (
                "Someone else wrote at the same moment, so nothing was changed.",
                "Try again.",
            ),
            StorageError::Failed { .. } => (
                "A write to the store has failed, so nothing was changed, and nothing is accepted until Keyside is restarted.",
                "Look at the disk of the data folder, then restart Keyside. Requests are answered meanwhile.",
            ),
            _ => (
                "The store cannot be written, so nothing was changed.",
                "Look at Keyside's log for what the store says, then try again.",
            ),
        };
        tracing::error!(%error, "a change was not made");
        Self::new(Kind::StoreUnavailable, detail, remedy).with_header(header::RETRY_AFTER, "5")
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        ChangeError::from(error).into()
    }
}

impl Problem {
    /// Storage did not hand out what was asked for.
    pub(crate) fn unreadable(error: StorageError) -> Self {
        tracing::error!(%error, "the store could not be read");
        Self::new(
            Kind::StoreUnavailable,
            "The store cannot be read.",
            "Look at Keyside's log for what the store says, then try again.",
        )
        .with_header(header::RETRY_AFTER, "5")
    }

    /// Also what someone without access to it is told.
    pub(crate) fn workspace_unknown() -> Self {
        Self::new(
            Kind::WorkspaceUnknown,
            "There is no such workspace.",
            "GET /api/workspaces lists the ones there are (`keyside workspace list`).",
        )
    }

    /// Also what someone without access to it is told: nothing shows what exists.
    pub(crate) fn credential_unknown() -> Self {
        Self::new(
            Kind::CredentialUnknown,
            "There is no such credential.",
            "GET /api/integrations/credentials lists the ones there are (`keyside key list`).",
        )
    }
}

impl Problem {
    /// One of several; which, is not said to those who may not see it.
    pub(crate) fn workspaces_unknown() -> Self {
        let error = FieldError::field("workspaces", "one of them does not exist");
        Self::workspace_unknown().with_errors(vec![error])
    }

    /// The state that a change was decided on is gone.
    pub(crate) fn superseded() -> Self {
        Self::new(
            Kind::PreconditionFailed,
            "It has changed since the entity tag in If-Match was given out. Nothing was changed now.",
            "Read it again, decide again, and send its new ETag as If-Match.",
        )
    }

    /// Also what someone who may not see it is told.
    pub(crate) fn token_unknown() -> Self {
        Self::new(
            Kind::TokenUnknown,
            "There is no such token.",
            "GET /api/tokens lists the ones there are (`keyside token list`).",
        )
    }
}

fn one_field(name: &str, detail: impl Into<String>) -> Problem {
    Problem::fields(vec![FieldError::field(name, detail)])
}

/// An error's text as a sentence of its own.
fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => text,
    }
}

/// More than any body here has fields; a body that has made-up ones is not answered at length.
const ERRORS_MAX: usize = 16;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
