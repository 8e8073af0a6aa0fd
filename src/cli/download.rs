//! A file from the admin API, onto the disk of whoever asked. Never over one that is there, and gone again unless it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use hyper::Method;

use super::Failure;
use crate::client::{Client, IncomingFile};

/// A file on its way.
pub(crate) struct Download {
    incoming: IncomingFile,
    file: File,
    written: NewFile,
}

/// A file that is there, and removed again unless it is kept.
pub(crate) struct NewFile {
    path: PathBuf,
    kept: bool,
}

impl Download {
    /// Asks for it with a POST. Without `out` it gets the name that the answer gives it, in the current folder.
    pub(crate) async fn begin(
        client: &Client,
        path: &str,
        out: Option<&Path>,
        otherwise: &str,
    ) -> Result<Self, Failure> {
        // Looked at first: what is asked for may be put on record.
        if let Some(out) = out.filter(|out| out.exists()) {
            return Err(unwritable(out, &io::ErrorKind::AlreadyExists.into()));
        }
        let incoming = client.download(Method::POST, path).await?;
        let out = match (out, incoming.name()) {
            (Some(out), _) => out.to_owned(),
            (None, Some(name)) => name.into(),
            (None, None) => otherwise.into(),
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

    /// Writes it down to the disk.
    pub(crate) async fn finish(mut self) -> Result<NewFile, Failure> {
        while let Some(piece) = self.incoming.next().await? {
            let taken = self.file.write_all(&piece);
            taken.map_err(|error| unwritable(&self.written.path, &error))?;
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

/// Brings the name of a new file to disk: a power cut may else take it, and the file is of no use without. A folder that
/// may be written to and not read cannot be synced, and is left to the system.
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
