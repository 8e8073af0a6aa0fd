//! The time from the start of the process to its line "ready": on an empty store, and with many credentials.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::contender::{Server, write_settings};
use crate::report::{self, median};

/// What to measure.
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
    /// Where the full store is kept from one run to the next; filling it takes a while.
    #[arg(long, default_value = "target/bench-store")]
    store: PathBuf,
    /// Put the table between the `start` markers of this file.
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
    fill(plan).await?;
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
    let config = write_settings(folder, UNUSED_UPSTREAM.parse()?)?;
    let server = Server::start(&plan.keyside, &config, &folder.join("stderr.log")).await?;
    let took = server.took;
    server.stop().await?;
    Ok(took)
}

/// Fills the kept store through the admin API, unless it is full already.
async fn fill(plan: &Plan) -> Result<()> {
    let filled = plan.store.join("credentials");
    if fs::read_to_string(&filled).is_ok_and(|count| count == plan.credentials.to_string()) {
        return Ok(());
    }
    if plan.store.exists() {
        fs::remove_dir_all(&plan.store)?;
    }
    fs::create_dir_all(&plan.store)
        .with_context(|| format!("cannot make {}", plan.store.display()))?;
    let began = Instant::now();
    let config = write_settings(&plan.store, UNUSED_UPSTREAM.parse()?)?;
    let server = Server::start(&plan.keyside, &config, &plan.store.join("stderr.log")).await?;
    let admin = server.admin(&plan.store)?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(fill_share(admin.clone(), writer, plan.credentials));
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    eprintln!(
        "{} credentials added in {:.1} s",
        plan.credentials,
        began.elapsed().as_secs_f64()
    );
    server.stop().await?;
    Ok(fs::write(filled, plan.credentials.to_string())?)
}

/// One writer's share: workspaces of a hundred keys each.
async fn fill_share(admin: Admin, writer: usize, credentials: usize) -> Result<()> {
    for first in (0..credentials)
        .step_by(IN_A_WORKSPACE)
        .skip(writer)
        .step_by(WRITERS)
    {
        let workspace = format!("team-{}", first / IN_A_WORKSPACE);
        admin.create_workspace(&workspace).await?;
        for number in first..credentials.min(first + IN_A_WORKSPACE) {
            let secret = format!("sk-proj-bench{number:043}");
            admin
                .add_key(&workspace, "openai", &format!("key-{number}"), &secret)
                .await?;
        }
    }
    Ok(())
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

const WRITERS: usize = 8;
const IN_A_WORKSPACE: usize = 100;
/// Nothing is forwarded here; settings only need some address.
const UNUSED_UPSTREAM: &str = "127.0.0.1:9";
