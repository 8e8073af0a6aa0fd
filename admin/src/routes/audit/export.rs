//! The log on its way out: a batch at a time, so that neither side has to hold it.
//!
//! NDJSON ends with a line of another shape, with the count and the head: where it is missing, the export broke off, and
//! goes on with `from`. Each line has the record as it is stored besides, whose SHA-256 is its hash.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderValue, header};
use http_body_util::channel::{Channel, Sender};
use keyside_credentials::{
    AuditRecord, Hash, Registry,
    audit::{AuditFilter, Head},
    storage::StorageError,
};
use serde::Serialize;

use super::{RecordView, csv};

/// What the lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Ndjson,
    Csv,
}

pub(super) const FORMATS: [(&str, Format); 2] = [("ndjson", Format::Ndjson), ("csv", Format::Csv)];

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    fn disposition(self) -> &'static str {
        match self {
            Self::Ndjson => r#"attachment; filename="keyside-audit.ndjson""#,
            Self::Csv => r#"attachment; filename="keyside-audit.csv""#,
        }
    }

    fn begin(self) -> String {
        match self {
            Self::Ndjson => String::new(),
            Self::Csv => csv::heading(),
        }
    }

    fn line(self, record: AuditRecord) -> String {
        match self {
            Self::Ndjson => ndjson(&Line {
                stored: record.stored.clone(),
                record: RecordView::of(record),
            }),
            Self::Csv => csv::line(&record),
        }
    }

    fn end(self, count: u64, head: Head) -> String {
        match self {
            Self::Ndjson => ndjson(&End {
                end: Totals {
                    count,
                    position: head.position,
                    hash: head.hash,
                },
            }),
            Self::Csv => String::new(),
        }
    }
}

pub(super) fn stream(
    registry: Arc<Registry>,
    filter: AuditFilter,
    from: u64,
    format: Format,
) -> Response {
    let (mut lines, body) = Channel::<axum::body::Bytes, StorageError>::new(BATCHES_AHEAD);
    tokio::spawn(async move {
        if let Err(Stopped::Storage(error)) =
            send(&registry, filter, from, format, &mut lines).await
        {
            tracing::error!(%error, "an export of the audit log broke off");
            // So that the client sees an end that is none.
            lines.abort(error);
        }
    });
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static(format.disposition()),
    );
    response
}

async fn send(
    registry: &Registry,
    filter: AuditFilter,
    from: u64,
    format: Format,
    lines: &mut Sender<axum::body::Bytes, StorageError>,
) -> Result<(), Stopped> {
    let mut export = registry.audit().export(filter, from).await;
    let mut text = format.begin();
    let mut count = 0;
    while let Some(records) = export.next().await? {
        count += records.len() as u64;
        text.extend(records.into_iter().map(|record| format.line(record)));
        let batch = std::mem::take(&mut text);
        if !batch.is_empty() {
            lines.send_data(batch.into()).await?;
        }
    }
    text.push_str(&format.end(count, export.head()));
    if !text.is_empty() {
        lines.send_data(text.into()).await?;
    }
    Ok(())
}

/// Why an export did not come to its end.
enum Stopped {
    Storage(StorageError),
    /// The client has left.
    Unheard,
}

impl From<StorageError> for Stopped {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<http_body_util::channel::SendError> for Stopped {
    fn from(_: http_body_util::channel::SendError) -> Self {
        Self::Unheard
    }
}

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    record: RecordView,
    stored: String,
}

#[derive(Serialize)]
struct End {
    end: Totals,
}

#[derive(Serialize)]
struct Totals {
    count: u64,
    position: u64,
    hash: Hash,
}

fn ndjson(line: &impl Serialize) -> String {
    let mut json = serde_json::to_string(line).unwrap_or_default();
    json.push('\n');
    json
}

/// A client that reads slowly holds no more than this of the log in memory.
const BATCHES_AHEAD: usize = 2;
