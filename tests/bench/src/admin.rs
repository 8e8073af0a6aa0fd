//! A small client of Keyside's admin API, over plain sockets.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The API of one running Keyside.
#[derive(Clone)]
pub(crate) struct Admin {
    address: SocketAddr,
    token: String,
}

impl Admin {
    /// The API at `address`, with the owner token from the file that Keyside wrote.
    pub(crate) fn new(address: SocketAddr, token: &Path) -> Result<Self> {
        let token = fs::read_to_string(token)
            .with_context(|| format!("no owner token in {}", token.display()))?;
        Ok(Self {
            address,
            token: token.trim().to_owned(),
        })
    }

    /// Creates a workspace.
    pub(crate) async fn create_workspace(&self, id: &str) -> Result<()> {
        let new = json!({ "id": id, "name": id });
        self.post("/api/workspaces", &new).await.map(drop)
    }

    /// Adds a live key and returns its id.
    pub(crate) async fn add_key(
        &self,
        workspace: &str,
        provider: &str,
        label: &str,
        secret: &str,
    ) -> Result<String> {
        let new = json!({ "workspaceId": workspace, "provider": provider, "label": label, "environment": "live", "secret": secret });
        let added = self.post(CREDENTIALS, &new).await?;
        let id = added["id"].as_str();
        Ok(id.context("a key without an id")?.to_owned())
    }

    /// Revokes a key; it is acknowledged when this returns.
    pub(crate) async fn revoke(&self, id: &str) -> Result<()> {
        let path = format!("{CREDENTIALS}/{id}");
        let request = self.bodyless("DELETE", &path, "Connection: close\r\n");
        self.exchange(&request, 200).await.map(drop)
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A GET request, to be sent repeatedly over one connection.
    pub(crate) fn get_request(&self, path: &str) -> Vec<u8> {
        self.bodyless("GET", path, "")
    }

    /// The response to a GET, over a new connection.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let request = self.bodyless("GET", path, "Connection: close\r\n");
        self.exchange(&request, 200).await
    }

    fn bodyless(&self, method: &str, path: &str, header: &str) -> Vec<u8> {
        let (address, token) = (self.address, &self.token);
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{header}\r\n"
        )
        .into_bytes()
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let (address, token, length) = (self.address, &self.token, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        self.exchange(request.as_bytes(), 201).await
    }

    /// Sends one request over a new connection and returns the JSON response; any status except
    /// `wanted` is an error that shows the response.
    async fn exchange(&self, request: &[u8], wanted: u16) -> Result<Value> {
        let address = self.address;
        let mut socket = TcpStream::connect(address)
            .await
            .with_context(|| format!("no admin API at {address}"))?;
        socket.write_all(request).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        let answer = String::from_utf8(answer)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with(&format!("HTTP/1.1 {wanted} ")) => {
                Ok(serde_json::from_str(body)?)
            }
            _ => {
                let request = String::from_utf8_lossy(request);
                let asked = request.lines().next().unwrap_or_default();
                bail!("{asked} was answered with:\n{answer}")
            }
        }
    }
}

const CREDENTIALS: &str = "/api/integrations/credentials";
