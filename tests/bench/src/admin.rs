//! A small client of Keyside's admin API and page, over plain sockets.

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

/// A signed-in browser.
pub(crate) struct Browser {
    address: SocketAddr,
    /// What the paths of the session's pages begin with.
    base: String,
    cookies: String,
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
        self.json(&request, 200).await.map(drop)
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
        self.json(&request, 200).await
    }

    /// Signs in to the page with the token.
    pub(crate) async fn sign_in(&self) -> Result<Browser> {
        let (address, token) = (self.address, &self.token);
        let form = format!("token={token}");
        let length = form.len();
        let request = format!(
            "POST /sign-in HTTP/1.1\r\nHost: {address}\r\nOrigin: null\r\n{OWN_PAGE}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{form}"
        );
        let (head, _) = self.exchange(request.as_bytes(), 303).await?;
        let location = values(&head, "location").next().unwrap_or_default();
        let end = location.rfind('/').context("sign-in led to no session")?;
        let cookies = values(&head, "set-cookie").filter_map(|line| line.split(';').next());
        Ok(Browser {
            address,
            base: location[..end].to_owned(),
            cookies: cookies.collect::<Vec<_>>().join("; "),
        })
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
        self.json(request.as_bytes(), 201).await
    }

    async fn json(&self, request: &[u8], wanted: u16) -> Result<Value> {
        let (_, body) = self.exchange(request, wanted).await?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Sends one request over a new connection and returns head and body of the response; any status
    /// except `wanted` is an error that shows the response.
    async fn exchange(&self, request: &[u8], wanted: u16) -> Result<(String, String)> {
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
                Ok((head.to_owned(), body.to_owned()))
            }
            _ => {
                let request = String::from_utf8_lossy(request);
                let asked = request.lines().next().unwrap_or_default();
                bail!("{asked} was answered with:\n{answer}")
            }
        }
    }
}

impl Browser {
    /// A GET request for a page, as browsers send it, to be sent repeatedly over one connection.
    pub(crate) fn get_request(&self, page: &str) -> Vec<u8> {
        let Self {
            address,
            base,
            cookies,
        } = self;
        format!(
            "GET {base}{page} HTTP/1.1\r\nHost: {address}\r\n{OWN_PAGE}Accept-Encoding: gzip\r\nCookie: {cookies}\r\n\r\n"
        )
        .into_bytes()
    }
}

/// The values of a header in the head of a response.
fn values<'a>(head: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// A page of the server itself navigates (Fetch Metadata).
const OWN_PAGE: &str =
    "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
const CREDENTIALS: &str = "/api/integrations/credentials";
