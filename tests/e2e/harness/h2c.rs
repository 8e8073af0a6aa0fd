//! A well-behaved client with HTTP/2 without TLS; for abuse see [`super::frames`].

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response, Version};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::{
    Ask, PATIENCE,
    message::{Ending, Message},
};

/// One connection with any number of streams.
pub struct H2c {
    runtime: Runtime,
    streams: SendRequest<Bytes>,
}

/// One stream: a request that may still be sent, and its response.
pub struct H2Stream {
    out: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    answered: Option<Response<RecvStream>>,
    body: Option<RecvStream>,
}

impl H2c {
    pub fn connect(address: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let streams = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.expect("a listener");
            let (streams, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
            tokio::spawn(connection);
            streams
        });
        Self { runtime, streams }
    }

    /// Sends a whole request and reads its whole answer.
    pub fn ask(&mut self, ask: &Ask) -> Message {
        let mut stream = self.open(ask, ask.payload().is_empty());
        if !ask.payload().is_empty() {
            self.send(&mut stream, ask.payload(), true);
        }
        self.finish(stream)
    }

    /// Opens a stream with the request's head; with `last` it has no body.
    pub fn open(&mut self, ask: &Ask, last: bool) -> H2Stream {
        let streams = self.streams.clone();
        self.runtime.block_on(async {
            let mut streams = streams.ready().await.expect("an open connection");
            let (response, out) = streams.send_request(head(ask), last).expect("a request");
            H2Stream {
                out,
                response: Some(response),
                answered: None,
                body: None,
            }
        })
    }

    /// Sends a part of a request's body, as fast as the window lets it.
    pub fn send(&self, stream: &mut H2Stream, part: &[u8], last: bool) {
        // A peer that has already responded may reset the upload; the response shows the result.
        let _ = stream.out.send_data(Bytes::copy_from_slice(part), last);
        self.runtime.block_on(tokio::task::yield_now());
    }

    /// Ends a request with trailers.
    pub fn send_trailers(&self, stream: &mut H2Stream, name: &'static str, value: &'static str) {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, value.parse().expect("a value"));
        stream.out.send_trailers(trailers).expect("an open stream");
    }

    /// Whether a response has begun. Lets the connection's task run briefly.
    pub fn is_answered(&self, stream: &mut H2Stream) -> bool {
        if let Some(response) = &mut stream.response {
            let moment = async { timeout(Duration::from_millis(1), response).await };
            if let Ok(answered) = self.runtime.block_on(moment) {
                stream.answered = Some(answered.expect("an answer"));
                stream.response = None;
            }
        }
        stream.answered.is_some()
    }

    /// The answer's head; its body follows through [`H2c::piece`].
    pub fn head(&self, stream: &mut H2Stream) -> Message {
        let response = match stream.answered.take() {
            Some(answered) => answered,
            None => {
                let response = stream.response.take().expect("the head is read once");
                self.within(response).expect("an answer")
            }
        };
        let (parts, body) = response.into_parts();
        stream.body = Some(body);
        let start = format!("HTTP/2 {}", parts.status.as_u16());
        let headers = fields(&parts.headers);
        let line = |(name, value): &(String, String)| format!("{name}: {value}\r\n");
        let raw = headers.iter().map(line).collect::<String>().into_bytes();
        let (body, trailers) = (Vec::new(), Vec::new());
        Message {
            start,
            headers,
            body,
            trailers,
            ending: Ending::Cut,
            raw,
        }
    }

    /// The next bytes of the body as they come; `None` at its end, an error where it was cut.
    pub fn piece(&self, stream: &mut H2Stream) -> Option<Result<Bytes, h2::Error>> {
        let body = stream.body.as_mut().expect("the head was read");
        self.within(async {
            loop {
                let piece = body.data().await;
                if let Some(Ok(bytes)) = &piece {
                    let _ = body.flow_control().release_capacity(bytes.len());
                }
                // An empty frame may mark the end.
                match piece {
                    Some(Ok(bytes)) if bytes.is_empty() => {}
                    piece => return piece,
                }
            }
        })
    }

    /// Reads the rest of an answer.
    pub fn finish(&self, mut stream: H2Stream) -> Message {
        let mut message = self.head(&mut stream);
        loop {
            match self.piece(&mut stream) {
                Some(Ok(bytes)) => message.body.extend_from_slice(&bytes),
                Some(Err(_)) => return message,
                None => break,
            }
        }
        let mut body = stream.body.take().expect("the head was read");
        if let Ok(trailers) = self.within(async { body.trailers().await }) {
            message.trailers = fields(&trailers.unwrap_or_default());
            message.ending = Ending::Close;
        }
        message
    }

    fn within<T>(&self, future: impl Future<Output = T>) -> T {
        let limited = async { timeout(PATIENCE, future).await };
        self.runtime
            .block_on(limited)
            .expect("an answer before patience ends")
    }
}

/// The head of a request: `Host` becomes the authority, HTTP/1.1's framing is left out.
fn head(ask: &Ask) -> Request<()> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let host = ask.headers.iter().find(|(name, _)| name == "Host");
    let host = host.map_or_else(String::new, |(_, value)| text(value));
    let mut request = Request::builder()
        .version(Version::HTTP_2)
        .method(ask.method.as_str())
        .uri(format!("http://{host}{}", ask.target));
    for (name, value) in &ask.headers {
        if !["Host", "Transfer-Encoding"].contains(&name.as_str()) {
            request = request.header(name, value.as_slice());
        }
    }
    request.body(()).expect("a well-formed request")
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
        .collect()
}
