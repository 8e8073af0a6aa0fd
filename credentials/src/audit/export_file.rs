//! Verifies an export with the public key alone: without a store, a keyring or a running Keyside.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead},
};

use keyside_store::{
    Hash, PublicKey,
    chain::{ChainName, Head},
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
    /// The field with this name differs from the record.
    #[error("{0} is not what the record says: edited")]
    Altered(String),
    /// The head of this chain is not signed with the given key.
    #[error("the head of {0} is not signed by the given key: another installation's, or edited")]
    Unsigned(String),
    /// The records of this chain do not lead to its head.
    #[error("the records of {0} do not lead to its head: some are missing at the end, or edited")]
    NotTheHead(String),
}

/// The fields of a line that are verified.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    chain: String,
    position: Option<u64>,
    stored: Option<String>,
    record_hash: Option<Hash>,
    end: Option<End>,
}

#[derive(Deserialize)]
struct End {
    installation: String,
    #[serde(with = "base64_bytes")]
    head: Vec<u8>,
}

/// What was read of a file so far.
#[derive(Default)]
struct Progress {
    checked: Checked,
    /// Number of records and chain hash of each chain that has not ended.
    open: BTreeMap<String, (u64, Hash)>,
    /// The chains that records link to.
    named: BTreeSet<String>,
    ended: BTreeSet<String>,
}

/// Verifies an NDJSON export against the public key of its installation.
///
/// # Errors
/// The first line that does not verify.
pub fn verify_export(file: impl BufRead, key: &PublicKey) -> Result<Checked, FileError> {
    let mut progress = Progress::default();
    for (number, text) in (1..).zip(file.lines()) {
        let text = text?;
        let line: Line = serde_json::from_str(&text).map_err(|_| FileError::NotALine(number))?;
        let read = match line {
            Line {
                chain,
                end: Some(end),
                ..
            } => progress.end(chain, end, key),
            line => progress.record(&line, &text),
        };
        match read {
            Ok(true) => {}
            Ok(false) => return Err(FileError::NotALine(number)),
            Err(error) => return Err(FileError::NotVerified(number, error)),
        }
    }
    progress.finish()
}

impl Progress {
    /// Reads the end of a chain. False if the chain has ended before.
    fn end(&mut self, chain: String, end: End, key: &PublicKey) -> Result<bool, LineError> {
        let (records, hash) = self.open.remove(&chain).unwrap_or_default();
        let name = ChainName::of(&chain);
        let Ok(head) = Head::verify(&end.head, &name, &end.installation, key) else {
            return Err(LineError::Unsigned(chain));
        };
        if (head.records, head.hash) != (records, hash) {
            return Err(LineError::NotTheHead(chain));
        }
        self.checked.installation = end.installation;
        self.checked.records += records;
        self.checked.chains += 1;
        Ok(self.ended.insert(chain))
    }

    /// Reads a record. False if it is not complete.
    fn record(&mut self, line: &Line, text: &str) -> Result<bool, LineError> {
        let of_stored = line.stored.as_ref().map(|it| Hash::of(it.as_bytes()));
        let (Some(position), Some(record)) = (line.position, of_stored.or(line.record_hash)) else {
            return Ok(false);
        };
        let begins = !self.open.contains_key(&line.chain);
        let (records, hash) = self.open.entry(line.chain.clone()).or_default();
        if position != *records + 1 {
            let chain = line.chain.clone();
            return Err(match begins {
                true => LineError::Partial(chain, position),
                false => LineError::Broken(chain, position),
            });
        }
        *records = position;
        let previous = *hash;
        *hash = previous.followed_by(record);
        if let Some(stored) = &line.stored
            && let Some(field) = altered(text, stored, previous, *hash)
        {
            return Err(LineError::Altered(field));
        }
        self.checked.hidden += u64::from(line.stored.is_none());
        let stored = line.stored.as_deref().unwrap_or_default();
        self.named.extend(linked(stored));
        Ok(true)
    }

    /// The summary, if each chain that began or was named has ended.
    fn finish(self) -> Result<Checked, FileError> {
        match self.open.into_keys().next() {
            Some(chain) => Err(FileError::CutShort(chain)),
            None if self.checked.chains == 0 => Err(FileError::Empty),
            None => match self.named.difference(&self.ended).next() {
                Some(chain) => Err(FileError::ChainMissing(chain.clone())),
                None => Ok(self.checked),
            },
        }
    }
}

/// The chains that a record links to.
fn linked(stored: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Linking {
        #[serde(default)]
        links: Vec<(String, serde::de::IgnoredAny)>,
    }
    let linking: Option<Linking> = serde_json::from_str(stored).ok();
    let links = linking.into_iter().flat_map(|linking| linking.links);
    links
        .map(|(workspace, _)| ChainName::workspace(&workspace).to_string())
        .collect()
}

/// The name of the first field that differs from the stored record. The fingerprint is sealed in
/// the record, so it cannot be compared.
fn altered(line: &str, stored: &str, previous: Hash, hash: Hash) -> Option<String> {
    let fields: Option<BTreeMap<String, Value>> = serde_json::from_str(line).ok();
    let stored: Option<Value> = serde_json::from_str(stored).ok();
    let (Some(fields), Some(stored)) = (fields, stored) else {
        return Some("the line".to_owned());
    };
    let is_as_stored = |(name, shown): (&String, &Value)| match name.as_str() {
        "chain" | "stored" | "fingerprint" => true,
        "hash" => *shown == hash.to_string(),
        "previous" => *shown == previous.to_string(),
        "workspaceId" => *shown == stored["workspace"],
        "credentialId" => *shown == stored["credential"],
        "position" | "at" | "event" | "actor" | "requestId" | "provider" | "note" => {
            *shown == stored[name]
        }
        _ => false,
    };
    let mut names = fields.iter();
    names
        .find(|field| !is_as_stored(*field))
        .map(|(name, _)| name.clone())
}
