//! A block of run records as it is stored: a format byte, then the records in postcard's form (a varint a number, a length
//! before a text). A record takes about 150 bytes and well under a microsecond, which JSON does not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Run;
use crate::{CredentialId, Environment};

/// A run as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    /// When it came in.
    #[serde(with = "microseconds")]
    pub at: Timestamp,
    /// Its id in responses and logs.
    pub request_id: Box<str>,
    /// The workspace that paid.
    pub workspace: Box<str>,
    /// The provider.
    pub provider: Box<str>,
    /// The credential it used.
    pub credential: Box<str>,
    /// That credential's name at the time.
    pub label: Box<str>,
    /// Live or sandbox.
    pub environment: Environment,
    /// The upstream's status, 0 for no response.
    pub status: u16,
    /// How it ended, in one word.
    pub outcome: Box<str>,
    /// From its first byte to the answer's last, in microseconds.
    pub latency_us: u64,
    /// From its first byte to the answer's head, in microseconds.
    pub first_byte_us: Option<u64>,
    /// Tokens in, as the provider counted them.
    pub input_tokens: Option<u64>,
    /// Tokens out, as the provider counted them.
    pub output_tokens: Option<u64>,
    /// The runner's own id for it.
    pub run_id: Option<Box<str>>,
    /// The runner's tag.
    pub tag: Option<Box<str>>,
}

impl StoredRun {
    /// Who used what when; nothing if the store holds something else there.
    pub(super) fn usage(&self) -> Option<(CredentialId, Timestamp)> {
        Some((self.credential.parse().ok()?, self.at))
    }
}

/// The same fields in the same order, borrowed.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(with = "microseconds")]
    at: Timestamp,
    request_id: &'a str,
    workspace: &'a str,
    provider: &'a str,
    credential: &'a str,
    label: &'a str,
    environment: Environment,
    status: u16,
    outcome: &'a str,
    latency_us: u64,
    first_byte_us: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    run_id: Option<&'a str>,
    tag: Option<&'a str>,
}

impl<'a> From<&'a Run> for Row<'a> {
    fn from(run: &'a Run) -> Self {
        Self {
            at: run.at,
            request_id: &run.request_id,
            workspace: run.workspace.as_str(),
            provider: &run.provider,
            credential: run.credential.as_str(),
            label: run.label.as_str(),
            environment: run.environment,
            status: run.status,
            outcome: run.outcome,
            latency_us: run.latency_us,
            first_byte_us: run.first_byte_us,
            input_tokens: run.input_tokens,
            output_tokens: run.output_tokens,
            run_id: run.run_id.as_deref(),
            tag: run.tag.as_deref(),
        }
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

/// The records of a block. They carry no secret and decide nothing, so they are not authenticated; what cannot be read is
/// left out.
pub(super) fn read(block: &[u8]) -> Vec<StoredRun> {
    let [FORMAT, records @ ..] = block else {
        return Vec::new();
    };
    postcard::from_bytes(records).unwrap_or_default()
}

pub(super) fn write(runs: &[Run]) -> Vec<u8> {
    let rows: Vec<Row<'_>> = runs.iter().map(Row::from).collect();
    write_rows(&rows)
}

/// A block of what was read from one: the same form.
pub(super) fn write_again(runs: &[StoredRun]) -> Vec<u8> {
    write_rows(runs)
}

fn write_rows<T: Serialize>(rows: &[T]) -> Vec<u8> {
    let block = Vec::with_capacity(1 + rows.len() * TYPICAL_LEN);
    let block =
        postcard::to_extend(&FORMAT, block).and_then(|block| postcard::to_extend(rows, block));
    block.expect("numbers and texts of known length serialize")
}

const FORMAT: u8 = 1;
const TYPICAL_LEN: usize = 160;
