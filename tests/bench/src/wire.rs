//! Requests as bytes, and enough parsing to check responses.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// The key that a contender must attach; the upstream refuses a request without it.
pub(crate) const SECRET: &str = "sk-proj-bench0000000000000000000000000000000000000000bench";

/// The workspace that holds it.
pub(crate) const WORKSPACE: &str = "bench";

/// The headers that the load sends in addition to the necessary ones.
#[derive(Clone, Copy)]
pub(crate) enum Headers {
    /// Those of a plain HTTP client.
    Plain,
    /// Those of OpenAI's Python SDK: seventeen in all.
    Sdk,
}

impl Headers {
    pub(crate) fn from_flag(sdk: bool) -> Self {
        if sdk { Self::Sdk } else { Self::Plain }
    }

    fn lines(self) -> &'static str {
        match self {
            Self::Plain => "Accept: */*\r\nAuthorization: Bearer dummy\r\n",
            Self::Sdk => concat!(
                "Accept: application/json\r\n",
                "Accept-Encoding: gzip, deflate\r\n",
                "Connection: keep-alive\r\n",
                "User-Agent: OpenAI/Python 2.8.1\r\n",
                "X-Stainless-Lang: python\r\n",
                "X-Stainless-Package-Version: 2.8.1\r\n",
                "X-Stainless-OS: Linux\r\n",
                "X-Stainless-Arch: x64\r\n",
                "X-Stainless-Runtime: CPython\r\n",
                "X-Stainless-Runtime-Version: 3.11.2\r\n",
                "X-Stainless-Async: false\r\n",
                "x-stainless-retry-count: 0\r\n",
                "x-stainless-read-timeout: 600\r\n",
                "Authorization: Bearer dummy\r\n",
            ),
        }
    }
}

/// A complete chat request: small JSON, with a dummy key as SDKs send one.
pub(crate) fn request(host: SocketAddr, path: &str, headers: Headers, stream: bool) -> Vec<u8> {
    let stream = if stream {
        r#","stream":true,"stream_options":{"include_usage":true}"#
    } else {
        ""
    };
    let body = format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"Say hello to the bench."}}],"max_tokens":64{stream}}}"#
    );
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nX-Keyside-Workspace: {WORKSPACE}\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        headers.lines(),
        body.len(),
    )
    .into_bytes()
}

/// The same request with one more header.
pub(crate) fn with_header(request: &[u8], name: &str, value: &str) -> Vec<u8> {
    let first_line = memchr::memchr(b'\n', request).map_or(0, |end| end + 1);
    let (first_line, rest) = request.split_at(first_line);
    let header = format!("{name}: {value}\r\n");
    [first_line, header.as_bytes(), rest].concat()
}

/// Facts from a response's head.
pub(crate) struct Head {
    /// Bytes up to and including the empty line.
    pub(crate) length: usize,
    pub(crate) status: u16,
    /// None: chunked, or until the connection closes.
    pub(crate) content_length: Option<usize>,
}

/// The head at the start of `bytes`, once it is all there.
pub(crate) fn response_head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else {
        return Ok(None);
    };
    let content_length = content_length(response.headers)?;
    Ok(Some(Head {
        length,
        status: response.code.context("a response without a status")?,
        content_length,
    }))
}

/// The value of `Content-Length`, if there is one.
pub(crate) fn content_length(headers: &[httparse::Header<'_>]) -> Result<Option<usize>> {
    let Some(header) = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
    else {
        return Ok(None);
    };
    let digits = std::str::from_utf8(header.value)?;
    Ok(Some(digits.parse().with_context(|| {
        format!("Content-Length is not a number: {digits:?}")
    })?))
}

/// Reads one response with a length to its end; any status but 200 is an error that shows the
/// response.
pub(crate) async fn read_answer(socket: &mut TcpStream, buffer: &mut BytesMut) -> Result<()> {
    read(socket, buffer, Head::must_be_ok).await.map(drop)
}

/// Reads one response with a length to its end, with any status.
pub(crate) async fn read_any_answer(socket: &mut TcpStream, buffer: &mut BytesMut) -> Result<u16> {
    read(socket, buffer, |_, _| Ok(())).await
}

async fn read(
    socket: &mut TcpStream,
    buffer: &mut BytesMut,
    accept: impl Fn(&Head, &[u8]) -> Result<()>,
) -> Result<u16> {
    let mut head = None;
    loop {
        if head.is_none() {
            head = response_head(buffer)?;
            head.iter().try_for_each(|head| accept(head, buffer))?;
        }
        if let Some(head) = &head {
            let length = head.whole()?;
            if buffer.len() >= length {
                buffer.advance(length);
                return Ok(head.status);
            }
        }
        buffer.reserve(4096);
        if socket.read_buf(buffer).await? == 0 {
            bail!("the connection was closed in the middle of an answer");
        }
    }
}

impl Head {
    /// Bytes of the whole response.
    fn whole(&self) -> Result<usize> {
        Ok(self.length
            + self
                .content_length
                .context("the answer came without a Content-Length")?)
    }

    /// An error that shows the response, unless it is a 200.
    pub(crate) fn must_be_ok(&self, seen: &[u8]) -> Result<()> {
        if self.status != 200 {
            bail!(
                "an answer with status {}:\n{}",
                self.status,
                String::from_utf8_lossy(seen)
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_seen_once_its_empty_line_is_there() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert!(response_head(&bytes[..20]).unwrap().is_none());
        let head = response_head(bytes).unwrap().unwrap();
        assert_eq!(
            (head.status, head.content_length, head.length),
            (200, Some(2), bytes.len() - 2)
        );
    }
}
