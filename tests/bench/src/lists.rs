//! How long the admin API and the admin page take to list and to filter many credentials.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    admin::Admin,
    report,
    requests::{self, Load},
    store::{self, Store},
};

/// Options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// The binary, built with `cargo build --profile dist`.
    #[arg(long, default_value = "target/dist/keyside")]
    keyside: PathBuf,
    /// Seconds for each query.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Credentials in the store.
    #[arg(long, default_value_t = 10_000)]
    credentials: usize,
    /// Credentials in each workspace.
    #[arg(long, default_value_t = 10)]
    in_a_workspace: usize,
    /// The folder that keeps the store between runs; filling it takes a while.
    #[arg(long, default_value = "target/bench-lists")]
    store: PathBuf,
    /// Write the table between the `lists` markers of this file.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Repeats each query for its time, and prints the latencies.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    let store = Store {
        folder: plan.store.clone(),
        credentials: plan.credentials,
        in_a_workspace: plan.in_a_workspace,
    };
    let mut table = vec![
        format!(
            "| {} credentials in {} workspaces | p50 (ms) | p99 (ms) | goal |",
            plan.credentials,
            plan.credentials.div_ceil(plan.in_a_workspace)
        ),
        "|---|---:|---:|---|".to_owned(),
    ];
    table.extend(lists(plan, &store).await?);
    table.extend(pages(plan).await?);
    let table = table.join("\n");
    println!("{table}");
    if let Some(file) = &plan.write {
        report::write(file, "lists", &table)?;
    }
    Ok(())
}

/// The lists of the API, each a row.
async fn lists(plan: &Plan, store: &Store) -> Result<Vec<String>> {
    store.fill(&plan.keyside).await?;
    let server = store::serve(&plan.keyside, &store.folder).await?;
    let admin = server.admin(&store.folder)?;
    let mut rows = Vec::new();
    for (name, path) in questions(&admin, plan).await? {
        let load = load(plan, &admin, &admin.get_request(&path)).await;
        rows.push(row(
            name,
            &load.with_context(|| format!("asking for {path}"))?,
        ));
    }
    server.stop().await?;
    Ok(rows)
}

/// The page of keys of a workspace with [`ON_A_PAGE`] of them, each a row.
async fn pages(plan: &Plan) -> Result<Vec<String>> {
    let store = Store {
        folder: plan.store.with_extension("page"),
        credentials: ON_A_PAGE,
        in_a_workspace: ON_A_PAGE,
    };
    store.fill(&plan.keyside).await?;
    let server = store::serve(&plan.keyside, &store.folder).await?;
    let admin = server.admin(&store.folder)?;
    let browser = admin.sign_in().await?;
    let mut rows = Vec::new();
    for (name, page) in PAGES {
        let load = load(plan, &admin, &browser.get_request(page)).await;
        rows.push(row(
            name,
            &load.with_context(|| format!("asking for the page {page}"))?,
        ));
    }
    server.stop().await?;
    Ok(rows)
}

async fn load(plan: &Plan, admin: &Admin, request: &[u8]) -> Result<Load> {
    let time = Duration::from_secs(plan.seconds);
    requests::run(admin.address(), request, plan.connections, time).await
}

/// Common queries, including the most expensive: whole pages, the end of the list, filters that
/// match everything, and filters that match nothing.
async fn questions(admin: &Admin, plan: &Plan) -> Result<Vec<(&'static str, String)>> {
    let middle = plan.credentials / plan.in_a_workspace / 2;
    let cursor = last_cursor(admin).await?;
    let questions = [
        ("the first page of 100", "limit=100".to_owned()),
        ("the first page of 1,000", "limit=1000".to_owned()),
        ("the last page", format!("limit=100&cursor={cursor}")),
        ("one workspace", format!("workspaceId=team-{middle}")),
        ("a provider that all have", "provider=openai".to_owned()),
        ("a provider that none has", "provider=anthropic".to_owned()),
        (
            "a status and environment",
            "status=active&environment=live".to_owned(),
        ),
        ("a status that none has", "status=revoked".to_owned()),
    ];
    let path = |(name, query)| (name, format!("{CREDENTIALS}?{query}"));
    let workspaces = (
        "a page of 1,000 workspaces",
        "/api/workspaces?limit=1000".to_owned(),
    );
    Ok(questions
        .map(path)
        .into_iter()
        .chain([workspaces])
        .collect())
}

/// The cursor of the last page of 100.
async fn last_cursor(admin: &Admin) -> Result<String> {
    let mut cursor = None;
    loop {
        let after = cursor.as_ref().map(|cursor| format!("&cursor={cursor}"));
        let path = format!("{CREDENTIALS}?limit=100{}", after.unwrap_or_default());
        match admin.get(&path).await?["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return cursor.context("the list has a single page"),
        }
    }
}

fn row(name: &str, load: &Load) -> String {
    let (middle, most) = (load.within(0.5) / 1e3, load.within(0.99) / 1e3);
    let verdict = if most <= GOAL { "met" } else { "**missed**" };
    format!("| {name} | {middle:.1} | {most:.1} | ≤ {GOAL:.0} ms: {verdict} |")
}

/// Keys of the workspace whose page is measured.
const ON_A_PAGE: usize = 1000;
/// What is measured of the page: the first rows, the last ones, and a search.
const PAGES: [(&str, &str); 3] = [
    ("the page of a workspace with 1,000 keys", "/keys"),
    ("the last page of its table", "/keys?page=20"),
    ("a search in its table that finds none", "/keys?q=nosuch"),
];
const CREDENTIALS: &str = "/api/integrations/credentials";
/// The goal for the 99th percentile, in milliseconds.
const GOAL: f64 = 50.0;
