//! Rotating the master key and the signing key: every key is wrapped again, in one replacement of the file.
//!
//! Workspace keys stay what they are, so nothing that they have sealed is touched and no request notices. The signing key gives
//! way to its successor, with whose public key everything is wrapped together from then on.

use keyside_store::PublicKey;

use super::{
    Keyring, KeyringError, KeyringFile, Stored, signing,
    stored::{KeyBinding, WrappedKey},
};
use crate::kms::{KeyService, KmsError, Wrapping};

/// What a rotation of the installation's keys came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrapped {
    /// The id of the master key that everything is wrapped with now.
    pub master_key: String,
    /// The one before; the same where a key service rotates its keys itself.
    pub previous: String,
    /// How many keys were wrapped again.
    pub keys: usize,
    /// What is left for people to do, and why: an old key could not give way to the new one everywhere.
    pub warning: Option<String>,
}

impl Keyring {
    /// The master key to go over to, on disk: the current one, as long as something is wrapped with another, else a new
    /// one. Nothing is wrapped with it yet. A key service rotates its keys itself, and wraps with their newest versions.
    pub(crate) async fn next_master_key(&self) -> Result<String, KeyringError> {
        let mut stored = self.stored.lock().await;
        let current = stored.kms.service().name("");
        let has_others = stored.has_keys_under_other(&current);
        match stored.kms.master_key_files_mut() {
            Some(files) if !has_others => Ok(files.make_next()?.id().to_owned()),
            _ => Ok(current),
        }
    }

    /// Makes a signing key that may succeed the one in use. It is on disk when this returns, and trusted; nothing is signed with
    /// it before the installation's chain has announced it.
    pub(crate) async fn add_successor(&self) -> Result<PublicKey, KeyringError> {
        let mut stored = self.stored.lock().await;
        let _lock = stored.lock(&self.path, &self.signing()).await?;
        let mut changed = stored.file.clone();
        let successor = signing::new_successor(&*stored.kms.service(), &changed).await?;
        let public_key = successor.public_key;
        changed.successors.push(successor);
        stored.replace(changed, &self.path).await?;
        self.reload_signing_keys(&stored).await?;
        Ok(public_key)
    }

    /// Wraps everything with the master key `to`, and has it take the place of the old one. `successor` becomes the signing
    /// key, if the file has it: the one before is gone then, and what it has signed is refused. Repeating it does no harm.
    pub(crate) async fn rewrap(
        &self,
        to: &str,
        successor: Option<&PublicKey>,
    ) -> Result<Rewrapped, KeyringError> {
        let mut stored = self.stored.lock().await;
        let _lock = stored.lock(&self.path, &self.signing()).await?;
        let previous = stored.previous(to);
        let service = stored.kms.wrapping_with(to)?;
        // A service names its keys, not their versions, so nothing tells which are wrapped with the newest.
        let done = stored.kms.master_key_files().map(|_| to);
        let mut wrapped = rewrap(&stored.file, &*service, done, successor).await?;
        let left = wrapped.left.take();
        if left.is_some() {
            // A key that may unwrap again one day must not be left behind with the old signing key.
            wrapped = rewrap(&stored.file, &*service, done, None).await?;
        }
        let left = left.map(|(key, error)| {
            format!(
                "the old signing key is still trusted, because {key} cannot be wrapped together with the new one: {error}. \
                 Mend that, or delete its workspace, and rotate again"
            )
        });
        let keys = wrapped.keys;
        if keys > 0 {
            stored.replace(wrapped.file, &self.path).await?;
            self.reload_signing_keys(&stored).await?;
        }
        let files = stored.kms.master_key_files_mut();
        let adopted = files.map_or(Ok(()), |files| files.adopt(to));
        let adopted = adopted.err().map(|error| {
            format!(
                "{error}: the new master key stands beside the old one, in the file that ends in .next-of-keyside, and is \
                 found there. Put it in the old one's place"
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

    /// Finishes a rotation that is on record, `recorded` being the last master key, or that has come as far as the file; forgets
    /// one that has not. `successor` is the signing key that every chain has gone over to, if that is left to be done.
    pub(crate) async fn settle(
        &self,
        recorded: Option<&str>,
        successor: Option<&PublicKey>,
    ) -> Result<(), KeyringError> {
        let to = {
            let stored = self.stored.lock().await;
            let current = successor.map(|_| stored.kms.service().name(""));
            stored.unfinished(recorded).or(current)
        };
        if let Some(to) = to {
            let Rewrapped { keys, .. } = self.rewrap(&to, successor).await?;
            tracing::info!(
                master_key = to,
                keys,
                "finished a rotation of the keys of the installation"
            );
            return Ok(());
        }
        let mut stored = self.stored.lock().await;
        if let Some(files) = stored.kms.master_key_files_mut()
            && let Err(error) = files.forget_next()
        {
            tracing::warn!(%error, "a master key that was never used is left");
        }
        Ok(())
    }
}

impl Stored {
    /// Whether there is something to be wrapped anew; without the master key that wrapped it, it cannot be.
    fn has_keys_under_other(&self, master_key: &str) -> bool {
        let Some(files) = self.kms.master_key_files() else {
            return false;
        };
        let mut by = self.wrapping().flatten();
        by.any(|by| by != master_key && files.has(&by))
    }

    /// The master key to go over to, if that has begun. Something that is wrapped with the next one is proof enough,
    /// whatever became of the log: forgotten, that key would take everything along.
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

    /// What something is wrapped with beside `to`, for people to know. A service's keys keep their names.
    fn previous(&self, to: &str) -> String {
        if self.kms.master_key_files().is_none() {
            return to.to_owned();
        }
        let other = self.wrapping().flatten().find(|by| by != to);
        other.unwrap_or_else(|| self.kms.service().name(""))
    }

    /// The master key of each key, the installation's own first.
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

/// A keyring's file with its keys wrapped again.
struct Wrapped {
    file: KeyringFile,
    keys: usize,
    /// A key that does not unwrap now and may again, and why. Only looked for where the signing key changes.
    left: Option<(String, KmsError)>,
}

/// Wraps again what `done` has not wrapped, and everything where `successor` becomes the signing key. A key that does not
/// unwrap stays as it is: it is not used either way.
async fn rewrap(
    before: &KeyringFile,
    service: &dyn KeyService,
    done: Option<&str>,
    successor: Option<&PublicKey>,
) -> Result<Wrapped, KmsError> {
    let mut file = before.clone();
    let installation = before.installation.as_str();
    let succeeded = succeed(&mut file, service, successor).await?;
    let (mut keys, mut left) = (usize::from(succeeded.is_some()), None);
    for (bound, key) in file.keys_mut().collect::<Vec<_>>() {
        let KeyBinding(workspace, signer) = &bound;
        let to = match &succeeded {
            // The new signing key itself, which is bound to none.
            Some(_) if signer.is_empty() => continue,
            Some(to) => to,
            None if done.is_some() && service.wrapped_by(&key.wrapped).as_deref() == done => {
                continue;
            }
            None => signer,
        };
        let from = Wrapping {
            installation,
            workspace,
            key: &key.id,
            signer,
        };
        let to = Wrapping { signer: to, ..from };
        match service.unwrap(&from, &key.wrapped).await {
            Ok(root) => key.wrapped = service.wrap(&to, &root).await?,
            Err(error) if error.is_about_one_key() => {
                tracing::error!(workspace, key = key.id, %error, "a workspace key is left as it is");
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

/// Puts a successor in the place of the signing key, if the file has it, and says what its public key is. The file's own public
/// key is still the one before.
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
