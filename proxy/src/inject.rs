//! Removes every credential from a request, then adds exactly one.
//!
//! Runs once for each request that was granted a key. A header of the client passes unless a rule
//! here removes it. Nothing that is set here can be removed again, because the client's
//! `Connection` header is applied first (RFC 9110 section 7.6.1).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{self, HeaderName},
    request::Parts,
    uri::{PathAndQuery, Uri},
};
use keyside_config::{AcceptEncoding, Auth, RESERVED};
use keyside_credentials::Secret;
use percent_encoding::percent_encode;
use zeroize::Zeroizing;

use crate::{
    destination::Destination,
    hop::{is_handshake, list_contains, list_values, may_forward, retain_end_to_end},
    query,
    refusal::Refusal,
};

/// What decides how a request's head is rewritten.
pub(crate) struct Outbound<'a> {
    pub(crate) destination: &'a Destination,
    /// The path of the upstream's base URL.
    pub(crate) prefix: &'a str,
    /// The path at the provider, normalised and allowed by a route.
    pub(crate) rest: &'a str,
    /// A WebSocket handshake, on a route that allows upgrades.
    pub(crate) upgrade: bool,
    pub(crate) accept_encoding: AcceptEncoding,
    pub(crate) tag_headers: &'a [HeaderName],
}

impl Outbound<'_> {
    /// Rewrites the client's head into the one that the upstream gets.
    pub(crate) fn rewrite(&self, mut head: Parts, secret: &Secret) -> Result<Parts, Refusal> {
        let provider = &*self.destination.provider;
        head.uri = self.target(head.uri.query(), &provider.auth, secret)?;
        head.headers = self.forwarded_headers(head.headers);
        head.version = http::Version::HTTP_11;
        head.extensions = http::Extensions::new();
        for (name, value) in &provider.headers {
            head.headers.entry(name).or_insert_with(|| value.clone());
        }
        if self.accept_encoding == AcceptEncoding::Identity {
            head.headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }
        if let Auth::Header { name, prefix } = &provider.auth {
            head.headers
                .insert(name, credential_header(prefix, secret)?);
        }
        Ok(head)
    }

    fn target(&self, query: Option<&str>, auth: &Auth, secret: &Secret) -> Result<Uri, Refusal> {
        let query = query
            .map(|query| query::forwardable(query, &self.destination.credentials))
            .filter(|query| !query.is_empty());
        let mut target = Zeroizing::new(Vec::with_capacity(
            self.prefix.len() + self.rest.len() + query.as_ref().map_or(0, |q| q.len() + 1),
        ));
        target.extend_from_slice(self.prefix.as_bytes());
        target.extend_from_slice(self.rest.as_bytes());
        if let Some(query) = &query {
            target.push(b'?');
            target.extend_from_slice(query.as_bytes());
        }
        let target = match auth {
            Auth::Header { .. } => Bytes::from(std::mem::take(&mut *target)),
            Auth::Query { name } => {
                target.push(if query.is_some() { b'&' } else { b'?' });
                append_parameter(&mut target, name, secret);
                Bytes::from_owner(target)
            }
        };
        let target = PathAndQuery::from_maybe_shared(target);
        target.map(Uri::from).map_err(|_| Refusal::PathNotAllowed)
    }

    /// The client's headers without hop-by-hop and nominated ones, credentials, overrides of the
    /// target, traces of the client's network, and Keyside's own.
    fn forwarded_headers(&self, mut kept: HeaderMap) -> HeaderMap {
        let trailers = list_contains(&kept, &header::TE, "trailers");
        let stays = |name: &HeaderName| {
            let may_forward = match is_handshake(name) {
                true => self.upgrade && is_handshake_field(name),
                false => may_forward(name, &self.destination.credentials),
            };
            may_forward && !self.tag_headers.contains(name)
        };
        retain_end_to_end(&mut kept, stays);
        if trailers {
            kept.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if self.upgrade {
            kept.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            kept.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            self.filter_handshake(&mut kept);
        }
        kept
    }

    /// Offers only the subprotocols that the provider's file names, because some providers accept a
    /// key as a subprotocol for browsers. Offers no extension unless encodings are passed:
    /// compressed frames cannot be searched for an echoed key.
    fn filter_handshake(&self, kept: &mut HeaderMap) {
        let offered = list_values(kept, &header::SEC_WEBSOCKET_PROTOCOL);
        let known = |offered: &&[u8]| {
            let mut known = self.destination.provider.subprotocols.iter();
            known.any(|known| known.as_str().as_bytes() == *offered)
        };
        let offered: Vec<_> = offered.filter(known).collect();
        let offered = HeaderValue::from_bytes(&offered.join(&b", "[..])).ok();
        let offered = offered.filter(|offered| !offered.is_empty());
        match offered {
            Some(offered) => kept.insert(header::SEC_WEBSOCKET_PROTOCOL, offered),
            None => kept.remove(header::SEC_WEBSOCKET_PROTOCOL),
        };
        if self.accept_encoding == AcceptEncoding::Identity {
            kept.remove(header::SEC_WEBSOCKET_EXTENSIONS);
        }
    }
}

/// The header that carries the key. It is marked sensitive and wiped when the last handle on it is
/// dropped.
fn credential_header(prefix: &str, secret: &Secret) -> Result<HeaderValue, Refusal> {
    let mut value = Zeroizing::new(Vec::with_capacity(prefix.len() + secret.len()));
    value.extend_from_slice(prefix.as_bytes());
    value.extend_from_slice(secret.expose());
    let value = HeaderValue::from_maybe_shared(Bytes::from_owner(value));
    let undecryptable = keyside_credentials::Refusal::CredentialUndecryptable;
    let mut value = value.map_err(|_| Refusal::Credential(undecryptable))?;
    value.set_sensitive(true);
    Ok(value)
}

fn append_parameter(target: &mut Zeroizing<Vec<u8>>, name: &str, secret: &Secret) {
    let escaped = escaped(secret);
    target.reserve_exact(name.len() + 1 + escaped.len());
    target.extend_from_slice(name.as_bytes());
    target.push(b'=');
    target.extend_from_slice(&escaped);
}

/// The key, percent-encoded for a query.
fn escaped(secret: &Secret) -> Zeroizing<Vec<u8>> {
    // Capacity for the longest form: a buffer that grows would leave parts of the key in freed
    // memory.
    let mut escaped = Zeroizing::new(Vec::with_capacity(3 * secret.len()));
    for piece in percent_encode(secret.expose(), RESERVED) {
        escaped.extend_from_slice(piece.as_bytes());
    }
    escaped
}

/// The fields of a client's handshake (RFC 6455 section 11.3). Other names with the same prefix are
/// removed.
fn is_handshake_field(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::SEC_WEBSOCKET_KEY
            | header::SEC_WEBSOCKET_VERSION
            | header::SEC_WEBSOCKET_PROTOCOL
            | header::SEC_WEBSOCKET_EXTENSIONS
    )
}

#[cfg(test)]
mod tests;
