//! Opens a connection through an HTTP proxy with `CONNECT` (RFC 9110 section 9.3.6).
//!
//! Uses hyper: hyper-util's `Tunnel` reports neither the status of a refusal nor bytes that follow
//! the response.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::{
    client::conn::http1::{self, SendRequest},
    upgrade::{self, Upgraded},
};
use hyper_util::rt::TokioIo;
use keyside_config::BaseUrl;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    try_join,
};

use super::{ProxyCredentials, Tunnel, TunnelError};

/// Asks the proxy behind `stream` for a connection to the host of `base`.
pub(super) async fn open<S>(
    stream: S,
    base: &BaseUrl,
    credentials: Option<&ProxyCredentials>,
) -> Result<Tunnel, TunnelError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = http1::Builder::new()
        .max_headers(HEAD_FIELDS)
        .max_buf_size(HEAD_BYTES)
        // Some proxies, such as pproxy 2.7, recognise `Proxy-Authorization` only in title case.
        .title_case_headers(true)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(failed)?;
    // Polled together with the request instead of spawned, so that dropping this future closes the
    // connection.
    let serving = async { connection.with_upgrades().await.map_err(failed) };
    let ((), upgraded) = try_join!(serving, ask(sender, request(base, credentials)))?;
    match upgraded.downcast::<TokioIo<S>>() {
        // A TLS server never speaks first, so bytes after the response's head cannot be the
        // upstream's.
        Ok(parts) if parts.read_buf.is_empty() => Ok(Box::new(parts.io.into_inner())),
        _ => Err(TunnelError::UnexpectedBytes),
    }
}

async fn ask(
    mut sender: SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Result<Upgraded, TunnelError> {
    let response = sender.send_request(request).await.map_err(failed)?;
    match response.status() {
        status if status.is_success() => upgrade::on(response).await.map_err(failed),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(TunnelError::Credentials),
        status => Err(TunnelError::Refused(status)),
    }
}

fn request(base: &BaseUrl, credentials: Option<&ProxyCredentials>) -> Request<Empty<Bytes>> {
    let target = base.host_and_port();
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    // A base URL always has a host and a port, so this parses.
    *request.uri_mut() = target.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = target.parse() {
        headers.insert(header::HOST, host);
    }
    if let Some(value) = credentials.and_then(ProxyCredentials::basic) {
        headers.insert(header::PROXY_AUTHORIZATION, value);
    }
    request
}

fn failed(error: hyper::Error) -> TunnelError {
    match error.is_parse_too_large() {
        true => TunnelError::HeadTooLarge,
        false => TunnelError::Http(error),
    }
}

/// Bytes; more than proxies send. A proxy's error page is a body, which is not read.
const HEAD_BYTES: usize = 16 * 1024;
/// The default of hyper.
const HEAD_FIELDS: usize = 100;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const TARGET: &str = "https://[2606:4700::1]";

    /// The result for this response, and what the proxy was sent.
    async fn answered(answer: &[u8]) -> (Result<Tunnel, TunnelError>, String) {
        let (ours, mut proxy) = duplex(64 * 1024);
        let base = BaseUrl::parse(TARGET, false).unwrap();
        let credentials = ProxyCredentials::new("me", "secret").ok();
        let proxy = async {
            let mut asked = vec![0; 4096];
            let read = proxy.read(&mut asked).await.unwrap();
            asked.truncate(read);
            let _ = proxy.write_all(answer).await;
            // The proxy closes.
            let _ = proxy.shutdown().await;
            String::from_utf8(asked).unwrap()
        };
        tokio::join!(open(ours, &base, credentials.as_ref()), proxy)
    }

    #[tokio::test]
    async fn the_request_names_host_and_port_and_contains_nothing_else() {
        let (opened, asked) = answered(b"HTTP/1.0 200 Connection established\r\n\r\n").await;
        assert!(opened.is_ok());
        let mut lines: Vec<_> = asked.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "",
                "CONNECT [2606:4700::1]:443 HTTP/1.1",
                "Host: [2606:4700::1]:443",
                "Proxy-Authorization: Basic bWU6c2VjcmV0",
            ]
        );
    }

    #[tokio::test]
    async fn each_kind_of_refusal_has_its_own_message() {
        let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
        for (answer, expected) in [
            ("HTTP/1.1 407 Who\r\n\r\n", "user and password"),
            (
                "HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nforbidden",
                "403",
            ),
            ("HTTP/1.1 502 No\r\n\r\n", "502"),
            ("HTTP/1.1 200 OK\r\n\r\nearly", "bytes of its own"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "not that of an HTTP proxy"),
            ("HTTP/1.1 200 OK\r\n", "not that of an HTTP proxy"),
            ("", "not that of an HTTP proxy"),
            (huge.as_str(), "larger than"),
        ] {
            let (opened, _) = answered(answer.as_bytes()).await;
            let error = opened.err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            assert!(error.contains(expected), "{answer:.40}: {error}");
        }
    }
}
