//! Compresses responses with gzip (RFC 9110 section 8.4) for clients that accept it.
//!
//! The length of compressed text shows how much of it repeats. An attacker who observes lengths, and
//! can put text of their choice into the same response as a secret, can guess the secret piece by
//! piece (BREACH). So only responses to GET are compressed: a new token and the code of a one-time
//! link are in responses to POST. The CSRF token, which is on every page, differs each time
//! (`sessions.rs`). The path of the session is on every page too, so a page that may repeat text of
//! its address is not compressed.

use std::io::Write;

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use keyside_config::headers::SEC_FETCH_SITE;

use crate::entity_tag::listed;

/// Runs once per request, around everything that makes a response.
pub(crate) async fn compress(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let keeps_secrets =
        request.method() == Method::GET && !may_repeat_query(request.uri(), headers);
    let is_accepted = accepts_gzip(headers);
    let mut response = next.run(request).await;
    if !keeps_secrets || !is_suitable(&response) {
        return response;
    }
    let vary = HeaderValue::from_static(VARY);
    response.headers_mut().insert(header::VARY, vary);
    match is_accepted {
        true => compressed(response).await,
        false => response,
    }
}

/// Whether a page may repeat text of the query. Another site can lead a browser to a page of its
/// session with any query, through the page's stable link. Sessions answer only to Fetch Metadata,
/// and programs send none.
fn may_repeat_query(uri: &Uri, headers: &HeaderMap) -> bool {
    let may_repeat = |field: &str| {
        let (name, _) = field.split_once('=').unwrap_or((field, ""));
        !NEVER_REPEATED.contains(&name)
    };
    let query = uri.query();
    headers.contains_key(SEC_FETCH_SITE)
        && query.is_some_and(|query| query.split('&').any(may_repeat))
}

/// Whether the client accepts gzip. A weight of zero refuses it (RFC 9110 section 12.4.2).
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let is_zero = |weight: &str| weight.trim().trim_matches(['0', '.']).is_empty();
    listed(headers, header::ACCEPT_ENCODING).any(|member| {
        let (coding, parameters) = member.split_once(';').unwrap_or((member, ""));
        let weight = parameters.split_once('=').map(|(_, weight)| weight);
        coding.trim().eq_ignore_ascii_case(GZIP) && !weight.is_some_and(is_zero)
    })
}

/// The bytes in gzip's format (RFC 1952), without name and time, so that they depend on nothing
/// else.
pub(crate) fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("memory takes every write")
}

/// Whether a response is text in memory that is worth compressing.
///
/// Streams are not: their events have to be sent at once. Downloads are saved as they are. A
/// response with an entity tag is one small resource, and each encoding of it would need a tag of
/// its own (RFC 9110 section 8.8.3.3).
fn is_suitable(response: &Response) -> bool {
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim_end();
    let length = response.body().size_hint().exact();
    TEXTS.contains(&kind)
        && length.is_some_and(|length| length >= WORTHWHILE)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_DISPOSITION)
        && !headers.contains_key(header::ETAG)
}

async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        // Only a body that is still read from somewhere fails, and such a body has no known length.
        Err(error) => {
            tracing::error!(%error, "a response could not be compressed");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let bytes = gzip(&bytes, QUICK);
    let coding = HeaderValue::from_static(GZIP);
    parts.headers.insert(header::CONTENT_ENCODING, coding);
    let length = HeaderValue::from(bytes.len());
    parts.headers.insert(header::CONTENT_LENGTH, length);
    Response::from_parts(parts, Body::from(bytes))
}

/// The content coding.
pub(crate) const GZIP: &str = "gzip";

/// The value of `Vary` for a response that has a compressed form.
pub(crate) const VARY: &str = "accept-encoding";

/// For what is compressed once.
pub(crate) const BEST: Compression = Compression::best();

/// For each response: pages are a twentieth larger than with [`BEST`], in half the time.
const QUICK: Compression = Compression::new(4);

/// Below this many bytes, a response is one packet in any case.
const WORTHWHILE: u64 = 1024;

/// The fields of a query whose text is on no page: a page shows the id of a workspace that exists,
/// and a number.
const NEVER_REPEATED: [&str; 2] = ["page", "workspace"];

const TEXTS: [&str; 2] = ["text/html", "application/json"];

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use http_body_util::channel::Channel;

    use super::*;

    fn response(headers: &[(&'static str, &'static str)], body: Body) -> Response {
        let mut response = Response::new(body);
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(*name, value);
        }
        response
    }

    #[test]
    fn only_text_in_memory_is_compressed() {
        let json = ("content-type", "application/json");
        let html = ("content-type", "text/html; charset=utf-8");
        let events = ("content-type", "text/event-stream");
        let file = ("content-disposition", "attachment; filename=\"it.json\"");
        let gzipped = ("content-encoding", "gzip");
        for (headers, size, expected) in [
            (&[html][..], 1024, true),
            (&[json][..], 1024, true),
            (&[html][..], 1023, false),
            (&[events][..], 1024, false),
            (&[][..], 1024, false),
            (&[json, file][..], 1024, false),
            (&[json, gzipped][..], 1024, false),
            (&[json, ("etag", "\"1\"")][..], 1024, false),
        ] {
            let response = response(headers, Body::from("x".repeat(size)));
            assert_eq!(is_suitable(&response), expected, "{headers:?} of {size}");
        }
        let (_sender, body) = Channel::<Bytes, axum::Error>::new(1);
        let stream = response(&[html], Body::new(body));
        assert!(!is_suitable(&stream), "it would wait for the end");
    }

    #[test]
    fn a_page_for_a_browser_may_repeat_its_query() {
        let mut browser = HeaderMap::new();
        let own = HeaderValue::from_static("same-origin");
        browser.insert(SEC_FETCH_SITE, own);
        for (address, expected) in [
            ("/s/1/keys", false),
            ("/s/1/keys?workspace=acme", false),
            ("/s/1/keys?workspace=acme&page=2", false),
            ("/s/1/keys?workspace=acme&q=guess", true),
            ("/s/1/keys?q=guess", true),
            ("/s/1/keys?%71=guess", true),
            ("/s/1/keys?guess", true),
            ("/s/1/keys?", true),
        ] {
            let uri = Uri::from_static(address);
            assert_eq!(may_repeat_query(&uri, &browser), expected, "{address}");
            assert!(!may_repeat_query(&uri, &HeaderMap::new()), "{address}");
        }
    }

    #[test]
    fn gzip_is_used_only_if_the_client_accepts_it() {
        for (accepted, expected) in [
            ("gzip", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("br, GZIP; q=0.001", true),
            ("", false),
            ("br, zstd", false),
            ("gzip;q=0", false),
            ("identity, gzip; q=0.000", false),
            ("gzipped", false),
        ] {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_static(accepted);
            headers.insert(header::ACCEPT_ENCODING, value);
            assert_eq!(accepts_gzip(&headers), expected, "{accepted}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
