//! The time from the start of the process to its line "ready": on an empty store, and with many
//! credentials.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use clap::Args;

use crate::{
    report::{self, median},
    store::{self, Store},
};

/// Options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// The binary, built with `cargo build --profile dist`.
    #[arg(long, default_value = "target/dist/keyside")]
    keyside: PathBuf,
    /// Starts of each kind.
    #[arg(long, default_value_t = 7)]
    times: usize,
    /// Credentials in the full store.
    #[arg(long, default_value_t = 10_000)]
    credentials: usize,
    /// The folder that keeps the full store between runs; filling it takes a while.
    #[arg(long, default_value = "target/bench-store")]
    store: PathBuf,
    /// Write the table between the `start` markers of this file.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Measures both kinds of start and prints them.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let mut empty = Vec::new();
    for _ in 0..plan.times {
        let folder = tempfile::tempdir()?;
        empty.push(start_once(plan, folder.path()).await?);
    }
    let store = Store {
        folder: plan.store.clone(),
        credentials: plan.credentials,
        in_a_workspace: 100,
    };
    store.fill(&plan.keyside).await?;
    let mut full = Vec::new();
    for _ in 0..plan.times {
        full.push(start_once(plan, &plan.store).await?);
    }
    let table = [
        "| start to ready | median (ms) | min – max | goal |".to_owned(),
        "|---|---:|---:|---|".to_owned(),
        row("empty store", &empty, 200.0),
        row(&format!("{} credentials", plan.credentials), &full, 1000.0),
    ]
    .join("\n");
    println!("{table}");
    if let Some(file) = &plan.write {
        report::write(file, "start", &table)?;
    }
    Ok(())
}

async fn start_once(plan: &Plan, folder: &Path) -> Result<Duration> {
    let server = store::serve(&plan.keyside, folder).await?;
    let took = server.took;
    server.stop().await?;
    Ok(took)
}

fn row(name: &str, times: &[Duration], goal: f64) -> String {
    let millis = || times.iter().map(|time| time.as_secs_f64() * 1e3);
    let (low, high) = millis().fold((f64::MAX, f64::MIN), |(low, high), time| {
        (low.min(time), high.max(time))
    });
    let middle = median(millis());
    let verdict = if middle <= goal { "met" } else { "**missed**" };
    format!("| {name} | {middle:.0} | {low:.0} – {high:.0} | ≤ {goal:.0} ms: {verdict} |")
}
