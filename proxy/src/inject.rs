//! Takes every credential out of a request, then puts exactly one in.
//!
//! Once for each request, after it was granted a key: what the client sent may
//! pass unless a rule here names it, and nothing set here can be taken out again,
//! since the client's `Connection` header is obeyed first (RFC 9110 section 7.6.1).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{self, HeaderName},
    request::Parts,
    uri::{PathAndQuery, Uri},
};
use keyside_config::{AcceptEncoding, Auth};
use keyside_credentials::Secret;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use crate::{
    destination::Destination,
    hop::{is_handshake, list_contains, list_values, may_forward, nominated, retain},
    query,
    refusal::Refusal,
};

/// How a request may leave.
pub(crate) struct Outbound<'a> {
    pub(crate) destination: &'a Destination,
    /// What the upstream's every path begins with.
    pub(crate) prefix: &'a str,
    /// The path at the provider, normalised and allowed.
    pub(crate) rest: &'a str,
    /// A WebSocket handshake on a route that may be upgraded.
    pub(crate) upgrade: bool,
    pub(crate) accept_encoding: AcceptEncoding,
    pub(crate) tag_headers: &'a [HeaderName],
}

impl Outbound<'_> {
    /// Rewrites the client's head into the one the upstream gets.
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

    /// The client's headers without hop-by-hop and nominated ones, credentials,
    /// overrides of the target, traces of its network, and our own.
    fn forwarded_headers(&self, mut kept: HeaderMap) -> HeaderMap {
        let nominated = nominated(&kept);
        let trailers = list_contains(&kept, &header::TE, "trailers");
        let stays = |name: &HeaderName| {
            let may_forward = match is_handshake(name) {
                true => self.upgrade && is_handshake_field(name),
                false => may_forward(name, &self.destination.credentials),
            };
            may_forward && !self.tag_headers.contains(name) && !nominated.contains(name)
        };
        retain(&mut kept, stays);
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

    /// Offers on only the subprotocols that the provider's file names: for browsers, providers take a key as one.
    /// And what the frames are compressed with, nobody can look into for an echo.
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

/// The header that carries the key: marked sensitive, and wiped when the last
/// handle on it is dropped.
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

/// The key as it stands in a query.
fn escaped(secret: &Secret) -> Zeroizing<Vec<u8>> {
    // Room for the longest form, so that no piece of the key stays in a buffer outgrown.
    let mut escaped = Zeroizing::new(Vec::with_capacity(3 * secret.len()));
    for piece in percent_encode(secret.expose(), RESERVED) {
        escaped.extend_from_slice(piece.as_bytes());
    }
    escaped
}

/// The fields that a client's handshake has (RFC 6455 section 11.3); under another such name anything may come.
fn is_handshake_field(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::SEC_WEBSOCKET_KEY
            | header::SEC_WEBSOCKET_VERSION
            | header::SEC_WEBSOCKET_PROTOCOL
            | header::SEC_WEBSOCKET_EXTENSIONS
    )
}

/// What a query's value cannot hold as it is: all but the unreserved characters of RFC 3986 (section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests;
