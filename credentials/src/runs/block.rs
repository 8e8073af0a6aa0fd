//! The stored form of a block of run records: a format byte, then the records in postcard (varints,
//! and texts with their lengths). A record takes about 60 bytes and well under a microsecond,
//! unlike JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Run, RunKind, Tokens};
use crate::model::{CredentialId, Environment};

/// A run record as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRun {
    /// When it was received.
    pub at: Timestamp,
    /// The request's id in responses and logs.
    pub request_id: Box<str>,
    /// What it was made for.
    pub kind: RunKind,
    /// The workspace.
    pub workspace: Box<str>,
    /// The provider's id; empty if the request named no known one.
    pub provider: Box<str>,
    /// The credential; `None` if the request was refused without one.
    pub used: Option<StoredUse>,
    /// The upstream's status; 0 without a response; for a refusal, its own status.
    pub status: u16,
    /// How it ended, as one word; for a refusal, its code.
    pub outcome: Box<str>,
    /// Method and path, for refusals only.
    pub refused: Option<Box<str>>,
    /// From the request's first byte to the response's last, in microseconds.
    pub latency_us: u64,
    /// From the request's first byte to the response's head, in microseconds.
    pub first_byte_us: Option<u64>,
    /// The tokens it used.
    pub tokens: Tokens,
    /// The run id that the runner sent.
    pub run_id: Option<Box<str>>,
    /// The tag that the runner sent.
    pub tag: Option<Box<str>>,
}

impl StoredRun {
    /// Whether Keyside refused the request without forwarding it.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some() || self.used.is_none()
    }
}

/// The credential that a request used, as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUse {
    /// The credential's id.
    pub credential: Box<str>,
    /// The number of the version whose secret was sent, from 1.
    pub version: u32,
    /// The label at that time.
    pub label: Box<str>,
    /// The environment.
    pub environment: Environment,
}

/// The records of a block. Values that many records share are stored once.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    uses: Vec<Use<'a>>,
    #[serde(borrow)]
    rows: Vec<Row<'a>>,
}

/// Workspace, provider and credential of a run.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Use<'a> {
    workspace: &'a str,
    provider: &'a str,
    #[serde(borrow)]
    credential: Option<CredentialUse<'a>>,
}

/// The credential of a run, as it was then.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct CredentialUse<'a> {
    id: &'a str,
    version: u32,
    label: &'a str,
    environment: Environment,
}

/// The other fields of a record.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Row<'a> {
    /// Index into the block's uses.
    of: usize,
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    at: Timestamp,
    request_id: &'a str,
    kind: RunKind,
    status: u16,
    outcome: &'a str,
    refused: Option<&'a str>,
    latency_us: u64,
    first_byte_us: Option<u64>,
    tokens: Tokens,
    run_id: Option<&'a str>,
    tag: Option<&'a str>,
}

impl<'a> Block<'a> {
    /// Parses a block. Records contain no secrets and decide nothing, so they are not
    /// authenticated; unreadable ones are dropped.
    pub(super) fn read(block: &'a [u8]) -> Self {
        match block {
            [FORMAT, records @ ..] => postcard::from_bytes(records).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    pub(super) fn of(runs: &'a [Run]) -> Self {
        let mut block = Self::default();
        block.rows.reserve_exact(runs.len());
        runs.iter().map(parts).for_each(|run| block.add(run));
        block
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let buffer = Vec::with_capacity(1 + TYPICAL_USE_LEN + self.len() * TYPICAL_LEN);
        let written = postcard::to_extend(&FORMAT, buffer)
            .and_then(|buffer| postcard::to_extend(self, buffer));
        written.expect("numbers and texts of known length serialize")
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = StoredRun> {
        self.parts().map(stored)
    }

    pub(super) fn numbered_runs(&self) -> impl DoubleEndedIterator<Item = (u32, StoredRun)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(index, row)| {
            let about = self.uses.get(row.of)?;
            Some((u32::try_from(index).ok()?, stored((*about, *row))))
        })
    }

    /// Which credential was used when, without live checks. Skips ids that cannot be parsed.
    pub(super) fn usage(&self) -> impl Iterator<Item = (CredentialId, Timestamp)> {
        let used = self.parts().filter(|(_, row)| row.kind.is_use());
        used.filter_map(|(about, row)| Some((about.credential?.id.parse().ok()?, row.at)))
    }

    /// Splits the block into records to remove and records to keep.
    pub(super) fn split(self, goes: impl Fn(&str, Timestamp) -> bool) -> (Self, Self) {
        let (mut gone, mut left) = (Self::default(), Self::default());
        for (about, row) in self.parts() {
            match goes(about.workspace, row.at) {
                true => gone.add((about, row)),
                false => left.add((about, row)),
            }
        }
        (gone, left)
    }

    fn parts(&self) -> impl Iterator<Item = (Use<'a>, Row<'a>)> {
        let known = |row: &Row<'a>| Some((*self.uses.get(row.of)?, *row));
        self.rows.iter().filter_map(known)
    }

    /// Searches from the end: most records of a block share one use or a few.
    fn add(&mut self, (about, row): (Use<'a>, Row<'a>)) {
        let known = self.uses.iter().rposition(|known| *known == about);
        let of = known.unwrap_or_else(|| {
            self.uses.push(about);
            self.uses.len() - 1
        });
        self.rows.push(Row { of, ..row });
    }
}

fn parts(run: &Run) -> (Use<'_>, Row<'_>) {
    let about = Use {
        workspace: run.workspace.as_str(),
        provider: run.provider.as_deref().unwrap_or_default(),
        credential: run.used.as_ref().map(|used| CredentialUse {
            id: used.credential.as_str(),
            version: used.version,
            label: used.label.as_str(),
            environment: used.environment,
        }),
    };
    let row = Row {
        of: 0,
        at: run.at,
        request_id: &run.request_id,
        kind: run.kind,
        status: run.status,
        outcome: run.outcome,
        refused: run.refused.as_deref(),
        latency_us: run.latency_us,
        first_byte_us: run.first_byte_us,
        tokens: run.tokens,
        run_id: run.run_id.as_deref(),
        tag: run.tag.as_deref(),
    };
    (about, row)
}

fn stored((about, row): (Use<'_>, Row<'_>)) -> StoredRun {
    StoredRun {
        at: row.at,
        request_id: row.request_id.into(),
        kind: row.kind,
        workspace: about.workspace.into(),
        provider: about.provider.into(),
        used: about.credential.map(|used| StoredUse {
            credential: used.id.into(),
            version: used.version,
            label: used.label.into(),
            environment: used.environment,
        }),
        status: row.status,
        outcome: row.outcome.into(),
        refused: row.refused.map(Into::into),
        latency_us: row.latency_us,
        first_byte_us: row.first_byte_us,
        tokens: row.tokens,
        run_id: row.run_id.map(Into::into),
        tag: row.tag.map(Into::into),
    }
}

const FORMAT: u8 = 4;
/// Encoded bytes of a typical record and of a typical use: the buffer of a block rarely grows.
const TYPICAL_LEN: usize = 64;
const TYPICAL_USE_LEN: usize = 96;
