//! The JSON of the API, each field declared once: routes read and write these types, the OpenAPI
//! description is derived from them, and the command line sends and reads them too.
//!
//! serde's `rename_all` gives the names on the wire, `Option` says which fields may be absent, and
//! `schemas/types.rs` has the patterns that several types share. Which fields a body may have is
//! asked of serde (`form::fields`), never listed again.

mod audit;
mod credential;
mod provider;
mod read;
mod sign_in_link;
mod token;
mod workspace;

pub use self::{
    audit::{ConfirmView, VerifyView},
    credential::{
        CredentialEdit, CredentialRollback, CredentialRotation, CredentialView, Duplicate,
        NewCredential, SecretRef, VersionView, WriteOnly,
    },
    provider::{AuthView, EndpointView, KeyView, LinksView, ProviderView, SandboxView, SdkView},
    sign_in_link::SignInLink,
    token::{NewToken, TokenView},
    workspace::{NewWorkspace, WorkspaceView},
};
pub(crate) use self::{
    credential::CredentialChange,
    read::{parsed, time},
};
