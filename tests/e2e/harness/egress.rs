//! Fake egress proxies: HTTP `CONNECT` and SOCKS5 over real sockets, recording every byte.
//!
//! They connect to one upstream, whatever the requested name: names such as `upstream.test` resolve
//! nowhere else.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Upstream, tls::Identity};

/// A listening proxy; it stops with the test process.
pub struct EgressProxy {
    address: SocketAddr,
    scheme: &'static str,
    record: Arc<Record>,
}

/// What a proxy has received.
#[derive(Default)]
struct Record(Mutex<State>);

#[derive(Default)]
struct State {
    clients: Vec<TcpStream>,
    targets: Vec<String>,
    bytes: Vec<u8>,
}

impl EgressProxy {
    /// Connects every client to `upstream`.
    pub fn http(upstream: &Upstream) -> Self {
        Self::http_for(upstream, None)
    }

    /// The same, but only for clients with this value of `Proxy-Authorization`; others get 407.
    pub fn http_for(upstream: &Upstream, authorization: Option<&'static str>) -> Self {
        let to = upstream.address();
        Self::listening("http", move |mut client, record| {
            if connect(&mut client, &record, authorization)? {
                pass(client, to, &record)?;
            }
            Ok(())
        })
    }

    /// The same behind TLS with this identity.
    pub fn https(upstream: &Upstream, identity: &Identity) -> Self {
        let (to, config) = (upstream.address(), identity.server(&["http/1.1"]));
        Self::listening("https", move |client, record| {
            let mut client = secured(client, &config)?;
            if connect(&mut client, &record, None)? {
                pass_secured(client, to, &record)?;
            }
            Ok(())
        })
    }

    /// Connects clients with this user and password, if any, to `upstream`.
    pub fn socks5(upstream: &Upstream, password: Option<(&'static str, &'static str)>) -> Self {
        let to = upstream.address();
        Self::listening("socks5", move |mut client, record| {
            if socks5(&mut client, &record, password)? {
                pass(client, to, &record)?;
            }
            Ok(())
        })
    }

    /// Responds to every request with these bytes and closes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::listening("http", move |mut client, record| {
            head(&mut client, &record)?;
            client.write_all(&answer)?;
            client.shutdown(Shutdown::Write)?;
            // Closing with unread bytes resets the connection, which can discard the response.
            client.read_to_end(&mut Vec::new()).map(drop)
        })
    }

    /// Reads requests and never responds.
    pub fn silent() -> Self {
        Self::listening("http", |mut client, record| {
            head(&mut client, &record)?;
            client.read_to_end(&mut Vec::new()).map(drop)
        })
    }

    fn listening(
        scheme: &'static str,
        serve: impl Fn(TcpStream, Arc<Record>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let record = Arc::new(Record::default());
        let (shared, serve) = (Arc::clone(&record), Arc::new(serve));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (record, serve) = (Arc::clone(&shared), Arc::clone(&serve));
                let kept = client.try_clone().expect("a socket");
                record.lock().clients.push(kept);
                // A disconnected client is not an error here.
                thread::spawn(move || serve(client, record));
            }
        });
        Self {
            address,
            scheme,
            record,
        }
    }

    /// Its URL for the settings.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The same with a user and a password.
    pub fn url_with(&self, userinfo: &str) -> String {
        format!("{}://{userinfo}@{}", self.scheme, self.address)
    }

    /// Its name in error messages.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.record.lock().clients.len()
    }

    /// The requested destinations, as `host:port`.
    pub fn targets(&self) -> Vec<String> {
        self.record.lock().targets.clone()
    }

    /// Every byte received from its clients, after its own TLS.
    pub fn bytes(&self) -> Vec<u8> {
        self.record.lock().bytes.clone()
    }

    /// Dies: closes every connection.
    pub fn cut(&self) {
        for client in &self.record.lock().clients {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while recording")
    }

    fn saw(&self, bytes: &[u8]) {
        self.lock().bytes.extend_from_slice(bytes);
    }
}

/// Reads a request to connect and answers it; true if the tunnel is open.
fn connect(
    client: &mut (impl Read + Write),
    record: &Record,
    authorization: Option<&str>,
) -> io::Result<bool> {
    let head = head(client, record)?;
    let line = head.lines().next().unwrap_or_default();
    let target = line
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.strip_suffix(" HTTP/1.1"))
        .unwrap_or_else(|| panic!("no CONNECT: {head:?}"));
    record.lock().targets.push(target.to_owned());
    let sent = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
        .map(|(_, value)| value);
    let opened = authorization.is_none() || sent == authorization;
    let answer = match opened {
        true => "HTTP/1.1 200 Connection established\r\n\r\n",
        false => "HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n",
    };
    client.write_all(answer.as_bytes())?;
    client.flush()?;
    Ok(opened)
}

