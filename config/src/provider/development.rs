//! What is worth knowing about a provider's keys for development, beyond how to create a key.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error};

use crate::parsed::from_text;

/// How to get a key for development and tests, and how long to use it. Advice for people: nothing is
/// enforced.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Development {
    /// What to create or limit at the provider, one sentence each; empty if nothing is known.
    #[serde(deserialize_with = "lines")]
    pub steps: Vec<String>,
    /// After how many days such a key should expire in Keyside, from 1 to 365; `None` for `never`.
    #[serde(rename = "expires_in", deserialize_with = "days")]
    pub expires_in_days: Option<u16>,
    /// The provider's pages about it.
    pub links: Vec<NamedLink>,
}

/// A link to a provider's page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedLink {
    /// What the page is about.
    #[serde(deserialize_with = "line")]
    pub name: String,
    /// Its address; always `https://`.
    #[serde(deserialize_with = "address")]
    pub url: String,
}

/// A text without line breaks, for a line of a list or of a terminal.
struct Line(String);

from_text!(Line);

impl FromStr for Line {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match !text.trim().is_empty() && !text.contains(char::is_control) {
            true => Ok(Self(text.to_owned())),
            false => Err("expected a sentence on one line"),
        }
    }
}

fn lines<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let lines = Vec::<Line>::deserialize(from)?;
    Ok(lines.into_iter().map(|Line(text)| text).collect())
}

fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Line::deserialize(from).map(|Line(text)| text)
}

/// The admin page links to it, so nothing but a web page may be behind it.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let rest = text.strip_prefix("https://").unwrap_or_default();
    match !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(D::Error::custom("expected the https:// address of a page")),
    }
}

/// Whole days, because people choose an expiry by its date.
fn days<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    let text = String::deserialize(from)?;
    if text == "never" {
        return Ok(None);
    }
    let digits = text.strip_suffix('d').unwrap_or_default();
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(days @ 1..=MAX_DAYS) => Ok(Some(days)),
        _ => Err(D::Error::custom(format!(
            "expected whole days from \"1d\" to \"{MAX_DAYS}d\", such as \"30d\", or \"never\""
        ))),
    }
}

/// A key that is in use for longer is not one for development.
const MAX_DAYS: u16 = 365;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Development, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    fn with_expiry(expiry: &str) -> Result<Option<u16>, String> {
        let read = read(&format!("steps = []\nlinks = []\nexpires_in = '{expiry}'"));
        read.map(|development| development.expires_in_days)
    }

    #[test]
    fn an_expiry_is_a_number_of_days_or_never() {
        for (text, days) in [
            ("1d", Some(1)),
            ("30d", Some(30)),
            ("365d", Some(365)),
            ("never", None),
        ] {
            assert_eq!(with_expiry(text), Ok(days), "{text}");
        }
        for text in [
            "", "d", "0d", "366d", "99999d", "-1d", "+1d", "1.5d", "1 d", "30", "720h", "Never",
        ] {
            let error = with_expiry(text).unwrap_err();
            assert!(error.contains("expected whole days"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_step_is_a_sentence_on_one_line() {
        let read = |steps: &str| {
            read(&format!(
                "steps = {steps}\nexpires_in = 'never'\nlinks = []"
            ))
        };
        assert_eq!(read("['Set a cap.']").unwrap().steps, ["Set a cap."]);
        for steps in ["['']", "[' ']", r#"["a\nb"]"#, r#"["\u001b[2J"]"#] {
            let error = read(steps).unwrap_err();
            assert!(error.contains("a sentence on one line"), "{steps}: {error}");
        }
    }

    #[test]
    fn a_link_leads_to_a_web_page() {
        let read = |url: &str| {
            read(&format!(
                "steps = []\nexpires_in = 'never'\n[[links]]\nname = 'Limits'\nurl = '{url}'"
            ))
        };
        let links = read("https://docs.example/limits#caps").unwrap().links;
        assert_eq!(links[0].url, "https://docs.example/limits#caps");
        for url in [
            "",
            "https://",
            "http://docs.example",
            "javascript:alert(1)",
            "https://docs.example/a b",
        ] {
            let error = read(url).unwrap_err();
            assert!(error.contains("https:// address"), "{url:?}: {error}");
        }
    }
}
