//! A provider that accepts only one key, to check that Keyside still attaches the right one.

use super::{KEY, Upstream, reply};

impl Upstream {
    /// Answers 200 to [`KEY`] as the only credential, and 401 to anything else.
    pub fn wanting_key() -> Self {
        Self::answering(|seen| {
            let right = seen.headers_named("authorization") == [format!("Bearer {KEY}")];
            reply(if right { 200 } else { 401 }, "", b"{}")
        })
    }
}
