//! The harness: the binary, its environment, and bytes over sockets.
//!
//! Uses only blocking sockets and threads. Nothing sleeps: each wait is for an event (a request
//! arrives, a line is logged, a connection closes), and has a limit.

mod ask;
mod builder;
pub mod crowd;
pub mod egress;
pub mod expect;
pub mod frames;
pub mod gate;
pub mod h2_session;
pub mod h2_upstream;
pub mod h2c;
mod keyed;
mod keyside;
mod listing;
mod loop_disk;
mod message;
mod pair;
mod process;
mod reader;
mod root;
mod terminal;
pub mod tls;
mod upstream;
mod wire;

pub use ask::{Ask, CHAT, chunk_of, chunked};
pub use builder::{Builder, field};
pub use keyside::{CREDENTIALS, Keyside};
pub use loop_disk::LoopDisk;
pub use message::{Ending, Message, holds};
pub use pair::Pair;
pub use process::{Exit, Process};
pub use root::runs_as_root;
pub use terminal::Terminal;
pub use upstream::{Line, Seen, Stream, Then, Upstream, chunked_head, reply, reply_in_chunks};
pub use wire::{PATIENCE, Wire, allow_sockets};

use std::{
    thread,
    time::{Duration, Instant},
};

/// The secret of workspace `acme` in most tests. Long enough to be unique, formed like a real one.
pub const KEY: &str = "sk-proj-e2eKeySideOnly0123456789abcdefghijklmnopqrstuvwxyzQ7";
/// The secret of workspace `other`, where a second one is needed.
pub const OTHER_KEY: &str = "sk-proj-e2eKeySideOther9876543210zyxwvutsrqponmlkjihgfedcbaW3";

/// Polls `probe` until it returns a value.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Polls `probe` until its value has not changed for half a second.
pub fn settled<T: PartialEq>(what: &str, mut probe: impl FnMut() -> T) -> T {
    let (mut last, mut times) = (probe(), 0);
    eventually(what, || {
        let now = probe();
        times = if now == last { times + 1 } else { 0 };
        last = now;
        (times == 100).then_some(())
    });
    last
}
