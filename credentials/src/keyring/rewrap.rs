//! Rotates the master key and the signing key: wraps every key again, in one replacement of the
//! file.
//!
//! Workspace keys do not change, so nothing that they have sealed is affected, and requests are not
//! interrupted. The successor replaces the signing key, and all keys are then wrapped together with
//! its public key.
//!
//! Nearly everything is wrapped before the file is locked: a key service may take long for many keys,
//! and changes, revocations above all, read the file while a rotation is under way.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use keyside_store::PublicKey;

use super::{
    Keyring, KeyringError, KeyringFile, Stored, signing,
    stored::{KeyBinding, SuccessorKey, WrappedKey},
};
use crate::kms::{KeyService, KmsError, Wrapping};

/// The result of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrapped {
    /// The id of the master key that now wraps all keys.
    pub master_key: String,
    /// The id of the previous one; the same if the key service rotates its keys itself.
    pub previous: String,
    /// Number of keys that were wrapped again.
    pub keys: usize,
    /// What an operator must still do, and why: an old key could not be replaced everywhere.
    pub warning: Option<String>,
}

pub(crate) struct RemovedSuccessors(Vec<SuccessorKey>);

impl RemovedSuccessors {
    pub(crate) fn has(&self, key: &PublicKey) -> bool {
        self.0.iter().any(|it| it.public_key == *key)
    }
}

impl Keyring {
    /// The master key to rotate to, on disk: the current one while some key is wrapped with
    /// another, otherwise a new one that nothing is wrapped with yet. A key service rotates its
    /// keys itself, and wraps with their newest versions.
    pub(crate) async fn next_master_key(&self) -> Result<String, KeyringError> {
        let mut stored = self.stored.lock().await;
        let current = stored.kms.service().name("");
        let has_others = stored.has_keys_under_other(&current);
        match stored.kms.master_key_files_mut() {
            Some(files) if !has_others => Ok(files.make_next()?.id().to_owned()),
            _ => Ok(current),
        }
    }

    /// Creates a successor of the signing key. It is on disk and trusted when this returns, but
    /// signs nothing before the installation's chain has announced it.
    pub(crate) async fn add_successor(&self) -> Result<PublicKey, KeyringError> {
        let mut stored = self.stored.lock().await;
        let _lock = stored.lock(&self.path, &self.signing()).await?;
        let mut changed = stored.file.clone();
        let successor = signing::new_successor(&*stored.kms.service(), &changed).await?;
        let public_key = successor.public_key;
        changed.successors.push(successor);
        stored.replace(changed, &self.path).await?;
        self.reload(&stored).await?;
        Ok(public_key)
    }

    pub(crate) async fn remove_successors(&self) -> Result<RemovedSuccessors, KeyringError> {
        let removed = self.change_successors(std::mem::take).await?;
        Ok(RemovedSuccessors(removed))
    }

    pub(crate) async fn put_back(&self, removed: RemovedSuccessors) -> Result<(), KeyringError> {
        self.change_successors(|successors| successors.extend(removed.0))
            .await
    }

    async fn change_successors<T>(
        &self,
        change: impl FnOnce(&mut Vec<SuccessorKey>) -> T,
    ) -> Result<T, KeyringError> {
        let mut stored = self.stored.lock().await;
        let _lock = stored.lock(&self.path, &self.signing()).await?;
        let mut changed = stored.file.clone();
        let result = change(&mut changed.successors);
        stored.replace(changed, &self.path).await?;
        self.reload(&stored).await?;
        Ok(result)
    }

