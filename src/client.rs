//! A small client of the admin API, for the command line. It follows no redirect and takes no proxy from the
//! environment: the token goes where it was told to, and nowhere else.

mod download;
mod error;
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
use serde_json::Value;

use self::transport::Http;
pub(crate) use self::{download::Incoming, error::ClientError};

/// One admin API and the token for it.
pub(crate) struct Client {
    http: Http,
    base: String,
    authorization: HeaderValue,
}

impl Client {
    /// # Errors
    /// When `base` is no address, or the token could not stand in a header.
    pub(crate) fn new(base: &str, token: String) -> Result<Self, ClientError> {
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
        authorization.set_sensitive(true);
        let base = address(base)?;
        Ok(Self {
            http: transport::to(&base),
            base: base.to_string(),
            authorization,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.call(Method::POST, path, Some(body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.call(Method::PATCH, path, Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
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
        body: Option<String>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, self.authorization.clone());
        if body.is_some() {
            // Who types a command means the thing as it is now.
            request = request
                .header(CONTENT_TYPE, "application/json")
                .header(IF_MATCH, "*");
        }
        let request = request.body(Full::from(body.unwrap_or_default()));
        request.map_err(|_| ClientError::Address)
    }
}

/// The status of one path, asked for without a token.
pub(crate) async fn probe(base: &str, path: &str) -> Result<StatusCode, ClientError> {
    let base = address(base)?;
    let request = Request::get(format!("{base}{path}")).body(Full::default());
    let request = request.map_err(|_| ClientError::Address)?;
    let (status, _) = exchange(&transport::to(&base), &base.to_string(), request).await?;
    Ok(status)
}

async fn exchange(
    http: &Http,
    base: &str,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let work = async {
        let response = http.request(request).await;
        read(
            base,
            response.map_err(|error| ClientError::unreachable(base, &error))?,
        )
        .await
    };
    in_time(base, work).await
}

async fn read(
    base: &str,
    response: Response<hyper::body::Incoming>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_LIMIT)
        .collect()
        .await;
    let body = body.map_err(|error| ClientError::unreachable(base, &*error))?;
    Ok((status, body.to_bytes()))
}

async fn in_time<T>(
    base: &str,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(answered) => answered,
        Err(_elapsed) => Err(ClientError::Silent {
            base: base.to_owned(),
        }),
    }
}

/// Scheme, host and port. Whether plaintext will do is for the caller to say, who knows what travels.
fn address(base: &str) -> Result<BaseUrl, ClientError> {
    let url = BaseUrl::parse(base, true).map_err(|_| ClientError::Address)?;
    match url.path.is_empty() {
        true => Ok(url),
        false => Err(ClientError::Address),
    }
}

/// A change waits for the disk, not longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A page of a thousand items is about one megabyte.
const BODY_LIMIT: usize = 32 << 20;
