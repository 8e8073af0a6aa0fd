//! Tells from an error response whether the provider rejects the key, or only this request.
//!
//! Looks at responses with a few statuses only, and at the beginning of their bodies as they pass,
//! already redacted. Of a body nothing is kept but the cause.

use keyside_credentials::RejectionCause;

/// A response that may reject the key.
pub(crate) struct ErrorResponse {
    status: u16,
    /// The first bytes of its body.
    beginning: Vec<u8>,
}

impl ErrorResponse {
    /// `None` for a status that never says anything about the key. A 403 is about what the key may
    /// do, and a 5xx about the provider.
    pub(crate) fn of(status: u16) -> Option<Box<Self>> {
        let may_reject = matches!(status, 400 | 401 | 402 | 429);
        may_reject.then(|| {
            Box::new(Self {
                status,
                beginning: Vec::new(),
            })
        })
    }

    /// Reads the next bytes of the body.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let room = MAX_BEGINNING - self.beginning.len();
        self.beginning
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    /// Why the provider rejects the key; `None` if it only refuses the request. By the provider's
    /// code if it is a known one, else by the status: a 400 or 429 without one is no rejection.
    pub(crate) fn cause(&self) -> Option<RejectionCause> {
        let known = CODES.iter().find(|(status, code, _)| {
            let is_in = |body: &[u8]| body.windows(code.len()).any(|part| part == code.as_bytes());
            *status == self.status && is_in(&self.beginning)
        });
        match (known, self.status) {
            (Some((_, _, cause)), _) => *cause,
            (None, 401) => Some(RejectionCause::WrongKey),
            (None, 402) => Some(RejectionCause::NoFunds),
            (None, _) => None,
        }
    }
}

/// Codes of providers' errors, as whole JSON strings: text in a message has its quotes escaped.
/// With `None` the error is about other fields of the request.
const CODES: [(u16, &str, Option<RejectionCause>); 10] = [
    // Gemini answers 400 to a wrong key.
    (400, "\"API_KEY_INVALID\"", Some(RejectionCause::WrongKey)),
    // OpenAI, and those that have its codes.
    (
        400,
        "\"billing_hard_limit_reached\"",
        Some(RejectionCause::Quota),
    ),
    (
        401,
        "\"account_deactivated\"",
        Some(RejectionCause::Revoked),
    ),
    (401, "\"invalid_organization\"", None),
    (401, "\"mismatched_organization\"", None),
    (401, "\"mismatched_project\"", None),
    (401, "\"missing_scope\"", None),
    (429, "\"billing_not_active\"", Some(RejectionCause::NoFunds)),
    (
        429,
        "\"billing_hard_limit_reached\"",
        Some(RejectionCause::Quota),
    ),
    (429, "\"insufficient_quota\"", Some(RejectionCause::NoFunds)),
];

/// Bytes. Errors are short; a code further back is not found.
const MAX_BEGINNING: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(status: u16, chunks: &[&str]) -> Option<RejectionCause> {
        let mut response = ErrorResponse::of(status)?;
        chunks
            .iter()
            .for_each(|chunk| response.push(chunk.as_bytes()));
        response.cause()
    }

    #[test]
    fn a_rejection_is_known_by_its_code_and_else_by_its_status() {
        use RejectionCause::{NoFunds, Quota, Revoked, WrongKey};
        let quota = r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#;
        let scope = r#"{"error":{"code":"missing_scope"}}"#;
        for (status, body, expected) in [
            (401, "", Some(WrongKey)),
            (
                401,
                r#"{"error":{"code":"invalid_api_key"}}"#,
                Some(WrongKey),
            ),
            (
                401,
                r#"{"error":{"code":"account_deactivated"}}"#,
                Some(Revoked),
            ),
            (401, scope, None),
            (
                401,
                r#"{"error":{"code": "mismatched_organization"}}"#,
                None,
            ),
            (401, r#"{"error":{"code":"mismatched_project"}}"#, None),
            (402, "{}", Some(NoFunds)),
            (429, quota, Some(NoFunds)),
            (429, r#"{"code":"billing_hard_limit_reached"}"#, Some(Quota)),
            (429, r#"{"error":{"code":"rate_limit_exceeded"}}"#, None),
            (429, r#"{"message":"not \"insufficient_quota\""}"#, None),
            (
                400,
                r#"{"details":[{"reason": "API_KEY_INVALID"}]}"#,
                Some(WrongKey),
            ),
            (400, quota, None),
            (400, "", None),
            (403, quota, None),
            (404, "", None),
            (500, quota, None),
            (200, quota, None),
        ] {
            assert_eq!(cause(status, &[body]), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_code_is_found_across_chunks_but_only_near_the_beginning() {
        let (half, rest) = (r#"{"code":"insuffici"#, r#"ent_quota"}"#);
        assert_eq!(cause(429, &[half, rest]), Some(RejectionCause::NoFunds));
        let long = " ".repeat(MAX_BEGINNING - half.len());
        assert_eq!(cause(429, &[&long, half, rest]), None);
        assert_eq!(cause(429, &[&long, &long, half, rest]), None);
    }
}
