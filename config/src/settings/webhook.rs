//! Settings of `[[webhook]]`: the receivers of events, and which events each of them gets.

use std::{collections::HashSet, path::PathBuf, str::FromStr};

use http::uri::PathAndQuery;
use serde::Deserialize;

use crate::{
    base_url::{BaseUrl, BaseUrlError},
    layers::Mismatch,
    origin::Origin,
    parsed::{self, from_text},
    slug::Slug,
};

/// One receiver of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Unique; in logs and metrics. The position among the webhooks, from 1, unless set.
    pub name: String,
    /// The receiver, and the form of requests to it.
    pub format: WebhookFormat,
    /// A file with the secret that signs or authorises requests.
    pub secret_file: PathBuf,
    /// The events to send; not empty.
    pub events: Vec<WebhookEvent>,
    /// Whether the receiver may be in a private network.
    pub allow_private: bool,
    /// Where its table is, for errors.
    pub origin: Origin,
}

/// Who receives the events, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookFormat {
    /// Standard Webhooks (<https://www.standardwebhooks.com>): signed JSON.
    Standard(WebhookUrl),
    /// GitHub's "create a repository dispatch event", authorised with a token.
    GithubDispatch(WebhookUrl),
    /// A text for an incoming webhook of Slack. Its URL is a secret, so it is in the secret file.
    Slack,
}

impl WebhookFormat {
    /// The receiver; `None` if the secret file names it.
    pub fn url(&self) -> Option<&WebhookUrl> {
        match self {
            Self::Standard(url) | Self::GithubDispatch(url) => Some(url),
            Self::Slack => None,
        }
    }
}

/// Where to send events: `https://`, or `http://` to a loopback host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl {
    /// Scheme, host and port, without a path.
    pub origin: BaseUrl,
    /// The path, which begins with a slash.
    pub path: String,
}

/// Why a text is not the URL of a receiver. Errors never repeat the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// Scheme, host or port.
    #[error(transparent)]
    Origin(BaseUrlError),
    /// `http://` to a host that is not loopback.
    #[error("http:// is for loopback addresses; use https://")]
    Plaintext,
    /// The URL contains a query or a fragment.
    #[error("expected a URL without a query or fragment; receivers authenticate the signature")]
    Query,
    /// The path contains characters that a request cannot.
    #[error("expected a path of printable ASCII characters, with others escaped")]
    Path,
}

from_text!(WebhookUrl, EventSelector);

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        if text.contains(['?', '#']) {
            return Err(WebhookUrlError::Query);
        }
        let authority = text.find("://").map_or(0, |at| at + "://".len());
        let path = text[authority..].find('/').map(|at| authority + at);
        let (origin, path) = text.split_at(path.unwrap_or(text.len()));
        let origin = BaseUrl::parse(origin, false).map_err(|error| match error {
            BaseUrlError::Plaintext => WebhookUrlError::Plaintext,
            error => WebhookUrlError::Origin(error),
        })?;
        let path = if path.is_empty() { "/" } else { path };
        match PathAndQuery::try_from(path).is_ok() && path.bytes().all(|it| it.is_ascii_graphic()) {
            true => Ok(Self {
                origin,
                path: path.to_owned(),
            }),
            false => Err(WebhookUrlError::Path),
        }
    }
}

/// Defines [`WebhookEvent`]. Each line gives an event's name in settings and payloads, and whether
/// it is a change.
macro_rules! events {
    ($($(#[$doc:meta])+ $event:ident = $name:literal, $is_change:literal;)+) => {
        /// An event that a receiver can get.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum WebhookEvent {
            $($(#[$doc])+ $event,)+
        }

        impl WebhookEvent {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$event,)+];

            /// The name in settings and payloads.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$event => $name,)+
                }
            }

            /// Whether `credential.changed` includes it: the credential was created, changed or
            /// ended.
            pub fn is_change(self) -> bool {
                match self {
                    $(Self::$event => $is_change,)+
                }
            }
        }
    };
}

