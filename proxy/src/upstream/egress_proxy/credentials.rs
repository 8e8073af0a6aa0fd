//! User and password for an egress proxy.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use zeroize::Zeroizing;

/// A user and a password. It has no `Debug`, and is zeroed when dropped.
pub(crate) struct ProxyCredentials {
    user: Zeroizing<String>,
    password: Zeroizing<String>,
}

/// Why a text is not a valid user and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// No colon, more than one line, or no user before the colon.
    #[error("expected user:password on one line")]
    Form,
    /// RFC 1929 allows no more than 255 bytes each, and no proxy's are longer.
    #[error("the user and the password may have at most 255 bytes each")]
    Length,
}

impl ProxyCredentials {
    /// # Errors
    /// The pair cannot be sent to a proxy: a colon ends the user (RFC 7617 section 2), and each
    /// part may have 255 bytes.
    pub(crate) fn new(user: &str, password: &str) -> Result<Self, CredentialsError> {
        let is_plain = |text: &str| !text.contains(char::is_control);
        if user.is_empty() || user.contains(':') || !is_plain(user) || !is_plain(password) {
            return Err(CredentialsError::Form);
        }
        if user.len() > MAX_LENGTH || password.len() > MAX_LENGTH {
            return Err(CredentialsError::Length);
        }
        Ok(Self {
            user: Zeroizing::new(user.to_owned()),
            password: Zeroizing::new(password.to_owned()),
        })
    }

    /// Parses `user:password` from a file. One line break at the end is ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, CredentialsError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (user, password) = line.split_once(':').ok_or(CredentialsError::Form)?;
        Self::new(user, password)
    }

    /// The value of `Proxy-Authorization` (RFC 7617), marked as sensitive.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let both = Zeroizing::new(format!("{}:{}", *self.user, *self.password));
        let value = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(both.as_bytes())));
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The message of RFC 1929 section 2: a version, then each part after its length.
    pub(super) fn socks5(&self) -> Zeroizing<Vec<u8>> {
        let mut message = Zeroizing::new(Vec::with_capacity(3 + 2 * MAX_LENGTH));
        message.push(1);
        for text in [&self.user, &self.password] {
            // Fits: at most `MAX_LENGTH`, checked in `new`.
            message.push(text.len() as u8);
            message.extend_from_slice(text.as_bytes());
        }
        message
    }
}

/// Bytes: SOCKS5 sends each length in one byte (RFC 1929 section 2).
const MAX_LENGTH: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_a_user_and_a_password_on_one_line() {
        for text in ["me:se:cret", "me:se:cret\n", "me:se:cret\r\n"] {
            let credentials = ProxyCredentials::parse(text).ok().unwrap();
            let value = credentials.basic().unwrap();
            assert_eq!(value, "Basic bWU6c2U6Y3JldA==");
            assert!(value.is_sensitive());
            assert_eq!(&credentials.socks5()[..], b"\x01\x02me\x07se:cret");
        }
        assert!(ProxyCredentials::parse("me:").is_ok());
        let long = "x".repeat(256);
        let (long_user, long_password) = (format!("{long}:secret"), format!("me:{long}"));
        for (text, error) in [
            ("", CredentialsError::Form),
            ("me", CredentialsError::Form),
            (":secret", CredentialsError::Form),
            ("me:secret\nyou:secret\n", CredentialsError::Form),
            (long_user.as_str(), CredentialsError::Length),
            (long_password.as_str(), CredentialsError::Length),
        ] {
            assert_eq!(ProxyCredentials::parse(text).err(), Some(error), "{text}");
        }
    }
}
