//! Reads records of a head while later commits may replace it. Those move the head's commits into a
//! segment, which only a later head names.

use keyside_store::chain::{Head, LoadError, StoredRecord};

use super::{Chains, Tracked};

impl Chains {
    /// Up to `limit` records of the head `of`, from position `from`, oldest first.
    pub(crate) async fn records(
        &self,
        tracked: &Tracked,
        of: &Head,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, LoadError> {
        let mut head = of.clone();
        loop {
            match tracked.chain.records(&head, from, limit).await {
                Err(LoadError::Damaged(damage)) => {
                    head = self.later(tracked, &head).await?.ok_or(damage)?;
                }
                read => {
                    let mut records = read?;
                    records.retain(|record| record.position <= of.records);
                    return Ok(records);
                }
            }
        }
    }

    /// Number of records of the head `of` from before `at`, in microseconds since the Unix epoch,
    /// by [`Self::order_time`].
    pub(crate) async fn records_before(
        &self,
        tracked: &Tracked,
        of: &Head,
        at: i64,
    ) -> Result<u64, LoadError> {
        let name = tracked.chain.name();
        let mut head = of.clone();
        loop {
            let is_before = |it: &StoredRecord| self.order_time(name, it.position, it.at) < at;
            match tracked.chain.records_before(&head, is_before).await {
                Err(LoadError::Damaged(damage)) => {
                    head = self.later(tracked, &head).await?.ok_or(damage)?;
                }
                read => return Ok(read?.min(of.records)),
            }
        }
    }

    /// The head that replaced `than`; `None` if it was not replaced, so that missing objects are
    /// damage.
    async fn later(&self, tracked: &Tracked, than: &Head) -> Result<Option<Head>, LoadError> {
        self.refresh(tracked).await?;
        let now = tracked.state().map(|state| state.head.clone());
        Ok(now.filter(|now| now != than && now.epoch == than.epoch))
    }
}
