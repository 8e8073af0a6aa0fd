//! A fake provider with HTTP/2 over TLS.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::Barrier,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Keyside,
    crowd::ZEROES,
    tls::{Authority, Identity, VALID},
};

/// A listening fake provider; it stops with the test process.
pub struct H2Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// State that all connections share.
struct Shared {
    acceptor: TlsAcceptor,
    streams: Option<u32>,
    echo: bool,
    answers: Box<Answers>,
    together: Barrier,
    requests: Mutex<Vec<H2Request>>,
    connections: AtomicUsize,
    zeroes: AtomicUsize,
}

/// Chooses the response to a request.
type Answers = dyn Fn(&H2Request) -> H2Answer + Send + Sync;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct H2Request {
    pub head: Arc<Request<()>>,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
    /// Which connection it came over, counted from 0.
    pub connection: usize,
}

/// The response.
#[derive(Clone, Debug, Default)]
pub struct H2Answer {
    pub headers: Vec<(String, String)>,
    pub pieces: Vec<Vec<u8>>,
    /// How many zeroes follow the pieces, as fast as the windows let them.
    pub zeroes: usize,
    pub trailer: Option<(&'static str, &'static str)>,
    /// Announces the total length of the pieces. The stream still ends with an empty frame.
    pub length: Option<usize>,
    /// Ends the stream in an error after the pieces.
    pub reset: bool,
    /// Ends the stream with a reset without an error, after the pieces were sent.
    pub stopped: bool,
    /// The maximum of concurrent streams per connection, if announced.
    pub streams: Option<u32>,
    /// Delays responses to requests with `X-Together` until this many are waiting.
    pub together: usize,
}

/// Keyside with workspace `acme` and its OpenAI key, in front of this fake OpenAI.
pub fn over_h2(echo: bool, answer: H2Answer) -> (H2Upstream, Keyside) {
    let authority = Authority::new();
    let upstream = H2Upstream::start(&authority.issue(&["localhost"], VALID), echo, answer);
    let builder = authority.trusted_at(&upstream.url_for("localhost"));
    (upstream, builder.start().with_key())
}

/// The same, with a function that answers each request.
pub fn over_h2_answering(
    answers: impl Fn(&H2Request) -> H2Answer + Send + Sync + 'static,
) -> (H2Upstream, Keyside) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], VALID);
    let upstream = H2Upstream::listening(&identity, false, H2Answer::default(), Box::new(answers));
    let builder = authority.trusted_at(&upstream.url_for("localhost"));
    (upstream, builder.start().with_key())
}

impl H2Upstream {
    /// Gives every request the same answer, the request's own body first if `echo`.
    pub fn start(identity: &Identity, echo: bool, answer: H2Answer) -> Self {
        let same = answer.clone();
        Self::listening(identity, echo, answer, Box::new(move |_| same.clone()))
    }

    /// Connection settings are taken from `usual`.
    fn listening(identity: &Identity, echo: bool, usual: H2Answer, answers: Box<Answers>) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let shared = Arc::new(Shared {
            acceptor: TlsAcceptor::from(identity.server(&["h2"])),
            streams: usual.streams,
            echo,
            answers,
            together: Barrier::new(usual.together),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            zeroes: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    let number = serving.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(Arc::clone(&serving).connection(socket, number));
                }
            });
        });
        Self { address, shared }
    }

    /// Its value for `base_url`.
    pub fn url_for(&self, host: &str) -> String {
        format!("https://{host}:{}", self.address.port())
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Every request so far that arrived whole.
    pub fn requests(&self) -> Vec<H2Request> {
        self.shared.requests.lock().expect("no panic").clone()
    }

    /// How many zeroes the windows have let it send, in all.
    pub fn zeroes(&self) -> usize {
        self.shared.zeroes.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn connection(self: Arc<Self>, socket: TcpStream, number: usize) {
        let Ok(stream) = self.acceptor.accept(socket).await else {
            return;
        };
        let mut http = h2::server::Builder::new();
        if let Some(streams) = self.streams {
            http.max_concurrent_streams(streams);
        }
        // A client may disconnect before it has sent anything.
        let Ok(mut connection) = http.handshake(stream).await else {
            return;
        };
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(Arc::clone(&self).serve(number, request, respond));
        }
    }

    async fn serve(
        self: Arc<Self>,
        connection: usize,
        request: Request<h2::RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        let (parts, mut incoming) = request.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = incoming.data().await {
            // Aborted requests are not recorded and get no response.
            let Ok(piece) = piece else { return };
            body.extend_from_slice(&piece);
            let _ = incoming.flow_control().release_capacity(piece.len());
        }
        let Ok(trailers) = incoming.trailers().await else {
            return;
        };
        let trailers = trailers.unwrap_or_default();
        let waits = parts.headers.contains_key("x-together");
        let seen = H2Request {
            head: Arc::new(Request::from_parts(parts, ())),
            body,
            trailers,
            connection,
        };
        let answer = (self.answers)(&seen);
        let own = if self.echo {
            vec![seen.body.clone()]
        } else {
            Vec::new()
        };
        self.requests.lock().expect("no panic").push(seen);
        if waits {
            self.together.wait().await;
        }

        let Ok(mut out) = respond.send_response(answer.head(), false) else {
            return;
        };
        for piece in own.into_iter().chain(answer.pieces) {
            let _ = out.send_data(Bytes::from(piece), false);
        }
        self.pour(&mut out, answer.zeroes).await;
        match answer.trailer {
            _ if answer.reset => out.send_reset(h2::Reason::INTERNAL_ERROR),
            _ if answer.stopped => {
                // A reset discards unsent bytes, so let the connection's task write them first.
                for _ in 0..64 {
                    tokio::task::yield_now().await;
                }
                out.send_reset(h2::Reason::NO_ERROR);
            }
            Some((name, value)) => {
                let mut trailers = HeaderMap::new();
                trailers.insert(name, value.parse().expect("a value"));
                let _ = out.send_trailers(trailers);
            }
            None => {
                let _ = out.send_data(Bytes::new(), true);
            }
        }
    }

    /// Sends this many zeroes, without buffering more than the window allows.
    async fn pour(&self, out: &mut SendStream<Bytes>, mut left: usize) {
        while left > 0 {
            out.reserve_capacity(left.min(ZEROES.len()));
            let room = match out.capacity() {
                0 => match poll_fn(|context| out.poll_capacity(context)).await {
                    Some(Ok(room)) => room,
                    _ => return,
                },
                room => room,
            };
            let size = room.min(left).min(ZEROES.len());
            if out
                .send_data(Bytes::from_static(&ZEROES[..size]), false)
                .is_err()
            {
                return;
            }
            self.zeroes.fetch_add(size, Ordering::SeqCst);
            left -= size;
        }
    }
}

impl H2Answer {
    fn head(&self) -> Response<()> {
        let mut head = Response::new(());
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().expect("a name");
            let value: HeaderValue = value.parse().expect("a value");
            head.headers_mut().append(name, value);
        }
        if let Some((name, _)) = self.trailer {
            head.headers_mut()
                .insert("trailer", name.parse().expect("a name"));
        }
        if let Some(length) = self.length {
            head.headers_mut().insert("content-length", length.into());
        }
        head
    }
}
