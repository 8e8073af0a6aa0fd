//! Streams the audit log in batches, so that neither side holds all of it in memory.
//!
//! In NDJSON each chain ends with a line that has its signed head; without this line the export is
//! incomplete. The line of a record also has the record as it is stored, from which the chain hash
//! is computed.

use std::{mem, sync::Arc};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http_body_util::channel::{Channel, Sender};
use jiff::Timestamp;
use keyside_credentials::{
    Hash, PublicKey, Registry, RequestContext,
    audit::{self, AuditFilter, ReadError},
};
use serde::{Deserialize, Serialize};

use super::{RecordView, csv};
use crate::routes::file;

/// The format of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Ndjson,
    Csv,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
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

    fn begin(self) -> String {
        match self {
            Self::Ndjson => String::new(),
            Self::Csv => csv::heading(),
        }
    }

    fn line(self, line: audit::Line) -> String {
        match (self, line) {
            (Self::Ndjson, line) => ndjson(&Line::of(line)),
            (Self::Csv, audit::Line::Record(record)) => csv::line(&record),
            (Self::Csv, _) => String::new(),
        }
    }
}

pub(super) fn stream(
    registry: Arc<Registry>,
    filter: AuditFilter,
    from: Option<Timestamp>,
    format: Format,
) -> Response {
    let (mut lines, body) = Channel::<Bytes, ReadError>::new(BATCHES_AHEAD);
    RequestContext::spawn(async move {
        if let Err(error) = send(&registry, filter, from, format, &mut lines).await {
            tracing::error!(%error, "an export of the audit log is incomplete");
            // So that the client sees an incomplete response.
            lines.abort(error);
        }
    });
    let name = format!("keyside-audit.{}", format.name());
    file::attachment(format.media_type(), &name, Body::new(body))
}

/// Stops early, without an error, if the client disconnects.
async fn send(
    registry: &Registry,
    filter: AuditFilter,
    from: Option<Timestamp>,
    format: Format,
    lines: &mut Sender<Bytes, ReadError>,
) -> Result<(), ReadError> {
    let audit = registry.audit();
    let mut export = audit.export(filter, from);
    let mut text = format.begin();
    let mut damaged = None;
    loop {
        let found = match export.next().await {
            Ok(Some(found)) => found,
            Ok(None) => break,
            // The chains that are not damaged are sent, and then the response is cut.
            Err(error @ ReadError::Damaged(_)) => {
                damaged = damaged.or(Some(error));
                continue;
            }
            Err(error) => return Err(error),
        };
        text.extend(found.into_iter().map(|line| format.line(line)));
        let batch = mem::take(&mut text);
        if !batch.is_empty() && lines.send_data(batch.into()).await.is_err() {
            return Ok(());
        }
    }
    if !text.is_empty() {
        let _ = lines.send_data(text.into()).await;
    }
    damaged.map_or(Ok(()), Err)
}

/// A line of NDJSON.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Line {
    Record {
        #[serde(flatten)]
        record: Box<RecordView>,
        /// The record as it is stored.
        stored: String,
    },
    /// A record outside of the caller's scope or of the filter.
    Hidden {
        chain: String,
        position: u64,
        record_hash: Hash,
    },
    End {
        chain: String,
        end: End,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct End {
    installation: String,
    records: u64,
    hash: Hash,
    /// Base64 of the signed head as it is stored.
    head: String,
    public_key: PublicKey,
}

impl Line {
    fn of(line: audit::Line) -> Self {
        match line {
            audit::Line::Record(record) => Self::Record {
                stored: record.stored.clone(),
                record: Box::new(RecordView::of(*record)),
            },
            audit::Line::Hidden {
                chain,
                position,
                record,
            } => Self::Hidden {
                chain: chain.to_string(),
                position,
                record_hash: record,
            },
            audit::Line::End {
                chain,
                installation,
                records,
                hash,
                head,
                public_key,
            } => Self::End {
                chain: chain.to_string(),
                end: End {
                    installation,
                    records,
                    hash,
                    head,
                    public_key,
                },
            },
        }
    }
}

fn ndjson(line: &impl Serialize) -> String {
    let mut json = serde_json::to_string(line).unwrap_or_default();
    json.push('\n');
    json
}

/// How many batches wait in memory for a slow client.
const BATCHES_AHEAD: usize = 2;
