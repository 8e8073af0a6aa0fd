//! Which header fields are forwarded to the next hop, and which end here.

use http::header::{self, HeaderMap, HeaderName};
use keyside_config::{CredentialNames, NormalName};

use crate::{headers::is_keyside_header, overrides::is_override_field};

/// Fields that apply to one connection only (RFC 9110 section 7.6.1), and those that are set again
/// for the next: `Host`, `Expect`.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::HOST
            | header::EXPECT
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::TE
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "http2-settings"
    )
}

/// Whether a client's header or trailer may be forwarded to an upstream. Handshake fields may
/// be forwarded only in a handshake ([`is_handshake`]).
///
/// Runs once for each field of each request. Names are compared in normal form, because servers
/// differ in which spellings they treat as equal.
pub(crate) fn may_forward(name: &HeaderName, credentials: &CredentialNames) -> bool {
    let is_dummy_key = KNOWN_CREDENTIALS.contains(&name.as_str());
    !is_dummy_key && (is_known_safe(name) || allowed_by_rules(name, credentials))
}

fn allowed_by_rules(name: &HeaderName, credentials: &CredentialNames) -> bool {
    if is_hop_by_hop(name) || is_handshake(name) || is_keyside_header(name) {
        return false;
    }
    let normal = NormalName::of_header(name);
    !credentials.include(&normal)
        && !is_override_field(&normal)
        && !reveals_network(&normal)
        && !is_disguised(name, &normal)
}

/// Fields that nearly every request of an SDK has and that the rules below allow. Checking them by
/// the rules each time cost a tenth of a request's CPU time.
fn is_known_safe(name: &HeaderName) -> bool {
    KNOWN_SAFE.contains(&name.as_str()) || name.as_str().starts_with("x-stainless-")
}

const KNOWN_SAFE: [&str; 12] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "anthropic-beta",
    "anthropic-version",
    "content-length",
    "content-type",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "user-agent",
    "x-goog-api-client",
];

/// Fields in which SDKs send their dummy key. The rules refuse them too, after some 700
/// instructions.
const KNOWN_CREDENTIALS: [&str; 2] = ["authorization", "x-api-key"];

/// Whether a field can be a trailer: not one that frames or describes the body, or controls the
/// message (RFC 9110 section 6.5.1). hyper 1.12 drops these over HTTP/1.1, and no others.
pub(crate) fn may_be_trailer(name: &HeaderName) -> bool {
    !matches!(
        *name,
        header::CACHE_CONTROL
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
            | header::MAX_FORWARDS
            | header::SET_COOKIE
            | header::TRAILER
    )
}

/// Fields of a WebSocket handshake. A subprotocol can contain a key.
pub(crate) fn is_handshake(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
}

/// Whether the field reveals the runner's network. Upstreams must see a request as coming from one
/// hop.
fn reveals_network(name: &NormalName<'_>) -> bool {
    matches!(name.as_str(), "origin" | "referer" | "via")
        || name.begins_with("secfetch")
        || name.begins_with("proxy")
        || name.ends_with("clientip")
        || name
            .words()
            .any(|word| matches!(word, "addr" | "forwarded" | "ip"))
}

/// Whether the name is another spelling of a framing or hop-by-hop field: `Transfer_Encoding` is an
/// ordinary field to hyper and the real one to a server behind CGI.
fn is_disguised(name: &HeaderName, normal: &NormalName<'_>) -> bool {
    let plain = match normal.as_str() {
        same if same == name.as_str() => return false,
        other => HeaderName::from_bytes(other.as_bytes()),
    };
    plain.is_ok_and(|plain| {
        is_hop_by_hop(&plain)
            || is_handshake(&plain)
            || is_keyside_header(&plain)
            || plain == header::CONTENT_LENGTH
            || plain == header::TRAILER
    })
}

/// Whether the only transfer coding is `chunked`, applied at most once. Other codings change the
/// meaning of the bytes and are not forwarded.
pub(crate) fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = list_values(headers, &header::TRANSFER_ENCODING);
    codings.next().is_none_or(|coding| is(coding, "chunked")) && codings.next().is_none()
}

