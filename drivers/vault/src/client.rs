//! Sends one request to Vault and reads the response, within a time limit. Holds no token, and
//! follows no redirect, because the token would be sent along.

mod tls;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use keyside_config::{BaseUrl, headers::REQUEST_ID};
use keyside_credentials::RequestId;
use parking_lot::Mutex;
use reqwest::{
    Body, Client, Method, Proxy, Request, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{DATE, HOST, HeaderName, HeaderValue},
    redirect,
};
use rustify::endpoint::Endpoint;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::error::{ErrorResponse, VaultError, is_from_vault, is_unavailable};

/// An HTTP client for one Vault.
pub(crate) struct Http {
    /// Replaced when the certificates are read again.
    client: ArcSwap<Client>,
    /// When the certificates were read.
    loaded: Mutex<Instant>,
    settings: keyside_config::Vault,
    base: Url,
    address: String,
    namespace: Option<HeaderValue>,
    /// Host header, if the URL contains the name that the certificate is verified for instead of
    /// the address's host.
    host: Option<HeaderValue>,
}

/// A request without a token.
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Option<String>,
    body: Option<Zeroizing<Vec<u8>>>,
}

/// A response of Vault with a status that is about the requested resource: 2xx or 4xx.
pub(crate) struct Answer {
    pub(crate) status: u16,
    date: Option<HeaderValue>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Http {
    pub(crate) fn open(settings: &keyside_config::Vault) -> Result<Self, VaultError> {
        let mut url = settings.address.clone();
        if let Some(name) = &settings.tls_server_name {
            url.host = name.clone();
        }
        let host = settings
            .tls_server_name
            .as_ref()
            .map(|_| settings.address.authority());
        let header = |text: &str| {
            let unusable = |_| VaultError::Settings("vault.namespace: unusable".to_owned());
            HeaderValue::from_str(text).map_err(unusable)
        };
        Ok(Self {
            client: ArcSwap::from_pointee(client(settings)?),
            loaded: Mutex::new(Instant::now()),
            base: base(&url)?,
            address: settings.address.to_string(),
            namespace: settings.namespace.as_deref().map(header).transpose()?,
            host: host.as_deref().map(header).transpose()?,
            settings: settings.clone(),
        })
    }

    /// Reads the certificates again, because they may have been replaced; at most once a second.
    ///
    /// # Errors
    /// A file cannot be read, or has no certificate. The previous ones stay in use.
    pub(crate) async fn reload_certificates(&self) -> Result<(), VaultError> {
        {
            let mut loaded = self.loaded.lock();
            if loaded.elapsed() < MIN_RELOAD_INTERVAL {
                return Ok(());
            }
            *loaded = Instant::now();
        }
        let settings = self.settings.clone();
        // It fails only if the process is stopping.
        if let Ok(client) = spawn_blocking(move || client(&settings)).await {
            self.client.store(Arc::new(client?));
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a call, with a token unless it is a sign-in.
    ///
    /// # Errors
    /// No response, one with a status that is only about the server, or an error that is not from
    /// Vault.
    pub(crate) async fn send(
        &self,
        token: Option<&HeaderValue>,
        call: &Call,
    ) -> Result<Answer, VaultError> {
        let response = self.execute(self.request(token, call)).await?;
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).cloned();
        let body = self.body(response, call).await?;
        if is_unavailable(status) {
            let asked = format!("{} at {}", call.name(), self.address);
            let response = ErrorResponse::new(status, asked, &body);
            return Err(VaultError::ErrorResponse(response));
        }
        if status >= 400 && !is_from_vault(&body) {
            let asked = format!("{} with status {status}", call.name());
            return Err(VaultError::Malformed(asked));
        }
        Ok(Answer { status, date, body })
    }

    /// The `Date` header of a response to a request without a token; `None` if it has none.
    /// Standbys answer too.
    ///
    /// # Errors
    /// No response, or one of a server that is sealed or fails.
    pub(crate) async fn date(&self) -> Result<Option<String>, VaultError> {
        let mut call = Call::new(Method::GET, "sys/health");
        call.query = Some("standbyok=true&perfstandbyok=true".to_owned());
        let date = self.send(None, &call).await?.date;
        Ok(date.and_then(|date| date.to_str().ok().map(str::to_owned)))
    }

    async fn execute(&self, request: Request) -> Result<Response, VaultError> {
        let client = self.client.load_full();
        match client.execute(request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                let error = self.unreachable(&error);
                if matches!(error, VaultError::Tls(_)) {
                    // For the next call. If that fails, this error already names the setting.
                    let _ = self.reload_certificates().await;
                }
                Err(error)
            }
        }
    }

    fn request(&self, token: Option<&HeaderValue>, call: &Call) -> Request {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1");
            segments.extend(call.path.split('/'));
        }
        url.set_query(call.query.as_deref());
        let mut request = Request::new(call.method.clone(), url);
        let headers = request.headers_mut();
        headers.insert(VAULT_REQUEST, HeaderValue::from_static("true"));
        headers.insert(REQUEST_ID, request_id());
        let named = [
            (VAULT_TOKEN, token),
            (VAULT_NAMESPACE, self.namespace.as_ref()),
            (HOST, self.host.as_ref()),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        if let Some(body) = &call.body {
            // Bytes that are zeroed when their last owner drops them.
            let bytes = Bytes::from_owner(body.clone());
            *request.body_mut() = Some(Body::from(bytes));
        }
        request
    }

    async fn body(
        &self,
        mut response: Response,
        call: &Call,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let announced = response.content_length().unwrap_or(DEFAULT_BODY_CAPACITY);
        let announced = usize::try_from(announced).unwrap_or(MAX_RESPONSE_BODY);
        let mut body = Zeroizing::new(Vec::with_capacity(announced.min(MAX_RESPONSE_BODY)));
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| self.unreachable(&error))? else {
                return Ok(body);
            };
            if body.len() + chunk.len() > MAX_RESPONSE_BODY {
                return Err(VaultError::Malformed(call.name()));
            }
            append(&mut body, &chunk);
        }
    }

    /// Explains why no response arrived, and which setting to check.
    fn unreachable(&self, error: &reqwest::Error) -> VaultError {
        let address = &self.address;
        if error.is_timeout() {
            let timeout = self.settings.timeout;
            return VaultError::Unreachable(format!(
                "Vault at {address} did not answer within {timeout:?} (vault.timeout); check the network, and Vault's load"
            ));
        }
        let why = chain(error);
        tls::explain(&why, &self.settings).unwrap_or_else(|| {
            VaultError::Unreachable(format!(
                "Vault at {address} cannot be reached: {why}; check vault.address"
            ))
        })
    }
}

