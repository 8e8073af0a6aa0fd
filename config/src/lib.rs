//! Settings and the provider catalogue.
//!
//! Owns what an operator may write (`keyside.toml`, the environment) and what is known about each provider
//! (`providers/*.toml`). It must not know sockets, storage, or a secret: no setting holds one.

#![deny(missing_docs)]

mod address;
mod base_url;
mod catalogue;
mod duration;
mod error;
mod field;
mod layers;
mod metadata;
mod origin;
mod parsed;
mod pattern;
mod provider;
mod settings;
mod slug;
mod sources;

pub use address::{AddressError, ListenAddress};
pub use base_url::{BaseUrl, BaseUrlError, Scheme};
pub use catalogue::Catalogue;
pub use error::SettingsError;
pub use field::{CredentialNames, NormalName};
pub use metadata::is_metadata_address;
pub use origin::Origin;
pub use pattern::{Completion, PathPattern, PathPatternError};
pub use provider::{
    Auth, Check, CheckAnswer, Ending, EndpointError, EndpointRule, ErrorShape, Group, KeyPath,
    KeyRules, Links, Provider, ProviderDeadlines, ProviderId, ProviderIdError, Route,
    SandboxAvailability, SdkLine, Sign, Subprotocol, SubprotocolError, Sum, Upstream, UsageRule,
    UsageRuleError, Verification,
};
pub use settings::{
    AcceptEncoding, Admin, CredentialRules, Deadlines, EnvironmentPin, Kms, KmsDriver, Limits,
    Listener, Log, LogFormat, MasterKeySource, Observe, Proxy, Runs, Settings, Store, WhenFull,
};
pub use sources::{EffectiveSetting, Loaded, Sources};
