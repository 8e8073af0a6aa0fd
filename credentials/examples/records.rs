//! Measures the cost of run records: processor time to write them as a loaded proxy does, memory
//! for kept records, and reading them, from the end and in full at a start.
//!
//! `cargo run --release -p keyside-credentials --example records -- [records] [records per flush]`

#[path = "support/installation.rs"]
mod installation;

use std::{error::Error, fs, path::Path, sync::Arc, time::Instant};

use keyside_credentials::{
    Clock, Environment, Registry, SystemClock,
    runs::{Run, RunFilter, RunKind, Tokens, Used},
};

use self::installation::{open, processor_time, resident_kib};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let (records, at_once) = (number(100_000)?, number(1_000)?);
    let folder = tempfile::tempdir()?;
    let (store, registry) = open(folder.path()).await?;
    let before = resident_kib();
    write(&registry, records, at_once).await;
    println!("resident: {before} KiB, then {} KiB", resident_kib());
    println!("on disk: {} KiB", size(&folder.path().join("store")) >> 10);
    read(&registry).await;
    drop(registry);
    while Arc::strong_count(&store) > 1 {
        tokio::task::yield_now().await;
    }
    drop(store);
    again(folder.path()).await
}

/// Flushes after each group of records.
async fn write(registry: &Registry, records: u64, at_once: u64) {
    let (began, before) = (Instant::now(), processor_time());
    for n in 0..records {
        registry.runs().record(run(n));
        if n % at_once == 0 {
            registry.runs().flush().await;
        }
    }
    registry.runs().flush().await;
    let (clock, processor) = (began.elapsed(), processor_time() - before);
    println!(
        "wrote {records} in {clock:?}: {} ns of the processor each, {} unrecorded",
        processor.as_nanos() / u128::from(records),
        registry.runs().unrecorded()
    );
}

async fn read(registry: &Registry) {
    for limit in [100, 1_000] {
        let (began, before) = (Instant::now(), processor_time());
        let found = registry
            .runs()
            .search(limit, &RunFilter::default())
            .await
            .len();
        println!(
            "the latest {found}: {:?}, {:?} of the processor",
            began.elapsed(),
            processor_time() - before
        );
    }
}

/// A start with all records.
async fn again(folder: &Path) -> Result<(), Box<dyn Error>> {
    let (began, before) = (Instant::now(), processor_time());
    let (_store, registry) = open(folder).await?;
    registry.runs().flush().await;
    println!(
        "opened again in {:?}, {:?} of the processor; resident: {} KiB",
        began.elapsed(),
        processor_time() - before,
        resident_kib()
    );
    Ok(())
}

/// A run of one of ten credentials.
fn run(n: u64) -> Run {
    let credential = format!(
        "cred_{}",
        ((b'a' + (n % 10) as u8) as char).to_string().repeat(26)
    );
    Run {
        at: SystemClock.now(),
        request_id: format!("req_{n:026}").into(),
        kind: RunKind::Traffic,
        workspace: format!("w-{}", n % 10).parse().expect("a workspace id"),
        provider: "openai".parse().ok(),
        used: Some(Used {
            credential: credential.parse().expect("a credential id"),
            version: 1,
            label: "default".parse().expect("a label"),
            environment: Environment::Live,
        }),
        refused: None,
        status: 200,
        outcome: "ok",
        latency_us: 100_000 + n,
        first_byte_us: Some(50_000),
        tokens: Tokens {
            input: Some(1_000),
            output: Some(200),
            cached_input: Some(0),
            cache_write: Some(0),
            reasoning: Some(0),
        },
        run_id: None,
        tag: None,
    }
}

fn size(path: &Path) -> u64 {
    if path.is_file() {
        return path.metadata().map_or(0, |file| file.len());
    }
    let files = fs::read_dir(path).into_iter().flatten().flatten();
    files.map(|entry| size(&entry.path())).sum()
}
