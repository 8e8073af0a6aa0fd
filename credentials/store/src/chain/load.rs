//! Reads a chain: its head, the pages that the head names, and documents. Accepts only what the
//! head's signature vouches for.

use std::sync::Arc;

use super::{
    Chain, Damage, Entry, Head, LoadError, ObjectRef, State,
    head::Link,
    map::{Map, Page},
};
use crate::{error::StorageError, hash::Hash, signing::TrustedKeys};

impl Chain {
    /// Loads the current state; `None` if the chain has no commit yet.
    ///
    /// # Errors
    /// The chain is damaged, or the backend fails.
    pub async fn load(&self, trust: &TrustedKeys) -> Result<Option<Arc<State>>, LoadError> {
        match self.head_bytes().await? {
            None => Ok(None),
            Some(bytes) => self.state_of(bytes, trust, None).await.map(Some),
        }
    }

    /// Loads the current state, if it differs from `known`.
    ///
    /// # Errors
    /// The chain is damaged, is not a continuation of `known`, or the backend fails.
    pub async fn refresh(
        &self,
        known: &Arc<State>,
        trust: &TrustedKeys,
    ) -> Result<Option<Arc<State>>, LoadError> {
        let mut bytes = self.head_bytes().await?.ok_or(Damage::HeadGone)?;
        loop {
            if bytes == known.bytes {
                return Ok(None);
            }
            let state = self.state_of(bytes, trust, Some(known)).await?;
            let leads_on = self.check_continues(known.head.link(), &state.head).await;
            let Err(error) = leads_on else {
                return Ok(Some(state));
            };
            // An object that this head names may be missing because the head was replaced
            // meanwhile.
            bytes = self.head_bytes().await?.ok_or(Damage::HeadGone)?;
            if bytes == state.bytes {
                return Err(error);
            }
        }
    }

    /// Accepts a head only if it is `known` or a continuation of it.
    ///
    /// # Errors
    /// [`Damage::Older`] and [`Damage::Forked`], or the backend's failure.
    pub async fn check_continues(&self, known: Link, head: &Head) -> Result<(), LoadError> {
        if head.epoch > known.epoch {
            // A restore from a backup begins a new history.
            return Ok(());
        }
        let (found, seen) = ((head.epoch, head.seq), (known.epoch, known.seq));
        if found < seen {
            let older = Damage::Older { found, known: seen };
            return Err(older.into());
        }
        self.check_leads_on(known, head).await
    }

    /// Reads the contents of documents and checks their hashes; `None` for those that are missing
    /// or edited.
    ///
    /// # Errors
    /// The backend's.
    pub async fn read<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let objects: Vec<_> = entries.into_iter().map(|entry| entry.object).collect();
        self.objects(&objects).await
    }

    /// Reads a document without checking its hash, to report what a damaged document claims to be.
    ///
    /// # Errors
    /// The backend's.
    pub async fn read_unverified(&self, entry: &Entry) -> Result<Option<Vec<u8>>, StorageError> {
        let key = self.name.object_key(&entry.object);
        let found = self.storage.get(&key).await?;
        Ok(found.and_then(|bytes| unsalted(&bytes)))
    }

    /// Reads the head without verifying it, to tell kinds of damage apart.
    ///
    /// # Errors
    /// The backend's.
    pub async fn head_bytes(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.get(&self.name.head_key()).await
    }

    /// Reads objects without their salt; `None` for those that are missing or do not match their
    /// hash.
    pub(super) async fn objects(
        &self,
        objects: &[ObjectRef],
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let keys: Vec<_> = objects
            .iter()
            .map(|object| self.name.object_key(object))
            .collect();
        let found = self.storage.get_all(&keys).await?;
        let checked = objects.iter().zip(found).map(|(object, bytes)| {
            let bytes = bytes.filter(|bytes| Hash::of(bytes) == object.hash)?;
            unsalted(&bytes)
        });
        Ok(checked.collect())
    }

    async fn state_of(
        &self,
        mut bytes: Vec<u8>,
        trust: &TrustedKeys,
        known: Option<&Arc<State>>,
    ) -> Result<Arc<State>, LoadError> {
        loop {
            let verified = Head::verify_under(&bytes, &self.name, &self.installation, trust);
            let (head, signer) = verified?;
            match self.map_of(&head, known).await {
                Ok(map) => {
                    return Ok(Arc::new(State {
                        head,
                        bytes,
                        signer,
                        map,
                    }));
                }
                Err(LoadError::Damaged(Damage::PageGone)) => {
                    // The head may have been replaced meanwhile, and the page deleted with it.
                    let now = self.head_bytes().await?.ok_or(Damage::HeadGone)?;
                    if now == bytes {
                        return Err(Damage::PageGone.into());
                    }
                    bytes = now;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn map_of(&self, head: &Head, known: Option<&Arc<State>>) -> Result<Map, LoadError> {
        let shared = |object: &ObjectRef| {
            let pages = known.into_iter().flat_map(|known| &known.map.pages);
            let mut same = pages.filter(|page| page.object == Some(*object));
            same.next().cloned()
        };
        let named = match head.index {
            None => head.pages.clone(),
            Some(index) => parse(self.objects(&[index]).await?.pop().flatten())?,
        };
        let mut pages: Vec<_> = named.iter().map(shared).collect();
        let missing = named.iter().zip(&pages);
        let missing = missing.filter(|(_, page)| page.is_none());
        let missing: Vec<_> = missing.map(|(object, _)| *object).collect();
        let mut read = self.objects(&missing).await?.into_iter().zip(missing);
        for page in pages.iter_mut().filter(|page| page.is_none()) {
            let (bytes, object) = read.next().ok_or(Damage::PageGone)?;
            let entries: Vec<Entry> = parse(bytes)?;
            let object = Some(object);
            *page = Some(Arc::new(Page { object, entries }));
        }
        Ok(Map {
            pages: pages.into_iter().flatten().collect(),
            index: head.index,
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: Option<Vec<u8>>) -> Result<T, LoadError> {
    let parsed = bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok());
    Ok(parsed.ok_or(Damage::PageGone)?)
}

/// Removes the salt that an object begins with. The salt is random for each attempt, so two
/// attempts never write the same object, and the one that loses may delete all its objects.
pub(super) fn unsalted(bytes: &[u8]) -> Option<Vec<u8>> {
    bytes.get(SALT_LEN..).map(<[u8]>::to_vec)
}

/// Bytes. Only has to differ between concurrent attempts at one commit.
pub(super) const SALT_LEN: usize = 8;
