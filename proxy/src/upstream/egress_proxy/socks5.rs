//! Opens a connection through a SOCKS5 proxy (RFC 1928), with user and password if configured (RFC
//! 1929).
//!
//! The proxy gets the upstream's name unresolved. Implemented here because hyper-util's `SocksV5`
//! reads beyond its own messages, and its error type is private, so a refusal could not be
//! distinguished from a wrong password.

use std::{fmt, net::IpAddr};

use keyside_config::BaseUrl;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ProxyCredentials, TunnelError};

/// The reply code of a refused connection (RFC 1928 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Reply(u8);

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "general failure",
            2 => "not allowed by its rules",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "time to live expired",
            7 => "command not supported",
            8 => "address type not supported",
            _ => "an unknown reply code",
        })
    }
}

/// Asks the proxy behind `stream` for a connection to the host of `base`. Reads no byte beyond the
/// proxy's replies.
pub(super) async fn open<S>(
    stream: &mut S,
    base: &BaseUrl,
    credentials: Option<&ProxyCredentials>,
) -> Result<(), TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    authenticate(stream, credentials).await?;
    send(stream, &request(base)).await?;
    let [version, reply, _, kind] = receive::<_, 4>(stream).await?;
    match (version, reply) {
        (VERSION, 0) => skip_address(stream, kind).await,
        (VERSION, reply) => Err(TunnelError::RefusedSocks(Reply(reply))),
        _ => Err(TunnelError::NotSocks),
    }
}

async fn authenticate<S>(
    stream: &mut S,
    credentials: Option<&ProxyCredentials>,
) -> Result<(), TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let offer: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    send(stream, offer).await?;
    match (receive::<_, 2>(stream).await?, credentials) {
        ([VERSION, NO_AUTHENTICATION], _) => Ok(()),
        ([VERSION, USER_AND_PASSWORD], Some(credentials)) => {
            send(stream, &credentials.socks5()).await?;
            match receive::<_, 2>(stream).await? {
                [_, 0] => Ok(()),
                _ => Err(TunnelError::Credentials),
            }
        }
        ([VERSION, NONE_ACCEPTABLE], _) => Err(TunnelError::Credentials),
        _ => Err(TunnelError::NotSocks),
    }
}

/// A `CONNECT` request for an address, or for a name that the proxy resolves.
fn request(base: &BaseUrl) -> Vec<u8> {
    let mut request = vec![VERSION, 1, 0];
    match base.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        // Fits: a base URL's name has 253 bytes at most.
        Err(_) => {
            request.extend_from_slice(&[NAME, base.host.len() as u8]);
            request.extend_from_slice(base.host.as_bytes());
        }
    }
    request.extend_from_slice(&base.port.to_be_bytes());
    request
}

/// Skips the address at the end of the reply, which nobody needs.
async fn skip_address<S: AsyncRead + Unpin>(stream: &mut S, kind: u8) -> Result<(), TunnelError> {
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let [length] = receive::<_, 1>(stream).await?;
            usize::from(length)
        }
        _ => return Err(TunnelError::NotSocks),
    };
    let mut address = vec![0; length + 2];
    let read = stream.read_exact(&mut address).await;
    read.map(drop).map_err(TunnelError::ConnectionLost)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> Result<(), TunnelError> {
    let sent = stream.write_all(message).await;
    sent.map_err(TunnelError::ConnectionLost)
}

async fn receive<S: AsyncRead + Unpin, const N: usize>(
    stream: &mut S,
) -> Result<[u8; N], TunnelError> {
    let mut message = [0; N];
    let read = stream.read_exact(&mut message).await;
    read.map(|_| message).map_err(TunnelError::ConnectionLost)
}

const VERSION: u8 = 5;

const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const NO_PASSWORD: &[u8] = &[5, 0];
    const CONNECTED: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 0, 80];

    /// The result for these replies, what was sent, and what is left to read.
    async fn answered(
        target: &str,
        credentials: Option<&str>,
        answers: &[&[u8]],
    ) -> (Result<(), TunnelError>, Vec<u8>, Vec<u8>) {
        let (mut ours, mut proxy) = duplex(4096);
        proxy.write_all(&answers.concat()).await.unwrap();
        proxy.shutdown().await.unwrap();
        let base = BaseUrl::parse(target, false).unwrap();
        let credentials = credentials.map(|text| ProxyCredentials::parse(text).ok().unwrap());
        let opened = open(&mut ours, &base, credentials.as_ref()).await;
        let (mut said, mut left) = (Vec::new(), Vec::new());
        ours.read_to_end(&mut left).await.unwrap();
        drop(ours);
        proxy.read_to_end(&mut said).await.unwrap();
        (opened, said, left)
    }

    #[tokio::test]
    async fn the_proxy_gets_the_name_and_no_byte_after_its_reply_is_read() {
        let answers: [&[u8]; 3] = [NO_PASSWORD, CONNECTED, b"next"];
        let (opened, said, left) = answered("https://api.test", None, &answers).await;
        assert!(opened.is_ok());
        assert_eq!(said, b"\x05\x01\x00\x05\x01\x00\x03\x08api.test\x01\xbb");
        assert_eq!(left, b"next");
    }

    #[tokio::test]
    async fn addresses_and_a_password_are_encoded_as_in_the_rfcs() {
        let answers: [&[u8]; 3] = [&[5, 2], &[1, 0], CONNECTED];
        let (opened, said, _) = answered("https://192.0.2.1:1", Some("me:pw"), &answers).await;
        assert!(opened.is_ok());
        let expected = b"\x05\x02\x00\x02\x01\x02me\x02pw\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x01";
        assert_eq!(said, expected);

        let (_, said, _) = answered("https://[::1]:1", None, &[NO_PASSWORD, CONNECTED]).await;
        assert_eq!(said.len(), 3 + 4 + 16 + 2);
    }

    #[tokio::test]
    async fn each_kind_of_refusal_has_its_own_message() {
        type Case<'a> = (Option<&'a str>, &'a [&'a [u8]], &'a str);
        let cases: [Case<'_>; 8] = [
            (None, &[&[5, 0xff]], "user and password"),
            (Some("me:pw"), &[&[5, 2], &[1, 1]], "user and password"),
            // The proxy chose a method that was not offered.
            (None, &[&[5, 2]], "not that of a SOCKS5 proxy"),
            (None, &[b"HTTP/1.1 400"], "not that of a SOCKS5 proxy"),
            (
                None,
                &[NO_PASSWORD, &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]],
                "not allowed by its rules",
            ),
            (None, &[NO_PASSWORD, &[5, 0, 0, 9]], "not that of a SOCKS5"),
            (None, &[NO_PASSWORD, &CONNECTED[..7]], "was lost"),
            (None, &[], "was lost"),
        ];
        for (credentials, answers, expected) in cases {
            let (opened, ..) = answered("https://api.test", credentials, answers).await;
            let error = opened.err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            assert!(error.contains(expected), "{answers:?}: {error}");
        }
    }
}
