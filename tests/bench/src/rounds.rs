//! The rounds: in each, both contenders are started fresh and go through each phase one right after the other, so
//! that both meet the same mood of the machine. The order alternates from round to round.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::contender::Kind;
use crate::noise::Noise;
use crate::phases;
use crate::report::{self, Report, Sample, Yardstick};
use crate::streams::Streams;
use crate::upstream::{self, Pace};
use crate::wire::Headers;
use crate::{facts, requests};

/// What to measure.
#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// The binary, built with `cargo build --profile dist`.
    #[arg(long, default_value = "target/dist/keyside")]
    keyside: PathBuf,
    /// Rounds; each measures both.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
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
    rate: u32,
    /// Seconds of streaming that count.
    #[arg(long, default_value_t = 6)]
    pub(crate) stream_seconds: u64,
    /// Seconds of one request after the other for the added latency, and as long without a proxy.
    #[arg(long, default_value_t = 2)]
    pub(crate) latency_seconds: u64,
    /// Send the headers of an SDK instead of the few of a plain client.
    #[arg(long)]
    sdk: bool,
    /// nginx against nginx: shows what the method itself spreads.
    #[arg(long)]
    control: bool,
    /// Keyside with a declared key, against Keyside with the key in its store.
    #[arg(long, conflicts_with = "control")]
    declared: bool,
    /// Repeat a round in which other processes took more than this share of one core.
    #[arg(long, default_value_t = 0.10)]
    noise: f64,
    /// Put the table between the `bench` markers of this file.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Runs all rounds and prints the report.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let contenders = plan.contenders();
    let yardstick = match plan.declared {
        true => Yardstick::Store,
        false => Yardstick::Nginx,
    };
    let versions = [contenders[0].version()?, contenders[1].version()?];
    let mut report = Report::new(versions, yardstick, plan.sdk)?;
    let upstream = upstream::start(loopback(), plan.pace()).await?;
    stay_awake();
    let mut spare = plan.rounds;
    while report.rounds() < plan.rounds {
        let order = if report.rounds() % 2 == 0 {
            [0, 1]
        } else {
            [1, 0]
        };
        let mut noise = Noise::default();
        let [baseline, candidate] = round(&contenders, order, upstream, plan, &mut noise).await?;
        eprintln!(
            "round {}: {}",
            report.rounds() + 1,
            report::brief(&baseline, &candidate, noise.worst())
        );
        if noise.worst() > plan.noise && spare > 0 {
            spare -= 1;
            eprintln!(
                "         others took {:.0} % of a core: once more",
                noise.worst() * 100.0
            );
            continue;
        }
        report.add(baseline, candidate, noise.worst());
    }
    println!("{report}");
    if let Some(file) = &plan.write {
        report::write(file, report.markers(), &report.to_string())?;
    }
    Ok(())
}

/// One round. The one whose turn it is not waits, without load.
async fn round(
    kinds: &[Kind; 2],
    order: [usize; 2],
    upstream: SocketAddr,
    plan: &Plan,
    noise: &mut Noise,
) -> Result<[Sample; 2]> {
    let pair = [
        kinds[0].start(upstream).await?,
        kinds[1].start(upstream).await?,
    ];
    let mut samples = [Sample::default(); 2];
    for which in order {
        phases::added_latency(&pair[which], upstream, plan, noise, &mut samples[which]).await?;
    }
    for which in order {
        phases::streaming(&pair[which], plan, noise, &mut samples[which]).await?;
    }
    phases::load(&pair, order, plan, noise, &mut samples).await?;
    for contender in pair {
        contender.stop().await?;
    }
    Ok(samples)
}

/// Keeps one contender under load and says its pid, for a profiler.
pub(crate) async fn profile(
    what: &Kind,
    time: Duration,
    streams: bool,
    headers: Headers,
) -> Result<()> {
    let pace = Pace {
        events: time.as_secs() * 20,
        ..Pace::DEFAULT
    };
    let upstream = upstream::start(loopback(), pace).await?;
    stay_awake();
    let contender = what.start(upstream).await?;
    println!("pid {} on {}", contender.measured, contender.address);
    let request = contender.request(headers, streams);
    let before = facts::cpu(contender.measured)?;
    if streams {
        let open = Streams::open(contender.address, &request, 1000).await?;
        println!(
            "{} MB resident",
            facts::resident(contender.measured)? / 1_000_000
        );
        open.finish(pace.all_events()).await?;
        let events = 1000 * pace.all_events();
        println!(
            "{:.2} us an event",
            phases::micros_each(facts::cpu(contender.measured)? - before, events)
        );
    } else {
        let load = requests::run(contender.address, &request, 32, time).await?;
        let spent = facts::cpu(contender.measured)? - before;
        println!(
            "{load}, {:.2} us of CPU each",
            phases::micros_each(spent, load.requests() as u64)
        );
    }
    contender.stop().await
}

impl Plan {
    /// Baseline and candidate.
    fn contenders(&self) -> [Kind; 2] {
        let keyside = || self.keyside.clone();
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

    /// Streams long enough for the last to open, the measured time, and a second of margin on either side.
    pub(crate) fn pace(&self) -> Pace {
        let opening = self.streams as u64 / 1000 * 2;
        let seconds = opening + 2 + self.stream_seconds;
        Pace {
            events: seconds * u64::from(self.rate),
            interval: Duration::from_secs(1) / self.rate,
        }
    }
}

/// Keeps the load's core from ever sleeping. Waking it is an interrupt to another core, which on a virtual machine costs
/// as much as half a request; it would be charged to the contender, and most to the one that lets the load wait longest.
fn stay_awake() {
    tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
