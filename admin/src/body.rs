//! Reads request bodies, limited in size and time, into a buffer that is wiped: a body can hold a
//! secret.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use keyside_credentials::Receipt;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::{
    access::Caller,
    concurrency::WorkKind,
    form,
    problem::{Kind, Problem},
    state::AdminState,
};

/// A JSON document that is not parsed yet.
///
/// The HTTP server's own read buffer is out of reach; every other copy is wiped when the request
/// ends.
pub(crate) struct JsonBody(Zeroizing<Vec<u8>>);

impl JsonBody {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromRequest<AdminState> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, Problem> {
        let received = receive_json(request, state, WorkKind::Body, LIMIT);
        received.await.map(Self)
    }
}

/// The body of `POST /api/audit/verify`, which may be longer than others. A receipt holds no secret:
/// copies of it that serde_json makes are not wiped.
pub(crate) struct ReceiptBody(Zeroizing<Vec<u8>>);

impl ReceiptBody {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromRequest<AdminState> for ReceiptBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, Problem> {
        let received = receive_json(request, state, WorkKind::Receipt, Receipt::MAX_LEN);
        received.await.map(Self)
    }
}

/// Receives a JSON document while the caller holds a permit for `work`.
async fn receive_json(
    request: Request,
    state: &AdminState,
    work: WorkKind,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let (mut parts, body) = request.into_parts();
    expect_media_type(&parts.headers, JSON, not_json)?;
    let caller = Caller::from_request_parts(&mut parts, state).await?;
    let _permit = state.concurrency.try_acquire(work, &caller)?;
    receive(body, limit).await
}

/// The body of an HTML form, not parsed yet. A caller's bodies are limited like those of the API; a
/// request without a caller (sign-in) is limited by its address.
pub(crate) async fn receive_form(
    request: Request,
    state: &AdminState,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let (mut parts, body) = request.into_parts();
    expect_media_type(&parts.headers, FORM, not_a_form)?;
    let caller = Caller::from_request_parts(&mut parts, state).await.ok();
    let permit = caller.map(|caller| state.concurrency.try_acquire(WorkKind::Body, &caller));
    let _permit = permit.transpose()?;
    receive(body, LIMIT).await
}

async fn receive(body: Body, limit: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    match tokio::time::timeout(DEADLINE, read(body, limit)).await {
        Ok(read) => read,
        Err(_elapsed) => Err(too_slow()),
    }
}

/// A JSON document that may be left out, or null.
pub(crate) struct OptionalBody(Option<JsonBody>);

impl OptionalBody {
    /// What the document says, or the default.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        let bytes = self.0.as_ref().map(JsonBody::bytes);
        let given = bytes.filter(|bytes| bytes.trim_ascii() != b"null");
        given.map_or_else(|| Ok(T::default()), form::read)
    }
}

impl FromRequest<AdminState> for OptionalBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self(None));
        }
        let body = JsonBody::from_request(request, state).await?;
        Ok(Self(Some(body)))
    }
}

/// Allocated at once for any body with a secret: growing would leave unwiped copies of a prefix behind.
/// Only a receipt may grow.
async fn read(mut body: Body, limit: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| cut_short())?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if data.len() > limit - bytes.len() {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// A page of another site can send other media types without a CORS preflight. Compressed bodies
/// are not accepted either.
fn expect_media_type(
    headers: &HeaderMap,
    expected: &str,
    otherwise: fn() -> Problem,
) -> Result<(), Problem> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    let is_expected = media_type.is_some_and(|name| name.trim().eq_ignore_ascii_case(expected));
    match is_expected && !headers.contains_key(header::CONTENT_ENCODING) {
        true => Ok(()),
        false => Err(otherwise()),
    }
}

fn not_json() -> Problem {
    let detail = "The body must be uncompressed JSON.";
    let remedy = "Send `Content-Type: application/json` and no Content-Encoding.";
    Problem::new(Kind::MediaTypeUnsupported, detail, remedy)
}

fn not_a_form() -> Problem {
    let detail = "The body must be an uncompressed HTML form.";
    let remedy = "Send the form from Keyside's own page.";
    Problem::new(Kind::MediaTypeUnsupported, detail, remedy)
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("The body is larger than {limit} bytes.");
    let remedy = match limit {
        LIMIT => {
            "A secret has at most 8192 bytes and a prompt 16384 characters: check what was pasted."
        }
        _ => "Send the receipt as it was issued.",
    };
    Problem::new(Kind::BodyTooLarge, detail, remedy)
}

fn too_slow() -> Problem {
    let detail = format!("The body did not arrive within {} s.", DEADLINE.as_secs());
    let remedy = "Send the request again.";
    Problem::new(Kind::BodyTimeout, detail, remedy)
}

fn cut_short() -> Problem {
    let detail = "The body ended early or is not framed as HTTP requires.";
    let remedy = "Send the request again.";
    Problem::new(Kind::RequestMalformed, detail, remedy)
}

const JSON: &str = "application/json";

const FORM: &str = "application/x-www-form-urlencoded";

/// Eight times the longest secret.
const LIMIT: usize = 64 * 1024;

const DEADLINE: Duration = Duration::from_secs(10);
