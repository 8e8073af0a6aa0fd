//! Names and enumerations of the domain as the OpenAPI description shows them. They are described
//! here so that the domain knows nothing of the API.
#![allow(dead_code, reason = "described, never constructed")]

use serde::Deserialize;
use utoipa::ToSchema;

/// The id of a workspace: 1 to 64 of `a-z`, `0-9` and `-`.
#[derive(ToSchema)]
#[schema(pattern = "^[a-z0-9-]{1,64}$")]
pub(crate) struct WorkspaceId(String);

/// The name of a credential for people: 1 to 64 visible ASCII characters, with spaces only between
/// them.
#[derive(ToSchema)]
#[schema(pattern = "^[!-~]([ -~]{0,62}[!-~])?$")]
pub(crate) struct Label(String);

/// The name of a workspace or a token for people: 1 to 200 characters that are not all spaces. None is a
/// control character, a mark of writing direction or otherwise invisible; a joiner (U+200C, U+200D) or a
/// variation selector follows a character that it changes.
#[derive(ToSchema)]
#[schema(
    pattern = r"^[^\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb]{1,200}$"
)]
pub(crate) struct DisplayName(String);

/// What a credential is used for, such as `ci-smoke`: 1 to 64 visible ASCII characters, with spaces
/// only between them.
#[derive(ToSchema)]
#[schema(pattern = "^[!-~]([ -~]{0,62}[!-~])?$")]
pub(crate) struct UsageTag(String);

/// Why a provider rejects a key.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RejectionCause {
    WrongKey,
    Revoked,
    NoFunds,
    Quota,
}

/// Declares enumerations, whose names on the wire are in lower case.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($choice:ident),* })*) => {
        $(
            $(#[$doc])*
            #[derive(Deserialize, ToSchema)]
            #[serde(rename_all = "lowercase")]
            pub(crate) enum $name {
                $($choice),*
            }
        )*
    };
}

choices! {
    /// `live` credentials cost money.
    Environment { Live, Sandbox }
    Status { Active, Expiring, Expired, Revoked }
    /// `ready` and `expiring` are usable.
    Readiness { Ready, Expiring, Rejected, Revoked, Expired, Missing }
    Verification { Accepted, Limited, Rejected, Unreachable, Inconclusive }
    VersionState { Current, Grace, Destroyed }
    TrafficState { Ok, Rejected }
    UsageState { Ok, Warning, Exhausted }
    Role { Owner, Editor, Viewer }
    TokenStatus { Active, Expired, Revoked }
    Format { Ndjson, Csv }
    /// What a request was made for.
    RunKind { Traffic, Preview, Smoke, Check }
    /// What a verdict means for a run.
    SmokeOutcome { Passed, Failed, Skipped }
    SmokeState { Running, Finished }
    SmokeTrigger { Schedule, Change, Request }
    SmokeVerdict { Accepted, Limited, Rejected, Unreachable, Inconclusive, Unusable, Missing, Capped, Interrupted }
}
