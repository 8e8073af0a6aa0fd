//! Measures the load of other processes: results taken while they run are unreliable, and the
//! report says so.

use std::time::Instant;

use anyhow::Result;

use crate::{contender::Contender, facts};

/// The CPU share of other processes during measurements.
#[derive(Default)]
pub(crate) struct Noise {
    worst: f64,
}

/// One phase being watched.
pub(crate) struct Watch {
    began: Instant,
    measured: u32,
    /// The machine's busy time, minus that of the contender and of the benchmark.
    others: f64,
}

impl Noise {
    /// The largest share of one core that others used in any phase.
    pub(crate) fn worst(&self) -> f64 {
        self.worst
    }

    /// Starts to watch while `contender` is measured.
    pub(crate) fn watch(&self, contender: &Contender) -> Result<Watch> {
        Ok(Watch {
            began: Instant::now(),
            measured: contender.measured,
            others: others(contender.measured)?,
        })
    }

    /// Stops watching and keeps the share if it is the largest so far.
    pub(crate) fn note(&mut self, watch: Watch) -> Result<()> {
        let taken = others(watch.measured)? - watch.others;
        self.worst = self.worst.max(taken / watch.began.elapsed().as_secs_f64());
        Ok(())
    }
}

fn others(measured: u32) -> Result<f64> {
    let ours = facts::cpu(measured)? + facts::cpu(std::process::id())?;
    Ok(facts::machine_busy()?.as_secs_f64() - ours.as_secs_f64())
}
