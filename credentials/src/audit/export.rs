//! The log on its way out: chain by chain, oldest first, each with its signed head at the end. Anyone with the public key can
//! check it, on another machine and without any of Keyside's data.

use std::{collections::VecDeque, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use keyside_store::{Hash, PublicKey, StorageError, chain::ChainName};

use super::{Audit, AuditFilter, search::Source};
use crate::record::AuditRecord;

/// The records on their way out, up to the heads that were known when it began.
pub struct Export<'a> {
    audit: &'a Audit,
    filter: AuditFilter,
    from: Option<Timestamp>,
    sources: VecDeque<Arc<Source>>,
    /// The next position of the first source; none before it was looked for.
    next: Option<u64>,
}

/// A part of an export.
pub enum Line {
    /// A record that may be shown.
    Record(Box<AuditRecord>),
    /// One that may not, or did not pass: the chain can be followed over it all the same.
    Hidden {
        /// Its chain.
        chain: ChainName,
        /// Its place there.
        position: u64,
        /// SHA-256 of the record.
        record: Hash,
    },
    /// All of a chain's records were before. The head is what vouches for them.
    End {
        /// The chain.
        chain: ChainName,
        /// Whose chain it is.
        installation: String,
        /// How many records it has.
        records: u64,
        /// The chain hash after the last one.
        hash: Hash,
        /// The head as it is stored, signed, in base64.
        head: String,
        /// What it is signed with.
        public_key: PublicKey,
    },
}

impl Audit {
    /// All records that pass, from a time on if one is given. What is left out of a chain is there as its hash.
    pub fn export(&self, filter: AuditFilter, from: Option<Timestamp>) -> Export<'_> {
        let sources = self.chains_for(&filter).into_iter().map(Arc::new);
        Export {
            sources: sources.collect(),
            audit: self,
            filter,
            from,
            next: None,
        }
    }
}

impl Export<'_> {
    /// The next lines; nothing after the last.
    ///
    /// # Errors
    /// The backend's.
    pub async fn next(&mut self) -> Result<Option<Vec<Line>>, StorageError> {
        let Some(source) = self.sources.front().cloned() else {
            return Ok(None);
        };
        let head = &source.state.head;
        let next = match self.next {
            Some(next) => next,
            None => self.first(&source).await?,
        };
        let read = source.read(next, BATCH).await?;
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
        // Of a damaged chain nothing is read either way.
        Ok(before.unwrap_or(0) + 1)
    }
}

/// Records that are read at once.
const BATCH: usize = 512;
