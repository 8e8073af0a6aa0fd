//! How large the head of a message may be: one rule for both sides and both versions of HTTP.

use http::{HeaderMap, HeaderName, HeaderValue};
use keyside_config::Limits;

/// The limits of `[proxy.limits]`.
#[derive(Clone, Copy)]
pub(crate) struct HeadLimits {
    /// Of all fields, in bytes.
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

impl HeadLimits {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            bytes: limits.header_bytes,
            fields: limits.headers,
        }
    }

    /// In the measure of HTTP/2, which counts 32 bytes more a field (RFC 9113 section 10.5.1).
    pub(crate) fn list_size(self) -> u32 {
        u32::try_from(self.bytes + 32 * self.fields).unwrap_or(u32::MAX)
    }

    /// Whether a head is within the limits. hyper 1.12 asks for the number of fields of HTTP/1.1 only, and for its size
    /// only of a head that comes in several pieces.
    pub(crate) fn allow(self, fields: &HeaderMap) -> bool {
        // As a line of HTTP/1.1 has them: a colon, a blank, and the line's end.
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        fields.len() <= self.fields && fields.iter().map(line).sum::<usize>() <= self.bytes
    }
}
