//! Which header fields go on to the next hop, and which end here.

use http::header::{self, HeaderMap, HeaderName};
use keyside_config::{CredentialNames, NormalName};

use crate::{headers::is_keyside_header, overrides::is_override_field};

/// Fields that concern one connection only (RFC 9110 section 7.6.1), and those
/// that are made anew for the next: `Host`, `Expect`.
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

/// Whether a client's header or trailer may go to an upstream at all. A handshake's fields may where it is one, and then
/// [`is_handshake`] says so.
///
/// Once for each field of each request; names are compared in normal form, since servers differ in what they take for the
/// same.
pub(crate) fn may_forward(name: &HeaderName, credentials: &CredentialNames) -> bool {
    is_known_safe(name) || allowed_by_rules(name, credentials)
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

/// Fields that nearly every request of an SDK has, and that the rules below let leave: to look at their words each time took
/// a tenth of what a request costs.
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

/// Fields of a WebSocket handshake; a subprotocol can be a key.
pub(crate) fn is_handshake(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
}

/// A request is one hop: nothing of the runner's network leaves with it.
fn reveals_network(name: &NormalName<'_>) -> bool {
    matches!(name.as_str(), "origin" | "referer" | "via")
        || name.begins_with("secfetch")
        || name.begins_with("proxy")
        || name.ends_with("clientip")
        || name
            .words()
            .any(|word| matches!(word, "addr" | "forwarded" | "ip"))
}

/// Another spelling of a field that frames a message or stays on this hop: `Transfer_Encoding`, which hyper takes for any
/// field and a server behind CGI for the real one.
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

/// The fields that `Connection` names for this hop only.
pub(crate) fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    list_values(headers, &header::CONNECTION)
        .filter(|option| !is(option, "close") && !is(option, "keep-alive"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

/// Whether a body has no transfer coding but `chunked`, once: others change what the bytes mean, and are not passed on.
pub(crate) fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = list_values(headers, &header::TRANSFER_ENCODING);
    codings.next().is_none_or(|coding| is(coding, "chunked")) && codings.next().is_none()
}

/// Whether a field of comma-separated names holds `name`, in any case.
pub(crate) fn list_contains(headers: &HeaderMap, field: &HeaderName, name: &str) -> bool {
    list_values(headers, field).any(|value| is(value, name))
}

/// What stands in a field of comma-separated values, over all its lines.
pub(crate) fn list_values<'a>(
    headers: &'a HeaderMap,
    field: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(field).into_iter();
    let values = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    values.map(<[u8]>::trim_ascii)
}

/// Takes out the fields whose name does not stay, where they stand: in most
/// messages most of them do. The order of the others may change.
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

    use super::{KNOWN_SAFE, allowed_by_rules};

    fn may_forward(name: &str) -> bool {
        let credentials = Catalogue::builtin().credential_names();
        super::may_forward(&name.parse().unwrap(), &credentials)
    }

    #[test]
    fn what_is_let_through_at_once_the_rules_let_through() {
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
    fn nothing_leaves_under_another_spelling() {
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
    fn what_an_sdk_sends_leaves() {
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
