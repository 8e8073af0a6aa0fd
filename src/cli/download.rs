//! Downloads a file of the admin API to disk. Never overwrites a file, and removes the new one
//! unless it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use hyper::Method;

use super::Failure;
use crate::client::{Client, IncomingBody};

pub(crate) struct Download {
    incoming: IncomingBody,
    file: File,
    written: NewFile,
}

/// A new file, which is removed when dropped unless `keep` was called.
pub(crate) struct NewFile {
    path: PathBuf,
    kept: bool,
}

impl Download {
    /// Requests the file with a POST. Without `out` it is named as the response suggests, else
    /// `default_name`, in the current folder.
    pub(crate) async fn begin(
        client: &Client,
        path: &str,
        out: Option<&Path>,
        default_name: &str,
    ) -> Result<Self, Failure> {
        // Checked first, because the request itself may be recorded.
        if let Some(out) = out.filter(|out| out.exists()) {
            return Err(unwritable(out, &io::ErrorKind::AlreadyExists.into()));
        }
        let incoming = client.download(Method::POST, path).await?;
        let out = match (out, incoming.name()) {
            (Some(out), _) => out.to_owned(),
            (None, Some(name)) => name.into(),
            (None, None) => default_name.into(),
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&out);
        let file = file.map_err(|error| unwritable(&out, &error))?;
        Ok(Self {
            incoming,
            file,
            written: NewFile {
                path: out,
                kept: false,
            },
        })
    }

    /// Writes the file to disk and syncs it.
    pub(crate) async fn finish(mut self) -> Result<NewFile, Failure> {
        while let Some(piece) = self.incoming.next().await? {
            let written = self.file.write_all(&piece);
            written.map_err(|error| unwritable(&self.written.path, &error))?;
        }
        let on_disk = self.file.sync_all();
        let on_disk = on_disk.and_then(|()| sync_folder_of(&self.written.path));
        on_disk.map_err(|error| unwritable(&self.written.path, &error))?;
        Ok(self.written)
    }
}

impl NewFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.path.clone()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Syncs the folder of a new file, without whose entry a power cut would lose the file. A folder
/// that may be written but not read cannot be synced, and is left to the system.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    match File::open(folder.unwrap_or(Path::new("."))) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "expected to write a new file {}, found: {error}",
        path.display()
    ))
    .next("Name a file that does not exist yet with --out, in a folder that you may write to.")
}
