//! Exports the log chain by chain, oldest record first, each chain followed by its signed head. An
//! auditor who has the public key can verify the export on another machine.

use std::{collections::VecDeque, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use keyside_store::{Hash, PublicKey, StorageError, chain::ChainName};

use super::{Audit, AuditFilter, Break, ReadError, search::Source};
use crate::record::AuditRecord;

/// An export in progress. It ends at the heads that were known when it began.
pub struct Export<'a> {
    audit: &'a Audit,
    filter: AuditFilter,
    from: Option<Timestamp>,
    sources: VecDeque<Arc<Source>>,
    /// The next position in the first source; `None` until the start position was looked up.
    next: Option<u64>,
    /// Chains that cannot be read at all.
    unreadable: Vec<Break>,
}

/// A line of an export.
pub enum Line {
    /// A record that the caller may see.
    Record(Box<AuditRecord>),
    /// A record that the caller may not see or did not select. Its hash keeps the chain verifiable.
    Hidden {
        /// The chain.
        chain: ChainName,
        /// The record's position, from 1.
        position: u64,
        /// SHA-256 of the record.
        record: Hash,
    },
    /// The end of a chain, with the head that vouches for its records.
    End {
        /// The chain.
        chain: ChainName,
        /// The id of the installation.
        installation: String,
        /// Number of records in the chain.
        records: u64,
        /// The chain hash after the last record.
        hash: Hash,
        /// The signed head as it is stored, in base64.
        head: String,
        /// The key that the head is signed with.
        public_key: PublicKey,
    },
}

impl Audit {
    /// Exports the records that pass `filter`, beginning at `from` if given. Other records are
    /// exported as their hashes.
    pub fn export(&self, filter: AuditFilter, from: Option<Timestamp>) -> Export<'_> {
        let sources = self.chains_for(&filter).into_iter().map(Arc::new);
        Export {
            sources: sources.collect(),
            unreadable: self.unreadable_for(&filter),
            audit: self,
            filter,
            from,
            next: None,
        }
    }
}

impl Export<'_> {
    /// The next lines; `None` after the last.
    ///
    /// # Errors
    /// The backend failed, or a chain is damaged. After [`ReadError::Damaged`] the export is
    /// incomplete, and the next call continues with the next chain.
    pub async fn next(&mut self) -> Result<Option<Vec<Line>>, ReadError> {
        let Some(source) = self.sources.front().cloned() else {
            return match self.unreadable.pop() {
                Some(found) => Err(found.into()),
                None => Ok(None),
            };
        };
        let head = &source.state.head;
        let next = match self.next {
            Some(next) => next,
            None => self.first(&source).await?,
        };
        let read = match source.read(next, BATCH).await {
            Err(error @ ReadError::Damaged(_)) => {
                self.sources.pop_front();
                self.next = None;
                return Err(error);
            }
            read => read?,
        };
        let Some(last) = read.last() else {
            self.sources.pop_front();
            self.next = None;
            return Ok(Some(vec![Line::End {
                chain: source.name.clone(),
                installation: self.audit.keyring.installation().installation().to_owned(),
                records: head.records,
                hash: head.hash,
                head: BASE64_STANDARD.encode(source.state.bytes()),
                public_key: source.state.signer(),
            }]));
        };
        self.next = Some(last.position + 1);
        let lines = read.into_iter().map(|stored| {
            let hidden = Line::Hidden {
                chain: source.name.clone(),
                position: stored.position,
                record: Hash::of(&stored.bytes),
            };
            let shown = self.audit.shown(&self.filter, &source.name, stored);
            shown.map_or(hidden, |record| Line::Record(Box::new(record)))
        });
        Ok(Some(lines.collect()))
    }

    async fn first(&self, source: &Source) -> Result<u64, StorageError> {
        let Some(from) = self.from else {
            return Ok(1);
        };
        let before = source.before(from.as_microsecond()).await;
        // If the chain is damaged, `read` reports it.
        Ok(before.unwrap_or(0) + 1)
    }
}

/// Records per read.
const BATCH: usize = 512;