impl Call {
    pub(crate) fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.trim_matches('/').to_owned(),
            query: None,
            body: None,
        }
    }

    /// A request of vaultrs that has no body.
    pub(crate) fn of<E: Endpoint>(endpoint: &E) -> Self {
        let query = endpoint.query().ok().flatten();
        Self {
            query: query.filter(|query| !query.is_empty()),
            ..Self::new(endpoint.method().into(), &endpoint.path())
        }
    }

    /// Adds a JSON body, in memory that is zeroed when the call is dropped.
    pub(crate) fn with_body(mut self, body: &impl Serialize) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(REQUEST_BODY_CAPACITY));
        serde_json::to_writer(&mut *bytes, body).expect("maps with text keys are JSON");
        self.body = Some(bytes);
        self
    }

    /// Method and path, for messages.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The response, if its status means success.
    pub(crate) fn accepted(self, call: &Call) -> Result<Self, VaultError> {
        match self.is_success() {
            true => Ok(self),
            false => Err(VaultError::ErrorResponse(self.error_response(call))),
        }
    }

    /// The response as an error.
    pub(crate) fn error_response(&self, call: &Call) -> ErrorResponse {
        ErrorResponse::new(self.status, call.name(), &self.body)
    }

    /// Parses the body. An error does not repeat it: it may contain a secret.
    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self, call: &Call) -> Result<T, VaultError> {
        serde_json::from_slice(&self.body).map_err(|_| VaultError::Malformed(call.name()))
    }
}

/// Resolves every name to the addresses of one host. Used if the URL contains the certificate's
/// name instead of that host.
struct AddressHost(String);

impl Resolve for AddressHost {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            Ok::<Addrs, BoxError>(Box::new(found.into_iter()))
        })
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reads the files that the settings name.
fn client(settings: &keyside_config::Vault) -> Result<Client, VaultError> {
    let wrong = VaultError::Settings;
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout)
        .user_agent(concat!("keyside/", env!("CARGO_PKG_VERSION")));
    builder = tls::configure(builder, settings)?;
    if let Some(proxy) = &settings.proxy {
        let proxy = Proxy::all(proxy.to_string());
        let proxy = proxy.map_err(|error| wrong(format!("vault.proxy: {}", chain(&error))))?;
        builder = builder.proxy(proxy);
    }
    if settings.tls_server_name.is_some() {
        let host = settings.address.host.clone();
        builder = builder.dns_resolver(Arc::new(AddressHost(host)));
    }
    builder.build().map_err(|error| {
        wrong(format!(
            "the settings of [vault] cannot be used: {}",
            chain(&error)
        ))
    })
}

fn base(url: &BaseUrl) -> Result<Url, VaultError> {
    let parsed = Url::parse(&url.to_string());
    parsed.map_err(|error| VaultError::Settings(format!("vault.address: {error}")))
}

/// Appends without leaving an unwiped copy behind when the vector grows.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let needed = body.len() + chunk.len();
    if needed > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * body.capacity())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

/// An error with its causes, because reqwest's own text says little. Leaves the URL out.
fn chain(error: &reqwest::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if said.last() != Some(&text) {
            said.push(text);
        }
        next = cause.source();
    }
    match said.is_empty() {
        true => "the request could not be sent".to_owned(),
        false => said.join(": "),
    }
}

/// The value of `X-Keyside-Request-Id`, which Vault's audit log records if an operator enables it
/// (`sys/config/auditing/request-headers`).
fn request_id() -> HeaderValue {
    HeaderValue::from_str(RequestId::next().as_str()).expect("letters, digits and an underscore")
}

const VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault Agent and Vault Proxy may be configured to require this header (`require_request_header`),
/// as a protection against SSRF.
const VAULT_REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// Many readers may meet the same replaced certificate at once.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum length of a response, in bytes. Vault itself accepts entries of at most 1 MiB.
const MAX_RESPONSE_BODY: usize = 4 << 20;
/// Initial capacity for a response without `Content-Length`, in bytes.
const DEFAULT_BODY_CAPACITY: u64 = 4 << 10;
/// Initial capacity for a request body, in bytes: enough for a sign-in, since service account
/// tokens have about 1 KiB. A longer body grows.
const REQUEST_BODY_CAPACITY: usize = 8 << 10;

#[cfg(test)]
mod tests;
