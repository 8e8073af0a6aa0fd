//! Keyside as it is shipped: one worker thread, everything else at its default, the key added
//! through the admin API; or the sidecar alone, the key declared in the settings and kept in a
//! file.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{Contender, process::Process};
use crate::{admin::Admin, wire};

pub(super) async fn start(binary: &Path, upstream: SocketAddr) -> Result<Contender> {
    let folder = tempfile::tempdir()?;
    let config = write_settings(folder.path(), upstream)?;
    let server = Server::start(binary, &config, &folder.path().join("stderr.log")).await?;
    let admin = server.admin(folder.path())?;
    admin.create_workspace(wire::WORKSPACE).await?;
    admin
        .add_key(wire::WORKSPACE, "openai", "default", wire::SECRET)
        .await?;
    Ok(contender(server.process, server.proxy, folder))
}

/// `keyside proxy`, without a store.
pub(super) async fn start_declared(binary: &Path, upstream: SocketAddr) -> Result<Contender> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    fs::write(&key, wire::SECRET)?;
    let config = folder.path().join("keyside.toml");
    fs::write(&config, declared_settings(&key, upstream))?;
    let log = folder.path().join("stderr.log");
    let started = Started::wait(binary, "proxy", &config, &log).await?;
    let proxy = bound(&started.ready, "proxy")?;
    Ok(contender(started.process, proxy, folder))
}

fn contender(process: Process, address: SocketAddr, folder: TempDir) -> Contender {
    Contender {
        measured: process.pid(),
        process,
        address,
        path: "/openai/v1/chat/completions",
        _folder: folder,
    }
}

fn declared_settings(key: &Path, upstream: SocketAddr) -> String {
    let workspace = wire::WORKSPACE;
    let source = format!("file:{}", key.display());
    format!(
        "[proxy]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\n[observe]\nlisten = \"127.0.0.1:0\"\n[store]\nbackend = \"none\"\n\
         [providers.openai]\nbase_url = \"http://{upstream}\"\n[[credential]]\nworkspace = {workspace:?}\n\
         provider = \"openai\"\nsource = {source:?}\n"
    )
}

pub(super) fn version(binary: &Path) -> Result<String> {
    let output = Command::new(binary)
        .arg("version")
        .output()
        .with_context(|| {
            format!(
                "{} is not there: build it with `cargo build --profile dist --bin keyside`",
                binary.display()
            )
        })?;
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(printed.lines().next().unwrap_or("keyside").to_owned())
}

/// Writes settings that keep everything in `folder`, on ports chosen by the kernel; returns the
/// path.
pub(crate) fn write_settings(folder: &Path, upstream: SocketAddr) -> Result<PathBuf> {
    let data = folder.join("data");
    let settings = format!(
        "[proxy]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\n[admin]\nlisten = \"127.0.0.1:0\"\nrequests_per_second = 1000000\n[observe]\nlisten = \"127.0.0.1:0\"\n\
         [store]\npath = {data:?}\n[providers.openai]\nbase_url = \"http://{upstream}\"\n"
    );
    let path = folder.join("keyside.toml");
    fs::write(&path, settings)?;
    Ok(path)
}

/// A running `keyside serve` that has logged `ready`.
pub(crate) struct Server {
    process: Process,
    /// From the start of the process to its line "ready".
    pub(crate) took: Duration,
    pub(crate) proxy: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    /// Starts `binary` and waits for it to be ready.
    pub(crate) async fn start(binary: &Path, config: &Path, log: &Path) -> Result<Self> {
        let Started {
            process,
            ready,
            took,
        } = Started::wait(binary, "serve", config, log).await?;
        Ok(Self {
            process,
            took,
            proxy: bound(&ready, "proxy")?,
            admin: bound(&ready, "admin")?,
        })
    }

    /// Its admin API, with the owner token in the data folder under `folder`.
    pub(crate) fn admin(&self, folder: &Path) -> Result<Admin> {
        Admin::new(self.admin, &folder.join("data/admin-token"))
    }

    /// Stops it.
    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}

/// A process that has logged `ready`, with the fields of that line.
struct Started {
    process: Process,
    ready: Value,
    took: Duration,
}

impl Started {
    async fn wait(binary: &Path, command: &str, config: &Path, log: &Path) -> Result<Self> {
        let config = config
            .to_str()
            .context("the temporary folder's name is not UTF-8")?;
        let began = Instant::now();
        let mut process = Process::start(binary, &[command, "--config", config], log)?;
        loop {
            if let Some(ready) = ready_line(&fs::read_to_string(log)?) {
                return Ok(Self {
                    process,
                    ready,
                    took: began.elapsed(),
                });
            }
            process.must_run(log).context("keyside does not start")?;
            if began.elapsed() > Duration::from_secs(60) {
                bail!(
                    "keyside was not ready within a minute:\n{}",
                    fs::read_to_string(log)?
                );
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The fields of the log line `ready`.
fn ready_line(log: &str) -> Option<Value> {
    let mut fields = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|mut line| line["fields"].take());
    fields.find(|fields| fields["message"] == "ready")
}

fn bound(ready: &Value, listener: &str) -> Result<SocketAddr> {
    let addresses = ready[listener]
        .as_str()
        .with_context(|| format!("the ready line names no {listener} address"))?;
    let first = addresses.split(',').next().unwrap_or(addresses);
    first
        .parse()
        .with_context(|| format!("the ready line's {listener} address is {first:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_read_from_the_ready_line() {
        let log = "not json\n{\"fields\":{\"message\":\"opening\"}}\n\
                   {\"level\":\"INFO\",\"fields\":{\"message\":\"ready\",\"proxy\":\"127.0.0.1:41,unix:/x\",\"admin\":\"127.0.0.1:42\"}}\n";
        let ready = ready_line(log).unwrap();
        assert_eq!(bound(&ready, "proxy").unwrap().port(), 41);
        assert_eq!(bound(&ready, "admin").unwrap().port(), 42);
        assert!(bound(&ready, "observe").is_err());
    }
}
