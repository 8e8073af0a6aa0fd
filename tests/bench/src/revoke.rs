//! How long a key is still used after its revocation was acknowledged, while many connections call
//! with it.
//!
//! Keys are revoked one after another. Every connection sends requests with the key, as fast as
//! responses come, until it is refused; the upstream records when it last saw the key. If a request
//! that was sent after the acknowledgement succeeds, the run fails: that would be a bug, not a
//! latency.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use clap::Args;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify, task::JoinSet};

use crate::{
    admin::Admin,
    contender::{Server, write_settings},
    report, requests,
    upstream::{self, LastUses},
    wire,
};

/// Options of the measurement.
#[derive(Args, Clone)]
pub(crate) struct Plan {
    /// The binary, built with `cargo build --profile dist`.
    #[arg(long, default_value = "target/dist/keyside")]
    keyside: PathBuf,
    /// Keys to revoke, one after another.
    #[arg(long, default_value_t = 200)]
    keys: usize,
    /// Connections that use each key, one request at a time on each.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Write the table between the `revoke` markers of this file.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Revokes all keys under load and prints how long each was used afterwards.
pub(crate) async fn run(plan: &Plan) -> Result<()> {
    ensure!(plan.keys > 0 && plan.connections > 0, "nothing to measure");
    let uses = LastUses::default();
    let upstream = upstream::start_noting("127.0.0.1:0".parse()?, uses.clone()).await?;
    let folder = tempfile::tempdir()?;
    let config = write_settings(folder.path(), upstream)?;
    let log = folder.path().join("stderr.log");
    let server = Server::start(&plan.keyside, &config, &log).await?;
    let admin = server.admin(folder.path())?;
    admin.create_workspace(wire::WORKSPACE).await?;
    let mut callers = Caller::connect(server.proxy, plan.connections).await?;
    let mut after = Vec::with_capacity(plan.keys);
    for number in 0..plan.keys {
        let acknowledged = revoke_one(number, &admin, &mut callers).await?;
        let used = uses.of(&secret(number)).context("the key was never used")?;
        after.push(used.saturating_duration_since(acknowledged));
    }
    drop(callers);
    server.stop().await?;
    after.sort_unstable();
    let table = table(plan, &after);
    println!("{table}");
    if let Some(file) = &plan.write {
        report::write(file, "revoke", &table)?;
    }
    Ok(())
}

/// Adds a key, revokes it while all connections use it, and waits until all are refused. Returns
/// when the revocation was acknowledged.
async fn revoke_one(number: usize, admin: &Admin, callers: &mut Vec<Caller>) -> Result<Instant> {
    let label = format!("key-{number}");
    let key = admin
        .add_key(wire::WORKSPACE, "openai", &label, &secret(number))
        .await?;
    let race = Arc::new(Race::new(callers.len()));
    let mut calling = JoinSet::new();
    for caller in callers.drain(..) {
        calling.spawn(caller.call(label.clone(), Arc::clone(&race)));
    }
    let acknowledged = tokio::select! {
        () = race.all_call() => {
            admin.revoke(&key).await?;
            let acknowledged = Instant::now();
            race.revoked.store(true, Ordering::SeqCst);
            acknowledged
        }
        // A caller that ended earlier has failed.
        Some(ended) = calling.join_next() => {
            ended??;
            bail!("{label} was refused before it was revoked");
        }
    };
    while let Some(refused) = calling.join_next().await {
        callers.push(refused??);
    }
    Ok(acknowledged)
}

/// State of one key's revocation.
struct Race {
    /// Callers that have not received enough responses yet.
    warming: AtomicUsize,
    warm: Notify,
    /// Its revocation was acknowledged.
    revoked: AtomicBool,
}

impl Race {
    fn new(callers: usize) -> Self {
        Self {
            warming: AtomicUsize::new(callers),
            warm: Notify::new(),
            revoked: AtomicBool::new(false),
        }
    }

    fn one_calls(&self) {
        if self.warming.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.warm.notify_one();
        }
    }

    async fn all_call(&self) {
        self.warm.notified().await;
    }
}

/// A connection to the proxy, reused for all keys.
struct Caller {
    proxy: SocketAddr,
    socket: TcpStream,
    buffer: BytesMut,
}

impl Caller {
    async fn connect(proxy: SocketAddr, connections: usize) -> Result<Vec<Self>> {
        let mut callers = Vec::with_capacity(connections);
        for _ in 0..connections {
            let socket = TcpStream::connect(proxy).await?;
            socket.set_nodelay(true)?;
            let buffer = BytesMut::with_capacity(4096);
            callers.push(Self {
                proxy,
                socket,
                buffer,
            });
        }
        Ok(callers)
    }

    /// Uses the key until it is refused.
    async fn call(mut self, label: String, race: Arc<Race>) -> Result<Self> {
        let path = "/openai/v1/chat/completions";
        let request = wire::request(self.proxy, path, wire::Headers::Plain, false);
        let request = wire::with_header(&request, "X-Keyside-Label", &label);
        for answered in 1.. {
            // Read before the request is sent: what is sent later must be refused.
            let late = race.revoked.load(Ordering::SeqCst);
            self.socket.write_all(&request).await?;
            match wire::read_any_answer(&mut self.socket, &mut self.buffer).await? {
                401 => break,
                200 if late => {
                    bail!("{label} was used by a request that came after its revocation")
                }
                200 if answered == WARM => race.one_calls(),
                200 => {}
                status => bail!("{label} was answered with {status}"),
            }
        }
        Ok(self)
    }
}

fn table(plan: &Plan, after: &[Duration]) -> String {
    let millis = |share| requests::at(after, share).map_or(f64::NAN, |it| it.as_secs_f64() * 1e3);
    let (middle, most, all) = (millis(0.5), millis(0.99), millis(1.0));
    let verdict = if most <= GOAL { "met" } else { "**missed**" };
    let later = after.iter().filter(|after| !after.is_zero()).count();
    [
        format!(
            "| {} keys, each revoked while {} connections call with it | p50 (ms) | p99 (ms) | at most (ms) | goal, p99 |",
            plan.keys, plan.connections
        ),
        "|---|---:|---:|---:|---|".to_owned(),
        format!(
            "| from the acknowledged revocation to the last use ({later} keys were used after it) | {middle:.1} | {most:.1} | {all:.1} | ≤ {GOAL:.0} ms: {verdict} |"
        ),
    ]
    .join("\n")
}

/// Unique: a response to an owner lists all keys with the same secret.
fn secret(number: usize) -> String {
    format!("sk-proj-bench{number:043}")
}

/// Responses on each connection before the key is revoked.
const WARM: u32 = 5;
/// Milliseconds.
const GOAL: f64 = 250.0;
