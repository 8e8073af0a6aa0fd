//! The id of a request.

/// The id that the response, the log line and the audit records of one request share.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// 128 random bits. A client's own id is not adopted: clients could write into our logs with
    /// it.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 16];
        // If the system has no randomness, sealing fails as well; a repeated id is then the smaller
        // problem.
        let _ = getrandom::fill(&mut bytes);
        Self(format!("req_{:032x}", u128::from_be_bytes(bytes)))
    }
}
