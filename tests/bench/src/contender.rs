//! The processes that are compared, each started fresh, pinned to one core and stopped by its own
//! pid.

mod keyside;
mod nginx;
mod process;

pub(crate) use keyside::{Server, write_settings};

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use crate::wire::{self, Headers};
use process::Process;

/// The programs that can be measured.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Debian's nginx with the same header injection.
    Nginx,
    /// The binary at this path, with the key in its store.
    Keyside(PathBuf),
    /// The same as a sidecar without a store, with the key declared and kept in a file.
    Declared(PathBuf),
}

impl Kind {
    /// Starts one in front of `upstream`, with all its files in a temporary folder.
    pub(crate) async fn start(&self, upstream: SocketAddr) -> Result<Contender> {
        match self {
            Self::Nginx => nginx::start(upstream).await,
            Self::Keyside(binary) => keyside::start(binary, upstream).await,
            Self::Declared(binary) => keyside::start_declared(binary, upstream).await,
        }
    }

    /// Name and version, for the report.
    pub(crate) fn version(&self) -> Result<String> {
        match self {
            Self::Nginx => nginx::version(),
            Self::Keyside(binary) => keyside::version(binary),
            Self::Declared(binary) => Ok(format!("{}, declared key", keyside::version(binary)?)),
        }
    }
}

/// A running contender.
pub(crate) struct Contender {
    process: Process,
    /// The process whose CPU and memory count.
    pub(crate) measured: u32,
    pub(crate) address: SocketAddr,
    path: &'static str,
    _folder: TempDir,
}

impl Contender {
    /// The request that this contender forwards as `/v1/chat/completions`.
    pub(crate) fn request(&self, headers: Headers, stream: bool) -> Vec<u8> {
        wire::request(self.address, self.path, headers, stream)
    }

    /// Stops it and waits until it has exited.
    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}
