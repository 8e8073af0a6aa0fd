//! Checking all chains against their heads, and the heads against each other.

use keyside_store::{
    Hash, StorageError,
    chain::{ChainName, LoadError},
};
use serde::{Deserialize, Serialize};

use super::{Audit, Break, VerifyError};
use crate::{chains::Tracked, record::Record};

/// A place in a chain: a record's position, and the chain hash after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// 0 before the first record.
    pub position: u64,
    /// The chain hash.
    pub hash: Hash,
}

/// What was read, and is what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many records.
    pub records: u64,
    /// Where each chain ends.
    pub heads: Vec<(ChainName, Head)>,
}

impl Audit {
    /// Reads all records of all chains, and holds them against the heads, and the heads against the links between them.
    ///
    /// # Errors
    /// The first record that is not what was written, or the backend's failure.
    pub async fn verify(&self) -> Result<Verified, VerifyError> {
        let mut verified = Verified {
            records: 0,
            heads: Vec::new(),
        };
        self.verify_one(self.chains.own(), &mut verified).await?;
        for id in self.chains.marks().keys() {
            let tracked = self.chains.of(id);
            self.verify_one(&tracked, &mut verified).await?;
        }
        self.verify_links().await?;
        Ok(verified)
    }

    async fn verify_one(
        &self,
        tracked: &Tracked,
        verified: &mut Verified,
    ) -> Result<(), VerifyError> {
        let chain = &tracked.chain;
        let broken = |position, finding: String| {
            VerifyError::Broken(Break {
                chain: chain.name().clone(),
                position,
                finding,
            })
        };
        // The head as it is stored now, not as it is known here: what was edited since shows.
        match self.chains.refresh(tracked).await {
            Ok(_) => {}
            Err(LoadError::Storage(error)) => return Err(error.into()),
            Err(LoadError::Damaged(damage)) => return Err(broken(0, damage.to_string())),
        }
        let Some(state) = tracked.state() else {
            // Named, and its first commit was cut off: the next start makes it.
            return Ok(());
        };
        let walked = chain.verify(&state.head).await?;
        if let Some(found) = walked.broken {
            return Err(broken(found.position, found.finding.to_owned()));
        }
        for (entry, body) in state.documents().zip(chain.read(state.documents()).await?) {
            if body.is_none() {
                let finding = format!("its document {} is gone or edited", entry.name);
                return Err(broken(0, finding));
            }
        }
        verified.records += walked.records;
        let end = Head {
            position: state.head.records,
            hash: state.head.hash,
        };
        verified.heads.push((chain.name().clone(), end));
        Ok(())
    }

    /// Every state that the installation's chain says a workspace's chain had, is one that it had.
    async fn verify_links(&self) -> Result<(), VerifyError> {
        let own = self.chains.own();
        let Some(state) = own.state() else {
            return Ok(());
        };
        let mut next = 1;
        loop {
            let records = own.chain.records(&state.head, next, BATCH).await;
            let records = records.map_err(unreadable)?;
            let Some(last) = records.last() else {
                return Ok(());
            };
            next = last.position + 1;
            for record in records.iter().filter_map(Record::parse) {
                for (workspace, link) in record.links {
                    let tracked = self.chains.of(&workspace);
                    let Some(state) = tracked.state() else {
                        continue;
                    };
                    let at = tracked.chain.records(&state.head, link.records, 1).await;
                    let at = at.map_err(unreadable)?;
                    if at.first().is_none_or(|at| at.hash != link.hash) {
                        return Err(VerifyError::Broken(Break {
                            chain: tracked.chain.name().clone(),
                            position: link.records,
                            finding: "is not the one that the installation's chain knows"
                                .to_owned(),
                        }));
                    }
                }
            }
        }
    }
}

fn unreadable(error: LoadError) -> VerifyError {
    match error {
        LoadError::Storage(error) => error.into(),
        // It was read a moment ago.
        LoadError::Damaged(damage) => StorageError::unavailable(damage).into(),
    }
}

const BATCH: usize = 1024;
