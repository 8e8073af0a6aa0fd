//! The three phases of a round; each fills its part of the sample.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::time::sleep;

use crate::{
    contender::Contender,
    facts,
    noise::Noise,
    plan::Plan,
    report::Sample,
    requests::{self, Load},
    streams::Streams,
    wire,
};

/// One connection, one request after another, compared with the same requests without a proxy.
pub(crate) async fn added_latency(
    contender: &Contender,
    upstream: SocketAddr,
    plan: &Plan,
    noise: &mut Noise,
    sample: &mut Sample,
) -> Result<()> {
    let time = Duration::from_secs(plan.latency_seconds);
    let through = contender.request(plan.headers(), false);
    let direct = keyed(&wire::request(
        upstream,
        "/v1/chat/completions",
        plan.headers(),
        false,
    ))?;
    requests::run(contender.address, &through, 1, WARM_UP).await?;
    let watch = noise.watch(contender)?;
    let direct = requests::run(upstream, &direct, 1, time).await?;
    let through = requests::run(contender.address, &through, 1, time).await?;
    noise.note(watch)?;
    sample.added_latency = through.within(0.5) - direct.within(0.5);
    Ok(())
}

/// Many concurrent streams: CPU per event, and memory while all are open.
pub(crate) async fn streaming(
    contender: &Contender,
    plan: &Plan,
    noise: &mut Noise,
    sample: &mut Sample,
) -> Result<()> {
    let request = contender.request(plan.headers(), true);
    let streams = Streams::open(contender.address, &request, plan.streams).await?;
    let watch = noise.watch(contender)?;
    let (cpu, events) = (facts::cpu(contender.measured)?, streams.events());
    sleep(Duration::from_secs(plan.stream_seconds)).await;
    let (cpu, events) = (
        facts::cpu(contender.measured)? - cpu,
        streams.events() - events,
    );
    noise.note(watch)?;
    sample.cpu_per_event = micros_each(cpu, events);
    sample.streams_memory = facts::resident(contender.measured)? as f64 / 1e6;
    streams.finish(plan.pace().all_events()).await
}

/// Maximum load, in turns of a second, so that a disturbance affects both contenders.
pub(crate) async fn load(
    pair: &[Contender; 2],
    mut order: [usize; 2],
    plan: &Plan,
    noise: &mut Noise,
    samples: &mut [Sample; 2],
) -> Result<()> {
    for contender in pair {
        let request = contender.request(plan.headers(), false);
        requests::run(contender.address, &request, plan.connections, WARM_UP).await?;
    }
    let mut turns = [Turns::default(), Turns::default()];
    for _ in 0..plan.seconds {
        for which in order {
            turns[which].take(&pair[which], plan, noise).await?;
        }
        order.reverse();
    }
    for which in order {
        turns[which].sum_up(&mut samples[which]);
        samples[which].loaded_memory = facts::resident(pair[which].measured)? as f64 / 1e6;
    }
    Ok(())
}

/// The sum of one contender's turns under load.
#[derive(Default)]
struct Turns {
    load: Load,
    /// CPU time of the contender.
    cpu: Duration,
}

impl Turns {
    async fn take(&mut self, contender: &Contender, plan: &Plan, noise: &mut Noise) -> Result<()> {
        let request = contender.request(plan.headers(), false);
        let watch = noise.watch(contender)?;
        let cpu = facts::cpu(contender.measured)?;
        let load = requests::run(contender.address, &request, plan.connections, TURN).await?;
        self.cpu += facts::cpu(contender.measured)? - cpu;
        noise.note(watch)?;
        self.load.add(load);
        Ok(())
    }

    fn sum_up(&self, sample: &mut Sample) {
        sample.cpu_per_request = micros_each(self.cpu, self.load.requests() as u64);
        sample.busy = self.cpu.as_secs_f64() / self.load.elapsed().as_secs_f64();
        sample.throughput = self.load.throughput();
        sample.p50 = self.load.within(0.5);
        sample.p99 = self.load.within(0.99);
    }
}

/// `time` divided by `count`, in microseconds.
pub(crate) fn micros_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// The direct request must carry the key itself.
fn keyed(request: &[u8]) -> Result<Vec<u8>> {
    Ok(String::from_utf8(request.to_vec())?
        .replace("Bearer dummy", &format!("Bearer {}", wire::SECRET))
        .into_bytes())
}

const TURN: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(700);
