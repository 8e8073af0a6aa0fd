//! Which header fields go on to the next hop, and which end here.

use crate::names::is_ours;
use http::header::{self, HeaderMap, HeaderName};
use keyside_config::CredentialNames;

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

/// Whether a client's header may go to an upstream at all.
pub(crate) fn may_leave(name: &HeaderName, credentials: &CredentialNames) -> bool {
    !is_hop_by_hop(name) && !credentials.has_header(name) && !is_trace(name) && !is_ours(name)
}

/// A request is one hop: nothing of the runner's network leaves with it.
fn is_trace(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::FORWARDED | header::VIA | header::ORIGIN | header::REFERER
    ) || name.as_str().starts_with("x-forwarded-")
        || name.as_str().starts_with("sec-fetch-")
        || matches!(
            name.as_str(),
            "x-real-ip" | "true-client-ip" | "cf-connecting-ip" | "x-client-ip"
        )
}

/// The fields that `Connection` names for this hop only.
pub(crate) fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    listed(headers, &header::CONNECTION)
        .filter(|option| !is(option, "close") && !is(option, "keep-alive"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

/// Whether a field of comma-separated names holds `name`, in any case.
pub(crate) fn lists(headers: &HeaderMap, field: &HeaderName, name: &str) -> bool {
    listed(headers, field).any(|listed| is(listed, name))
}

/// What stands in a field of comma-separated values, over all its lines.
pub(crate) fn listed<'a>(
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
