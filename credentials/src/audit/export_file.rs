//! Verifies an export with the public key alone: without a store, a keyring or a running Keyside.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, Read},
};

use keyside_store::{
    Hash, PublicKey,
    chain::{ChainName, Head, Link},
};
use serde::Deserialize;
use serde_json::Value;

use crate::encoding::base64_bytes;

/// The summary of a verified export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The id of the installation that signed it.
    pub installation: String,
    /// Number of records in all chains.
    pub records: u64,
    /// Number of records that are present as hashes only.
    pub hidden: u64,
    /// Number of chains.
    pub chains: usize,
}

/// Why an export could not be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The line with this number, from 1, is not in the export format.
    #[error("line {0} is not in the format of an NDJSON export")]
    NotALine(usize),
    /// The line with this number, from 1, does not follow from those before it, or from the key.
    #[error("line {0}: {1}")]
    NotVerified(usize, LineError),
    /// The end of a chain is missing.
    #[error("the file ends before the head of {0}: the export broke off, or its end was cut")]
    CutShort(String),
    /// A record refers to a chain that is not in the file.
    #[error("the chain {0} is named in the file and not in it: its lines were left out")]
    ChainMissing(String),
    /// The file has no chains.
    #[error("the file has no chains")]
    Empty,
}

/// Why a line does not follow from those before it, or from the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// A record of this chain, with this position from 1, was edited, left out or added.
    #[error("record {1} of {0} does not follow the one before it: edited, left out or added")]
    Broken(String, u64),
    /// The first record of this chain has this position, not 1.
    #[error(
        "the records of {0} begin with {1}, and those before are not in the file: export without --from to check all of it"
    )]
    Partial(String, u64),
    /// The field with this name differs from the stored record, or from the head.
    #[error("{0} is not what was signed: edited")]
    Altered(&'static str),
    /// The head of this chain is not signed with the given key.
    #[error("the head of {0} is not signed by the given key: another installation's, or edited")]
    Unsigned(String),
    /// The records of this chain do not lead to its head.
    #[error("the records of {0} do not lead to its head: some are missing at the end, or edited")]
    NotTheHead(String),
    /// This chain has ended before, or the installation's chain, which comes first, has not.
    #[error(
        "a line of {0} is out of place: moved or doubled, or the lines of installation were left out"
    )]
    OutOfPlace(String),
    /// This chain and the installation's chain are not of one export.
    #[error(
        "the lines of {0} do not match those of installation: they are from two exports, or some are missing at the end"
    )]
    OtherExport(String),
}

