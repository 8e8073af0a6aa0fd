//! Sends one request of Keyside's own, such as a webhook, on a connection of its own. Follows no
//! redirect, and discards the body of the response.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_LENGTH, HOST, USER_AGENT},
    response::Parts as Head,
};
use hyper::body::Incoming;
use keyside_config::BaseUrl;
use tokio::time::timeout;

use super::{
    AddressPolicy, ConnectionSlot, EgressRoute,
    dial::{ConnectError, Dialer},
    error_chain,
    pool::Connection,
    tcp::TcpError,
};
use crate::{
    headers::OWN_USER_AGENT,
    request_body::{RequestBody, discard},
};

/// Why there is no response. Names hosts and addresses, never a path, a header or a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The host may not be connected to, or HTTP cannot represent its name.
    #[error("{0}")]
    Refused(String),
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// No response in time.
    #[error("no response within {0:?}")]
    Timeout(Duration),
}

/// Refuses a host that is given as an address outside of the public internet, other than loopback,
/// unless the settings allow private networks; also if an egress proxy would connect to it. Names
/// are checked when they are resolved: by Keyside if the route is direct.
///
/// # Errors
/// [`OutboundError::Refused`]
pub(crate) fn expect_allowed(base: &BaseUrl, allow_private: bool) -> Result<(), OutboundError> {
    let Ok(address) = base.host.parse::<IpAddr>() else {
        return Ok(());
    };
    let policy = match allow_private {
        true => AddressPolicy::Private,
        false => AddressPolicy::Public,
    };
    match base.is_loopback() || policy.allows(address) {
        true => Ok(()),
        false => Err(refused(&ConnectError::Tcp(TcpError::AddressNotAllowed {
            host: base.host.clone(),
            policy,
        }))),
    }
}

/// Sends the request and returns the head of the response, which arrives within `limit`. No
/// connection quota is used. The request's target must be a path, and its host one that
/// [`expect_allowed`] allows.
///
/// # Errors
/// See [`OutboundError`]. The receiver may have got the request, except with
/// [`OutboundError::Refused`].
pub(crate) async fn post(
    dialer: &Dialer,
    route: &EgressRoute,
    base: &BaseUrl,
    request: Request<Bytes>,
    limit: Duration,
) -> Result<Head, OutboundError> {
    let sent = timeout(limit, send(dialer, route, base, request)).await;
    let (head, body) = sent
        .unwrap_or(Err(OutboundError::Timeout(limit)))?
        .into_parts();
    // So that the receiver can finish. How it ends does not matter: the status has arrived.
    let _ = timeout(DISCARD_LIMIT, discard(body, MAX_DISCARDED)).await;
    Ok(head)
}

async fn send(
    dialer: &Dialer,
    route: &EgressRoute,
    base: &BaseUrl,
    request: Request<Bytes>,
) -> Result<Response<Incoming>, OutboundError> {
    let (mut head, body) = request.into_parts();
    let host = HeaderValue::from_str(&base.authority());
    let host = host.map_err(|error| OutboundError::Refused(error.to_string()))?;
    head.headers.insert(HOST, host);
    head.headers.insert(USER_AGENT, OWN_USER_AGENT);
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    let request = Request::from_parts(head, RequestBody::from_bytes(body));
    let slot = ConnectionSlot::uncounted();
    let opened = dialer.dial(base, route, slot, None).await;
    let opened = opened.map_err(|error| match &error {
        ConnectError::Tcp(TcpError::AddressNotAllowed { .. } | TcpError::Metadata { .. })
        | ConnectError::Name(_) => refused(&error),
        error => OutboundError::Unreachable(error_chain(error)),
    })?;
    let Connection::Http1(mut connection) = opened else {
        // A dedicated connection offers nothing else.
        return Err(OutboundError::Unreachable("it speaks HTTP/2".to_owned()));
    };
    let answer = connection.sender.send_request(request).await;
    answer.map_err(|error| OutboundError::Unreachable(error_chain(&error)))
}

fn refused(error: &ConnectError) -> OutboundError {
    OutboundError::Refused(error_chain(error))
}

/// Bytes of a response's body that are read and discarded.
const MAX_DISCARDED: usize = 64 << 10;
/// How long that may take.
const DISCARD_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_must_be_public_or_loopback_unless_private_ones_are_allowed() {
        for (url, allow_private, allowed) in [
            ("https://10.0.0.1", false, false),
            ("https://10.0.0.1", true, true),
            ("https://[fd00::1]:8443", false, false),
            ("https://169.254.169.254", true, false),
            ("https://1.1.1.1", false, true),
            ("http://127.0.0.1:9000", false, true),
            ("https://hooks.example", false, true),
        ] {
            let base = BaseUrl::parse(url, false).unwrap();
            let checked = expect_allowed(&base, allow_private);
            assert_eq!(checked.is_ok(), allowed, "{url}: {checked:?}");
        }
    }
}