/// RFC 1928 and RFC 1929, for CONNECT to a name.
fn socks5(
    client: &mut TcpStream,
    record: &Record,
    password: Option<(&str, &str)>,
) -> io::Result<bool> {
    let [_, methods] = exactly(client, record)?;
    let offered = some(client, record, methods)?;
    let method = if password.is_some() { 2 } else { 0 };
    if !offered.contains(&method) {
        client.write_all(&[5, 0xff])?;
        return Ok(false);
    }
    client.write_all(&[5, method])?;
    if let Some((user, password)) = password {
        let [_, length] = exactly(client, record)?;
        let said_user = some(client, record, length)?;
        let [length] = exactly(client, record)?;
        let said_password = some(client, record, length)?;
        let known = said_user == user.as_bytes() && said_password == password.as_bytes();
        client.write_all(&[1, u8::from(!known)])?;
        if !known {
            return Ok(false);
        }
    }
    let [_, command, _, kind, length] = exactly(client, record)?;
    assert_eq!((command, kind), (1, 3), "CONNECT to a name");
    let name = some(client, record, length)?;
    let port = u16::from_be_bytes(exactly(client, record)?);
    let target = format!("{}:{port}", String::from_utf8_lossy(&name));
    record.lock().targets.push(target);
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80])?;
    Ok(true)
}

/// Reads exactly up to an empty line.
fn head(client: &mut impl Read, record: &Record) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let [byte] = exactly(client, record)?;
        head.push(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn exactly<const N: usize>(client: &mut impl Read, record: &Record) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    record.saw(&bytes);
    Ok(bytes)
}

fn some(client: &mut impl Read, record: &Record, length: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes)?;
    record.saw(&bytes);
    Ok(bytes)
}

/// Copies bytes in both directions until both have ended.
fn pass(client: TcpStream, to: SocketAddr, record: &Arc<Record>) -> io::Result<()> {
    let upstream = TcpStream::connect(to)?;
    let (up, down) = (client.try_clone()?, upstream.try_clone()?);
    let seen = Arc::clone(record);
    thread::spawn(move || pump(up, upstream, |bytes| seen.saw(bytes)));
    pump(down, client, |_| {});
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream, saw: impl Fn(&[u8])) {
    let mut block = vec![0; 64 * 1024];
    loop {
        let got = from.read(&mut block).unwrap_or(0);
        saw(&block[..got]);
        if got == 0 || to.write_all(&block[..got]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}

type Secured = StreamOwned<ServerConnection, TcpStream>;

fn secured(mut client: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Secured> {
    let mut session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut client)?;
    }
    Ok(StreamOwned::new(session, client))
}

/// [`pass`] for a client behind TLS, whose session is one for both directions: one thread waits for
/// either side.
fn pass_secured(mut client: Secured, to: SocketAddr, record: &Record) -> io::Result<()> {
    let mut upstream = TcpStream::connect(to)?;
    let mut block = vec![0; 64 * 1024];
    loop {
        // Bytes that arrived with the head are already in the session.
        let waiting = client
            .conn
            .process_new_packets()
            .map_err(io::Error::other)?;
        let buffered = waiting.plaintext_bytes_to_read() > 0;
        let mut sides = [
            PollFd::new(client.sock.as_fd(), PollFlags::POLLIN),
            PollFd::new(upstream.as_fd(), PollFlags::POLLIN),
        ];
        let patience = match buffered {
            true => PollTimeout::ZERO,
            false => PollTimeout::NONE,
        };
        poll(&mut sides, patience)?;
        let [from_client, from_upstream] = sides.map(|side| side.any() == Some(true));
        if buffered || from_client {
            let got = client.read(&mut block)?;
            record.saw(&block[..got]);
            upstream.write_all(&block[..got])?;
            if got == 0 {
                return Ok(());
            }
        }
        if from_upstream {
            let got = upstream.read(&mut block)?;
            client.write_all(&block[..got])?;
            client.flush()?;
            if got == 0 {
                return Ok(());
            }
        }
    }
}
