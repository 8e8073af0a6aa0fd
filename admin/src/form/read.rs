//! How single values are read.

use std::{collections::BTreeSet, ops::RangeInclusive, str::FromStr};

use jiff::Timestamp;
use keyside_credentials::{Secret, json_text::unescaped, source::VaultReference};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// A value as it came. It may be a secret in the wrong place, whatever the field is: no serde_json reads it, whose errors
/// quote what they stumble over.
pub(crate) struct Given<'a>(pub(super) &'a RawValue);

impl<'a> Given<'a> {
    fn json(&self) -> &'a str {
        self.0.get()
    }

    fn string(&self) -> Result<Zeroizing<String>, String> {
        unescaped(self.json()).ok_or_else(|| self.instead_of("a text"))
    }

    fn items(&self) -> Result<Vec<&'a RawValue>, String> {
        let expected = || self.instead_of("a list of texts");
        match self.json().starts_with('[') {
            true => serde_json::from_str(self.json()).map_err(|_| expected()),
            false => Err(expected()),
        }
    }

    fn instead_of(&self, expected: &str) -> String {
        let found = match self.json().as_bytes().first() {
            Some(b'"') => "a text that is not valid",
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        };
        format!("expected {expected}, found {found}")
    }
}

/// A text of 1 to `max` characters, none of them a control character.
pub(crate) fn text(max: usize) -> impl FnOnce(Given<'_>) -> Result<String, String> {
    move |given| {
        let mut text = given.string()?;
        let length = text.chars().count();
        match (1..=max).contains(&length) && !text.chars().any(char::is_control) {
            true => Ok(std::mem::take(&mut *text)),
            false => Err(format!(
                "expected 1 to {max} characters without control characters"
            )),
        }
    }
}

/// A text that the domain knows how to read. Its errors say the rule and do not repeat the text.
pub(crate) fn parsed<T: FromStr<Err: ToString>>(given: Given<'_>) -> Result<T, String> {
    given
        .string()?
        .parse()
        .map_err(|error: T::Err| error.to_string())
}

/// `true` or `false`.
pub(crate) fn flag(given: Given<'_>) -> Result<bool, String> {
    match given.json() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(given.instead_of("true or false")),
    }
}

/// A whole number within `range`.
pub(crate) fn whole(range: RangeInclusive<u64>) -> impl FnOnce(Given<'_>) -> Result<u64, String> {
    move |given| {
        let json = given.json();
        let is_whole = json.bytes().all(|byte| byte.is_ascii_digit());
        let number = json.parse::<u64>().ok().filter(|_| is_whole);
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (from, to) = range.into_inner();
                given.instead_of(&format!("a whole number from {from} to {to}"))
            })
    }
}

/// A point in time, RFC 3339.
pub(crate) fn timestamp(given: Given<'_>) -> Result<Timestamp, String> {
    let expected = "expected a time in the form of 2027-01-31T00:00:00Z";
    given.string()?.parse().map_err(|_| expected.to_owned())
}

/// The secret itself: from the body straight into the one type that may hold it.
pub(crate) fn secret(given: Given<'_>) -> Result<Secret, String> {
    let mut text = given.string()?;
    // Moved, not copied: what is left behind is empty.
    let plaintext = std::mem::take(&mut *text).into_bytes();
    Secret::from_plaintext(plaintext).map_err(|error| error.to_string())
}

/// A place in Vault. What was sent is not repeated in errors.
pub(crate) fn reference(given: Given<'_>) -> Result<VaultReference, String> {
    let expected = || {
        "expected an object with `path`, such as kv/teams/acme/openai with the mount at its beginning, and `field`; it may \
         have `mount` and `version`"
            .to_owned()
    };
    let named: Named = serde_json::from_str(given.json()).map_err(|_| expected())?;
    let fits = |text: &str| text.len() <= 512 && !text.chars().any(char::is_control);
    let Named {
        mount,
        path,
        field,
        version,
    } = named;
    let fit = [Some(&path), Some(&field), mount.as_ref()];
    if !fit.into_iter().flatten().all(|text| fits(text)) {
        return Err(expected());
    }
    VaultReference::new(mount.as_deref(), &path, &field, version).map_err(|_| expected())
}

/// The form of [`reference`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    mount: Option<String>,
    path: String,
    field: String,
    version: Option<u64>,
}

/// A list of 1 to `max` texts that the domain knows how to read; one that is there twice counts once.
pub(crate) fn set<T: FromStr<Err: ToString> + Ord>(
    max: usize,
) -> impl FnOnce(Given<'_>) -> Result<BTreeSet<T>, String> {
    move |given| {
        let items = given.items()?;
        if !(1..=max).contains(&items.len()) {
            return Err(format!("expected 1 to {max} of them"));
        }
        items.into_iter().map(|item| parsed(Given(item))).collect()
    }
}

/// One of a few words.
pub(crate) fn one_of<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl FnOnce(Given<'_>) -> Result<T, String> {
    move |given| word(words, &given.string()?)
}

/// What one of a few words stands for.
pub(crate) fn word<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("expected {}", words.join(" or "))
    })
}
