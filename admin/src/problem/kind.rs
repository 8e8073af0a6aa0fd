//! The kinds of problems, each with a stable type, a title and a status.

use http::StatusCode;

/// The kind of a problem. Programs may rely on its `type`; title and detail are for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unauthenticated,
    PermissionDenied,
    HostNotAllowed,
    BrowserNotAllowed,
    RouteUnknown,
    MethodNotAllowed,
    RequestMalformed,
    MediaTypeUnsupported,
    TooManyRequests,
    TooManyInProgress,
    BodyTooLarge,
    BodyTimeout,
    FieldsInvalid,
    WorkspaceUnknown,
    WorkspaceExists,
    CredentialUnknown,
    TokenUnknown,
    LastOwner,
    DeclaredInSettings,
    KeptInVault,
    NotKeptInVault,
    SecretUnavailable,
    LabelTaken,
    CredentialRevoked,
    NothingInGrace,
    SecretRefused,
    SecretReplaced,
    IdempotencyKeyReused,
    PreconditionFailed,
    PreconditionRequired,
    RecordDamaged,
    MasterKeyNotRotatable,
    ErasureIncomplete,
    OutcomeUnknown,
    StoreUnavailable,
    Internal,
}

impl Kind {
    /// The `type`: a URN, so that it does not depend on a host.
    pub(crate) fn uri(self) -> String {
        format!("urn:keyside:problem:{}", self.name())
    }

    /// The last part of `type`, and the name in the audit log.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn status(self) -> StatusCode {
        self.row().1
    }

    pub(crate) fn title(self) -> &'static str {
        self.row().2
    }

    /// Whether the request was refused access rather than being wrong. Refusals are audited.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Unauthenticated
                | Self::PermissionDenied
                | Self::HostNotAllowed
                | Self::BrowserNotAllowed
        )
    }

    #[rustfmt::skip]
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "A token is needed"),
            Self::PermissionDenied => ("permission-denied", StatusCode::FORBIDDEN, "The token does not allow it"),
            Self::HostNotAllowed => ("host-not-allowed", StatusCode::FORBIDDEN, "The Host is not this server's"),
            Self::BrowserNotAllowed => ("browser-not-allowed", StatusCode::FORBIDDEN, "Another site's page may not call this"),
            Self::RouteUnknown => ("route-unknown", StatusCode::NOT_FOUND, "There is nothing here"),
            Self::MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Not with this method"),
            Self::RequestMalformed => ("request-malformed", StatusCode::BAD_REQUEST, "The request cannot be read"),
            Self::MediaTypeUnsupported => ("media-type-unsupported", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body has another form than JSON"),
            Self::TooManyRequests => ("too-many-requests", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::TooManyInProgress => ("too-many-in-progress", StatusCode::TOO_MANY_REQUESTS, "Too many of this kind are in progress"),
            Self::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::BodyTimeout => ("body-timeout", StatusCode::REQUEST_TIMEOUT, "The body took too long"),
            Self::FieldsInvalid => ("fields-invalid", StatusCode::UNPROCESSABLE_ENTITY, "Some fields are not as expected"),
            Self::WorkspaceUnknown => ("workspace-unknown", StatusCode::NOT_FOUND, "There is no such workspace"),
            Self::WorkspaceExists => ("workspace-exists", StatusCode::CONFLICT, "The workspace exists already"),
            Self::CredentialUnknown => ("credential-unknown", StatusCode::NOT_FOUND, "There is no such credential"),
            Self::TokenUnknown => ("token-unknown", StatusCode::NOT_FOUND, "There is no such token"),
            Self::LastOwner => ("last-owner", StatusCode::CONFLICT, "It is the last owner's token"),
            Self::DeclaredInSettings => ("declared-in-settings", StatusCode::CONFLICT, "The settings declare it"),
            Self::KeptInVault => ("kept-in-vault", StatusCode::CONFLICT, "The secret is kept in Vault"),
            Self::NotKeptInVault => ("not-kept-in-vault", StatusCode::CONFLICT, "The secret is stored here"),
            Self::SecretUnavailable => ("secret-unavailable", StatusCode::SERVICE_UNAVAILABLE, "The secret was not read from Vault"),
            Self::LabelTaken => ("label-taken", StatusCode::CONFLICT, "The label is taken"),
            Self::CredentialRevoked => ("credential-revoked", StatusCode::CONFLICT, "The credential was revoked"),
            Self::NothingInGrace => ("nothing-in-grace", StatusCode::CONFLICT, "No earlier version is left"),
            Self::SecretRefused => ("secret-refused", StatusCode::UNPROCESSABLE_ENTITY, "The new secret did not pass its check"),
            Self::SecretReplaced => ("secret-replaced", StatusCode::CONFLICT, "The secret was replaced meanwhile"),
            Self::IdempotencyKeyReused => ("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "The idempotency key is taken"),
            Self::PreconditionFailed => ("precondition-failed", StatusCode::PRECONDITION_FAILED, "It has changed meanwhile"),
            Self::PreconditionRequired => ("precondition-required", StatusCode::PRECONDITION_REQUIRED, "If-Match is needed"),
            Self::RecordDamaged => ("record-damaged", StatusCode::CONFLICT, "The stored record is damaged"),
            Self::MasterKeyNotRotatable => ("master-key-not-rotatable", StatusCode::CONFLICT, "The master key cannot be replaced from here"),
            Self::ErasureIncomplete => ("erasure-incomplete", StatusCode::SERVICE_UNAVAILABLE, "Something is left to be removed"),
            Self::OutcomeUnknown => ("outcome-unknown", StatusCode::SERVICE_UNAVAILABLE, "Whether it was changed is not known"),
            Self::StoreUnavailable => ("store-unavailable", StatusCode::SERVICE_UNAVAILABLE, "The store cannot be written"),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here"),
        }
    }
}
