//! Checks who may read secret files, and whether this user can create missing folders.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use keyside_config::{
    ListenAddress, LocalKms, MasterKeySource, Settings, SourceReference, Vault, VaultAuth,
    VaultToken,
};
use keyside_credentials::{KmsSource, is_open_to_others};
use nix::unistd::{AccessFlags, Uid, access};

use super::finding::Finding;
use crate::validated_settings::StoreSetup;

pub(super) fn check(settings: &Settings, store: Option<&StoreSetup>) -> Vec<Finding> {
    let private = secret_files(settings, store);
    let open = private.iter().filter(|path| is_open_to_others(path));
    let mut findings: Vec<_> = open.map(|path| readable_by_all(path)).collect();
    let declared = declared_files(settings).filter(|path| is_open_to_others(path));
    findings.extend(declared.map(declared_readable_by_all));
    findings.extend(store.and_then(in_variable));
    let made = writable_folders(settings, store);
    findings.extend(made.iter().filter_map(|path| not_writable(path)));
    if findings.is_empty() {
        let said = "other users can read no secret, and folders are writable";
        findings.push(Finding::ok("permissions", said));
    }
    findings
}

/// The owner of the folder, if it is another user: that user could not open files that this one
/// creates.
pub(super) fn other_owner(folder: &Path) -> io::Result<Option<u32>> {
    let owner = fs::metadata(folder)?.uid();
    Ok((owner != Uid::effective().as_raw()).then_some(owner))
}

fn secret_files(settings: &Settings, store: Option<&StoreSetup>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(StoreSetup { folder, kms }) = store {
        files.extend([folder.clone(), folder.join("keyring")]);
        files.push(folder.join("admin-token"));
        if let KmsSource::Local(local) = kms {
            files.extend(master_keys(local));
        }
    }
    let vault = settings.vault.as_ref();
    files.extend(vault.and_then(sign_in_file));
    let client = vault.and_then(|vault| vault.client_certificate.as_ref());
    files.extend(client.map(|client| client.key.clone()));
    files.extend(settings.egress.credentials_file.clone());
    let webhooks = settings.webhooks.iter();
    files.extend(webhooks.map(|webhook| webhook.secret_file.clone()));
    files
}

fn master_keys(local: &LocalKms) -> impl Iterator<Item = PathBuf> {
    let current = match &local.master_key {
        MasterKeySource::File(path) | MasterKeySource::Generated(path) => Some(path.clone()),
        MasterKeySource::EnvironmentVariable => None,
    };
    current.into_iter().chain(local.previous_master_key.clone())
}

/// JWTs are excluded: the kubelet writes them, with its own mode.
fn sign_in_file(vault: &Vault) -> Option<PathBuf> {
    match &vault.auth {
        VaultAuth::AppRole { secret_id_file, .. } => Some(secret_id_file.clone()),
        VaultAuth::Token(VaultToken::File(path)) => Some(path.clone()),
        VaultAuth::Token(VaultToken::Variable)
        | VaultAuth::Kubernetes { .. }
        | VaultAuth::Jwt { .. }
        | VaultAuth::Certificate { .. } => None,
    }
}

fn readable_by_all(path: &Path) -> Finding {
    let mode = if path.is_dir() { "700" } else { "600" };
    let path = path.display();
    Finding::fail("permissions", format!("{path} can be read by every user"))
        .fix(format!("chmod {mode} {path}"))
}

fn declared_files(settings: &Settings) -> impl Iterator<Item = &Path> {
    let sources = settings.declared.iter().map(|declared| &declared.source);
    sources.filter_map(|source| match source {
        SourceReference::File(path) => Some(path.as_path()),
        SourceReference::Vault(_) => None,
    })
}

/// A warning, not a failure: others mount these files, Kubernetes with 644 by default, often into a
/// container with one user only.
fn declared_readable_by_all(path: &Path) -> Finding {
    let path = path.display();
    let said = format!("{path} holds a key, and can be read by every user");
    Finding::warn("permissions", said).fix(format!(
        "Let only the user that Keyside runs as read it: chmod 400 {path}; in Kubernetes defaultMode: 0440 and fsGroup."
    ))
}

fn in_variable(store: &StoreSetup) -> Option<Finding> {
    let KmsSource::Local(LocalKms {
        master_key: MasterKeySource::EnvironmentVariable,
        ..
    }) = &store.kms
    else {
        return None;
    };
    let said = "the master key is in KMS_MASTER_KEY, which other processes of this user can read";
    Some(
        Finding::warn("permissions", said)
            .fix("Write it into a file with mode 600, and name that in KMS_MASTER_KEY_FILE."),
    )
}

/// The data folder, the cache of Vault's secrets, and the folders of Unix sockets.
fn writable_folders(settings: &Settings, store: Option<&StoreSetup>) -> Vec<PathBuf> {
    let sockets = settings.proxy.listeners.iter();
    let sockets = sockets.filter_map(|listener| match &listener.address {
        ListenAddress::Unix(path) => path.parent().map(Path::to_owned),
        ListenAddress::Tcp(_) => None,
    });
    let data = store.map(|store| store.folder.clone());
    let vault = settings.vault.as_ref();
    let cache = vault.and_then(|vault| vault.cache.as_ref());
    let cache = cache.map(|cache| cache.folder.clone());
    data.into_iter().chain(cache).chain(sockets).collect()
}

/// A finding if the folder, or the folder it would be created in, is not writable.
fn not_writable(folder: &Path) -> Option<Finding> {
    let there = nearest(folder);
    let error = access(there, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    let (folder, there, error) = (folder.display(), there.display(), error.desc());
    let said = format!("{folder} cannot be written to: {there}: {error}");
    let fix =
        format!("Let the user that Keyside runs as write to {there}, or run doctor as that user.");
    Some(Finding::fail("permissions", said).fix(fix))
}

/// The folder itself, or its nearest existing parent.
fn nearest(folder: &Path) -> &Path {
    let there = folder.ancestors().find(|path| path.exists());
    // A relative path ends in an empty one, which means the working directory.
    there.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_folder_is_judged_by_its_nearest_existing_parent() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("a/b/c");
        assert_eq!(nearest(&missing), root.path());
        assert_eq!(nearest(Path::new("surely-not-there/data")), Path::new("."));
        assert!(not_writable(&missing).is_none());
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        // Even root cannot enter a file.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let said = not_writable(&file.join("data")).unwrap().to_string();
        assert!(said.contains("cannot be written to"), "{said}");
    }

    #[test]
    fn an_open_file_is_named_with_the_command_that_closes_it() {
        let root = tempfile::tempdir().unwrap();
        let said = readable_by_all(root.path()).to_string();
        assert!(said.contains("chmod 700 "), "{said}");
        let said = readable_by_all(Path::new("/k")).to_string();
        assert!(said.ends_with("fix: chmod 600 /k"), "{said}");
    }

    #[test]
    fn a_folder_of_ours_has_no_other_owner() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(other_owner(root.path()).unwrap(), None);
    }
}
