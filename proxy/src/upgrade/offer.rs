//! The extensions and subprotocols that a WebSocket handshake offers an upstream (RFC 6455 sections
//! 9 and 1.9).
//!
//! An extension that was not offered could hide an echoed key, and a subprotocol could contain
//! anything. An upstream that accepts more than it was offered is refused.

use http::{HeaderMap, HeaderValue, header};

use crate::hop::list_values;

/// What the upstream was offered.
pub(crate) struct Offer {
    extensions: Vec<Vec<u8>>,
    subprotocols: Option<HeaderValue>,
}

impl Offer {
    /// Reads the offer from the headers that are sent to the upstream.
    pub(crate) fn of(leaving: &HeaderMap) -> Self {
        Self {
            extensions: names(leaving),
            subprotocols: leaving.get(header::SEC_WEBSOCKET_PROTOCOL).cloned(),
        }
    }

    /// Whether the response accepts nothing beyond the offer.
    pub(crate) fn allows(&self, answer: &HeaderMap) -> bool {
        let offered = |name: &Vec<u8>| self.extensions.contains(name);
        names(answer).iter().all(offered) && selects_offered(self.subprotocols.as_ref(), answer)
    }
}

/// Whether the upstream selects no subprotocol, or one of the offered ones (RFC 6455 section 4.1).
/// Any other text could be something the client must not see, such as an echoed key.
fn selects_offered(offered: Option<&HeaderValue>, answer: &HeaderMap) -> bool {
    let mut selected = list_values(answer, &header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.map_or(&[][..], HeaderValue::as_bytes);
    let is_offered = |name: &[u8]| {
        let mut offered = offered.split(|byte| *byte == b',');
        !name.is_empty() && offered.any(|offered| offered.trim_ascii() == name)
    };
    match (selected.next(), selected.next()) {
        (None, _) => true,
        (Some(name), None) => is_offered(name),
        (Some(_), Some(_)) => false,
    }
}

/// Whether the response accepts any extension.
pub(super) fn has_extensions(answer: &HeaderMap) -> bool {
    !names(answer).is_empty()
}

/// The names of the extensions, without parameters, in lower case.
fn names(headers: &HeaderMap) -> Vec<Vec<u8>> {
    list_values(headers, &header::SEC_WEBSOCKET_EXTENSIONS)
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

    fn with(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_static(line);
            headers.append(header::SEC_WEBSOCKET_EXTENSIONS, value);
        }
        headers
    }

    #[test]
    fn an_upstream_may_accept_only_extensions_it_was_offered() {
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
            let offer = Offer::of(&client);
            assert_eq!(offer.allows(&head), offered, "{answer:?}");
            let nothing = Offer::of(&HeaderMap::new());
            assert_eq!(nothing.allows(&head), !has_extensions(&head), "{answer:?}");
        }
        assert!(has_extensions(&with(&["x-c"])) && !has_extensions(&with(&[" , "])));
    }

    #[test]
    fn an_upstream_selects_one_of_the_subprotocols_it_was_offered_or_none() {
        let offered = HeaderValue::from_static("realtime, openai-beta.realtime-v1");
        let cases: [(&[&'static str], bool, bool); 8] = [
            (&[], true, true),
            (&["realtime"], false, true),
            (&["openai-beta.realtime-v1"], false, true),
            (&["Realtime"], false, false),
            (&["other"], false, false),
            (&[""], false, false),
            (&["realtime, openai-beta.realtime-v1"], false, false),
            (&["realtime", "realtime"], false, false),
        ];
        for (selected, alone, among_these) in cases {
            let mut answer = HeaderMap::new();
            for name in selected {
                let name = HeaderValue::from_static(name);
                answer.append(header::SEC_WEBSOCKET_PROTOCOL, name);
            }
            assert_eq!(selects_offered(None, &answer), alone, "{selected:?}");
            let found = selects_offered(Some(&offered), &answer);
            assert_eq!(found, among_these, "{selected:?}");
        }
    }
}