events! {
    /// A credential was created.
    CredentialCreated = "credential.created", true;
    /// A credential's label, usage tag, expiry, limits or default was changed.
    CredentialEdited = "credential.edited", true;
    /// A new secret is in use.
    CredentialRotated = "credential.rotated", true;
    /// An earlier secret is in use again.
    CredentialRolledBack = "credential.rolled_back", true;
    /// A credential was revoked.
    CredentialRevoked = "credential.revoked", true;
    /// A new version of a secret that is kept in Vault is in use.
    CredentialSourceChanged = "credential.source_changed", true;
    /// A secret that is kept in Vault can no longer be used.
    CredentialSourceLost = "credential.source_lost", true;
    /// A workspace was erased with all its credentials.
    WorkspaceErased = "workspace.erased", true;
    /// A provider has begun to reject a credential in traffic.
    CredentialRejected = "credential.rejected", false;
    /// A provider accepts a credential again that it rejected in traffic.
    CredentialRecovered = "credential.recovered", false;
    /// A credential expires within `credentials.expiring_days`.
    CredentialExpiring = "credential.expiring", false;
    /// A live check found that the provider rejects a credential that it accepted before.
    CheckFailed = "check.failed", false;
    /// A smoke check failed.
    SmokeFailed = "smoke.failed", false;
}

impl WebhookEvent {
    fn changes() -> Vec<Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|event| event.is_change()).collect()
    }
}

/// An entry of `events`.
struct EventSelector(Vec<WebhookEvent>);

impl FromStr for EventSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == CHANGED {
            return Ok(Self(WebhookEvent::changes()));
        }
        let mut all = WebhookEvent::ALL.iter().copied();
        let named = all.find(|event| event.as_str() == text);
        named.map(|event| Self(vec![event])).ok_or_else(|| {
            let names = WebhookEvent::ALL.iter().map(|event| event.as_str());
            let names: Vec<_> = [CHANGED].into_iter().chain(names).collect();
            format!("expected one of {}", names.join(", "))
        })
    }
}

/// A `[[webhook]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookDocument {
    name: Option<Slug>,
    #[serde(default)]
    format: FormatName,
    url: Option<WebhookUrl>,
    #[serde(deserialize_with = "parsed::path")]
    secret_file: PathBuf,
    events: Option<Vec<EventSelector>>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FormatName {
    #[default]
    Standard,
    GithubDispatch,
    Slack,
}

impl WebhookDocument {
    fn build(self, index: usize) -> Result<Webhook, (&'static str, &'static str)> {
        const NO_URL: (&str, &str) = ("url", "this format needs the URL of the receiver");
        let events: Vec<_> = match self.events {
            Some(selectors) => {
                let mut seen = HashSet::new();
                let events = selectors
                    .into_iter()
                    .flat_map(|EventSelector(events)| events);
                events.filter(|event| seen.insert(*event)).collect()
            }
            None => match self.format {
                FormatName::Standard | FormatName::Slack => WebhookEvent::ALL.to_vec(),
                FormatName::GithubDispatch => WebhookEvent::changes(),
            },
        };
        if events.is_empty() {
            let reason =
                "an empty list sends nothing; remove it to send the default, or remove the webhook";
            return Err(("events", reason));
        }
        let format = match (self.format, self.url) {
            (FormatName::Standard, url) => WebhookFormat::Standard(url.ok_or(NO_URL)?),
            (FormatName::GithubDispatch, url) => WebhookFormat::GithubDispatch(url.ok_or(NO_URL)?),
            (FormatName::Slack, None) => WebhookFormat::Slack,
            (FormatName::Slack, Some(_)) => {
                let reason = "the URL of a Slack webhook is a secret, because anyone who knows it can post; write it into secret_file and remove this";
                return Err(("url", reason));
            }
        };
        Ok(Webhook {
            name: self
                .name
                .map_or_else(|| (index + 1).to_string(), |Slug(name)| name),
            format,
            secret_file: self.secret_file,
            events,
            allow_private: self.allow_private,
            // Set by what knows the origins.
            origin: Origin::Default,
        })
    }
}

/// Builds all webhooks, in order.
pub(super) fn build(documents: Vec<WebhookDocument>) -> Result<Vec<Webhook>, Mismatch> {
    let mut names = HashSet::new();
    let mut webhooks = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let wrong =
            |key: &str, reason: &str| Mismatch::new(format!("webhook[{index}].{key}"), reason);
        let webhook = document
            .build(index)
            .map_err(|(key, reason)| wrong(key, reason))?;
        if !names.insert(webhook.name.clone()) {
            return Err(wrong("name", "another webhook has this name"));
        }
        webhooks.push(webhook);
    }
    Ok(webhooks)
}

