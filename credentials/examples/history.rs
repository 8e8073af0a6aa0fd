//! Measures the cost of a long history: a start, its memory, a change, verifying and exporting the
//! audit log, with many credentials and an audit log of any length.
//!
//! `cargo run --release -p keyside-credentials --example history -- fill FOLDER [credentials]
//! [records]`, in memory (`/dev/shm`) to save an hour; then, each in its own process, `… history
//! start FOLDER`, `verify FOLDER`, `export FOLDER`, `change FOLDER` (this one on a real disk).

#[path = "support/installation.rs"]
mod installation;

use std::{
    error::Error,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use keyside_credentials::{
    ChangeError, Edit, NewWorkspace, Registry, Scope,
    audit::{AuditFilter, Line},
};
use tokio::task::JoinSet;

use self::installation::{by, close, new_credential, open, peak_kib, processor_time, resident_kib};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "history fill|start|verify|export|change FOLDER [credentials] [records]";
    let (command, folder) = arguments.next().zip(arguments.next()).ok_or(usage)?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (credentials, records) = (number(10_000)?, number(1_000_000)?);
    let folder = PathBuf::from(folder);

    let (opening, before) = (Instant::now(), processor_time());
    let (store, registry) = open(&folder).await?;
    println!(
        "opened in {:?}, {:?} of the processor; resident {} KiB, at most {} KiB",
        opening.elapsed(),
        processor_time() - before,
        resident_kib(),
        peak_kib()
    );
    match command.as_str() {
        "fill" => fill(&registry, credentials, records).await?,
        // What a start has read is dropped a few seconds later.
        "start" => {
            tokio::time::sleep(Duration::from_secs(15)).await;
            println!("after 15 s resident {} KiB", resident_kib());
        }
        "verify" => verify(&registry).await?,
        "export" => export(&registry).await?,
        "change" => {
            // On a worker thread, where the admin API makes its changes.
            let (changing, folder) = (registry.clone(), folder.clone());
            tokio::spawn(async move {
                change(&changing, &folder)
                    .await
                    .map_err(|error| error.to_string())
            })
            .await??;
        }
        _ => return Err(usage.into()),
    }
    close(registry, store).await;
    Ok(())
}

/// Ten credentials per workspace, and edits of them until there are `records`. One task for each
/// chain.
async fn fill(
    registry: &Arc<Registry>,
    credentials: usize,
    records: usize,
) -> Result<(), Box<dyn Error>> {
    let workspaces = credentials / EACH;
    // Two of them record a workspace's creation, one in each chain.
    let edits = (records / workspaces).saturating_sub(EACH + 2);
    let began = Instant::now();
    let mut filling = JoinSet::new();
    for workspace in 0..workspaces {
        let registry = registry.clone();
        filling.spawn(async move { fill_workspace(&registry, workspace, edits).await });
        if filling.len() >= AT_ONCE {
            filling.join_next().await.expect("there are some")??;
        }
        if workspace % 100 == 99 {
            println!("{} workspaces after {:?}", workspace + 1, began.elapsed());
        }
    }
    while let Some(filled) = filling.join_next().await {
        filled??;
    }
    Ok(())
}

async fn fill_workspace(
    registry: &Arc<Registry>,
    workspace: usize,
    edits: usize,
) -> Result<(), ChangeError> {
    let id = format!("w-{workspace}").parse().expect("a workspace id");
    let name = "A workspace".parse().expect("a name");
    registry
        .create_workspace(&by(), NewWorkspace { id, name })
        .await?;
    let mut ids = Vec::new();
    for credential in 0..EACH {
        let new = new_credential(workspace, credential);
        ids.push(registry.add(&by(), new).await?.credential.id);
    }
    for (edit, id) in (0..edits).zip(ids.iter().cycle()) {
        registry.edit(&by(), id, tagged(edit)).await?;
    }
    Ok(())
}

fn tagged(edit: usize) -> Edit {
    let tag = format!("tag-{edit}").parse().expect("a tag");
    Edit {
        usage_tag: Some(Some(tag)),
        ..Edit::default()
    }
}

async fn verify(registry: &Registry) -> Result<(), Box<dyn Error>> {
    let (began, before) = (Instant::now(), processor_time());
    let verified = registry.audit().verify().await?;
    let spent = began.elapsed();
    println!(
        "verified {} records in {spent:?}, {:?} of the processor: {:.0} a second; resident {} KiB, at most {} KiB",
        verified.records,
        processor_time() - before,
        verified.records as f64 / spent.as_secs_f64(),
        resident_kib(),
        peak_kib()
    );
    Ok(())
}

async fn export(registry: &Registry) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let mut lines = 0_u64;
    let mut export = registry.audit().export(AuditFilter::default(), None);
    while let Some(batch) = export.next().await? {
        lines += batch
            .iter()
            .filter(|line| matches!(line, Line::Record(_)))
            .count() as u64;
    }
    println!(
        "exported {lines} records in {:?}; resident {} KiB, at most {} KiB",
        began.elapsed(),
        resident_kib(),
        peak_kib()
    );
    Ok(())
}

/// Makes changes one after another, and compares them with an `fsync` of a small write on the same
/// disk.
async fn change(registry: &Arc<Registry>, folder: &Path) -> Result<(), Box<dyn Error>> {
    let id = registry.workspaces(&Scope::All);
    let workspace = id.first().ok_or("no workspace: `fill` first")?.id.clone();
    let filter = keyside_credentials::Filter {
        workspace: Some(workspace),
        ..keyside_credentials::Filter::default()
    };
    let credential = registry
        .list(&filter)
        .first()
        .ok_or("no credential")?
        .id
        .clone();
    let mut changes = Vec::new();
    let mut fsyncs = Vec::new();
    let mut file = File::create(folder.join("fsync"))?;
    for n in 0..CHANGES {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        fsyncs.push(began.elapsed());
        let began = Instant::now();
        registry.edit(&by(), &credential, tagged(n)).await?;
        changes.push(began.elapsed());
    }
    for (what, times) in [("fsync", &mut fsyncs), ("change", &mut changes)] {
        times.sort_unstable();
        let at = |percent: usize| -> Duration { times[times.len() * percent / 100] };
        println!("{what}: p50 {:?}, p99 {:?}", at(50), at(99));
    }
    Ok(())
}

/// Credentials per workspace.
const EACH: usize = 10;
/// Workspaces that are filled concurrently.
const AT_ONCE: usize = 32;
const CHANGES: usize = 1_000;
