//! The JSON of the API, each field declared once: routes read and write these types, the OpenAPI
//! description is derived from them, and the command line sends and reads them too.
//!
//! serde's `rename_all` gives the names on the wire, `Option` says which fields may be absent, and
//! `schemas/types.rs` has the patterns that several types share. Which fields a body may have is
//! asked of serde (`form::fields`), never listed again.

mod audit;
mod check;
mod credential;
mod limits;
mod preview;
mod provider;
mod read;
mod readiness;
mod smoke;
mod token;
mod workspace;

pub use self::{
    audit::{ConfirmView, VerifyView},
    check::{CheckMode, CheckView, CredentialCheck, TokenUsage},
    credential::{
        CredentialEdit, CredentialRollback, CredentialRotation, CredentialView, Duplicate,
        NewCredential, SecretRef, TrafficView, VersionView, WriteOnly,
    },
    limits::{Limits, LimitsEdit, UsageView},
    preview::{
        Model, NewPreview, PreviewCredential, PreviewText, PreviewView, PromptText, TokensView,
    },
    provider::{
        AuthView, DevelopmentView, EndpointView, KeyView, LinksView, NamedLinkView, ProviderView,
        SandboxView, SdkView,
    },
    readiness::ReadinessView,
    smoke::{
        NewSmokeResult, NewSmokeRun, SmokeItemView, SmokeReportView, SmokeResultView, SmokeRunView,
        SmokeSpendView, SmokeState, SmokeView,
    },
    token::{NewToken, SignInLink, TokenView},
    workspace::{NewWorkspace, WorkspaceEdit, WorkspaceView},
};
pub(crate) use self::{
    credential::CredentialChange,
    read::{parsed, time},
};

/// Converts microseconds to milliseconds, in which the API has durations.
pub(crate) fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
