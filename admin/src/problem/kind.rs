//! The kinds of problems, each with a stable type, a title and a status.

use http::StatusCode;

/// Declares [`Kind`]: for each kind the last part of its `type`, its status and its title.
macro_rules! kinds {
    ($($kind:ident => ($name:literal, $status:expr, $title:literal),)*) => {
        /// The kind of a problem. Programs may rely on its `type`; title and detail are for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        impl Kind {
            fn row(self) -> (&'static str, StatusCode, &'static str) {
                match self {
                    $(Self::$kind => ($name, $status, $title),)*
                }
            }
        }
    };
}

kinds! {
    Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "A valid token is required"),
    PermissionDenied => ("permission-denied", StatusCode::FORBIDDEN, "The token does not permit this"),
    HostNotAllowed => ("host-not-allowed", StatusCode::FORBIDDEN, "The Host is not this server's"),
    BrowserNotAllowed => ("browser-not-allowed", StatusCode::FORBIDDEN, "Pages of other sites cannot call this"),
    CsrfTokenInvalid => ("csrf-token-invalid", StatusCode::FORBIDDEN, "The form is not one of this session"),
    RouteUnknown => ("route-unknown", StatusCode::NOT_FOUND, "Unknown path"),
    MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
    RequestMalformed => ("request-malformed", StatusCode::BAD_REQUEST, "Malformed request"),
    MediaTypeUnsupported => ("media-type-unsupported", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
    TooManyRequests => ("too-many-requests", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
    TooManyInProgress => ("too-many-in-progress", StatusCode::TOO_MANY_REQUESTS, "Too many of this kind are in progress"),
    BodyTooLarge => ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "Body too large"),
    BodyTimeout => ("body-timeout", StatusCode::REQUEST_TIMEOUT, "Body timeout"),
    FieldsInvalid => ("fields-invalid", StatusCode::UNPROCESSABLE_ENTITY, "Invalid fields"),
    WorkspaceUnknown => ("workspace-unknown", StatusCode::NOT_FOUND, "Unknown workspace"),
    WorkspaceExists => ("workspace-exists", StatusCode::CONFLICT, "The workspace already exists"),
    CredentialUnknown => ("credential-unknown", StatusCode::NOT_FOUND, "Unknown credential"),
    TokenUnknown => ("token-unknown", StatusCode::NOT_FOUND, "Unknown token"),
    LastOwner => ("last-owner", StatusCode::CONFLICT, "This is the last owner token"),
    DeclaredInSettings => ("declared-in-settings", StatusCode::CONFLICT, "The settings declare this credential"),
    KeptInVault => ("kept-in-vault", StatusCode::CONFLICT, "The secret is kept in Vault"),
    NotKeptInVault => ("not-kept-in-vault", StatusCode::CONFLICT, "The secret is not kept in Vault"),
    SecretUnavailable => ("secret-unavailable", StatusCode::SERVICE_UNAVAILABLE, "The secret could not be read from Vault"),
    LabelTaken => ("label-taken", StatusCode::CONFLICT, "The label is taken"),
    CredentialRevoked => ("credential-revoked", StatusCode::CONFLICT, "The credential was revoked"),
    NothingInGrace => ("nothing-in-grace", StatusCode::CONFLICT, "No version is in grace"),
    SecretRefused => ("secret-refused", StatusCode::UNPROCESSABLE_ENTITY, "The secret failed its live check"),
    SecretReplaced => ("secret-replaced", StatusCode::CONFLICT, "The secret was replaced during the check"),
    PreviewRefused => ("preview-refused", StatusCode::CONFLICT, "Requests like this one are refused"),
    PreviewFailed => ("preview-failed", StatusCode::BAD_GATEWAY, "The provider did not answer the prompt"),
    IdempotencyKeyReused => ("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "The idempotency key was used for another request"),
    PreconditionFailed => ("precondition-failed", StatusCode::PRECONDITION_FAILED, "The resource has changed"),
    PreconditionRequired => ("precondition-required", StatusCode::PRECONDITION_REQUIRED, "If-Match is required"),
    RecordDamaged => ("record-damaged", StatusCode::CONFLICT, "The stored record is damaged"),
    MasterKeyNotRotatable => ("master-key-not-rotatable", StatusCode::CONFLICT, "The master key cannot be rotated through the API"),
    ErasureIncomplete => ("erasure-incomplete", StatusCode::SERVICE_UNAVAILABLE, "The erasure is not complete"),
    OutcomeUnknown => ("outcome-unknown", StatusCode::SERVICE_UNAVAILABLE, "The outcome of the change is unknown"),
    StoreUnavailable => ("store-unavailable", StatusCode::SERVICE_UNAVAILABLE, "The store is unavailable"),
    Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
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
                | Self::CsrfTokenInvalid
        )
    }
}
