//! The secret of a webhook, from its file. Read again for each attempt, so that a new secret needs no
//! restart. No error repeats any of it.

use std::{ops::RangeInclusive, path::Path, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use keyside_config::{Webhook, WebhookFormat, WebhookUrl};
use keyside_credentials::read_small;
use zeroize::Zeroizing;

use crate::unreadable;

/// What the file of a webhook contains.
pub(super) enum WebhookSecret {
    /// Keys that each sign a request; several while a receiver changes from one to the next.
    SigningKeys(Vec<SigningKey>),
    /// The value of an `Authorization` header.
    Authorization(HeaderValue),
    /// A URL that anybody who knows it may post to.
    Url(WebhookUrl),
}

/// A key of Standard Webhooks.
pub(super) struct SigningKey(pub(super) Zeroizing<Vec<u8>>);

impl WebhookSecret {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// Where the settings name the file, its name, the reason and the remedy.
    pub(super) fn read(webhook: &Webhook) -> Result<Self, String> {
        let (Webhook { origin, name, .. }, path) = (webhook, &webhook.secret_file);
        Self::read_file(path, &webhook.format).map_err(|reason| {
            let path = path.display();
            format!("{origin}: webhook {name}: secret_file {path}: {reason}")
        })
    }

    fn read_file(path: &Path, format: &WebhookFormat) -> Result<Self, String> {
        let bytes = read_small(path, MAX_LEN);
        let bytes = bytes.map_err(|error| format!("{error}; {}", unreadable::remedy(path)))?;
        if bytes.len() > MAX_LEN {
            return Err(format!("it is longer than {MAX_LEN} bytes"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| "it is not text".to_owned())?;
        Self::parse(format, text)
    }

    fn parse(format: &WebhookFormat, text: &str) -> Result<Self, String> {
        let lines: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        match format {
            WebhookFormat::Standard(_) => {
                if !(1..=MAX_KEYS).contains(&lines.len()) {
                    return Err(format!(
                        "expected 1 to {MAX_KEYS} keys, one a line; {REMEDY}"
                    ));
                }
                let keys = lines.into_iter().map(str::parse);
                let keys = keys.collect::<Result<Vec<SigningKey>, String>>()?;
                Ok(Self::SigningKeys(keys))
            }
            WebhookFormat::GithubDispatch(_) => {
                let value = Zeroizing::new(format!("Bearer {}", only(&lines, "a token")?));
                let value = HeaderValue::from_str(&value);
                let mut value = value.map_err(|_| "it is not a token of GitHub".to_owned())?;
                value.set_sensitive(true);
                Ok(Self::Authorization(value))
            }
            WebhookFormat::Slack => {
                let url = only(&lines, "the URL of an incoming webhook")?;
                let parsed = url.parse::<WebhookUrl>();
                parsed.map(Self::Url).map_err(|error| error.to_string())
            }
        }
    }
}

impl FromStr for SigningKey {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let encoded = line.strip_prefix(PREFIX);
        let encoded = encoded.ok_or_else(|| format!("a key begins with {PREFIX}; {REMEDY}"))?;
        let decoded = BASE64_STANDARD.decode(encoded).map(Zeroizing::new);
        match decoded {
            Ok(key) if KEY_BYTES.contains(&key.len()) => Ok(Self(key)),
            _ => Err(format!(
                "after {PREFIX}, expected {} to {} bytes in base64; {REMEDY}",
                KEY_BYTES.start(),
                KEY_BYTES.end()
            )),
        }
    }
}

fn only<'a>(lines: &[&'a str], what: &str) -> Result<&'a str, String> {
    match lines {
        [line] => Ok(*line),
        _ => Err(format!("expected {what}, and nothing else")),
    }
}

const PREFIX: &str = "whsec_";
/// Length of a key, which the specification limits.
const KEY_BYTES: RangeInclusive<usize> = 24..=64;
const REMEDY: &str = "create one with: printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\"";
/// As many keys as one request is signed with.
const MAX_KEYS: usize = 4;
/// Maximum size of the file, in bytes.
const MAX_LEN: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use keyside_config::Origin;

    use super::*;

    fn webhook(format: WebhookFormat, text: &str) -> (tempfile::TempDir, Webhook) {
        let folder = tempfile::tempdir().unwrap();
        let secret_file = folder.path().join("secret");
        fs::write(&secret_file, text).unwrap();
        let webhook = Webhook {
            name: "one".to_owned(),
            format,
            secret_file,
            events: Vec::new(),
            allow_private: false,
            origin: Origin::Default,
        };
        (folder, webhook)
    }

    fn standard() -> WebhookFormat {
        WebhookFormat::Standard("https://hooks.example/".parse().unwrap())
    }

    fn github() -> WebhookFormat {
        WebhookFormat::GithubDispatch("https://api.github.com/x".parse().unwrap())
    }

    #[test]
    fn a_file_has_the_secret_of_its_format() {
        let keys =
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\nwhsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\n";
        let (_folder, of) = webhook(standard(), keys);
        let Ok(WebhookSecret::SigningKeys(keys)) = WebhookSecret::read(&of) else {
            panic!("no keys");
        };
        assert_eq!(keys.len(), 2);
        assert_eq!(*keys[1].0, (0..24).collect::<Vec<u8>>());
        let (_folder, of) = webhook(github(), "ghp_token\n");
        let Ok(WebhookSecret::Authorization(value)) = WebhookSecret::read(&of) else {
            panic!("no token");
        };
        assert_eq!(value, "Bearer ghp_token");
        assert!(value.is_sensitive());
        let (_folder, of) = webhook(
            WebhookFormat::Slack,
            "https://hooks.slack.com/services/T/B/x",
        );
        let Ok(WebhookSecret::Url(url)) = WebhookSecret::read(&of) else {
            panic!("no URL");
        };
        assert_eq!(url.path, "/services/T/B/x");
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_remedy_and_not_repeated() {
        let short = format!("whsec_{}", BASE64_STANDARD.encode("canary"));
        for (format, text, reason) in [
            (standard(), "", "expected 1 to 4 keys"),
            (standard(), "canary", "openssl rand -base64 32"),
            (standard(), "whsec_canary!", "expected 24 to 64 bytes"),
            (standard(), &*short, "expected 24 to 64 bytes"),
            (github(), "canary\ncanary", "expected a token"),
            (github(), "canary\u{7}", "not a token"),
            (WebhookFormat::Slack, "canary", "https://"),
            (WebhookFormat::Slack, "http://canary.example/", "https://"),
        ] {
            let (_folder, of) = webhook(format, text);
            let refused = WebhookSecret::read(&of).err().unwrap().to_string();
            assert!(
                refused.starts_with("default: webhook one: secret_file /"),
                "{refused}"
            );
            assert!(refused.contains(reason), "{refused}");
            assert!(!refused.contains("canary"), "{refused}");
        }
        let (_folder, of) = webhook(standard(), "");
        fs::remove_file(&of.secret_file).unwrap();
        let refused = WebhookSecret::read(&of).err().unwrap().to_string();
        assert!(refused.contains("; correct the path"), "{refused}");
        symlink("gone", &of.secret_file).unwrap();
        let refused = WebhookSecret::read(&of).err().unwrap().to_string();
        assert!(refused.contains("is a link to gone"), "{refused}");
    }
}
