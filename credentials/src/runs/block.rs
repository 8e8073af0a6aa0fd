//! A block of run records as it is stored: a format byte, then the records in postcard's form (a varint a number, a length
//! before a text). A record takes about 60 bytes and well under a microsecond, which JSON does not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Run, Tokens};
use crate::model::{CredentialId, Environment};

/// A run as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRun {
    /// When it came in.
    pub at: Timestamp,
    /// Its id in responses and logs.
    pub request_id: Box<str>,
    /// The workspace that paid.
    pub workspace: Box<str>,
    /// The provider.
    pub provider: Box<str>,
    /// The credential it used; `None` for a request that was refused without one.
    pub used: Option<StoredUse>,
    /// The upstream's status, 0 for no response; of a refusal, ours.
    pub status: u16,
    /// How it ended, in one word: of a refusal, its code.
    pub outcome: Box<str>,
    /// What was refused: method and path.
    pub refused: Option<Box<str>>,
    /// From its first byte to the answer's last, in microseconds.
    pub latency_us: u64,
    /// From its first byte to the answer's head, in microseconds.
    pub first_byte_us: Option<u64>,
    /// What it cost.
    pub tokens: Tokens,
    /// The runner's own id for it.
    pub run_id: Option<Box<str>>,
    /// The runner's tag.
    pub tag: Option<Box<str>>,
}

/// The credential that a request used, as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUse {
    /// Its id.
    pub credential: Box<str>,
    /// Its name at the time.
    pub label: Box<str>,
    /// Live or sandbox.
    pub environment: Environment,
}

/// What stands in a block: what many records say alike is said once.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    uses: Vec<Use<'a>>,
    #[serde(borrow)]
    rows: Vec<Row<'a>>,
}

/// Who used what.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Use<'a> {
    workspace: &'a str,
    provider: &'a str,
    /// Its credential's id, label and environment.
    #[serde(borrow)]
    credential: Option<(&'a str, &'a str, Environment)>,
}

/// The rest of a record.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Row<'a> {
    /// The place among the block's uses.
    of: usize,
    #[serde(with = "microseconds")]
    at: Timestamp,
    request_id: &'a str,
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
    /// Records carry no secret and decide nothing, so they are not authenticated; what cannot be read is left out.
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
        let room = Vec::with_capacity(1 + TYPICAL_USE_LEN + self.len() * TYPICAL_LEN);
        let written =
            postcard::to_extend(&FORMAT, room).and_then(|room| postcard::to_extend(self, room));
        written.expect("numbers and texts of known length serialize")
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn runs(&self) -> impl DoubleEndedIterator<Item = StoredRun> {
        self.parts().map(stored)
    }

    /// Who used what when; nothing where the store holds something else.
    pub(super) fn usage(&self) -> impl Iterator<Item = (CredentialId, Timestamp)> {
        self.parts()
            .filter_map(|(about, row)| Some((about.credential?.0.parse().ok()?, row.at)))
    }

    /// Parts it in two by workspace and time: what is to go, what is to stay.
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

    fn parts(&self) -> impl DoubleEndedIterator<Item = (Use<'a>, Row<'a>)> {
        let known = |row: &Row<'a>| Some((*self.uses.get(row.of)?, *row));
        self.rows.iter().filter_map(known)
    }

    /// Most records of a block are of one use, or of few.
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
        provider: &run.provider,
        credential: run.used.as_ref().map(|used| {
            let (credential, label) = (used.credential.as_str(), used.label.as_str());
            (credential, label, used.environment)
        }),
    };
    let row = Row {
        of: 0,
        at: run.at,
        request_id: &run.request_id,
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
        workspace: about.workspace.into(),
        provider: about.provider.into(),
        used: about
            .credential
            .map(|(credential, label, environment)| StoredUse {
                credential: credential.into(),
                label: label.into(),
                environment,
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

/// A time as the microseconds since 1970.
mod microseconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.as_microsecond())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        Timestamp::from_microsecond(i64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

const FORMAT: u8 = 3;
const TYPICAL_LEN: usize = 64;
const TYPICAL_USE_LEN: usize = 96;
