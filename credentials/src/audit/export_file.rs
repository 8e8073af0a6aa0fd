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
    NotVerified(usize, String),
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

/// Verifies an NDJSON export against the public key of its installation.
///
/// # Errors
/// The first line that does not verify.
pub fn verify_export(file: impl BufRead, key: &PublicKey) -> Result<Checked, FileError> {
    let mut checked = Checked::default();
    let mut open: BTreeMap<String, (u64, Hash)> = BTreeMap::new();
    let (mut named, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for (line, text) in (1..).zip(file.lines()) {
        let text = text?;
        let not_verified = |finding| FileError::NotVerified(line, finding);
        let parsed: Line = serde_json::from_str(&text).map_err(|_| FileError::NotALine(line))?;
        let chain = parsed.chain.clone();
        if let Some(end) = parsed.end {
            let (records, hash) = open.remove(&chain).unwrap_or_default();
            let head = head(&end, &chain, key).ok_or_else(|| {
                not_verified(format!(
                    "the head of {chain} is not signed by the given key: another installation's, or edited"
                ))
            })?;
            if (head.records, head.hash) != (records, hash) {
                return Err(not_verified(format!(
                    "the records of {chain} do not lead to its head: some are missing at the end, or edited"
                )));
            }
            checked.installation = end.installation;
            checked.records += records;
            checked.chains += 1;
            if !ended.insert(chain) {
                return Err(FileError::NotALine(line));
            }
            continue;
        }
        let (Some(position), Some(record)) = (parsed.position, record_hash(&parsed)) else {
            return Err(FileError::NotALine(line));
        };
        let begins = !open.contains_key(&chain);
        let (records, hash) = open.entry(chain.clone()).or_default();
        if position != *records + 1 {
            return Err(not_verified(match begins {
                true => format!(
                    "the records of {chain} begin with {position}, and those before are not in the file: export without --from to \
                     check all of it"
                ),
                false => format!(
                    "record {position} of {chain} does not follow the one before it: edited, left out or added"
                ),
            }));
        }
        *records = position;
        let previous = *hash;
        *hash = previous.followed_by(record);
        if let Some(stored) = &parsed.stored
            && let Some(field) = altered(&text, stored, previous, *hash)
        {
            return Err(not_verified(format!(
                "{field} is not what the record says: edited"
            )));
        }
        checked.hidden += u64::from(parsed.stored.is_none());
        named.extend(linked(parsed.stored.as_deref().unwrap_or_default()));
    }
    match open.into_keys().next() {
        Some(chain) => Err(FileError::CutShort(chain)),
        None if checked.chains == 0 => Err(FileError::Empty),
        None => match named.difference(&ended).next() {
            Some(chain) => Err(FileError::ChainMissing(chain.clone())),
            None => Ok(checked),
        },
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

fn record_hash(line: &Line) -> Option<Hash> {
    match &line.stored {
        Some(stored) => Some(Hash::of(stored.as_bytes())),
        None => line.record_hash,
    }
}

fn head(end: &End, chain: &str, key: &PublicKey) -> Option<Head> {
    Head::verify(&end.head, &ChainName::of(chain), &end.installation, key).ok()
}
