//! One HTTP/1.1 message as read from a socket.

/// A request or a response, whole.
#[derive(Clone, Debug)]
pub struct Message {
    /// The start line without its line ending.
    pub start: String,
    /// Headers in the order of arrival, names as they were written.
    pub headers: Vec<(String, String)>,
    /// The body, without chunked framing.
    pub body: Vec<u8>,
    /// The trailers after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// How the body ended.
    pub ending: Ending,
    /// Every byte from the start line to the end of the body.
    pub raw: Vec<u8>,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is no body, by method, status or the absence of any framing.
    Empty,
    /// All bytes that `Content-Length` promised.
    Length,
    /// The last chunk and its trailers.
    Chunked,
    /// The connection's clean end, if there is no other framing.
    Close,
    /// The connection closed before the end of the framing.
    Cut,
}

impl Message {
    /// The status of a response.
    pub fn status(&self) -> u16 {
        let word = self.start.split(' ').nth(1);
        word.and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {:?}", self.start))
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request, as it was written.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).into_iter().next()
    }

    /// Every header of this name.
    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(named)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?} {:?}", self.start, self.text()))
    }

    /// Whether these bytes occur anywhere in it: start line, headers, framing or body.
    pub fn holds(&self, needle: &str) -> bool {
        holds(&self.raw, needle) || holds(&self.body, needle)
    }

    /// Whether its body ended as its framing announced.
    pub fn is_whole(&self) -> bool {
        self.ending != Ending::Cut
    }
}

/// Whether `needle` occurs in `bytes`.
pub fn holds(bytes: &[u8], needle: &str) -> bool {
    // The empty needle always occurs; `windows(0)` would panic.
    needle.is_empty()
        || bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
}
