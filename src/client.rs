//! The command line's client of the admin API.
//!
//! It follows no redirect and uses no proxy from the environment, so the token goes only to the
//! configured address.

mod download;
mod error;
mod problem;
#[cfg(test)]
mod tests;
mod transport;

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH},
};
use keyside_config::BaseUrl;
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use self::transport::Http;
pub(crate) use self::{
    download::IncomingBody,
    error::ClientError,
    problem::credentials_as_keys,
    transport::{Authorities, Trust},
};

/// One admin API and the token for it.
pub(crate) struct Client {
    http: Http,
    base: String,
    authorization: HeaderValue,
}

impl Client {
    pub(crate) fn new(base: &str, token: &str, trust: &Trust) -> Result<Self, ClientError> {
        let authorization = bearer(token)?;
        let base = address(base)?;
        Ok(Self {
            http: transport::http_client(&base, trust)?,
            base: base.to_string(),
            authorization,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post<T: Serialize>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<Value, ClientError> {
        self.call(Method::POST, path, Some(json(body).into())).await
    }

    pub(crate) async fn patch<T: Serialize>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<Value, ClientError> {
        self.call(Method::PATCH, path, Some(json(body).into()))
            .await
    }

    /// A request with a secret beside the other fields.
    pub(crate) async fn send_secret<T: Serialize>(
        &self,
        method: Method,
        path: &str,
        secret: Zeroizing<String>,
        others: &T,
    ) -> Result<Value, ClientError> {
        let body = wiped(with_secret(secret, others));
        self.call(method, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::DELETE, path, None).await
    }

    /// The error of a problem document that arrived in the middle of a stream.
    pub(crate) fn reported(&self, problem: Value) -> ClientError {
        ClientError::refused(&self.base, StatusCode::BAD_GATEWAY, Some(problem))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Value, ClientError> {
        let request = self.request(method, path, body)?;
        let (status, body) = exchange(&self.http, &self.base, request).await?;
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        match body {
            Some(body) if status.is_success() => Ok(body),
            body => Err(ClientError::refused(&self.base, status, body)),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, self.authorization.clone());
        if body.is_some() {
            // A person who runs a command means the current state, whatever its version.
            request = request
                .header(CONTENT_TYPE, "application/json")
                .header(IF_MATCH, "*");
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        request.map_err(|_| ClientError::InvalidAddress)
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut line = Zeroizing::new(Vec::with_capacity(BEARER.len() + token.len()));
    line.extend_from_slice(BEARER);
    line.extend_from_slice(token.as_bytes());
    let value = HeaderValue::from_maybe_shared(wiped(line));
    let mut value = value.map_err(|_| ClientError::InvalidToken)?;
    value.set_sensitive(true);
    Ok(value)
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("a body is written to memory")
}

/// A JSON object of the secret and the `others`, in a buffer that never grows: growing would leave
/// part of the secret in freed memory. The secret itself is wiped when this returns.
fn with_secret(secret: Zeroizing<String>, others: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let others = json(others);
    let others = others.strip_prefix('{').unwrap_or("}");
    let comma = if others == "}" { "" } else { "," };
    // The longest escape of one byte has six bytes.
    let most = FIRST.len() + 6 * secret.len() + 2 + comma.len() + others.len();
    let mut body = Zeroizing::new(Vec::with_capacity(most));
    body.extend_from_slice(FIRST);
    serde_json::to_writer(&mut *body, secret.as_str()).expect("a text is written to memory");
    body.extend_from_slice(comma.as_bytes());
    body.extend_from_slice(others.as_bytes());
    body
}

/// Bytes that are wiped when their last owner drops them. hyper (1) writes a body from where it is,
/// and copies it only if the connection takes one slice at a time.
fn wiped(bytes: Zeroizing<Vec<u8>>) -> Bytes {
    Bytes::from_owner(bytes)
}

/// Requests a path without a token. Returns status and body.
pub(crate) async fn probe(
    base: &str,
    path: &str,
    trust: &Trust,
) -> Result<(StatusCode, String), ClientError> {
    let base = address(base)?;
    let request = Request::get(format!("{base}{path}")).body(Full::default());
    let request = request.map_err(|_| ClientError::InvalidAddress)?;
    let http = transport::http_client(&base, trust)?;
    let (status, body) = exchange(&http, &base.to_string(), request).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn exchange(
    http: &Http,
    base: &str,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let work = async {
        let response = http.request(request).await;
        let response = response.map_err(|error| ClientError::unreachable(base, &error))?;
        read(base, response).await
    };
    in_time(base, DEADLINE, work).await
}

async fn read(
    base: &str,
    response: Response<hyper::body::Incoming>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_LIMIT);
    let body = body.collect().await;
    let body = body.map_err(|error| ClientError::unreachable(base, &*error))?;
    Ok((status, body.to_bytes()))
}

async fn in_time<T>(
    base: &str,
    deadline: Duration,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(answered) => answered,
        Err(_elapsed) => {
            let base = base.to_owned();
            Err(ClientError::Timeout { base })
        }
    }
}

/// Parses scheme, host and port. The caller decides whether plaintext is acceptable, because it
/// knows what is sent.
fn address(base: &str) -> Result<BaseUrl, ClientError> {
    let url = BaseUrl::parse(base, true).map_err(|_| ClientError::InvalidAddress)?;
    match url.path.is_empty() {
        true => Ok(url),
        false => Err(ClientError::InvalidAddress),
    }
}

const BEARER: &[u8] = b"Bearer ";

const FIRST: &[u8] = b"{\"secret\":";

/// A change waits for the disk, but not longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A provider's response to a prompt begins later: `proxy.deadlines.first_byte` is ten minutes by
/// default.
const PROMPT_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// A page of a thousand items is about one megabyte.
const BODY_LIMIT: usize = 32 << 20;