/// A line with exactly the fields of its kind: any other would be shown without being verified.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Record(Box<RecordLine>),
    Hidden(HiddenLine),
    End(EndLine),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordLine {
    chain: String,
    position: u64,
    at: Value,
    event: Value,
    actor: Value,
    request_id: Value,
    workspace_id: Value,
    credential_id: Value,
    provider: Value,
    note: Value,
    /// Sealed in the record, so it cannot be compared.
    #[serde(rename = "fingerprint")]
    _fingerprint: Value,
    hash: Hash,
    previous: Hash,
    stored: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HiddenLine {
    chain: String,
    position: u64,
    record_hash: Hash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    chain: String,
    end: End,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct End {
    installation: String,
    records: u64,
    hash: Hash,
    #[serde(with = "base64_bytes")]
    head: Vec<u8>,
    public_key: PublicKey,
}

/// What was read of a file so far.
#[derive(Default)]
struct Progress {
    checked: Checked,
    /// Number of records and chain hash of each chain that has not ended.
    open: BTreeMap<String, (u64, Hash)>,
    /// The chain hashes that records link to, by chain and position, until they are found.
    linked: BTreeMap<String, BTreeMap<u64, Hash>>,
    ended: BTreeSet<String>,
    /// The head of the installation's chain.
    own: Option<Head>,
}

/// Verifies an NDJSON export against the public key of its installation.
///
/// # Errors
/// The first line that does not verify.
pub fn verify_export(mut file: impl BufRead, key: &PublicKey) -> Result<Checked, FileError> {
    let mut progress = Progress::default();
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        // A longer line is cut, and then is not in the format.
        let mut limited = file.by_ref().take(MAX_LINE);
        if limited.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        let line: Result<Line, _> = serde_json::from_slice(&text);
        let read = match line.map_err(|_| FileError::NotALine(number))? {
            Line::Record(line) => progress.record(&line),
            Line::Hidden(line) => progress.hidden(&line),
            Line::End(line) => progress.end(line, key),
        };
        read.map_err(|error| FileError::NotVerified(number, error))?;
    }
    progress.finish()
}

impl Progress {
    fn record(&mut self, line: &RecordLine) -> Result<(), LineError> {
        let record = Hash::of(line.stored.as_bytes());
        let (previous, hash) = self.append(&line.chain, line.position, record)?;
        if let Some(field) = line.altered(previous, hash) {
            return Err(LineError::Altered(field));
        }
        for (chain, link) in linked(&line.stored) {
            let links = self.linked.entry(chain).or_default();
            links.insert(link.records, link.hash);
        }
        Ok(())
    }

    fn hidden(&mut self, line: &HiddenLine) -> Result<(), LineError> {
        self.append(&line.chain, line.position, line.record_hash)?;
        self.checked.hidden += 1;
        Ok(())
    }

    /// Continues a chain with a record. Returns the chain hash before and after it.
    fn append(
        &mut self,
        chain: &str,
        position: u64,
        record: Hash,
    ) -> Result<(Hash, Hash), LineError> {
        self.expect_in_place(chain)?;
        let begins = !self.open.contains_key(chain);
        let (records, hash) = self.open.entry(chain.to_owned()).or_default();
        if position != *records + 1 {
            return Err(match begins {
                true => LineError::Partial(chain.to_owned(), position),
                false => LineError::Broken(chain.to_owned(), position),
            });
        }
        *records = position;
        let previous = *hash;
        *hash = previous.followed_by(record);
        let links = self.linked.get_mut(chain);
        let linked = links.and_then(|links| links.remove(&position));
        match linked.is_some_and(|linked| linked != *hash) {
            true => Err(LineError::OtherExport(chain.to_owned())),
            false => Ok((previous, *hash)),
        }
    }

    /// Reads the end of a chain.
    fn end(&mut self, line: EndLine, key: &PublicKey) -> Result<(), LineError> {
        let EndLine { chain, end } = line;
        self.expect_in_place(&chain)?;
        let (records, hash) = self.open.remove(&chain).unwrap_or_default();
        let name = ChainName::of(&chain);
        let Ok(head) = Head::verify(&end.head, &name, &end.installation, key) else {
            return Err(LineError::Unsigned(chain));
        };
        if (head.records, head.hash) != (records, hash) {
            return Err(LineError::NotTheHead(chain));
        }
        if let Some(field) = end.altered(&head, key) {
            return Err(LineError::Altered(field));
        }
        let links = self.linked.remove(&chain);
        let has_linked = links.is_none_or(|left| left.is_empty());
        let own = self.own.get_or_insert_with(|| head.clone());
        if !has_linked || !is_of_one_export(own, &head) {
            return Err(LineError::OtherExport(chain));
        }
        self.checked.installation = end.installation;
        self.checked.records += records;
        self.checked.chains += 1;
        self.ended.insert(chain);
        Ok(())
    }

    /// The installation's chain comes first, because the others are compared with it.
    fn expect_in_place(&self, chain: &str) -> Result<(), LineError> {
        let is_own = chain == ChainName::installation().as_str();
        match self.own.is_none() == is_own && !self.ended.contains(chain) {
            true => Ok(()),
            false => Err(LineError::OutOfPlace(chain.to_owned())),
        }
    }

    /// The summary, if each chain that began or was named has ended.
    fn finish(self) -> Result<Checked, FileError> {
        match self.open.into_keys().next() {
            Some(chain) => Err(FileError::CutShort(chain)),
            None if self.checked.chains == 0 => Err(FileError::Empty),
            None => match self.linked.into_keys().next() {
                Some(chain) => Err(FileError::ChainMissing(chain)),
                None => Ok(self.checked),
            },
        }
    }
}

impl RecordLine {
    /// The name of the first field that differs from the stored record.
    fn altered(&self, previous: Hash, hash: Hash) -> Option<&'static str> {
        let stored: Value = serde_json::from_str(&self.stored).unwrap_or_default();
        let position = Value::from(self.position);
        // The name of each field here, and in the stored record.
        let fields = [
            ("position", &position, "position"),
            ("at", &self.at, "at"),
            ("event", &self.event, "event"),
            ("actor", &self.actor, "actor"),
            ("requestId", &self.request_id, "requestId"),
            ("workspaceId", &self.workspace_id, "workspace"),
            ("credentialId", &self.credential_id, "credential"),
            ("provider", &self.provider, "provider"),
            ("note", &self.note, "note"),
        ];
        let differs = fields
            .into_iter()
            .find(|(_, shown, name)| **shown != stored[*name]);
        match differs {
            Some((name, ..)) => Some(name),
            None if self.previous != previous => Some("previous"),
            None if self.hash != hash => Some("hash"),
            None => None,
        }
    }
}

impl End {
    /// The name of the first field that differs from the head, or from the key that signed it.
    fn altered(&self, head: &Head, key: &PublicKey) -> Option<&'static str> {
        let mut fields = [
            ("records", self.records == head.records),
            ("hash", self.hash == head.hash),
            ("publicKey", self.public_key == *key),
        ]
        .into_iter();
        fields.find(|(_, is_same)| !is_same).map(|(name, _)| name)
    }
}

/// Whether the installation's chain has what the other chain was decided on, and was restored as
/// often.
fn is_of_one_export(own: &Head, other: &Head) -> bool {
    let decided_on = other.decided_on.map_or(0, |on| on.records);
    other.epoch == own.epoch && decided_on <= own.records
}

/// The states of other chains that a record links to.
fn linked(stored: &str) -> Vec<(String, Link)> {
    #[derive(Deserialize)]
    struct Linking {
        #[serde(default)]
        links: Vec<(String, Link)>,
    }
    let linking: Option<Linking> = serde_json::from_str(stored).ok();
    let links = linking.into_iter().flat_map(|linking| linking.links);
    links
        .map(|(workspace, link)| (ChainName::workspace(&workspace).to_string(), link))
        .collect()
}

/// Bytes. A record and a head have at most 4 KiB, and JSON writes a byte with up to six.
const MAX_LINE: u64 = 256 * 1024;
