//! nginx, the baseline: one worker, pooled upstream, one header set, an access log in a file.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{net::TcpStream, time::sleep};

use super::{Contender, process::Process};
use crate::{facts, wire};

pub(super) async fn start(upstream: SocketAddr) -> Result<Contender> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let config = folder.path().join("nginx.conf");
    let log = folder.path().join("error.log");
    fs::write(&config, settings(folder.path(), address, upstream))?;
    let arguments = ["-c", path(&config)?, "-e", path(&log)?];
    let mut process = Process::start(
        Path::new(PROGRAM),
        &arguments,
        &folder.path().join("stderr.log"),
    )?;
    while TcpStream::connect(address).await.is_err() {
        process.must_run(&log).context("nginx does not start")?;
        sleep(Duration::from_millis(5)).await;
    }
    let worker = worker(process.pid()).await?;
    Ok(Contender {
        process,
        measured: worker,
        address,
        path: "/v1/chat/completions",
        _folder: folder,
    })
}

pub(super) fn version() -> Result<String> {
    let output = Command::new(PROGRAM)
        .arg("-v")
        .output()
        .context("nginx is not there (Debian: nginx-light)")?;
    let line = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(line.trim_start_matches("nginx version: ").replace('/', " "))
}

/// The master only supervises; its only child does the work.
async fn worker(master: u32) -> Result<u32> {
    loop {
        if let Some(&worker) = facts::children(master)?.first() {
            return Ok(worker);
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// nginx cannot choose a port itself, so this takes a free one from the kernel and releases it.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str()
        .context("the temporary folder's name is not UTF-8")
}

/// The usual settings for streaming: `proxy_buffering off`. Without limits on requests per
/// connection, so that neither side pays for reconnecting.
fn settings(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    let secret = wire::SECRET;
    // Otherwise root's worker would change its user and lose access to the temporary folder.
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream provider {{
        server {upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Authorization \"Bearer {secret}\";
            proxy_buffering off;
        }}
    }}
}}
"
    )
}

const PROGRAM: &str = "/usr/sbin/nginx";
