//! What a live check found out about a key: a verdict, and its cause with the next step.
//!
//! All of it is in our own words. A provider's text never gets this far, because it may repeat the
//! key.

use serde::{Deserialize, Serialize};

/// What a provider says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// The provider accepts the key.
    Accepted,
    /// The provider knows the key, but restricts it: something is not permitted, or there were too
    /// many requests.
    Limited,
    /// Requests with the key fail.
    Rejected,
    /// The provider could not be reached, or has a failure.
    Unreachable,
    /// The provider responded, and the response says nothing about the key.
    Inconclusive,
}

impl Verification {
    /// The name in API responses and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Limited => "limited",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Whether requests with the key can succeed. No response counts as no.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Accepted | Self::Limited)
    }

    /// Whether it is about the key, and not about the provider or the way to it.
    pub fn is_about_the_key(self) -> bool {
        !matches!(self, Self::Unreachable | Self::Inconclusive)
    }
}

/// Declares [`Cause`]: for each cause its name, the verdict that follows, what it means, and the
/// next step. In the last, `{provider}`, `{keys}`, `{billing}` and `{status}` stand for the
/// provider's name and pages.
macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident = $name:literal, $verdict:ident, $meaning:literal, $next:literal;)*) => {
        /// Why a key was not accepted without reservation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Cause {
            $($(#[$doc])* #[serde(rename = $name)] $cause,)*
        }

        impl Cause {
            /// All causes.
            pub const ALL: &'static [Self] = &[$(Self::$cause),*];

            const fn row(self) -> (&'static str, Verification, &'static str, &'static str) {
                match self {
                    $(Self::$cause => ($name, Verification::$verdict, $meaning, $next),)*
                }
            }
        }
    };
}

causes! {
    /// Too many requests or tokens at the moment.
    RateLimited = "rate_limited", Limited,
        "the key works, and its rate limit is reached at the moment",
        "Wait and try again. If it happens often, ask {provider} for higher limits.";
    /// The key lacks the permission for this request.
    PermissionMissing = "permission_missing", Limited,
        "the key is valid, and lacks a permission",
        "Compare the key's permissions with those that it needs: {keys}.";
    /// The key cannot use the model that was asked.
    ModelUnavailable = "model_unavailable", Limited,
        "the key is valid, and cannot use the model that was asked",
        "Give the account access to the models that your workflows use: {keys}.";
    /// The provider does not know the key.
    WrongKey = "wrong_key", Rejected,
        "the provider does not know the key",
        "Check that the whole key was copied. If it was deleted at {provider}, create a new one: {keys}.";
    /// The key was disabled, or blocked by the provider.
    KeyDisabled = "key_disabled", Rejected,
        "the key was disabled or blocked",
        "Create a new key, and find out why this one was blocked: {keys}.";
    /// The key has expired at the provider.
    KeyExpired = "key_expired", Rejected,
        "the key has expired at the provider",
        "Create a new key: {keys}.";
    /// A key for another purpose: for administration, of a subscription, or a session's token.
    WrongKind = "wrong_kind", Rejected,
        "it is not a key for calling models: an administrator's key, or a token of a subscription or session",
        "Create a key for the API: {keys}.";
    /// The address is not the one that the key is for.
    WrongEndpoint = "wrong_endpoint", Rejected,
        "the key is for another endpoint or region, or the address is wrong",
        "Compare the endpoint of the key, or base_url in the settings, with what {keys} shows for it.";
    /// The balance is used up, or no payment is set up.
    NoFunds = "no_funds", Rejected,
        "the account has no funds, or its billing is not active",
        "Add funds or a payment method: {billing}.";
    /// A quota or spending limit is used up.
    QuotaExhausted = "quota_exhausted", Rejected,
        "a quota or spending limit of the key or account is used up",
        "Raise the limit, or wait until it is reset: {billing}.";
    /// The provider blocked the account.
    AccountSuspended = "account_suspended", Rejected,
        "the account or project is suspended or restricted",
        "Ask the support of {provider}; the account's page may say why: {keys}.";
    /// The key is restricted to other APIs, or the API is not enabled.
    ApiNotAllowed = "api_not_allowed", Rejected,
        "the key is restricted to other APIs, or the API is not enabled in its project",
        "Allow the API in the restrictions of the key, and enable it in its project: {keys}.";
    /// The provider does not serve this machine's address.
    AddressNotAllowed = "address_not_allowed", Rejected,
        "the provider refuses requests from this machine's address, network or country",
        "Add the address that requests leave from to the allowed ones of the key or account ({keys}), or use an egress proxy that is allowed.";
    /// The key is restricted to web pages or apps.
    ReferrerNotAllowed = "referrer_not_allowed", Rejected,
        "the key is restricted to certain web pages or apps, and cannot be used from a server",
        "Remove this restriction from the key, or create one for servers: {keys}.";
    /// The provider denies access without a reason that is known here.
    AccessDenied = "access_denied", Rejected,
        "the provider denies the key access",
        "Check the state and the permissions of the key and its account: {keys}.";
    /// The host's name has no address.
    DnsFailed = "dns_failed", Unreachable,
        "the provider's host name could not be resolved to an address that may be used",
        "Check base_url or the key's endpoint, and the name servers of this machine; if only a proxy can resolve names, set egress.proxy.";
    /// No connection.
    ConnectionFailed = "connection_failed", Unreachable,
        "no connection to the provider could be opened, or it broke",
        "Allow connections from this machine (firewall, network policy), or set egress.proxy. `keyside doctor` checks the route.";
    /// The TLS handshake failed.
    TlsFailed = "tls_failed", Unreachable,
        "the TLS handshake with the provider failed",
        "Check this machine's clock and certificates; if a proxy inspects TLS, add its certificate authority to egress.ca_file.";
    /// The egress proxy did not open a connection.
    ProxyFailed = "proxy_failed", Unreachable,
        "the egress proxy did not open a connection to the provider",
        "Check egress.proxy and its credentials, and which hosts that proxy allows.";
    /// Nothing arrived in time.
    TimedOut = "timed_out", Unreachable,
        "the provider did not respond in time",
        "Check {status}, and try again.";
    /// A failure of the provider: 5xx.
    ProviderFailed = "provider_failed", Unreachable,
        "the provider has a failure",
        "Check {status}, and try again.";
    /// The request was not sent.
    NotSent = "not_sent", Unreachable,
        "Keyside could not send the request",
        "Find the reason in Keyside's log, and try again.";
    /// A response that fits no rule.
    ResponseUnexpected = "response_unexpected", Inconclusive,
        "the response says nothing about the key",
        "Check that base_url or the key's endpoint leads to {provider}, look at {status}, and try again.";
}

impl Cause {
    /// The name in API responses, settings and records.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The verdict that follows from it.
    pub const fn verdict(self) -> Verification {
        self.row().1
    }

    /// What it means, to continue a sentence.
    pub fn meaning(self) -> &'static str {
        self.row().2
    }

    /// The next step for any provider, with placeholders.
    pub(super) fn next_step(self) -> &'static str {
        self.row().3
    }
}
