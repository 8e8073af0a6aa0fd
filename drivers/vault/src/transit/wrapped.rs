//! A workspace key wrapped by Transit, as stored: a format byte, the length of the Transit key's
//! path (16 bits), the path, the Transit key's version (32 bits), and Transit's ciphertext.
//! Integers are big-endian.
//!
//! Stored as bytes instead of Transit's text, because two base64 texts can decode to the same
//! bytes.

use base64::{Engine, prelude::BASE64_STANDARD};
use keyside_credentials::kms::FORMATS;

/// The parsed form.
pub(super) struct Wrapped<'a> {
    /// The Transit key, as `<mount>/<name>`.
    pub(super) transit_key: &'a str,
    version: u32,
    ciphertext: &'a [u8],
}

impl<'a> Wrapped<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (transit_key, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
        let (version, ciphertext) = rest.split_first_chunk::<4>()?;
        let wrapped = Self {
            transit_key: std::str::from_utf8(transit_key).ok()?,
            version: u32::from_be_bytes(*version),
            ciphertext,
        };
        // Transit treats version 0 as 1.
        (*format == FORMAT && wrapped.version > 0).then_some(wrapped)
    }

    /// The bytes to store for Transit's `vault:v<version>:<base64>`.
    pub(super) fn from_transit(transit_key: &str, text: &str) -> Option<Vec<u8>> {
        let (version, ciphertext) = text.strip_prefix("vault:v")?.split_once(':')?;
        let version: u32 = version.parse().ok().filter(|version| *version > 0)?;
        let ciphertext = BASE64_STANDARD.decode(ciphertext).ok()?;
        let len = u16::try_from(transit_key.len()).ok()?;
        let parts: [&[u8]; 5] = [
            &[FORMAT],
            &len.to_be_bytes(),
            transit_key.as_bytes(),
            &version.to_be_bytes(),
            &ciphertext,
        ];
        Some(parts.concat())
    }

    pub(super) fn to_transit(&self) -> String {
        let ciphertext = BASE64_STANDARD.encode(self.ciphertext);
        format!("vault:v{}:{ciphertext}", self.version)
    }
}

const FORMAT: u8 = FORMATS[1].0;
/// The driver's name in the settings.
pub(super) const DRIVER: &str = FORMATS[1].1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transit_s_ciphertext_round_trips() {
        let text = "vault:v12:AAECAwQF";
        let stored = Wrapped::from_transit("transit/keyside-acme", text).unwrap();
        let wrapped = Wrapped::parse(&stored).unwrap();
        assert_eq!(wrapped.transit_key, "transit/keyside-acme");
        assert_eq!(wrapped.to_transit(), text);
        assert_eq!((stored[0], DRIVER), (2, "vault"));
    }

    #[test]
    fn truncated_data_and_other_formats_are_refused() {
        let stored = Wrapped::from_transit("t/k", "vault:v1:AA==").unwrap();
        for len in 0..stored.len() - 1 {
            assert!(Wrapped::parse(&stored[..len]).is_none(), "{len}");
        }
        let local = [&[1], &stored[1..]].concat();
        assert!(Wrapped::parse(&local).is_none());
        for text in [
            "",
            "vault:v1",
            "vault:v0:AA==",
            "vault:vx:AA==",
            "vault:v1:A",
            "v1:AA==",
        ] {
            assert!(Wrapped::from_transit("t/k", text).is_none(), "{text}");
        }
    }
}
