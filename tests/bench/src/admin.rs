//! As much of Keyside's admin API as the bench uses, over plain sockets.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

    /// Makes a workspace.
    pub(crate) async fn create_workspace(&self, id: &str) -> Result<()> {
        self.post("/api/workspaces", &json!({ "id": id, "name": id }))
            .await
    }

    /// Adds a live key.
    pub(crate) async fn add_key(
        &self,
        workspace: &str,
        provider: &str,
        label: &str,
        secret: &str,
    ) -> Result<()> {
        let new = json!({ "workspaceId": workspace, "provider": provider, "label": label, "environment": "live", "secret": secret });
        self.post("/api/integrations/credentials", &new).await
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A GET, to be sent as often as one likes over one connection.
    pub(crate) fn get_request(&self, path: &str) -> Vec<u8> {
        self.get_with(path, "")
    }

    /// What a GET is answered with, on a connection of its own; anything but 200 is an error that shows the answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let request = self.get_with(path, "Connection: close\r\n");
        let answer = self.exchange(&request).await?;
        let answer = String::from_utf8(answer)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => {
                Ok(serde_json::from_str(body)?)
            }
            _ => bail!("GET {path} was answered with:\n{answer}"),
        }
    }

    fn get_with(&self, path: &str, header: &str) -> Vec<u8> {
        let (address, token) = (self.address, &self.token);
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{header}\r\n"
        )
        .into_bytes()
    }

    /// One request on a connection of its own; anything but 201 is an error that shows the answer.
    async fn post(&self, path: &str, body: &Value) -> Result<()> {
        let body = body.to_string();
        let (address, token, length) = (self.address, &self.token, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let answer = self.exchange(request.as_bytes()).await?;
        if !answer.starts_with(b"HTTP/1.1 201") {
            bail!(
                "POST {path} was answered with:\n{}",
                String::from_utf8_lossy(&answer)
            );
        }
        Ok(())
    }
    /// Everything until the other side closes.
    async fn exchange(&self, request: &[u8]) -> Result<Vec<u8>> {
        let address = self.address;
        let mut socket = TcpStream::connect(address)
            .await
            .with_context(|| format!("no admin API at {address}"))?;
        socket.write_all(request).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}
