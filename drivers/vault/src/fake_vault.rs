//! A fake Vault for unit tests: serves a test's responses over real HTTP, and records the requests.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use keyside_config::{AllowedReferences, BaseUrl, VaultAuth};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// A test's response, as status and body, to a received request.
type Answers = dyn Fn(&ReceivedRequest) -> (u16, Value) + Send + Sync;

/// A running fake Vault. Stops when it is dropped.
pub(crate) struct FakeVault {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<ReceivedRequest>>>,
    came: Arc<Notify>,
    serving: JoinHandle<()>,
}

/// A request that the fake received.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    /// Method and path with query: `GET sys/health`, without `/v1/`.
    pub(crate) line: String,
    /// All header lines, with names in lower case.
    head: String,
    pub(crate) body: String,
}

/// A status that makes the fake never respond.
pub(crate) const NO_ANSWER: u16 = 0;

impl FakeVault {
    pub(crate) async fn start(
        answers: impl Fn(&ReceivedRequest) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        // The binary installs it at start. A second installation fails, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<ReceivedRequest>>> = Arc::default();
        let came: Arc<Notify> = Arc::default();
        let answers: Arc<Answers> = Arc::new(answers);
        let (kept, notified) = (asked.clone(), came.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, kept, notified) = (answers.clone(), kept.clone(), notified.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &*answers, &kept, &notified).await;
                });
            }
        });
        Self {
            address,
            asked,
            came,
            serving,
        }
    }

    /// Settings that point to this fake.
    pub(crate) fn settings(&self, auth: VaultAuth) -> keyside_config::Vault {
        keyside_config::Vault {
            address: BaseUrl::parse(&format!("http://{}", self.address), false).unwrap(),
            namespace: None,
            ca_file: None,
            ca_path: None,
            client_certificate: None,
            tls_server_name: None,
            proxy: None,
            auth,
            poll: Duration::from_secs(30),
            outage: Duration::from_secs(900),
            timeout: Duration::from_secs(10),
            cache: None,
            references: AllowedReferences::default(),
        }
    }

    /// All received requests whose line begins with `line`.
    pub(crate) fn asked(&self, line: &str) -> Vec<ReceivedRequest> {
        let asked = self.asked.lock().unwrap();
        let asked = asked.iter().filter(|asked| asked.line.starts_with(line));
        asked.cloned().collect()
    }

    /// Waits until `times` requests whose line begins with `line` have arrived.
    pub(crate) async fn wait_for(&self, times: usize, line: &str) {
        loop {
            let came = self.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            if self.asked(line).len() >= times {
                return;
            }
            came.await;
        }
    }
}

impl Drop for FakeVault {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl ReceivedRequest {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// The response to a sign-in or a renewal.
pub(crate) fn signed_in(token: &str, seconds: u64) -> (u16, Value) {
    let auth = json!({ "client_token": token, "lease_duration": seconds, "renewable": true });
    (200, json!({ "auth": auth }))
}

/// An error response in Vault's form.
pub(crate) fn refused(status: u16, said: &str) -> (u16, Value) {
    (status, json!({ "errors": [said] }))
}

async fn serve(
    mut stream: TcpStream,
    answers: &Answers,
    kept: &Mutex<Vec<ReceivedRequest>>,
    came: &Notify,
) -> std::io::Result<()> {
    let asked = read(&mut stream).await?;
    kept.lock().unwrap().push(asked.clone());
    came.notify_waiters();
    let (status, body) = answers(&asked);
    if status == NO_ANSWER {
        return std::future::pending().await;
    }
    let body = match &body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\nlocation: /elsewhere\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn read(stream: &mut TcpStream) -> std::io::Result<ReceivedRequest> {
    let mut bytes = Vec::new();
    let end = loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        match end {
            Some(end) => break end,
            None if stream.read_buf(&mut bytes).await? == 0 => {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            None => {}
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (line, headers) = head.split_once("\r\n").unwrap_or((head.as_str(), ""));
    let mut asked = ReceivedRequest {
        line: line.trim_end_matches(" HTTP/1.1").replacen("/v1/", "", 1),
        head: headers.to_owned(),
        body: String::new(),
    };
    let length: usize = asked
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    asked.body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Ok(asked)
}
