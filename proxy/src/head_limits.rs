//! The size limits of a message's head: the same for both sides and for both versions of HTTP.

use http::{HeaderMap, HeaderName, HeaderValue};
use keyside_config::Limits;

/// `header_bytes` and `headers` of `[proxy.limits]`.
#[derive(Clone, Copy)]
pub(crate) struct HeadLimits {
    /// Bytes of all fields together.
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

    /// The limit as HTTP/2 counts it: 32 more bytes for each field (RFC 9113 section 10.5.1).
    pub(crate) fn list_size(self) -> u32 {
        u32::try_from(self.bytes + 32 * self.fields).unwrap_or(u32::MAX)
    }

    /// Whether a head is within the limits. hyper 1.12 itself limits the number of fields only for
    /// HTTP/1.1, and the size only for a head that arrives in several reads.
    pub(crate) fn allow(self, fields: &HeaderMap) -> bool {
        // An HTTP/1.1 field line has 4 more bytes: colon, space, CR, LF.
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        fields.len() <= self.fields && fields.iter().map(line).sum::<usize>() <= self.bytes
    }
}
