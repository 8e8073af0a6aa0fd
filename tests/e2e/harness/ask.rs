//! Builds a runner's requests, byte for byte.

/// A request builder; it sends nothing that was not set.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Ask {
    /// Any method and target, with no header but a `Host` that is Keyside's.
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        let ask = Self {
            method,
            target,
            headers: Vec::new(),
            body: Vec::new(),
        };
        ask.header("Host", "localhost")
    }

    /// A GET for workspace `acme`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target).workspace("acme")
    }

    /// A POST of a small JSON body for workspace `acme`.
    pub fn post(target: &str) -> Self {
        let ask = Self::new("POST", target).workspace("acme");
        ask.header("Content-Type", "application/json")
            .body(br#"{"model":"m"}"#)
    }

    /// The base request of most tests.
    pub fn chat() -> Self {
        Self::post(CHAT)
    }

    pub fn workspace(self, id: &str) -> Self {
        self.without("X-Keyside-Workspace")
            .header("X-Keyside-Workspace", id)
    }

    /// Adds a header, even if one with that name exists.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Replaces every header of that name.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    /// Sets a body and its `Content-Length`.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        let length = body.len().to_string();
        self.without("Transfer-Encoding")
            .set("Content-Length", &length)
    }

    /// A body in these chunks, then `trailers` (whole lines), then the end.
    pub fn chunks(mut self, chunks: &[&[u8]], trailers: &str) -> Self {
        self.body = chunked(chunks, trailers);
        self.without("Content-Length")
            .set("Transfer-Encoding", "chunked")
    }

    /// No body and no framing, for a test that writes its own.
    pub fn bare(mut self) -> Self {
        self.body.clear();
        self.without("Content-Length")
            .without("Content-Type")
            .without("Transfer-Encoding")
    }

    /// The body as it goes out, with any framing of its own.
    pub fn payload(&self) -> &[u8] {
        &self.body
    }

    /// The start line and headers with the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The whole request.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The chunked coding of `chunks`, with whole `trailers` lines before the last empty one.
pub fn chunked(chunks: &[&[u8]], trailers: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in chunks {
        bytes.extend_from_slice(&chunk_of(chunk));
    }
    bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    bytes
}

/// One chunk.
pub fn chunk_of(piece: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// A path that the OpenAI entry of the catalogue allows.
pub const CHAT: &str = "/openai/v1/chat/completions";