    /// Wraps all keys with the master key `to` and makes it the current one. `successor` becomes
    /// the signing key if the file has it: the previous one is removed, and its signatures are
    /// refused from then on. Can be repeated.
    pub(crate) async fn rewrap(
        &self,
        to: &str,
        successor: Option<&PublicKey>,
        now: Timestamp,
    ) -> Result<Rewrapped, KeyringError> {
        let mut made = self.wrap_ahead(to, successor).await?;
        let mut stored = self.stored.lock().await;
        let _lock = stored.lock(&self.path, &self.signing()).await?;
        stored.expect_on_disk(to)?;
        let previous = stored.previous(to);
        let (service, done) = stored.wrapping_with(to)?;
        let mut wrapped = rewrap(&stored.file, &*service, done, successor, &mut made).await?;
        let left = wrapped.left.take();
        if left.is_some() {
            // A key that may unwrap later must not stay bound to a removed signing key, so keep the
            // old one.
            wrapped = rewrap(&stored.file, &*service, done, None, &mut made).await?;
        }
        let left = left.map(|(key, error)| {
            format!(
                "the old signing key is still trusted, because {key} cannot be wrapped together with the new one: {error}. \
                 Mend that, or delete its workspace, and rotate again"
            )
        });
        let keys = wrapped.keys;
        if keys > 0 {
            // A service wraps with its newest version, whose id does not show.
            if done.is_none() || previous != to {
                wrapped.file.master_key_since = Some(now);
            }
            stored.replace(wrapped.file, &self.path).await?;
            self.reload(&stored).await?;
        }
        let files = stored.kms.master_key_files_mut();
        let adopted = files.map_or(Ok(()), |files| files.adopt(to));
        let adopted = adopted.err().map(|error| {
            format!(
                "{error}: the new master key is in the file beside the old one that ends in .next-of-keyside, and is \
                 found there. Move it to the old one's path"
            )
        });
        let warnings: Vec<_> = left.into_iter().chain(adopted).collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join(". "));
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        Ok(Rewrapped {
            master_key: to.to_owned(),
            previous,
            keys,
            warning,
        })
    }

    /// Wraps what [`Self::rewrap`] needs, as the file is now. Nothing is locked meanwhile: what changes
    /// in the file is wrapped when it is replaced.
    async fn wrap_ahead(
        &self,
        to: &str,
        successor: Option<&PublicKey>,
    ) -> Result<Made, KeyringError> {
        let (file, (service, done)) = {
            let mut stored = self.stored.lock().await;
            let _lock = stored.lock(&self.path, &self.signing()).await?;
            (stored.file.clone(), stored.wrapping_with(to)?)
        };
        let mut made = Made::new();
        let wrapped = rewrap(&file, &*service, done, successor, &mut made).await?;
        if wrapped.left.is_some() {
            rewrap(&file, &*service, done, None, &mut made).await?;
        }
        Ok(made)
    }

    /// Finishes a rotation that was recorded (`recorded` is the last recorded master key) or has
    /// reached the file, and discards any other. `successor` is the signing key that every chain
    /// has adopted, if the file must still adopt it.
    pub(crate) async fn settle(
        &self,
        recorded: Option<&str>,
        successor: Option<&PublicKey>,
        now: Timestamp,
    ) -> Result<(), KeyringError> {
        let to = {
            let stored = self.stored.lock().await;
            let current = successor.map(|_| stored.kms.service().name(""));
            stored.unfinished(recorded).or(current)
        };
        if let Some(to) = to {
            let Rewrapped { keys, .. } = self.rewrap(&to, successor, now).await?;
            tracing::info!(
                master_key = to,
                keys,
                "finished an interrupted rotation of the installation's keys"
            );
            return Ok(());
        }
        let mut stored = self.stored.lock().await;
        if let Some(files) = stored.kms.master_key_files_mut()
            && let Err(error) = files.forget_next()
        {
            tracing::warn!(%error, "an unused master key could not be removed");
        }
        Ok(())
    }
}

impl Stored {
    /// The service that wraps with `to`, and the master key whose keys need not be wrapped again. A
    /// service names keys without their versions, so it is unknown which keys are wrapped with the
    /// newest.
    fn wrapping_with<'a>(
        &self,
        to: &'a str,
    ) -> Result<(Arc<dyn KeyService>, Option<&'a str>), KmsError> {
        let service = self.kms.wrapping_with(to)?;
        Ok((service, self.kms.master_key_files().map(|_| to)))
    }

    /// Refuses the next master key if its file is gone, unless something is wrapped with it already:
    /// nothing could be opened after a restart.
    fn expect_on_disk(&mut self, to: &str) -> Result<(), KmsError> {
        let is_in_use = self.wrapping().flatten().any(|by| by == to);
        match self.kms.master_key_files_mut() {
            Some(files) if !is_in_use => files.expect_next_on_disk(to),
            _ => Ok(()),
        }
    }

    /// Whether some key can and must be wrapped again. A key whose master key is missing cannot.
    fn has_keys_under_other(&self, master_key: &str) -> bool {
        let Some(files) = self.kms.master_key_files() else {
            return false;
        };
        let mut by = self.wrapping().flatten();
        by.any(|by| by != master_key && files.has(&by))
    }

    /// The master key of an unfinished rotation. A key that is wrapped with the next master key is
    /// sufficient evidence, whatever the log says: discarding that master key would lose the
    /// wrapped key.
    fn unfinished(&self, recorded: Option<&str>) -> Option<String> {
        let files = self.kms.master_key_files()?;
        let current = self.kms.service().name("");
        let in_use = self.wrapping().flatten().find(|by| files.is_next(by));
        let is_started = |to: &&str| match current == **to {
            true => self.has_keys_under_other(to),
            false => files.is_next(to),
        };
        in_use.or_else(|| recorded.filter(is_started).map(str::to_owned))
    }

    /// The id of a master key other than `to` that still wraps something, for display. A service's
    /// keys keep their ids.
    fn previous(&self, to: &str) -> String {
        if self.kms.master_key_files().is_none() {
            return to.to_owned();
        }
        let other = self.wrapping().flatten().find(|by| by != to);
        other.unwrap_or_else(|| self.kms.service().name(""))
    }

    /// The master key that wraps each key, the installation's own key first.
    fn wrapping(&self) -> impl Iterator<Item = Option<String>> {
        let service = self.kms.service();
        let keys = self.file.workspaces.values().flatten();
        let successors = self.file.successors.iter().map(|key| &key.key);
        [&self.file.installation_key, &self.file.signing_key]
            .into_iter()
            .chain(successors)
            .chain(keys)
            .map(move |key| service.wrapped_by(&key.wrapped))
    }
}

