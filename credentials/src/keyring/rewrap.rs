//! Going over to another master key: every key is wrapped anew, in one replacement of the file.
//!
//! The keys themselves stay what they are, so nothing that they have sealed is touched and no request notices.

use super::{Keyring, KeyringError, KeyringFile, Stored, stored::Bound};
use crate::kms::{KeyService, KmsError, Wrapping};

/// What going over to another master key came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrapped {
    /// The id of the master key that everything is wrapped with now.
    pub master_key: String,
    /// The one before; the same where a key service rotates its keys itself.
    pub previous: String,
    /// How many keys were wrapped anew.
    pub keys: usize,
    /// The new key works, and could not be put in the place of the old one: why, and what to do.
    pub warning: Option<String>,
}

impl Keyring {
    /// The master key to go over to, on disk: the current one, as long as something is wrapped with another, else a new
    /// one. Nothing is wrapped with it yet. A key service rotates its keys itself, and wraps with their newest versions.
    pub(crate) async fn next_master_key(&self) -> Result<String, KeyringError> {
        let mut stored = self.stored.lock().await;
        let current = stored.kms.service().name("");
        let has_others = stored.has_others_than(&current);
        match stored.kms.master_key_files_mut() {
            Some(files) if !has_others => Ok(files.make_next()?.id().to_owned()),
            _ => Ok(current),
        }
    }

    /// Wraps everything with the master key `to`, and has it take the place of the old one. Repeating it does no harm.
    pub(crate) async fn rewrap(&self, to: &str) -> Result<Rewrapped, KeyringError> {
        let mut stored = self.stored.lock().await;
        let _lock = stored.lock(&self.path).await?;
        let mut changed = stored.file.clone();
        let previous = stored.previous(to);
        let service = stored.kms.wrapping_with(to)?;
        // A service names its keys, not their versions, so nothing tells which are wrapped with the newest.
        let done = stored.kms.master_key_files().map(|_| to);
        let keys = rewrap(&mut changed, &*service, done).await?;
        if keys > 0 {
            stored.replace(changed, &self.path).await?;
        }
        let files = stored.kms.master_key_files_mut();
        let adopted = files.map_or(Ok(()), |files| files.adopt(to));
        let warning = adopted.err().map(|error| {
            format!(
                "{error}: the new master key stands beside the old one, in the file that ends in .next-of-keyside, and is \
                 found there. Put it in the old one's place"
            )
        });
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

    /// Finishes a rotation that is on record, `recorded` being the last one, or that has come as far as the file; forgets
    /// one that has not.
    pub(crate) async fn settle(&self, recorded: Option<&str>) -> Result<(), KeyringError> {
        let to = self.stored.lock().await.unfinished(recorded);
        if let Some(to) = to {
            let Rewrapped { keys, .. } = self.rewrap(&to).await?;
            tracing::info!(
                master_key = to,
                keys,
                "finished a rotation of the master key"
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
    fn has_others_than(&self, master_key: &str) -> bool {
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
        let begun = |to: &&str| match current == **to {
            true => self.has_others_than(to),
            false => files.is_next(to),
        };
        in_use.or_else(|| recorded.filter(begun).map(str::to_owned))
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
        [&self.file.installation_key, &self.file.signing_key]
            .into_iter()
            .chain(keys)
            .map(move |key| service.wrapped_by(&key.wrapped))
    }
}

/// Wraps again what `done` has not wrapped. A key that does not unwrap stays as it is: it is not used either way.
async fn rewrap(
    file: &mut KeyringFile,
    service: &dyn KeyService,
    done: Option<&str>,
) -> Result<usize, KmsError> {
    let installation = file.installation.clone();
    let mut rewrapped = 0;
    for (bound, key) in file.keys_mut() {
        if done.is_some() && service.wrapped_by(&key.wrapped).as_deref() == done {
            continue;
        }
        let Bound(workspace, signer) = &bound;
        let wrapping = Wrapping {
            installation: &installation,
            workspace,
            key: &key.id,
            signer,
        };
        match service.unwrap(&wrapping, &key.wrapped).await {
            Ok(root) => key.wrapped = service.wrap(&wrapping, &root).await?,
            Err(error) if error.is_about_one_key() => {
                tracing::error!(workspace, key = key.id, %error, "a workspace key is left as it is");
                continue;
            }
            Err(error) => return Err(error),
        }
        rewrapped += 1;
    }
    Ok(rewrapped)
}
