//! The API at its router, over a registry in memory. Every answer that any of these tests gets is
//! searched for the secret that went in.

mod access;
mod audit;
mod bad_input;
mod bounds;
mod browser;
mod browsers;
mod changing;
mod compression;
mod concurrency;
mod creating;
mod damaged;
mod guide;
mod lifecycle;
mod limits;
mod lists;
mod pages;
mod pages_activity;
mod pages_admin;
mod pages_caps;
mod pages_key;
mod pages_keys;
mod pages_runs;
mod permissions;
mod previewing;
mod rate_limits;
mod readiness;
mod references;
mod request_log;
mod resources;
mod secrecy;
mod sign_in;
mod sign_in_links;
mod smoke;
mod tokens;
mod traffic;
mod uncertain;
mod verifying;

use std::{fs, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use keyside_config::{
    Catalogue, CredentialRules, EnvironmentPin, Listener, LocalKms, MasterKeySource, Settings,
    Smoke as SmokeSettings, Sources,
};
use keyside_credentials::{
    Clock, Kms, KmsSource, OpenOptions, Registry, SystemClock,
    audit::{AuditFilter, AuditRecord},
    smoke::Smoke,
};
use keyside_store::{Backend, Effect, Memory, faulty::Faulty};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use self::{
    previewing::Model,
    verifying::{Prompting, Provider},
};
use crate::{AdminOptions, SignInLinks, router_with, sessions::Sessions};

/// A key of the form that OpenAI's have, and of no other one anywhere.
const SECRET: &str = "sk-proj-CanaryOfTheAdminApi0123456789abcdefghijklmnopqrstuvwxyzQ7";

/// Written by itself a moment after a workspace is made or a use has ended.
const LINKED: keyside_credentials::audit::Event = keyside_credentials::audit::Event::ChainsLinked;

const CREDENTIALS: &str = "/api/integrations/credentials";

/// A running API with its owner's token.
struct Api {
    router: Router,
    registry: Arc<Registry>,
    token: String,
    log: Arc<Faulty>,
    memory: Arc<Memory>,
    provider: Arc<Provider>,
    model: Arc<Model>,
    smoke: Arc<Smoke>,
    sessions: Arc<Sessions>,
    folder: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Api {
    async fn open() -> Self {
        Self::with(NonZeroU32::new(1_000).unwrap()).await
    }

    /// An API that takes one request a second from each, and two at once.
    async fn slow() -> Self {
        Self::with(NonZeroU32::MIN).await
    }

    async fn with(requests_per_second: NonZeroU32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::over(Arc::default(), folder, requests_per_second).await
    }

    /// What a restart makes of what is stored.
    async fn reopened(self) -> Self {
        let Self { memory, folder, .. } = self;
        Self::over(memory, folder, NonZeroU32::new(1_000).unwrap()).await
    }

    async fn over(memory: Arc<Memory>, folder: TempDir, requests_per_second: NonZeroU32) -> Self {
        let public_url = "https://keys.example.test";
        let smoke = smoke_settings();
        Self::reached_at(public_url, memory, folder, requests_per_second, smoke).await
    }

    async fn reached_at(
        public_url: &str,
        memory: Arc<Memory>,
        folder: TempDir,
        requests_per_second: NonZeroU32,
        smoke: SmokeSettings,
    ) -> Self {
        let log = Arc::new(Faulty::new(Backend::of(memory.clone())));
        let keyring = folder.path().join("keyring");
        let kms = KmsSource::Local(LocalKms {
            master_key: MasterKeySource::Generated(folder.path().join("master-key")),
            previous_master_key: None,
        });
        let catalogue = Arc::new(Catalogue::builtin());
        let options = OpenOptions {
            backend: log.backend(),
            kms: Kms::open(&kms, &keyring).unwrap(),
            keyring,
            catalogue: catalogue.clone(),
            rules: CredentialRules { expiring_days: 30 },
            clock: Arc::new(SystemClock),
        };
        let registry = Registry::open(options).await.unwrap();
        let provider = Arc::new(Provider::default());
        let model = Arc::new(Model::default());
        let smoke = Smoke::new(registry.clone(), provider.clone(), smoke);
        let token = fs::read_to_string(registry.access().token_file()).unwrap();
        let options = AdminOptions {
            registry: registry.clone(),
            catalogue,
            live_check: provider.clone(),
            prompt_check: Arc::new(Prompting(provider.clone())),
            preview: model.clone(),
            smoke: smoke.clone(),
            proxy_listeners: proxy_listeners(),
            listen: "127.0.0.1:7381".parse().unwrap(),
            public_url: public_url.to_owned(),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            sign_in_links: Arc::<SignInLinks>::default(),
            requests_per_second,
        };
        let sessions = Arc::<Sessions>::default();
        Self {
            router: router_with(options, sessions.clone()),
            registry,
            token: token.trim().to_owned(),
            log,
            memory,
            provider,
            model,
            smoke,
            sessions,
            folder,
        }
    }

    /// An API with workspace `acme`.
    async fn with_workspace() -> Self {
        let api = Self::open().await;
        let made = api.post("/api/workspaces", &json!({ "id": "acme" })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        api
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, body.to_string()).await
    }

    async fn post_text(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = self
            .request("POST", path)
            .header("content-type", "application/json");
        self.send_body(request, body.into()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    /// A request as a program on this machine sends it, with the token.
    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        anonymous(method, path).header("authorization", format!("Bearer {}", self.token))
    }

    async fn send(&self, request: http::request::Builder) -> Answer {
        self.send_body(request, Body::empty()).await
    }

    async fn send_body(&self, request: http::request::Builder, body: Body) -> Answer {
        let request = request.body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer {
            status: parts.status,
            body: compression::decoded(&parts.headers, &body),
            headers: parts.headers,
        };
        answer.assert_sound();
        answer
    }

    /// Everything that a change could change, as the API shows it.
    async fn everything(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let audit = "/api/audit?limit=1000";
        for path in ["/api/workspaces", CREDENTIALS, "/api/tokens", audit] {
            let mut page = self.get(path).await.json();
            let items = page["items"].as_array_mut().unwrap();
            items.retain(|item| item["event"] != "chains_linked");
            for item in items {
                // Reading is a use.
                item["lastUsedAt"] = Value::Null;
            }
            all.push(page);
        }
        all
    }

    /// Every record of the audit log, oldest first, but for those that link chains: they come when
    /// they are due.
    async fn audit(&self) -> Vec<AuditRecord> {
        let (audit, all) = (self.registry.audit(), AuditFilter::default());
        let found = audit.search(&all, None, 1000).await;
        let mut records = found.unwrap().records;
        records.reverse();
        records.retain(|record| record.event != LINKED);
        records
    }

    /// Returns when the installation's chain has a link to that of the one workspace that was made,
    /// which is written a moment later. After that the background tasks write nothing until a
    /// change ends a use.
    async fn linked(&self) {
        let filter = AuditFilter {
            event: Some(LINKED),
            ..AuditFilter::default()
        };
        let audit = self.registry.audit();
        let is_linked = async || {
            let found = audit.search(&filter, None, 1).await;
            !found.unwrap().records.is_empty()
        };
        let until_linked = async {
            while !is_linked().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, until_linked).await.unwrap();
    }
}

impl Answer {
    /// What holds for every answer there is.
    fn assert_sound(&self) {
        let all = format!("{:?}\n{}", self.headers, self.body);
        assert!(!all.contains(SECRET), "the secret came back: {all}");
        assert!(!all.contains("CanaryOf"), "a part of it came back: {all}");
        assert!(self.header("x-keyside-request-id").starts_with("req_"));
        let is_file = self.header("cache-control") == "public, max-age=31536000, immutable";
        assert!(is_file || self.header("cache-control") == "no-store");
        let cors = |name: &http::HeaderName| name.as_str().starts_with("access-control-");
        assert!(!self.headers.keys().any(cors), "{:?}", self.headers);
        let is_page = self.header("content-type").starts_with("text/html");
        if is_page {
            self.assert_page();
        }
        let is_error = self.status.is_client_error() || self.status.is_server_error();
        if is_error && !is_page {
            self.assert_problem();
        }
    }

    /// Nothing inline and nothing from elsewhere, on every page.
    fn assert_page(&self) {
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        assert_eq!(self.header("referrer-policy"), "no-referrer");
        for inline in [
            "<style",
            " style=",
            "<script>",
            " onclick=\"",
            " onload=\"",
            "javascript:",
        ] {
            assert!(!self.body.contains(inline), "{inline}: {}", self.body);
        }
        for attribute in [" src=\"", " href=\"", " action=\""] {
            let values = self.body.split(attribute).skip(1);
            let values = values.map(|rest| rest.split('"').next().unwrap());
            for value in values {
                let is_own = value.starts_with('/') && !value.starts_with("//");
                let is_own = is_own || value.starts_with('#') || value == "guide.css";
                // A person may follow a link to a provider's or a tool's own pages.
                let is_link = attribute == " href=\"" && value.starts_with("https://");
                let is_own = is_own || (is_link && self.opens_apart(value));
                assert!(is_own, "{attribute}{value}");
            }
        }
    }

    /// Whether a link is opened in a tab that cannot reach this one.
    fn opens_apart(&self, href: &str) -> bool {
        let link = format!(r#" href="{href}" target="_blank" rel="noopener noreferrer""#);
        self.body.contains(&link)
    }

    fn assert_problem(&self) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        let kind = problem["type"].as_str().unwrap();
        assert!(kind.starts_with("urn:keyside:problem:"), "{kind}");
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["requestId"], self.header("x-keyside-request-id"));
        for text in ["title", "detail", "remedy"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()));
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The id of what was made.
    fn id(&self) -> String {
        let id = self.json()["id"].as_str().map(str::to_owned);
        id.unwrap_or_else(|| panic!("no id: {}", self.body))
    }

    /// The last part of a problem's type.
    fn kind(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or("").to_owned();
        kind.rsplit(':').next().unwrap_or("").to_owned()
    }

    /// The fields that a problem names, in its order.
    fn fields(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned();
        let field = |error: &Value| error["field"].as_str().unwrap_or("").to_owned();
        errors.unwrap_or_default().iter().map(field).collect()
    }
}

fn anonymous(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:7381")
}

/// A credential that can be stored as it is, with some fields set otherwise. `null` in `other`
/// leaves a field out.
fn new_credential(other: Value) -> Value {
    let mut body = json!({
        "workspaceId": "acme",
        "provider": "openai",
        "label": "default",
        "secret": SECRET,
    });
    let fields = body.as_object_mut().unwrap();
    for (name, value) in other.as_object().unwrap() {
        match value {
            Value::Null => fields.remove(name),
            value => fields.insert(name.clone(), value.clone()),
        };
    }
    body
}

fn in_days(days: i64) -> String {
    let at = SystemClock.now().as_second() + days * 86_400;
    keyside_credentials::Timestamp::from_second(at)
        .unwrap()
        .to_string()
}

/// One for the workspace `pinned` alone, then one for all.
fn proxy_listeners() -> Vec<Listener> {
    let listener = |address: &str, workspaces: &[&str]| Listener {
        address: address.parse().unwrap(),
        workspaces: workspaces.iter().map(|id| (*id).to_owned()).collect(),
        environment: EnvironmentPin::Any,
        peer_uids: Vec::new(),
    };
    vec![
        listener("127.0.0.1:7390", &["pinned"]),
        listener("0.0.0.0:7380", &[]),
    ]
}

/// Runs only on request, so that no test meets a check that it did not ask for.
fn smoke_settings() -> SmokeSettings {
    let settings = Settings::load(&Sources::default()).unwrap().settings;
    SmokeSettings {
        schedule: None,
        on_change: false,
        ..settings.smoke
    }
}