/// Whether a field with a comma-separated list contains `name`, in any case.
pub(crate) fn list_contains(headers: &HeaderMap, field: &HeaderName, name: &str) -> bool {
    list_values(headers, field).any(|value| is(value, name))
}

/// The values of a field with comma-separated lists, over all its lines.
pub(crate) fn list_values<'a>(
    headers: &'a HeaderMap,
    field: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(field).into_iter();
    let values = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    values.map(<[u8]>::trim_ascii)
}

/// Removes the fields that `Connection` nominates as hop-by-hop, and those that `stays` rejects.
pub(crate) fn retain_end_to_end(headers: &mut HeaderMap, stays: impl Fn(&HeaderName) -> bool) {
    // Looked up one by one: a head can nominate tens of thousands of names, and comparing each of
    // its fields with each of them would take a hundred times as long.
    for name in nominated(headers) {
        headers.remove(name);
    }
    retain(headers, stays);
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    list_values(headers, &header::CONNECTION)
        .filter(|option| !is(option, "close") && !is(option, "keep-alive"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

/// Removes the fields that `stays` rejects, in place: most messages keep most of their fields. May
/// change the order of the rest.
pub(crate) fn retain(headers: &mut HeaderMap, stays: impl Fn(&HeaderName) -> bool) {
    let leaving: Vec<_> = headers
        .keys()
        .filter(|name| !stays(name))
        .cloned()
        .collect();
    for name in leaving {
        headers.remove(name);
    }
}

fn is(option: &[u8], name: &str) -> bool {
    option.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use keyside_config::Catalogue;

    use super::{KNOWN_CREDENTIALS, KNOWN_SAFE, allowed_by_rules};

    fn may_forward(name: &str) -> bool {
        let credentials = Catalogue::builtin().credential_names();
        super::may_forward(&name.parse().unwrap(), &credentials)
    }

    #[test]
    fn the_fields_known_as_safe_are_allowed_by_the_rules() {
        let credentials = Catalogue::builtin().credential_names();
        let stainless = ["lang", "package-version", "os", "runtime", "retry-count"];
        let stainless = stainless.map(|last| format!("x-stainless-{last}"));
        for name in KNOWN_SAFE
            .into_iter()
            .chain(stainless.iter().map(String::as_str))
        {
            let name: HeaderName = name.parse().unwrap();
            assert!(allowed_by_rules(&name, &credentials), "{name}");
        }
    }

    #[test]
    fn the_fields_known_as_credentials_are_refused_by_the_rules() {
        let credentials = Catalogue::builtin().credential_names();
        for name in KNOWN_CREDENTIALS {
            let parsed: HeaderName = name.parse().unwrap();
            assert!(!allowed_by_rules(&parsed, &credentials), "{name}");
            assert!(!may_forward(name), "{name}");
        }
    }

    #[test]
    fn nothing_is_forwarded_under_another_spelling() {
        for name in [
            "X_Api_Key",
            "X-Goog_Api-Key",
            "X_HTTP_Method_Override",
            "X_Keyside_Label",
            "X_Forwarded_For",
            "X_Real_IP",
            "True_Client_Ip",
            "Content_Length",
            "Transfer_Encoding",
            "Transfer-Encoding-",
            "Sec_WebSocket_Protocol",
            "Sec-WebSocket-Protocol",
            "Fastly-Client-IP",
            "Forwarded",
            "Proxy",
            "Referer",
            "Remote-Addr",
            "Via",
        ] {
            assert!(!may_forward(name), "{name}");
        }
    }

    #[test]
    fn headers_of_sdks_are_forwarded() {
        for name in [
            "Accept",
            "Anthropic-Beta",
            "Content-Length",
            "Content-Type",
            "HTTP-Referer",
            "Idempotency-Key",
            "OpenAI-Organization",
            "Traceparent",
            "Trailer",
            "User-Agent",
            "X_Custom",
            "X-Goog-Api-Client",
            "X-Stainless-Helper-Method",
        ] {
            assert!(may_forward(name), "{name}");
        }
    }
}
