//! The extensions of a WebSocket (RFC 6455 section 9): which ones an upstream may agree to.
//!
//! One that was not offered could hide an echo, and is refused with the handshake.

use crate::hop::listed;
use http::{HeaderMap, header};
use keyside_config::AcceptEncoding;

/// What an upstream was offered.
pub(crate) struct Offer(Vec<Vec<u8>>);

impl Offer {
    /// Of a client's handshake: nothing of what it asks for, unless settings let encodings pass.
    pub(crate) fn of(client: &HeaderMap, accept_encoding: AcceptEncoding) -> Self {
        Self(match accept_encoding {
            AcceptEncoding::Identity => Vec::new(),
            AcceptEncoding::Pass => names(client),
        })
    }

    /// Whether an answer agrees to nothing else.
    pub(crate) fn covers(&self, answer: &HeaderMap) -> bool {
        names(answer).iter().all(|name| self.0.contains(name))
    }
}

/// Whether an answer agrees to any.
pub(super) fn are_agreed(answer: &HeaderMap) -> bool {
    !names(answer).is_empty()
}

/// Without their parameters, in lower case.
fn names(headers: &HeaderMap) -> Vec<Vec<u8>> {
    listed(headers, &header::SEC_WEBSOCKET_EXTENSIONS)
        .map(|extension| {
            let end = extension.iter().position(|byte| *byte == b';');
            let name = &extension[..end.unwrap_or(extension.len())];
            name.trim_ascii().to_ascii_lowercase()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_static(line);
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, value);
        }
        headers
    }

    #[test]
    fn an_upstream_may_agree_to_what_it_was_offered_and_to_nothing_else() {
        let client = with(&["permessage-deflate; client_max_window_bits, x-a", "X-B"]);
        for (answer, offered) in [
            (&[][..], true),
            (&[""], true),
            (&["permessage-deflate"], true),
            (
                &["Permessage-Deflate;server_no_context_takeover , x-b"],
                true,
            ),
            (&["x-a", "x-b; y=1"], true),
            (&["x-c"], false),
            (&["x-a, x-c"], false),
            (&["x-a", "x-c"], false),
            (&["permessage-deflate2"], false),
        ] {
            let head = with(answer);
            let offer = Offer::of(&client, AcceptEncoding::Pass);
            assert_eq!(offer.covers(&head), offered, "{answer:?}");
            let nothing = Offer::of(&client, AcceptEncoding::Identity);
            assert_eq!(nothing.covers(&head), !are_agreed(&head), "{answer:?}");
        }
        assert!(are_agreed(&with(&["x-c"])) && !are_agreed(&with(&[" , "])));
    }
}
