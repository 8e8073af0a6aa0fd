//! The benchmark behind `make bench`: Keyside and nginx, each pinned to one core, in turn, on the
//! same upstream.
//!
//! Upstream and load are in this one process, on one thread and one core, in plain socket code, so
//! that the process between them is measured. It uses only Keyside's settings, admin API and
//! `/proc`.

mod admin;
mod contender;
mod facts;
mod lists;
mod noise;
mod phases;
mod plan;
mod report;
mod requests;
mod revoke;
mod rounds;
mod start;
mod store;
mod streams;
mod upstream;
mod wire;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Keyside and nginx side by side.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures both in interleaved rounds and prints the ratios.
    Run(plan::Plan),
    /// Measures the time from start to ready, empty and with many credentials.
    Start(start::Plan),
    /// Measures how long the admin API takes to list and to filter many credentials.
    Lists(lists::Plan),
    /// Measures how long a key is used after its revocation was acknowledged, while many
    /// connections call with it.
    Revoke(revoke::Plan),
    /// Runs only the upstream, for use with a profiler.
    Upstream {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:9100")]
        listen: SocketAddr,
    },
    /// Runs only the load against a running process, for use with a profiler.
    Load {
        /// The address to send requests to.
        #[arg(long)]
        target: SocketAddr,
        /// The path to request; Keyside's begins with the provider.
        #[arg(long, default_value = "/openai/v1/chat/completions")]
        path: String,
        /// Connections, each with one request at a time.
        #[arg(long, default_value_t = 32)]
        connections: usize,
        /// Seconds to run.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// The headers of an SDK instead of a plain client's.
        #[arg(long)]
        sdk: bool,
    },
    /// Starts Keyside as `run` does and keeps it under load, for use with a profiler.
    Profile {
        /// The binary.
        #[arg(long, default_value = "target/dist/keyside")]
        keyside: PathBuf,
        /// Seconds to run.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// 1,000 streams instead of 32 connections.
        #[arg(long)]
        streams: bool,
        /// nginx instead of Keyside.
        #[arg(long)]
        nginx: bool,
        /// The headers of an SDK instead of a plain client's.
        #[arg(long)]
        sdk: bool,
    },
}

/// One thread: the load must not use the core of the process under test.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Run(plan) => rounds::run(&plan).await,
        Command::Start(plan) => start::run(&plan).await,
        Command::Lists(plan) => lists::run(&plan).await,
        Command::Revoke(plan) => revoke::run(&plan).await,
        Command::Upstream { listen } => {
            let address = upstream::start(listen, upstream::Pace::DEFAULT).await?;
            println!("listening on {address}; it wants the key {}", wire::SECRET);
            std::future::pending().await
        }
        Command::Load {
            target,
            path,
            connections,
            seconds,
            sdk,
        } => {
            let request = wire::request(target, &path, wire::Headers::from_flag(sdk), false);
            let load =
                requests::run(target, &request, connections, Duration::from_secs(seconds)).await?;
            println!("{load}");
            Ok(())
        }
        Command::Profile {
            keyside,
            seconds,
            streams,
            nginx,
            sdk,
        } => {
            let what = if nginx {
                contender::Kind::Nginx
            } else {
                contender::Kind::Keyside(keyside)
            };
            rounds::profile(
                &what,
                Duration::from_secs(seconds),
                streams,
                wire::Headers::from_flag(sdk),
            )
            .await
        }
    }
}
