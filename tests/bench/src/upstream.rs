//! The fake provider: keep-alive HTTP/1.1, a chat completion with usage, or the same as a stream at
//! a steady pace. It responds with 401 unless a request carries exactly the benchmark's key; when
//! it records keys, it accepts any.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval},
};

use crate::wire;

/// Length and pace of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Content events of one stream; four more frame them: role, finish, usage, `[DONE]`.
    pub(crate) events: u64,
    /// Time between two of them.
    pub(crate) interval: Duration,
}

impl Pace {
    /// Twenty events a second for ten seconds.
    pub(crate) const DEFAULT: Self = Self {
        events: 200,
        interval: Duration::from_millis(50),
    };

    /// Events that a client counts in one complete stream.
    pub(crate) fn all_events(self) -> u64 {
        self.events + 4
    }
}

/// When each key was last seen.
#[derive(Clone, Default)]
pub(crate) struct LastUses(Arc<Mutex<HashMap<Vec<u8>, Instant>>>);

impl LastUses {
    fn note(&self, key: &[u8]) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.insert(key.to_owned(), Instant::now());
    }

    pub(crate) fn of(&self, key: &str) -> Option<Instant> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get(key.as_bytes()).copied()
    }
}

/// Starts serving on `listen` and returns the bound address. It runs until the process ends.
pub(crate) async fn start(listen: SocketAddr, pace: Pace) -> Result<SocketAddr> {
    serve_on(listen, Script::new(pace, Keys::TheBenchs)).await
}

/// The same, but accepts any key and records when.
pub(crate) async fn start_noting(listen: SocketAddr, uses: LastUses) -> Result<SocketAddr> {
    serve_on(listen, Script::new(Pace::DEFAULT, Keys::Any(uses))).await
}

async fn serve_on(listen: SocketAddr, script: Script) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let script = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            // The client detects a broken connection.
            tokio::spawn(async move { serve(socket, &script).await });
        }
    });
    Ok(address)
}

/// All responses, built once.
struct Script {
    pace: Pace,
    keys: Keys,
    answer: Vec<u8>,
    stream_start: Vec<u8>,
    event: Vec<u8>,
    stream_end: Vec<u8>,
}

impl Script {
    fn new(pace: Pace, keys: Keys) -> Self {
        let stream_head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n\
                           x-request-id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n";
        let stream_end = [
            chunk(&event("{}", r#""stop""#, "null")),
            chunk(&usage_event()),
            chunk("data: [DONE]\n\n"),
            "0\r\n\r\n".to_owned(),
        ];
        Self {
            pace,
            keys,
            answer: answer(),
            stream_start: [
                stream_head,
                &chunk(&event(
                    r#"{"role":"assistant","content":""}"#,
                    "null",
                    "null",
                )),
            ]
            .concat()
            .into(),
            event: chunk(&event(r#"{"content":" hello"}"#, "null", "null")).into(),
            stream_end: stream_end.concat().into(),
        }
    }

    async fn stream(&self, socket: &mut TcpStream) -> Result<()> {
        socket.write_all(&self.stream_start).await?;
        let mut ticks = interval(self.pace.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        for _ in 0..self.pace.events {
            ticks.tick().await;
            socket.write_all(&self.event).await?;
        }
        Ok(socket.write_all(&self.stream_end).await?)
    }
}

async fn serve(mut socket: TcpStream, script: &Script) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(4096);
    while let Some(asked) = next_request(&mut socket, &mut buffer, &script.keys).await? {
        match asked {
            Asked::Answer => socket.write_all(&script.answer).await?,
            Asked::Stream => script.stream(&mut socket).await?,
            Asked::Keyless => socket.write_all(KEYLESS).await?,
        }
    }
    Ok(())
}

/// The accepted keys.
enum Keys {
    TheBenchs,
    /// Any; records when each was seen.
    Any(LastUses),
}

impl Keys {
    fn take(&self, key: &[u8]) -> bool {
        match self {
            Self::TheBenchs => key == wire::SECRET.as_bytes(),
            Self::Any(uses) => {
                uses.note(key);
                true
            }
        }
    }
}

enum Asked {
    Answer,
    Stream,
    Keyless,
}

/// Reads one complete request; None if the peer has closed the connection.
async fn next_request(
    socket: &mut TcpStream,
    buffer: &mut BytesMut,
    keys: &Keys,
) -> Result<Option<Asked>> {
    loop {
        if let Some((length, asked)) = parse(buffer, keys)? {
            buffer.advance(length);
            return Ok(Some(asked));
        }
        buffer.reserve(4096);
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(bytes: &[u8], keys: &Keys) -> Result<Option<(usize, Asked)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes)? else {
        return Ok(None);
    };
    let whole = head
        + wire::content_length(request.headers)?.context("a request without Content-Length")?;
    if bytes.len() < whole {
        return Ok(None);
    }
    let asked = match (
        key(request.headers).is_some_and(|key| keys.take(key)),
        memmem::find(&bytes[head..whole], br#""stream":true"#),
    ) {
        (false, _) => Asked::Keyless,
        (true, None) => Asked::Answer,
        (true, Some(_)) => Asked::Stream,
    };
    Ok(Some((whole, asked)))
}

/// The value of the only `Authorization` header.
fn key<'a>(headers: &[httparse::Header<'a>]) -> Option<&'a [u8]> {
    let mut found = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("authorization"));
    let key = found.next()?.value.strip_prefix(b"Bearer ")?;
    found.next().is_none().then_some(key)
}

fn answer() -> Vec<u8> {
    let body = format!(
        r#"{{"id":"{ID}","object":"chat.completion","created":1760000000,"model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hello, bench.","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{USAGE},"service_tier":"default","system_fingerprint":"fp_bench0000"}}"#
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_bench\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One chat chunk as OpenAI sends it if usage was requested: `usage` is null in all but the last.
fn event(delta: &str, finish: &str, usage: &str) -> String {
    format!(
        "data: {{\"id\":\"{ID}\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"{MODEL}\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench0000\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}],\"usage\":{usage}}}\n\n"
    )
}

fn usage_event() -> String {
    format!(
        "data: {{\"id\":\"{ID}\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"{MODEL}\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench0000\",\"choices\":[],\"usage\":{USAGE}}}\n\n"
    )
}

/// One chunk of the chunked transfer coding (RFC 9112, section 7.1).
fn chunk(content: &str) -> String {
    format!("{:x}\r\n{content}\r\n", content.len())
}

const ID: &str = "chatcmpl-Bench00000000000000000000000";
const MODEL: &str = "gpt-4o-mini-2024-07-18";
const USAGE: &str = r#"{"prompt_tokens":13,"completion_tokens":9,"total_tokens":22,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;
const KEYLESS: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 35\r\n\r\nthe request does not carry the key.\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &str, body: &str) -> Asked {
        let bytes = format!(
            "POST /v1/chat/completions HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        parse(bytes.as_bytes(), &Keys::TheBenchs)
            .unwrap()
            .unwrap()
            .1
    }

    #[test]
    fn a_request_with_a_leftover_key_beside_the_right_one_is_refused() {
        let right = format!("Authorization: Bearer {}\r\n", wire::SECRET);
        assert!(matches!(asked(&right, "{}"), Asked::Answer));
        assert!(matches!(asked(&right, r#"{"stream":true}"#), Asked::Stream));
        assert!(matches!(
            asked(&format!("{right}Authorization: Bearer dummy\r\n"), "{}"),
            Asked::Keyless
        ));
        assert!(matches!(asked("", "{}"), Asked::Keyless));
    }
}
