//! Fake providers: real servers in the test process that record every byte and respond as
//! configured.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Deref,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use super::{PATIENCE, message::Message, reader::Reader};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    message: Message,
    /// Which connection it came over, counted from 0.
    pub connection: usize,
}

impl Deref for Seen {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// What to do with a connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
}

/// A connection, over TLS or not.
pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// The upstream's end of a connection.
pub type Line = Reader<Box<dyn Stream>>;

impl Line {
    /// Writes and flushes; a disconnected peer is not an error.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = self.stream();
        stream
            .write_all(bytes.as_ref())
            .and_then(|()| stream.flush())
            .is_ok()
    }
}

/// A listening fake provider; it stops with the test process.
pub struct Upstream {
    address: SocketAddr,
    scheme: &'static str,
    record: Arc<Record>,
}

#[derive(Default)]
struct Record {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    connections: usize,
    requests: Vec<Seen>,
    cut: Vec<Message>,
    garbage: Vec<String>,
    bytes: Vec<u8>,
}

/// Turns an accepted connection into a stream; for TLS it does the handshake.
pub type Accept = dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync;

impl Upstream {
    /// Answers every request with these whole bytes and keeps the connection.
    pub fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::scripted(move |seen, line| {
            line.write(answer(seen));
            Then::Keep
        })
    }

    /// Answers every request with a small JSON body.
    pub fn ok() -> Self {
        Self::answering(|_| reply(200, "Content-Type: application/json\r\n", br#"{"ok":true}"#))
    }

    /// Lets `script` write the response to each request.
    pub fn scripted(script: impl Fn(&Seen, &mut Line) -> Then + Send + Sync + 'static) -> Self {
        Self::listening("http", plain(), move |record, connection, line| {
            while let Some(seen) = record.next(connection, line) {
                if script(&seen, line) == Then::Close {
                    return;
                }
            }
        })
    }

    /// The same behind TLS or another `accept`.
    pub fn accepting(
        accept: Box<Accept>,
        script: impl Fn(&Seen, &mut Line) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self::listening("https", accept, move |record, connection, line| {
            while let Some(seen) = record.next(connection, line) {
                if script(&seen, line) == Then::Close {
                    return;
                }
            }
        })
    }

    /// Passes each connection to the test unread; records only connections and bytes.
    pub fn raw(script: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        Self::listening("http", plain(), move |_, _, line| script(line))
    }

    /// The same behind TLS or another `accept`.
    pub fn raw_accepting(
        accept: Box<Accept>,
        script: impl Fn(&mut Line) + Send + Sync + 'static,
    ) -> Self {
        Self::listening("https", accept, move |_, _, line| script(line))
    }

    fn listening(
        scheme: &'static str,
        accept: Box<Accept>,
        serve: impl Fn(&Record, usize, &mut Line) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let record = Arc::new(Record::default());
        let (shared, accept, serve) = (Arc::clone(&record), Arc::new(accept), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = shared.connected();
                let (record, accept, serve) =
                    (Arc::clone(&shared), Arc::clone(&accept), Arc::clone(&serve));
                thread::spawn(move || {
                    stream.set_nodelay(true).expect("a TCP socket");
                    let Ok(stream) = accept(stream) else { return };
                    let tap = Tap {
                        stream,
                        record: Arc::clone(&record),
                    };
                    serve(&record, connection, &mut Reader::new(Box::new(tap)));
                });
            }
        });
        Self {
            address,
            scheme,
            record,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its value for `base_url`, by address.
    pub fn base_url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Its value for `base_url`, by another name for the same machine.
    pub fn url_for(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.record.lock().requests.clone()
    }

    /// The only request there was.
    pub fn only(&self) -> Seen {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "exactly one delivery: {requests:#?}");
        requests[0].clone()
    }

    /// Waits until `count` requests have arrived.
    pub fn wait_for(&self, count: usize) -> Vec<Seen> {
        let state = self.record.lock();
        let few = |state: &mut State| state.requests.len() < count;
        let waited = self.record.changed.wait_timeout_while(state, PATIENCE, few);
        let (state, timeout) = waited.expect("no panic");
        let found = state.requests.len();
        assert!(
            !timeout.timed_out(),
            "{found} of {count} requests reached the upstream"
        );
        state.requests.clone()
    }

    /// Requests whose connection ended before their body did.
    pub fn cut(&self) -> Vec<Message> {
        self.record.lock().cut.clone()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.record.lock().connections
    }

    /// Every byte received, on all connections together, after any TLS.
    pub fn bytes(&self) -> Vec<u8> {
        self.record.lock().bytes.clone()
    }

    /// Fails if anything but well-formed requests arrived.
    pub fn assert_only_requests(&self) {
        let state = self.record.lock();
        assert!(
            state.garbage.is_empty(),
            "reached the upstream: {:#?}",
            state.garbage
        );
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while recording")
    }

    fn connected(&self) -> usize {
        let mut state = self.lock();
        state.connections += 1;
        state.connections - 1
    }

    /// Reads and records the next request of a connection; garbage is recorded and ends it.
    fn next(&self, connection: usize, line: &mut Line) -> Option<Seen> {
        match line.message("") {
            Ok(Some(message)) if is_request(&message) => {
                let seen = Seen {
                    message,
                    connection,
                };
                self.lock().requests.push(seen.clone());
                self.changed.notify_all();
                Some(seen)
            }
            Ok(None) => None,
            Ok(Some(message)) if !message.is_whole() => {
                self.lock().cut.push(message);
                self.changed.notify_all();
                None
            }
            Ok(Some(message)) => {
                self.lock().garbage.push(format!("{message:?}"));
                None
            }
            Err(error) => {
                self.lock().garbage.push(error.to_string());
                None
            }
        }
    }
}

fn is_request(message: &Message) -> bool {
    let words: Vec<_> = message.start.split(' ').collect();
    words.len() == 3 && words[2] == "HTTP/1.1" && message.is_whole()
}

/// Copies everything that is read into the record.
struct Tap {
    stream: Box<dyn Stream>,
    record: Arc<Record>,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.stream.read(buffer)?;
        self.record.lock().bytes.extend_from_slice(&buffer[..got]);
        Ok(got)
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn plain() -> Box<Accept> {
    Box::new(|stream| Ok(Box::new(stream)))
}

/// A whole answer with its length; `headers` are whole lines.
pub fn reply(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Reason\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A whole answer in these chunks; `headers` and `trailers` are whole lines.
pub fn reply_in_chunks(headers: &str, chunks: &[&[u8]], trailers: &str) -> Vec<u8> {
    [chunked_head(headers), super::chunked(chunks, trailers)].concat()
}

/// The head of an answer whose chunks are still to come.
pub fn chunked_head(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n").into_bytes()
}
