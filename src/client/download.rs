//! Receives a response chunk by chunk: a file, which may be larger than memory and take longer than
//! other responses, or events as they happen.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request,
    body::Incoming as Body,
    header::{CONTENT_DISPOSITION, HeaderMap},
};
use serde::Serialize;

use super::{Client, ClientError, DEADLINE, PROMPT_DEADLINE, in_time, json, read};

/// A response that is being received.
pub(crate) struct IncomingBody {
    base: String,
    name: Option<String>,
    body: Body,
    /// For the head, and for each chunk.
    deadline: Duration,
}

impl Client {
    pub(crate) async fn download(
        &self,
        method: Method,
        path: &str,
    ) -> Result<IncomingBody, ClientError> {
        let request = self.request(method, path, None)?;
        self.receive(request, DEADLINE).await
    }

    /// Sends a prompt, and returns the response as it arrives, at the provider's pace.
    pub(crate) async fn prompt<T: Serialize>(
        &self,
        path: &str,
        body: &T,
    ) -> Result<IncomingBody, ClientError> {
        let request = self.request(Method::POST, path, Some(json(body).into()))?;
        self.receive(request, PROMPT_DEADLINE).await
    }

    async fn receive(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<IncomingBody, ClientError> {
        let base = &self.base;
        let answered = async {
            let response = self.http.request(request).await;
            let response = response.map_err(|error| ClientError::unreachable(base, &error))?;
            if response.status().is_success() {
                return Ok(IncomingBody {
                    base: base.clone(),
                    name: name(response.headers()),
                    body: response.into_body(),
                    deadline,
                });
            }
            let (status, body) = read(base, response).await?;
            let body = serde_json::from_slice(&body).ok();
            Err(ClientError::refused(base, status, body))
        };
        in_time(base, deadline, answered).await
    }
}

impl IncomingBody {
    /// The file name that the server suggests.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The next chunk, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let base = self.base.clone();
        loop {
            let frame = in_time(&base, self.deadline, async {
                let frame = self.body.frame().await.transpose();
                frame.map_err(|error| ClientError::unreachable(&base, &error))
            });
            match frame.await?.map(|frame| frame.into_data()) {
                Some(Ok(data)) => return Ok(Some(data)),
                // Trailers, which are not part of the file.
                Some(Err(_)) => {}
                None => return Ok(None),
            }
        }
    }
}

/// The suggested name, if it has no path: the server must not choose the folder.
fn name(headers: &HeaderMap) -> Option<String> {
    let disposition = headers.get(CONTENT_DISPOSITION)?.to_str().ok()?;
    let name = disposition.split_once("filename=\"")?.1.split('"').next()?;
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_valid = !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_safe);
    is_valid.then(|| name.to_owned())
}
