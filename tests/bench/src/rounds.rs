//! The rounds: in each, both contenders start fresh and run each phase directly after one another,
//! so that the state of the machine is the same for both. The order alternates.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use crate::{
    contender::Kind,
    facts,
    noise::Noise,
    phases,
    plan::Plan,
    report::{self, Report, Sample, Yardstick},
    requests,
    streams::Streams,
    upstream::{self, Pace},
    wire::Headers,
};

/// Runs all rounds and prints the report.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let contenders = plan.contenders();
    let yardstick = match plan.declared || plan.against.is_some() {
        true => Yardstick::Keyside,
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

/// One round. While one contender is measured, the other is idle.
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

/// Keeps one contender under load and prints its pid, for a profiler.
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

/// Prevents the load's core from sleeping. Waking it takes an interrupt to another core, which on a
/// virtual machine costs as much as half a request; it would be charged to the contender, and
/// mostly to the slower one.
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
