//! Settings and the provider catalogue.
//!
//! Defines what an operator may configure (`keyside.toml`, the environment), what is known about
//! each provider (`providers/*.toml`), and how client tools are pointed at Keyside
//! (`recipes/*.toml`). Also what all crates must agree on about HTTP: header names, escapes, and
//! which host a request names. Knows nothing about sockets or storage, and holds no secret: no
//! setting contains one.

#![deny(missing_docs)]

mod address;
mod admin_page;
mod base_url;
mod catalogue;
mod credential_names;
mod cron;
mod duration;
mod egress_proxy;
mod embedded;
mod error;
mod escapes;
mod field;
pub mod headers;
mod host;
mod layers;
mod metadata;
mod network;
mod origin;
mod parsed;
mod pattern;
mod provider;
mod proxy_address;
mod proxy_url;
mod recipe;
mod settings;
pub mod shell;
mod similarity;
mod slug;
mod sources;

pub use address::{AddressError, ListenAddress, reachable};
pub use admin_page::AdminPage;
pub use base_url::{BaseUrl, BaseUrlError, Scheme};
pub use catalogue::Catalogue;
pub use credential_names::CredentialNames;
pub use cron::{Cron, CronError};
pub use egress_proxy::{EgressProxy, EgressProxyError};
pub use error::SettingsError;
pub use escapes::{RESERVED, hex_number, unescaped};
pub use field::NormalName;
pub use host::{AllowedHosts, RequestHost, RequestHostError};
pub use metadata::{is_metadata_address, is_metadata_host};
pub use network::{Network, NetworkError};
pub use origin::Origin;
pub use pattern::{Completion, ExceptedName, PathPattern, PathPatternError};
pub use provider::{
    Auth, Cause, Check, CheckAnswer, CheckKind, CheckRequest, DUMMY_KEY, Development, Ending,
    EndpointError, EndpointRule, ErrorShape, Group, KeyPath, KeyRules, Links, NamedLink,
    PromptRule, PromptText, Provider, ProviderDeadlines, ProviderId, ProviderIdError, RefusedKey,
    RepeatedPrefix, Route, SandboxAvailability, SdkLine, Sign, Subprotocol, SubprotocolError, Sum,
    Upstream, UsageRule, UsageRuleError, Verification, is_model,
};
pub use proxy_address::ProxyAddress;
pub use proxy_url::{ProxyProtocol, ProxyUrl, ProxyUrlError};
pub use recipe::{
    Language, Recipe, RecipeExample, RecipeFile, RecipeTarget, RecipeVariable, UnknownRecipe,
};
pub use settings::{
    AcceptEncoding, Admin, AllowedReferences, ClientCertificate, CredentialRules, Deadlines,
    DeclaredCredential, DeclaredEnvironment, DeclaredLimits, Egress, EnvironmentPin, Kms, Limits,
    Listener, ListenerTls, LocalKms, Log, LogFormat, MasterKeySource, Observe, Proxy, Roots, Runs,
    Settings, Smoke, SourceReference, SourceReferenceError, Store, TransitKms, Vault, VaultAuth,
    VaultCache, VaultReference, VaultToken, Webhook, WebhookEvent, WebhookFormat, WebhookUrl,
    WebhookUrlError, WhenFull,
};
pub use similarity::nearest;
pub use sources::{EffectiveSetting, Loaded, Sources};
