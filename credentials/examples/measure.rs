//! Measures what the design promises: opening with many credentials, resolving and opening a secret
//! per request, a rotation of the master key, and a backup. Reports processor time beside
//! wall-clock time, so that a busy machine does not distort the result.
//!
//! `cargo run --release -p keyside-credentials --example measure -- [workspaces] [credentials per
//! workspace]`

#[path = "support/installation.rs"]
mod installation;

use std::{error::Error, hint::black_box, sync::Arc, time::Instant};

use keyside_config::EnvironmentPin;
use keyside_credentials::{
    Clock, CredentialQuery, NewWorkspace, Registry, SystemClock,
    runs::{Run, RunKind, Tokens},
};

use self::installation::{by, close, new_credential, open, processor_time};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (workspaces, credentials) = (number(1_000)?, number(10)?);
    let folder = tempfile::tempdir()?;

    let (store, registry) = open(folder.path()).await?;
    let filling = Instant::now();
    fill(&registry, workspaces, credentials).await?;
    let changes = workspaces * (1 + credentials);
    println!(
        "{changes} changes in {:?}: {:?} each",
        filling.elapsed(),
        filling.elapsed() / changes as u32
    );
    close(registry, store).await;

    for _ in 0..3 {
        let (opening, before) = (Instant::now(), processor_time());
        let (store, registry) = open(folder.path()).await?;
        let (clock, processor) = (opening.elapsed(), processor_time() - before);
        println!(
            "opened {} credentials in {clock:?}, {processor:?} of the processor",
            workspaces * credentials
        );
        close(registry, store).await;
    }

    let (_store, registry) = open(folder.path()).await?;
    requests(&registry);
    records(&registry).await;
    burst(&registry).await?;
    whole(&registry).await?;
    Ok(())
}

/// Changes of one workspace: one after the other, and then at the same time, when they share
/// commits.
async fn burst(registry: &Arc<Registry>) -> Result<(), Box<dyn Error>> {
    let new = |number: usize| new_credential(0, FIRST_NEW + number);
    let began = Instant::now();
    for number in 0..BURST {
        registry.add(&by(), new(number)).await?;
    }
    println!(
        "{BURST} changes of one workspace, one after the other: {:?}",
        began.elapsed()
    );
    let (began, mut adding) = (Instant::now(), tokio::task::JoinSet::new());
    for number in BURST..2 * BURST {
        let (registry, new) = (registry.clone(), new(number));
        adding.spawn(async move { registry.add(&by(), new).await });
    }
    while let Some(added) = adding.join_next().await {
        added??;
    }
    println!(
        "{BURST} changes of one workspace, at the same time: {:?}",
        began.elapsed()
    );
    Ok(())
}

/// Operations on the whole installation.
async fn whole(registry: &Arc<Registry>) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let rotated = registry.rotate_master_key(&by()).await?;
    println!(
        "wrapped {} keys with a new master key in {:?}",
        rotated.keys,
        began.elapsed()
    );
    let (began, mut bytes) = (Instant::now(), 0);
    let mut backup = registry.backup(&by()).await?;
    let begun = began.elapsed();
    while let Some(piece) = backup.next().await {
        bytes += piece?.len();
    }
    println!(
        "backed up {bytes} bytes in {:?}; changes waited {begun:?} at most",
        began.elapsed()
    );
    Ok(())
}

/// Fills workspaces concurrently: their chains are independent.
async fn fill(
    registry: &Arc<Registry>,
    workspaces: usize,
    credentials: usize,
) -> Result<(), Box<dyn Error>> {
    let by = by();
    let mut filling = tokio::task::JoinSet::new();
    for workspace in 0..workspaces {
        let (registry, by) = (registry.clone(), by.clone());
        filling.spawn(async move {
            let id = format!("w-{workspace}").parse().expect("a workspace id");
            registry
                .create_workspace(
                    &by,
                    NewWorkspace {
                        id,
                        name: "A workspace".parse().expect("a name"),
                    },
                )
                .await?;
            for credential in 0..credentials {
                registry
                    .add(&by, new_credential(workspace, credential))
                    .await?;
            }
            Ok::<_, keyside_credentials::ChangeError>(())
        });
        if filling.len() >= 64 {
            filling.join_next().await.expect("there are some")??;
        }
    }
    while let Some(filled) = filling.join_next().await {
        filled??;
    }
    Ok(())
}

fn requests(registry: &Registry) {
    let resolver = registry.resolver();
    let workspaces: Vec<_> = registry
        .workspaces(&keyside_credentials::Scope::All)
        .into_iter()
        .map(|workspace| workspace.id)
        .collect();
    let request = |workspace: &str, open: bool| {
        let ask = CredentialQuery {
            workspace,
            provider: "openai",
            label: None,
            environment: None,
            pin: EnvironmentPin::Any,
        };
        let grant = resolver.resolve(black_box(&ask)).expect("a grant");
        if open {
            black_box(grant.open().expect("a secret").expose());
        }
    };
    for (which, count) in [
        ("one workspace", 1),
        ("all workspaces in turn", workspaces.len()),
    ] {
        for (what, open) in [("resolve", false), ("resolve and open", true)] {
            let began = processor_time();
            let asked = workspaces[..count].iter().cycle().take(REQUESTS);
            asked.for_each(|workspace| request(workspace.as_str(), open));
            let spent = processor_time() - began;
            println!(
                "{what}, {which}: {} ns",
                spent.as_nanos() / REQUESTS as u128
            );
        }
    }
}

async fn records(registry: &Registry) {
    let resolver = registry.resolver();
    let workspace = "w-0";
    let ask = CredentialQuery {
        workspace,
        provider: "openai",
        label: None,
        environment: None,
        pin: EnvironmentPin::Any,
    };
    let grant = resolver.resolve(&ask).expect("a grant");
    let began = Instant::now();
    for n in 0..ROUND {
        registry.runs().record(Run {
            at: SystemClock.now(),
            request_id: format!("req_{n}").into(),
            kind: RunKind::Traffic,
            workspace: grant.workspace().clone(),
            provider: Some(grant.provider().clone()),
            used: Some(grant.used()),
            refused: None,
            status: 200,
            outcome: "ok",
            latency_us: 1_000,
            first_byte_us: Some(500),
            tokens: Tokens {
                input: Some(10),
                output: Some(20),
                ..Tokens::default()
            },
            run_id: None,
            tag: None,
        });
    }
    println!(
        "record: {} ns, {} unrecorded",
        began.elapsed().as_nanos() / ROUND as u128,
        registry.runs().unrecorded()
    );
    let began = Instant::now();
    registry.runs().flush().await;
    println!(
        "{ROUND} records on disk after another {:?}",
        began.elapsed()
    );
}

const ROUND: usize = 10_000;
const BURST: usize = 120;
/// No workspace was filled with as many credentials.
const FIRST_NEW: usize = 10_000_000;
const REQUESTS: usize = 300_000;