/// The name for all events that [are changes](WebhookEvent::is_change).
const CHANGED: &str = "credential.changed";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Settings, Sources};

    fn load(toml: &str) -> Result<Vec<Webhook>, String> {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("keyside-webhook-{}-{count}.toml", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, toml).unwrap();
        let loaded = Settings::load(&Sources {
            file: Some(file.clone()),
            ..Sources::default()
        });
        fs::remove_file(&file).unwrap();
        let loaded = loaded.map_err(|error| error.to_string())?;
        Ok(loaded.settings.webhooks)
    }

    #[test]
    fn each_format_has_its_receiver_and_its_usual_events() {
        let webhooks = load(
            r#"
            [[webhook]]
            url = "https://hooks.example/keyside/"
            secret_file = "/run/secrets/webhook"

            [[webhook]]
            name = "smoke"
            format = "github-dispatch"
            url = "https://api.github.com/repos/acme/app/dispatches"
            secret_file = "/run/secrets/github"

            [[webhook]]
            format = "slack"
            secret_file = "/run/secrets/slack"
            events = ["credential.changed", "credential.rotated", "smoke.failed"]
            allow_private = true
            "#,
        );
        let webhooks: [Webhook; 3] = webhooks.unwrap().try_into().unwrap();
        let [standard, github, slack] = webhooks;
        let url = standard.format.url().unwrap();
        assert_eq!(url.origin.to_string(), "https://hooks.example");
        // Many servers redirect from one to the other, and no redirect is followed.
        assert_eq!(url.path, "/keyside/");
        assert_eq!(standard.name, "1");
        let lines = [&standard, &github, &slack].map(|webhook| webhook.origin.to_string());
        for (line, end) in lines.iter().zip([".toml:2", ".toml:6", ".toml:12"]) {
            assert!(line.ends_with(end), "{line}");
        }
        assert_eq!(standard.events, WebhookEvent::ALL);
        assert!(matches!(github.format, WebhookFormat::GithubDispatch(_)));
        assert_eq!(github.name, "smoke");
        assert!(github.events.iter().all(|event| event.is_change()));
        assert_eq!(slack.format.url(), None);
        assert_eq!((slack.name.as_str(), slack.allow_private), ("3", true));
        assert_eq!(slack.events.len(), github.events.len() + 1);
    }

    #[test]
    fn a_wrong_table_is_refused_with_its_key_and_the_value_is_not_repeated() {
        let https = r#"url = "https://hooks.example""#;
        for (lines, key, reason) in [
            ("", "url", "needs the URL"),
            (
                r#"url = "http://canary.example/hook""#,
                "url",
                "http:// is for loopback",
            ),
            (
                r#"url = "https://me:canary@hooks.example""#,
                "url",
                "user name",
            ),
            (
                r#"url = "https://hooks.example?token=canary""#,
                "url",
                "query",
            ),
            (r#"url = "https://hooks.example/canary key""#, "url", "path"),
            (
                "format = \"slack\"\nurl = \"https://hooks.slack.com/services/T0/B0/canary\"",
                "url",
                "secret_file",
            ),
            (
                &*format!("{https}\nevents = [\"credential.canary\"]"),
                "events",
                "credential.changed, credential.created",
            ),
            (&*format!("{https}\nevents = []"), "events", "sends nothing"),
            (&*format!("{https}\nname = \"Canary!\""), "name", "a-z"),
        ] {
            let toml = format!("[[webhook]]\nsecret_file = \"/run/secret\"\n{lines}\n");
            let refused = load(&toml).unwrap_err();
            assert!(refused.contains(&format!("webhook[0].{key}")), "{refused}");
            assert!(refused.contains(reason), "{lines}: {refused}");
            assert!(!refused.to_lowercase().contains("canary"), "{refused}");
        }
        let twice = format!("[[webhook]]\nname = \"a\"\n{https}\nsecret_file = \"/s\"\n").repeat(2);
        let refused = load(&twice).unwrap_err();
        assert!(refused.contains("webhook[1].name"), "{refused}");
    }

    #[test]
    fn a_loopback_receiver_needs_no_tls() {
        for url in [
            "http://127.0.0.1:9000/hook",
            "http://localhost",
            "http://[::1]:1/a%20b",
        ] {
            assert!(url.parse::<WebhookUrl>().is_ok(), "{url}");
        }
        let error = "hooks.example/hook".parse::<WebhookUrl>();
        assert_eq!(error, Err(WebhookUrlError::Origin(BaseUrlError::Scheme)));
    }
}
