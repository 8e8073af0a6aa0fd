//! Group commit: concurrent callers share one flush.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
};

use keyside_store::StorageError;
use tokio::sync::Mutex;

/// Counts writes, and how many of them are on disk.
#[derive(Default)]
pub(super) struct Flush {
    /// Number of writes so far.
    written: AtomicU64,
    /// Number of writes known to be on disk. Locked during a flush, so that a caller who waits for
    /// the lock usually finds its own write flushed.
    durable: Mutex<u64>,
}

impl Flush {
    pub(super) fn wrote(&self) {
        self.written.fetch_add(1, Ordering::Release);
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Flushes unless another flush is in progress. Returns whether it did.
    pub(super) fn try_now(
        &self,
        flush: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<bool, StorageError> {
        let Ok(mut durable) = self.durable.try_lock() else {
            return Ok(false);
        };
        let covered = self.written();
        flush()?;
        *durable = covered;
        Ok(true)
    }

    /// Returns when all earlier writes are on disk, by this flush or by one that began later.
    pub(super) async fn share<F>(&self, flush: impl FnOnce() -> F) -> Result<(), StorageError>
    where
        F: Future<Output = Result<(), StorageError>>,
    {
        let mine = self.written();
        let mut durable = self.durable.lock().await;
        if *durable >= mine {
            return Ok(());
        }
        let covered = self.written();
        flush().await?;
        *durable = covered;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use super::*;

    #[tokio::test]
    async fn many_writers_share_few_flushes_and_each_is_covered() {
        let (flush, flushes) = (Arc::new(Flush::default()), Arc::new(AtomicUsize::new(0)));
        let writers: Vec<_> = (0..100)
            .map(|_| {
                let (flush, flushes) = (flush.clone(), flushes.clone());
                tokio::spawn(async move {
                    flush.wrote();
                    let mine = flush.written();
                    let count = || async {
                        flushes.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok(())
                    };
                    flush.share(count).await.unwrap();
                    assert!(*flush.durable.lock().await >= mine);
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert!(flushes.load(Ordering::SeqCst) < 10, "{flushes:?}");
    }

    #[tokio::test]
    async fn a_flush_of_this_moment_waits_for_no_other() {
        let flush = Flush::default();
        flush.wrote();
        let during_another = flush.durable.lock().await;
        assert!(!flush.try_now(|| Ok(())).unwrap());
        drop(during_another);
        assert!(flush.try_now(|| Ok(())).unwrap());
        let again = || async { panic!("the write was flushed already") };
        flush.share(again).await.unwrap();
    }

    #[tokio::test]
    async fn a_failed_flush_covers_no_write() {
        let flush = Flush::default();
        flush.wrote();
        let fail = || async {
            Err(StorageError::Unavailable {
                reason: "disk".to_owned(),
            })
        };
        assert!(flush.share(fail).await.is_err());
        assert!(flush.share(fail).await.is_err(), "the next one tries again");
        assert!(flush.share(|| async { Ok(()) }).await.is_ok());
    }
    #[tokio::test]
    async fn a_flush_of_this_moment_covers_what_was_written_before_it_if_it_succeeds() {
        let flush = Flush::default();
        flush.wrote();
        let fail = || Err(StorageError::unavailable("disk"));
        flush.try_now(fail).unwrap_err();
        assert_eq!(*flush.durable.lock().await, 0);
        let with_another = || {
            flush.wrote();
            Ok(())
        };
        assert!(flush.try_now(with_another).unwrap());
        assert_eq!(*flush.durable.lock().await, 1);
        let mut is_flushed = false;
        let again = || {
            is_flushed = true;
            async { Ok(()) }
        };
        flush.share(again).await.unwrap();
        assert!(is_flushed, "the write during the flush is not covered");
    }
}