/// Keys that were wrapped again, by the public key that they are bound to and their wrapped form
/// before.
type Made = HashMap<(String, Vec<u8>), Vec<u8>>;

/// A keyring file whose keys were wrapped again.
struct Wrapped {
    file: KeyringFile,
    keys: usize,
    /// A key that does not unwrap now but may later, and why. Set only if the signing key changes.
    left: Option<(String, KmsError)>,
}

/// Wraps again every key that `done` does not wrap, or all keys if `successor` becomes the signing
/// key. A key that does not unwrap is left unchanged: it is not used either way. What is in `made` is
/// taken from there, and the rest is added to it.
async fn rewrap(
    before: &KeyringFile,
    service: &dyn KeyService,
    done: Option<&str>,
    successor: Option<&PublicKey>,
    made: &mut Made,
) -> Result<Wrapped, KmsError> {
    let mut file = before.clone();
    let installation = before.installation.as_str();
    let succeeded = succeed(&mut file, service, successor).await?;
    let (mut keys, mut left) = (usize::from(succeeded.is_some()), None);
    for (bound, key) in file.keys_mut().collect::<Vec<_>>() {
        let KeyBinding(workspace, signer) = &bound;
        let to = match &succeeded {
            // The new signing key is not bound to a signing key.
            Some(_) if signer.is_empty() => continue,
            Some(to) => to,
            None if done.is_some() && service.wrapped_by(&key.wrapped).as_deref() == done => {
                continue;
            }
            None => signer,
        };
        let place = (to.clone(), key.wrapped.clone());
        if let Some(wrapped) = made.get(&place) {
            key.wrapped.clone_from(wrapped);
            keys += 1;
            continue;
        }
        let from = Wrapping {
            installation,
            workspace,
            key: &key.id,
            signer,
        };
        let to = Wrapping { signer: to, ..from };
        match service.unwrap(&from, &key.wrapped).await {
            Ok(root) => {
                key.wrapped = service.wrap(&to, &root).await?;
                made.insert(place, key.wrapped.clone());
            }
            Err(error) if error.is_about_one_key() => {
                tracing::error!(workspace, key = key.id, %error, "a workspace key does not unwrap and is left unchanged");
                let may_unwrap = !matches!(error, KmsError::NotAuthentic { .. });
                if succeeded.is_some() && may_unwrap {
                    left = Some((format!("{} of {workspace}", key.id), error));
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        keys += 1;
    }
    if let Some(public_key) = successor.filter(|_| succeeded.is_some()) {
        file.public_key = *public_key;
    }
    Ok(Wrapped { file, keys, left })
}

/// Makes a successor the signing key, if the file has it, and returns its public key. The file's
/// public key is changed by the caller.
async fn succeed(
    file: &mut KeyringFile,
    service: &dyn KeyService,
    successor: Option<&PublicKey>,
) -> Result<Option<String>, KmsError> {
    let Some(taken) = successor.and_then(|key| file.take_successor(key)) else {
        return Ok(None);
    };
    let signer = file.public_key.to_string();
    let from = Wrapping::of_installation(&file.installation, &taken.key.id, &signer);
    let seed = service.unwrap(&from, &taken.key.wrapped).await?;
    let wrapped = service
        .wrap(&Wrapping { signer: "", ..from }, &seed)
        .await?;
    file.signing_key = WrappedKey {
        id: taken.key.id,
        wrapped,
    };
    Ok(Some(taken.public_key.to_string()))
}
