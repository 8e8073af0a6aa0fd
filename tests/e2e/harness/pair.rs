//! Keyside between a client and an upstream whose next response the test sets.

use std::sync::{Arc, Mutex};

use super::{Ask, Keyside, Message, Seen, Upstream};

/// Keyside and an upstream, for tables of requests and responses.
pub struct Pair {
    pub upstream: Upstream,
    pub keyside: Keyside,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Pair {
    /// Keyside with workspace `acme` and its OpenAI key.
    pub fn new() -> Self {
        let answer = Arc::new(Mutex::new(super::reply(200, "", b"ok")));
        let next = Arc::clone(&answer);
        let upstream = Upstream::answering(move |_| next.lock().expect("no panic").clone());
        let keyside = Keyside::with_openai(&upstream.base_url());
        Self {
            upstream,
            keyside,
            answer,
        }
    }

    /// Sets the bytes with which the upstream answers from now on.
    pub fn will_answer(&self, answer: Vec<u8>) {
        *self.answer.lock().expect("no panic") = answer;
    }

    /// One request over a new connection: the upstream's request and the client's response.
    pub fn exchange(&self, ask: &Ask, answer: Vec<u8>) -> (Seen, Message) {
        self.will_answer(answer);
        let before = self.upstream.requests().len();
        let got = self.keyside.ask(ask);
        self.upstream.assert_only_requests();
        let mut requests = self.upstream.requests();
        assert_eq!(
            requests.len(),
            before + 1,
            "exactly one delivery: {}",
            got.text()
        );
        (requests.remove(before), got)
    }
}
