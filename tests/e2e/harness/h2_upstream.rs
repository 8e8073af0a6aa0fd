//! A provider's stand-in that speaks HTTP/2 over TLS.

use super::Keyside;
use super::tls::{Authority, Identity, VALID};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

/// A listening stand-in; it stops with the test process.
pub struct H2Upstream {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<H2Request>>>,
    connections: Arc<AtomicUsize>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct H2Request {
    pub head: Arc<Request<()>>,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// What to answer.
#[derive(Clone, Debug, Default)]
pub struct H2Answer {
    pub pieces: Vec<Vec<u8>>,
    pub trailer: Option<(&'static str, &'static str)>,
    /// Announces that the pieces are this long together. The stream ends in an empty frame all the same.
    pub length: Option<usize>,
    /// Ends the stream in an error after the pieces.
    pub reset: bool,
    /// Ends the stream by a reset that names no error, once the pieces have left.
    pub stopped: bool,
    /// How many streams a connection may have at once, if that is to be said.
    pub streams: Option<u32>,
    /// Keeps each answer to a request with `X-Together` back until this many of them wait.
    pub together: usize,
}

/// Keyside with workspace `acme` and its OpenAI key, and OpenAI at such a stand-in.
pub fn over_h2(echo: bool, answer: H2Answer) -> (H2Upstream, Keyside) {
    let authority = Authority::new();
    let upstream = H2Upstream::start(&authority.issue(&["localhost"], VALID), echo, answer);
    let builder = Keyside::builder().provider("openai", &upstream.url_for("localhost"));
    let file = authority.file_in(builder.home());
    let builder = builder.variable("SSL_CERT_FILE", file.to_str().expect("a plain path"));
    (upstream, builder.start().with_key())
}

impl H2Upstream {
    /// Gives every request the same answer, the request's own body first if `echo`.
    pub fn start(identity: &Identity, echo: bool, answer: H2Answer) -> Self {
        let acceptor = TlsAcceptor::from(identity.server(&["h2"]));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let record = Arc::clone(&requests);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let together = Arc::new(Barrier::new(answer.together));
        thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let (acceptor, record) = (acceptor.clone(), Arc::clone(&record));
                    let (answer, together) = (answer.clone(), Arc::clone(&together));
                    tokio::spawn(async move {
                        let Ok(stream) = acceptor.accept(socket).await else {
                            return;
                        };
                        let mut http = h2::server::Builder::new();
                        if let Some(streams) = answer.streams {
                            http.max_concurrent_streams(streams);
                        }
                        let mut connection = http.handshake(stream).await.expect("HTTP/2");
                        while let Some(Ok((request, respond))) = connection.accept().await {
                            tokio::spawn(serve(
                                request,
                                respond,
                                Arc::clone(&record),
                                Arc::clone(&together),
                                echo,
                                answer.clone(),
                            ));
                        }
                    });
                }
            });
        });
        Self {
            address,
            requests,
            connections,
        }
    }

    /// What goes into `base_url`.
    pub fn url_for(&self, host: &str) -> String {
        format!("https://{host}:{}", self.address.port())
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Every request so far whose body has ended.
    pub fn requests(&self) -> Vec<H2Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

async fn serve(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    record: Arc<Mutex<Vec<H2Request>>>,
    together: Arc<Barrier>,
    echo: bool,
    answer: H2Answer,
) {
    let (parts, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(piece)) = incoming.data().await {
        body.extend_from_slice(&piece);
        let _ = incoming.flow_control().release_capacity(piece.len());
    }
    let trailers = incoming.trailers().await.ok().flatten().unwrap_or_default();
    let waits = parts.headers.contains_key("x-together");
    let head = Arc::new(Request::from_parts(parts, ()));
    record.lock().expect("no panic").push(H2Request {
        head,
        body: body.clone(),
        trailers,
    });
    if waits {
        together.wait().await;
    }

    let mut head = Response::new(());
    if let Some((name, _)) = answer.trailer {
        head.headers_mut()
            .insert("trailer", name.parse().expect("a name"));
    }
    if let Some(length) = answer.length {
        head.headers_mut().insert("content-length", length.into());
    }
    let Ok(mut out) = respond.send_response(head, false) else {
        return;
    };
    let own = if echo { vec![body] } else { Vec::new() };
    for piece in own.into_iter().chain(answer.pieces) {
        let _ = out.send_data(Bytes::from(piece), false);
    }
    match answer.trailer {
        _ if answer.reset => out.send_reset(h2::Reason::INTERNAL_ERROR),
        _ if answer.stopped => {
            // A reset takes back what has not left; the connection's task gets its turn to write it.
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
