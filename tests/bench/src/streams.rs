//! The streaming load: many SSE streams at once, each counted event by event and checked to its
//! end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

use crate::wire;

/// Streams in progress.
pub(crate) struct Streams {
    tasks: JoinSet<Result<u64>>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    events: AtomicU64,
    open: AtomicUsize,
}

impl Streams {
    /// Opens `count` streams, a few per millisecond, and returns when each has delivered its first
    /// event.
    pub(crate) async fn open(target: SocketAddr, request: &[u8], count: usize) -> Result<Self> {
        let request: Arc<[u8]> = request.into();
        let mut streams = Self {
            tasks: JoinSet::new(),
            counters: Arc::default(),
        };
        for _ in 0..count {
            streams.tasks.spawn(stream(
                target,
                Arc::clone(&request),
                Arc::clone(&streams.counters),
            ));
            sleep(Duration::from_millis(1)).await;
        }
        while streams.counters.open.load(Ordering::Relaxed) < count {
            if let Some(ended) = streams.tasks.try_join_next() {
                ended??;
                bail!("a stream ended before all were open: too few events for {count} streams");
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(streams)
    }

    /// Events seen so far, over all streams.
    pub(crate) fn events(&self) -> u64 {
        self.counters.events.load(Ordering::Relaxed)
    }

    /// Waits for the end of all streams; each must deliver exactly `events` and end properly.
    pub(crate) async fn finish(mut self, events: u64) -> Result<()> {
        while let Some(done) = self.tasks.join_next().await {
            let seen = done??;
            ensure!(
                seen == events,
                "a stream brought {seen} events instead of {events}"
            );
        }
        Ok(())
    }
}

/// Reads one stream to its last chunk and returns the number of events.
async fn stream(target: SocketAddr, request: Arc<[u8]>, counters: Arc<Counters>) -> Result<u64> {
    let mut socket = TcpStream::connect(target)
        .await
        .with_context(|| format!("cannot connect to {target}"))?;
    socket.set_nodelay(true)?;
    socket.write_all(&request).await?;
    let mut buffer = vec![0; 8192];
    let mut filled = 0;
    let head = loop {
        filled += read(&mut socket, &mut buffer[filled..]).await?;
        if let Some(head) = wire::response_head(&buffer[..filled])? {
            break head;
        }
    };
    head.must_be_ok(&buffer[..filled])?;
    let mut counter = EventCounter::default();
    let mut seen = counter.count(&buffer[head.length..filled]);
    while seen == 0 {
        let length = read(&mut socket, &mut buffer).await?;
        seen += counter.count(&buffer[..length]);
    }
    counters.open.fetch_add(1, Ordering::Relaxed);
    counters.events.fetch_add(seen, Ordering::Relaxed);
    loop {
        let length = read(&mut socket, &mut buffer).await?;
        let new = counter.count(&buffer[..length]);
        counters.events.fetch_add(new, Ordering::Relaxed);
        seen += new;
        if counter.ended() {
            return Ok(seen);
        }
    }
}

async fn read(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    match socket.read(buffer).await? {
        0 => bail!("a stream was cut"),
        length => Ok(length),
    }
}

/// Counts events by the empty line that ends each. The chunk framing around them uses CRLF and
/// cannot look like one.
#[derive(Default)]
struct EventCounter {
    /// The last bytes seen; enough for the last chunk, `0\r\n\r\n`.
    tail: [u8; 5],
}

impl EventCounter {
    fn count(&mut self, bytes: &[u8]) -> u64 {
        let Some((&first, &last)) = bytes.first().zip(bytes.last()) else {
            return 0;
        };
        let across = u64::from(self.tail[4] == b'\n' && first == b'\n');
        let kept = bytes.len().min(5);
        self.tail.rotate_left(kept);
        self.tail[5 - kept..].copy_from_slice(&bytes[bytes.len() - kept..]);
        debug_assert_eq!(self.tail[4], last);
        across + memmem::find_iter(bytes, b"\n\n").count() as u64
    }

    fn ended(&self) -> bool {
        &self.tail == b"0\r\n\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_the_stream_is_split() {
        let bytes = b"c\r\ndata: {\"a\":1}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
        for split in 0..=bytes.len() {
            let mut counter = EventCounter::default();
            let seen = counter.count(&bytes[..split]) + counter.count(&bytes[split..]);
            assert!(seen == 2 && counter.ended(), "split at {split}");
        }
    }
}
