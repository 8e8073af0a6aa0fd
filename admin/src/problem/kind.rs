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
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "A valid token is required"),
            Self::PermissionDenied => ("permission-denied", StatusCode::FORBIDDEN, "The token does not permit this"),
            Self::HostNotAllowed => ("host-not-allowed", StatusCode::FORBIDDEN, "The Host is not this server's"),
            Self::BrowserNotAllowed => ("browser-not-allowed", StatusCode::FORBIDDEN, "Pages of other sites cannot call this"),
            Self::RouteUnknown => ("route-unknown", StatusCode::NOT_FOUND, "Unknown path"),
            Self::MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::RequestMalformed => ("request-malformed", StatusCode::BAD_REQUEST, "Malformed request"),
            Self::MediaTypeUnsupported => ("media-type-unsupported", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
            Self::TooManyRequests => ("too-many-requests", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::TooManyInProgress => ("too-many-in-progress", StatusCode::TOO_MANY_REQUESTS, "Too many of this kind are in progress"),
            Self::BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "Body too large"),
            Self::BodyTimeout => ("body-timeout", StatusCode::REQUEST_TIMEOUT, "Body timeout"),
            Self::FieldsInvalid => ("fields-invalid", StatusCode::UNPROCESSABLE_ENTITY, "Invalid fields"),
            Self::WorkspaceUnknown => ("workspace-unknown", StatusCode::NOT_FOUND, "Unknown workspace"),
            Self::WorkspaceExists => ("workspace-exists", StatusCode::CONFLICT, "The workspace already exists"),
            Self::CredentialUnknown => ("credential-unknown", StatusCode::NOT_FOUND, "Unknown credential"),
            Self::TokenUnknown => ("token-unknown", StatusCode::NOT_FOUND, "Unknown token"),
            Self::LastOwner => ("last-owner", StatusCode::CONFLICT, "This is the last owner token"),
            Self::DeclaredInSettings => ("declared-in-settings", StatusCode::CONFLICT, "The settings declare this credential"),
            Self::KeptInVault => ("kept-in-vault", StatusCode::CONFLICT, "The secret is kept in Vault"),
            Self::NotKeptInVault => ("not-kept-in-vault", StatusCode::CONFLICT, "The secret is not kept in Vault"),
            Self::SecretUnavailable => ("secret-unavailable", StatusCode::SERVICE_UNAVAILABLE, "The secret could not be read from Vault"),
            Self::LabelTaken => ("label-taken", StatusCode::CONFLICT, "The label is taken"),
            Self::CredentialRevoked => ("credential-revoked", StatusCode::CONFLICT, "The credential was revoked"),
            Self::NothingInGrace => ("nothing-in-grace", StatusCode::CONFLICT, "No version is in grace"),
            Self::SecretRefused => ("secret-refused", StatusCode::UNPROCESSABLE_ENTITY, "The new secret failed its live check"),
            Self::SecretReplaced => ("secret-replaced", StatusCode::CONFLICT, "The secret was replaced during the check"),
            Self::IdempotencyKeyReused => ("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "The idempotency key was used for another request"),
            Self::PreconditionFailed => ("precondition-failed", StatusCode::PRECONDITION_FAILED, "The resource has changed"),
            Self::PreconditionRequired => ("precondition-required", StatusCode::PRECONDITION_REQUIRED, "If-Match is required"),
            Self::RecordDamaged => ("record-damaged", StatusCode::CONFLICT, "The stored record is damaged"),
            Self::MasterKeyNotRotatable => ("master-key-not-rotatable", StatusCode::CONFLICT, "The master key cannot be rotated through the API"),
            Self::ErasureIncomplete => ("erasure-incomplete", StatusCode::SERVICE_UNAVAILABLE, "The erasure is not complete"),
            Self::OutcomeUnknown => ("outcome-unknown", StatusCode::SERVICE_UNAVAILABLE, "The outcome of the change is unknown"),
            Self::StoreUnavailable => ("store-unavailable", StatusCode::SERVICE_UNAVAILABLE, "The store is unavailable"),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
        }
    }
}
