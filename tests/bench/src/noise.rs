//! Whether anything else ran on the machine: numbers taken while it did are worth little, and the report says so.

use std::time::Instant;

use anyhow::Result;

use crate::contender::Contender;
use crate::facts;

/// What other processes took of the machine while something was measured.
#[derive(Default)]
pub(crate) struct Noise {
    worst: f64,
}

/// One phase that is being watched.
pub(crate) struct Watch {
    began: Instant,
    measured: u32,
    /// The machine's busy time, less that of the contender and of the bench.
    others: f64,
}

impl Noise {
    /// The largest share of one core that others took in any phase.
    pub(crate) fn worst(&self) -> f64 {
        self.worst
    }

    /// Begins to watch while `contender` is measured.
    pub(crate) fn watch(&self, contender: &Contender) -> Result<Watch> {
        Ok(Watch {
            began: Instant::now(),
            measured: contender.measured,
            others: others(contender.measured)?,
        })
    }

    /// Ends it and keeps the share if it is the largest so far.
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
