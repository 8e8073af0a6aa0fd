//! Command-line options of the rounds.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{contender::Kind, upstream::Pace, wire::Headers};

/// Options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// The binary, built with `cargo build --profile dist`.
    #[arg(long, default_value = "target/dist/keyside")]
    pub(crate) keyside: PathBuf,
    /// Number of rounds; each measures both.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Connections of the request load.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Seconds of the request load on each in a round.
    #[arg(long, default_value_t = 4)]
    pub(crate) seconds: u64,
    /// Streams at once.
    #[arg(long, default_value_t = 1000)]
    pub(crate) streams: usize,
    /// Events a second on each stream.
    #[arg(long, default_value_t = 20)]
    pub(crate) rate: u32,
    /// Seconds of streaming that count.
    #[arg(long, default_value_t = 6)]
    pub(crate) stream_seconds: u64,
    /// Seconds of sequential requests for the added latency, and the same time without a proxy.
    #[arg(long, default_value_t = 2)]
    pub(crate) latency_seconds: u64,
    /// Send the headers of an SDK instead of a plain client's.
    #[arg(long)]
    pub(crate) sdk: bool,
    /// nginx against nginx: shows the noise of the method.
    #[arg(long)]
    pub(crate) control: bool,
    /// Keyside with a declared key, against Keyside with the key in its store.
    #[arg(long, conflicts_with = "control")]
    pub(crate) declared: bool,
    /// Another build of Keyside as the baseline, for a change to the request path.
    #[arg(long, conflicts_with_all = ["control", "declared", "write"])]
    pub(crate) against: Option<PathBuf>,
    /// Repeat a round in which other processes used more than this share of one core.
    #[arg(long, default_value_t = 0.10)]
    pub(crate) noise: f64,
    /// Write the table between the `bench` markers of this file.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

impl Plan {
    /// Baseline and candidate.
    pub(crate) fn contenders(&self) -> [Kind; 2] {
        let keyside = || self.keyside.clone();
        if let Some(earlier) = &self.against {
            return [Kind::Keyside(earlier.clone()), Kind::Keyside(keyside())];
        }
        match (self.declared, self.control) {
            (true, _) => [Kind::Keyside(keyside()), Kind::Declared(keyside())],
            (false, true) => [Kind::Nginx, Kind::Nginx],
            (false, false) => [Kind::Nginx, Kind::Keyside(keyside())],
        }
    }

    /// The headers that requests carry.
    pub(crate) fn headers(&self) -> Headers {
        Headers::from_flag(self.sdk)
    }

    /// Streams long enough for the last to open, the measured time, and a second of margin on
    /// either side.
    pub(crate) fn pace(&self) -> Pace {
        let opening = self.streams as u64 / 1000 * 2;
        let seconds = opening + 2 + self.stream_seconds;
        Pace {
            events: seconds * u64::from(self.rate),
            interval: Duration::from_secs(1) / self.rate,
        }
    }
}
