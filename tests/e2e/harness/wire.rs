//! The client's side of a connection: sends raw bytes, parses responses strictly, and fails on
//! silence.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    thread,
    time::Duration,
};

use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
    },
};
use rustls::{ClientConnection, StreamOwned};

use super::{message::Message, reader::Reader};

/// How long a side may send nothing before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Raises this process's limit on open files, for tests with many clients and providers.
pub fn allow_sockets(count: usize) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a limit within the hard one");
    assert!(
        most >= count as u64,
        "the system allows {most} open files only"
    );
}

/// Operations of both kinds of socket.
pub trait Socket: Read + Write + Send {
    /// A read that takes longer than this is an error; `None` waits forever.
    fn patience(&self, patience: Option<Duration>) -> io::Result<()>;
    /// Shuts down the writing half.
    fn finish(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Socket for UnixStream {
    fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)
    }

    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A TLS session over a TCP socket.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Socket for TlsStream {
    fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.sock.set_read_timeout(patience)
    }

    fn finish(&self) -> io::Result<()> {
        self.sock.shutdown(Shutdown::Write)
    }
}

/// One connection to Keyside.
pub struct Wire {
    reader: Reader<Box<dyn Socket>>,
}

impl Wire {
    pub fn tcp(address: SocketAddr) -> Self {
        Self::from_tcp(TcpStream::connect(address).expect("a listener"))
    }

    /// A connection with a small receive buffer.
    pub fn narrow(address: SocketAddr) -> Self {
        let (family, kind) = (AddressFamily::Inet, SockType::Stream);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        // Before it connects: the window is announced then (tcp(7)).
        setsockopt(&socket, sockopt::RcvBuf, &(32 * 1024)).expect("a smaller buffer");
        connect(socket.as_raw_fd(), &SockaddrStorage::from(address)).expect("a listener");
        Self::from_tcp(socket.into())
    }

    pub fn from_tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        Self::over(Box::new(stream))
    }

    pub fn tls(stream: TlsStream) -> Self {
        Self::over(Box::new(stream))
    }

    pub fn unix(path: &Path) -> Self {
        Self::over(Box::new(
            UnixStream::connect(path).expect("a Unix listener"),
        ))
    }

    fn over(socket: Box<dyn Socket>) -> Self {
        socket.patience(Some(PATIENCE)).expect("a socket");
        Self {
            reader: Reader::new(socket),
        }
    }

    /// Writes all bytes. A disconnected peer is not an error here: the response shows the result.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let socket = self.reader.stream();
        socket
            .write_all(bytes.as_ref())
            .and_then(|()| socket.flush())
            .is_ok()
    }

    /// Shuts down the writing half.
    pub fn finish(&mut self) {
        let _ = self.reader.stream().finish();
    }

    /// The next answer to a request that was not HEAD; `None` when the connection closes first.
    pub fn answer(&mut self) -> Option<Message> {
        self.answer_to("GET")
    }

    /// The next answer to a request of this method.
    pub fn answer_to(&mut self, method: &str) -> Option<Message> {
        spoken(self.reader.message(method))
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &super::Ask) -> Message {
        self.send(request.bytes());
        self.answer_to(&request.method)
            .unwrap_or_else(|| panic!("closed without an answer to {request:?}"))
    }

    /// The answer's head; the body follows through [`Wire::piece`].
    pub fn head(&mut self) -> Option<Message> {
        spoken(self.reader.head("GET"))
    }

    /// The next bytes of the present body as they come, `None` at its end.
    pub fn piece(&mut self) -> Option<Vec<u8>> {
        spoken(self.reader.piece())
    }

    /// How the body ended.
    pub fn ending(&self) -> super::Ending {
        self.reader.ending()
    }

    /// Reads the present body until what came holds `mark`, and returns what came.
    pub fn body_until(&mut self, mark: &str) -> Vec<u8> {
        let mut body = Vec::new();
        while !super::holds(&body, mark) {
            let seen = String::from_utf8_lossy(&body).into_owned();
            let piece = self.piece();
            body.extend(piece.unwrap_or_else(|| panic!("ended before {mark:?}: {seen:?}")));
        }
        body
    }

    /// The next bytes, without parsing; empty if the connection has closed.
    pub fn some(&mut self) -> Vec<u8> {
        spoken(self.reader.some(u64::MAX))
    }

    /// Reads once after each `pause`, while `goes_on`; fails if the connection closes meanwhile.
    pub fn sip(&mut self, pause: Duration, goes_on: impl Fn() -> bool) {
        while goes_on() {
            thread::park_timeout(pause);
            assert!(!self.some().is_empty(), "cut while it was reading");
        }
    }

    /// Unframed bytes until they hold `mark`.
    pub fn some_until(&mut self, mark: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !super::holds(&bytes, mark) {
            let more = self.some();
            let seen = String::from_utf8_lossy(&bytes).into_owned();
            assert!(!more.is_empty(), "closed before {mark:?}: {seen:?}");
            bytes.extend(more);
        }
        bytes
    }

    /// Everything until the connection closes; fails if it does not close.
    pub fn until_close(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let more = self.some();
            if more.is_empty() {
                return bytes;
            }
            bytes.extend(more);
        }
    }

    /// Writes `byte` once per `pause` until the peer responds or closes.
    /// The pause is a read with this timeout.
    pub fn drip(&mut self, mut next: impl FnMut() -> u8, pause: Duration) {
        self.reader
            .stream()
            .patience(Some(pause))
            .expect("a socket");
        loop {
            if !self.send([next()]) {
                break;
            }
            match self.reader.peek() {
                Err(error) if is_timeout(&error) => {}
                _ => break,
            }
        }
        self.reader
            .stream()
            .patience(Some(PATIENCE))
            .expect("a socket");
    }
}

fn spoken<T>(read: io::Result<T>) -> T {
    read.unwrap_or_else(|error| {
        if is_timeout(&error) {
            panic!("{} s of silence", PATIENCE.as_secs());
        }
        panic!("{error}")
    })
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
