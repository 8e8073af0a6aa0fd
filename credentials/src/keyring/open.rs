//! Unwraps the keys of all workspaces when a keyring is opened: many at a time, because a key
//! service may be remote.

use std::{collections::HashMap, panic, sync::Arc};

use tokio::task::{JoinError, JoinSet};

use super::{KeyringFile, Keys};
use crate::{
    kms::{KeyService, KmsError, Wrapping},
    locked::LockedMemory,
    sealing::SealingKey,
};

/// Unwraps the file's workspace keys. A key that does not unwrap is left out, so that only its
/// workspace is affected.
///
/// # Errors
/// A failure that concerns every key, such as an unavailable service.
pub(super) async fn unwrap_all(
    service: &Arc<dyn KeyService>,
    file: &KeyringFile,
    memory: &LockedMemory,
) -> Result<Keys, KmsError> {
    let installation: Arc<str> = file.installation.as_str().into();
    let signer: Arc<str> = file.public_key.to_string().into();
    let in_file = || {
        let workspaces = file.workspaces.iter();
        workspaces.flat_map(|(workspace, keys)| keys.iter().map(move |key| (workspace, key)))
    };
    let mut waiting = in_file().enumerate().collect::<Vec<_>>().into_iter();
    let mut running = JoinSet::new();
    let mut unwrapped = HashMap::new();
    loop {
        while running.len() < CONCURRENT_UNWRAPS
            && let Some((index, (workspace, key))) = waiting.next()
        {
            let (service, installation) = (service.clone(), installation.clone());
            let signer = signer.clone();
            let (workspace, key) = (workspace.clone(), key.clone());
            running.spawn(async move {
                let wrapping = Wrapping {
                    installation: &installation,
                    workspace: workspace.as_str(),
                    key: &key.id,
                    signer: &signer,
                };
                let root = service.unwrap(&wrapping, &key.wrapped).await;
                (index, workspace, key.id, root)
            });
        }
        let Some(done) = running.join_next().await else {
            break;
        };
        let (index, workspace, id, root) = done.map_err(ended)?;
        match root {
            Ok(root) => {
                let key = SealingKey::new(&id, &installation, &root, memory);
                unwrapped.insert(index, Arc::new(key));
            }
            Err(error) if error.is_about_one_key() => {
                tracing::error!(%workspace, key = id, %error, "a workspace key does not unwrap and is not used");
            }
            Err(error) => return Err(error),
        }
    }
    // In the file's order, for [`Keyring::last`](super::Keyring::last).
    let mut keys = Keys::new();
    for (index, (workspace, _)) in in_file().enumerate() {
        let of_workspace = keys.entry(workspace.clone()).or_default();
        of_workspace.extend(unwrapped.remove(&index));
    }
    Ok(keys)
}

/// Propagates a panic of the task; otherwise the runtime is shutting down.
pub(super) fn ended(error: JoinError) -> KmsError {
    match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(_) => KmsError::Unavailable {
            reason: "the process is stopping".to_owned(),
            transient: false,
        },
    }
}

/// Concurrent unwrap calls: few enough for any service; 200 workspaces take 13 round trips.
const CONCURRENT_UNWRAPS: usize = 16;
