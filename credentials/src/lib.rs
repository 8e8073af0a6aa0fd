//! The credential domain and its security perimeter.
//!
//! Defines what a credential is, how its secret is sealed, where it is stored, who changed it and
//! what it was used for. Does not know HTTP servers: the data plane asks a [`Resolver`] for a
//! [`Grant`], the control plane asks the [`Registry`] for changes, and storage sees only ciphertext
//! and authenticated metadata.

#![deny(missing_docs)]

mod access;
pub mod audit;
pub mod backup;
mod chains;
mod clock;
mod damage;
mod declared;
mod documents;
mod encoding;
mod entropy;
pub mod json_text;
mod keyring;
pub mod kms;
mod live_check;
mod locked;
mod model;
mod noted;
mod notes;
pub mod preview;
pub mod process;
mod record;
mod registry;
mod request_context;
mod resolver;
pub mod runs;
mod sealing;
mod secret;
mod shared_map;
pub mod smoke;
mod snapshot;
pub mod source;
mod spend;

pub use jiff::Timestamp;
pub use keyside_config::{Cause, Verification};
pub use keyside_store::{
    Backend, Hash, PublicKey, StorageError,
    chain::{ChainName, CommitError},
    file::{FileError, is_open_to_others, open_regular, read_regular, read_small, sync_folder},
};

pub use access::{
    Access, CreatedToken, Denial, NewToken, Permission, Principal, Role, Token, TokenStatus,
    TokenWarning,
};
pub use audit::{Audit, Receipt};
pub use clock::{Clock, SystemClock};
pub use declared::{
    CacheKey, CacheKeyError, CacheOptions, Declared as DeclaredCredentials, DeclaredError,
    DeclaredOptions, FromCache, SourceHealth,
};
pub use keyring::{KeyringError, Rewrapped};
pub use kms::{Kms, KmsError, KmsSource, MasterKey};
pub use live_check::{Finding, LiveCheck};
pub use model::{
    ActorContext, ActorId, Cap, Credential, CredentialChange, CredentialEvent, CredentialEventKind,
    CredentialId, Declared, DisplayName, Environment, Fingerprint, Hint, IdError, Label, Limits,
    LimitsChange, Listed, LostCredential, Refusal, RejectedCredential, Rejection, RejectionCause,
    RequestId, Scope, Status, TrafficCounts, TrafficState, Usage, UsageState, UsageTag, Version,
    VersionState, Warning, Workspace, WorkspaceId, WorkspaceState, other_providers,
};
pub use record::AuditRecord;
pub use registry::{
    ChangeError, CheckBeforeSave, DamageCounts, Edit, Filter, GRACE_DEFAULT, GRACE_LIMIT,
    Idempotency, KeyAges, LastCheck, NewCredential, NewSecret, NewWorkspace, OpenError,
    OpenOptions, Readiness, ReadinessStatus, ReferenceOptions, Registry, Resealed, Revocation,
    Rollback, Rotation, Saved, WorkspaceEdit,
};
pub use request_context::RequestContext;
pub use resolver::{Budget, CredentialQuery, Grant, Resolver};
pub use runs::Runs;
pub use secret::{SHORTEST_SECRET, Secret, SecretError, repeats_secret};
pub use snapshot::Snapshots;
