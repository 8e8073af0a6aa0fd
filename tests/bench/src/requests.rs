//! The closed-loop load: several connections, one request at a time on each, every latency
//! recorded.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::BytesMut;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::wire;

/// The results of a load.
#[derive(Default)]
pub(crate) struct Load {
    /// Latencies in ascending order, in nanoseconds.
    latencies: Vec<u32>,
    /// From the first request to the last response.
    elapsed: Duration,
}

impl Load {
    /// Merges another result into this one.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.latencies.append(&mut other.latencies);
        self.latencies.sort_unstable();
        self.elapsed += other.elapsed;
    }

    /// Time under load.
    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Completed requests.
    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// Requests a second.
    pub(crate) fn throughput(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The `share` quantile of the latencies, in microseconds.
    pub(crate) fn within(&self, share: f64) -> f64 {
        at(&self.latencies, share).map_or(f64::NAN, |nanos| f64::from(nanos) / 1e3)
    }
}

/// The `share` quantile of values in ascending order.
pub(crate) fn at<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let last = sorted.len().saturating_sub(1);
    let position = (share * last as f64).round() as usize;
    sorted.get(position).copied()
}

impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, p50, p99) = (self.throughput(), self.within(0.5), self.within(0.99));
        write!(
            out,
            "{} requests, {rate:.0}/s, p50 {p50:.0} us, p99 {p99:.0} us",
            self.requests()
        )
    }
}

/// Sends requests to `target` on `connections` connections for `time`. The first response that is
/// not a 200 is an error.
pub(crate) async fn run(
    target: SocketAddr,
    request: &[u8],
    connections: usize,
    time: Duration,
) -> Result<Load> {
    let request: Arc<[u8]> = request.into();
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        clients.spawn(client(target, Arc::clone(&request), began + time));
    }
    let mut latencies = Vec::new();
    while let Some(done) = clients.join_next().await {
        latencies.append(&mut done??);
    }
    let elapsed = began.elapsed();
    latencies.sort_unstable();
    Ok(Load { latencies, elapsed })
}

async fn client(target: SocketAddr, request: Arc<[u8]>, until: Instant) -> Result<Vec<u32>> {
    let mut socket = TcpStream::connect(target)
        .await
        .with_context(|| format!("cannot connect to {target}"))?;
    socket.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(4096);
    let mut latencies = Vec::with_capacity(16 * 1024);
    let mut asked = Instant::now();
    while asked < until {
        socket.write_all(&request).await?;
        wire::read_answer(&mut socket, &mut buffer).await?;
        let answered = Instant::now();
        latencies.push(u32::try_from((answered - asked).as_nanos()).unwrap_or(u32::MAX));
        asked = answered;
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_latency_at_that_rank() {
        let load = Load {
            latencies: (1..=101).map(|micros| micros * 1000).collect(),
            elapsed: Duration::from_secs(1),
        };
        assert_eq!(
            (load.within(0.5), load.within(0.99), load.within(1.0)),
            (51.0, 100.0, 101.0)
        );
    }
}
