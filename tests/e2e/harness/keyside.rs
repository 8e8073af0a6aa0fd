//! A running Keyside under test, with the actions of runners, users and operators.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    Ask, Builder, Message, PATIENCE, Wire,
    process::{Exit, Process},
};

/// A running Keyside; dropping it kills it.
pub struct Keyside {
    pub(super) builder: Builder,
    pub(super) process: Process,
    pub(super) proxies: Vec<String>,
    /// Of `serve` alone.
    pub(super) admin: Option<SocketAddr>,
    pub(super) observe: SocketAddr,
}

impl Keyside {
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// `keyside proxy`; see [`Builder::sidecar`].
    pub fn sidecar() -> Builder {
        Builder::sidecar()
    }

    /// A Keyside with workspace `acme`, whose OpenAI key is [`KEY`](super::KEY), with OpenAI at
    /// `base_url`.
    pub fn with_openai(base_url: &str) -> Self {
        Self::builder()
            .provider("openai", base_url)
            .start()
            .with_key()
    }

    /// Adds workspace `acme` and its OpenAI key [`KEY`](super::KEY).
    pub fn with_key(self) -> Self {
        self.workspace("acme");
        self.add_key("acme", "openai", "default", super::KEY);
        self
    }

    /// Adds workspace `other` and its OpenAI key [`OTHER_KEY`](super::OTHER_KEY).
    pub fn with_other_key(self) -> Self {
        self.workspace("other");
        self.add_key("other", "openai", "default", super::OTHER_KEY);
        self
    }

    /// The first TCP listener of the proxy.
    pub fn proxy_addr(&self) -> SocketAddr {
        self.proxy_addrs()[0]
    }

    /// The TCP listeners of the proxy, in the order of the settings.
    pub fn proxy_addrs(&self) -> Vec<SocketAddr> {
        self.proxies
            .iter()
            .filter_map(|address| address.parse().ok())
            .collect()
    }

    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.expect("`keyside serve`, which has an admin API")
    }

    /// Whether it is `keyside proxy`.
    pub fn is_sidecar(&self) -> bool {
        self.admin.is_none()
    }

    pub fn observe_addr(&self) -> SocketAddr {
        self.observe
    }

    /// The builder it was started with.
    pub fn builder_of(&self) -> &Builder {
        &self.builder
    }

    /// Runs commands that use its admin API, as a person on the same machine does.
    pub fn cli(&self) -> Builder {
        let url = format!("http://{}", self.admin_addr());
        self.builder.clone().variable("KEYSIDE_ADMIN_URL", &url)
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.builder.home().join("data")
    }

    /// The owner's token.
    pub fn token(&self) -> String {
        let file = self.data().join("admin-token");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        text.trim().to_owned()
    }

    /// A new connection to the proxy.
    pub fn wire(&self) -> Wire {
        Wire::tcp(self.proxy_addr())
    }

    /// One request over a new connection.
    pub fn ask(&self, request: &Ask) -> Message {
        self.wire().ask(request)
    }

    /// Writes these bytes to the proxy and returns everything until it closes.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut wire = self.wire();
        wire.send(bytes);
        wire.until_close()
    }

    /// A call of the admin API with the owner's token.
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Message {
        Wire::tcp(self.admin_addr()).ask(&self.admin_ask(method, path, body))
    }

    /// The same as a request, for the test to send.
    pub fn admin_ask(&self, method: &str, path: &str, body: Option<&Value>) -> Ask {
        let ask = Ask::new(method, path)
            .set("Host", &self.admin_addr().to_string())
            .header("Authorization", format!("Bearer {}", self.token()));
        match body {
            Some(body) => ask
                .header("Content-Type", "application/json")
                .header("If-Match", "*")
                .body(body.to_string().as_bytes()),
            None => ask,
        }
    }

    /// Creates a workspace.
    pub fn workspace(&self, id: &str) {
        let body = json!({ "id": id, "name": id });
        let made = self.admin("POST", "/api/workspaces", Some(&body));
        assert_eq!(made.status(), 201, "{}", made.text());
    }

    /// Adds a live key and returns its view.
    pub fn add_key(&self, workspace: &str, provider: &str, label: &str, secret: &str) -> Value {
        self.add(json!({
            "workspaceId": workspace, "provider": provider, "label": label, "secret": secret,
        }))
    }

    /// Adds a credential of these fields, which must succeed, and returns its view.
    pub fn add(&self, fields: Value) -> Value {
        let added = self.try_add(&fields);
        assert_eq!(added.status(), 201, "{fields}: {}", added.text());
        added.json()
    }

    /// Tries to add a credential.
    pub fn try_add(&self, fields: &Value) -> Message {
        self.admin("POST", CREDENTIALS, Some(fields))
    }

    /// Every credential's view.
    pub fn list(&self) -> Vec<Value> {
        let listed = self.admin("GET", CREDENTIALS, None);
        assert_eq!(listed.status(), 200, "{}", listed.text());
        listed.json()["items"].as_array().expect("a list").clone()
    }

    /// Replaces a credential's secret.
    pub fn rotate(&self, credential: &Value, secret: &str) {
        let id = credential["id"].as_str().expect("an id");
        let body = json!({ "secret": secret });
        let rotated = self.admin("PATCH", &format!("{CREDENTIALS}/{id}"), Some(&body));
        assert_eq!(rotated.status(), 200, "{}", rotated.text());
    }

    /// Revokes a credential by its view.
    pub fn revoke(&self, credential: &Value) {
        let id = credential["id"].as_str().expect("an id");
        let revoked = self.admin("DELETE", &format!("{CREDENTIALS}/{id}"), None);
        assert_eq!(revoked.status(), 200, "{}", revoked.text());
    }

    /// The metrics page.
    pub fn metrics(&self) -> String {
        self.observed("/metrics").text()
    }

    /// A page of the observe listener.
    pub fn observed(&self, path: &str) -> Message {
        let host = self.observe.to_string();
        Wire::tcp(self.observe).ask(&Ask::new("GET", path).set("Host", &host))
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The highest resident size so far, in KiB (proc_pid_status(5)), which the kernel counts by
    /// page and thread: a later one can be a little lower.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The resident size now, in KiB.
    pub fn resident_memory(&self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("a running process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("no {name} in {status}"));
        let number = line
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok());
        number.expect("a number of KiB")
    }

    /// Everything written to standard error so far.
    pub fn logs(&self) -> String {
        self.process.stderr()
    }

    /// Everything written to standard output so far.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// Waits for the first log line that `wanted` accepts.
    pub fn log_line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.process
            .log_line(wanted)
            .unwrap_or_else(|| panic!("ended without saying so"))
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends SIGTERM, without waiting.
    pub fn term(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Waits until it has exited by itself.
    pub fn exit_within(&mut self, limit: Duration) -> Exit {
        self.process.exit_within(limit)
    }

    /// Sends SIGTERM and waits; returns its output.
    pub fn stop(mut self) -> (Builder, Exit) {
        self.term();
        let exit = self.exit_within(PATIENCE);
        (self.builder.clone(), exit)
    }

    /// Kills it as a power cut would; the builder starts it again on the same folder.
    pub fn kill9(mut self) -> Builder {
        self.process.kill();
        self.builder.clone()
    }
}

/// The path of credentials in the admin API.
pub const CREDENTIALS: &str = "/api/integrations/credentials";
