//! The id of a request, by which people and logs speak of it.

/// The id that the answer, the log line and the audit records of one request share.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// 128 random bits. A client's own id is not taken over: it would be a way to write into our logs.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 16];
        // A system without randomness cannot seal either; an id that repeats is the least of it.
        let _ = getrandom::fill(&mut bytes);
        Self(format!("req_{:032x}", u128::from_be_bytes(bytes)))
    }
}
