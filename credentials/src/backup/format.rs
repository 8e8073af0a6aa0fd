//! The outer file format: magic, format number, header, sealed chunks, an end mark, SHA-256. Header
//! and chunks are pieces: a length and that many bytes. Lengths and format number are 32 bits,
//! big-endian.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use keyside_store::{
    Hash,
    file::{self, FileError},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::RestoreError;
use crate::{
    audit::Head,
    encoding::base64_bytes,
    sealing::{SealContext, SealingKey},
};

/// The plaintext header. Trusted only after a chunk was opened: chunks are bound to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Header {
    /// The backup's id.
    pub id: String,
    /// The id of the installation.
    pub installation: String,
    /// How often the installation had been restored before.
    pub epoch: u64,
    /// The head of the installation's chain.
    pub audit: Head,
    /// Time of creation.
    pub created_at: Timestamp,
    /// The Keyside version that created it.
    pub release: String,
    /// The id of the master key that unwraps the backup's key.
    pub master_key: String,
    /// The id of the key that seals the chunks.
    pub(super) key: String,
    /// The key that seals the chunks, wrapped.
    #[serde(with = "base64_bytes")]
    pub(super) wrapped: Vec<u8>,
}

/// Writes a backup file piece by piece.
pub(super) struct Sealer {
    key: SealingKey,
    header: Hash,
    chunks: u64,
    sum: Sha256,
}

impl Sealer {
    /// Also returns the first piece of the file.
    pub(super) fn new(header: &Header, key: SealingKey) -> (Self, Vec<u8>) {
        let json = serde_json::to_vec(header).expect("our own types serialize");
        let begin = [&MAGIC[..], &FORMAT.to_be_bytes(), &len(&json), &json].concat();
        let mut sealer = Self {
            key,
            header: Hash::of(&json),
            chunks: 0,
            sum: Sha256::new(),
        };
        sealer.sum.update(&begin);
        (sealer, begin)
    }

    pub(super) fn chunk(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.seal(plaintext, false)
    }

    /// The last chunk, the end mark and the checksum.
    pub(super) fn finish(mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut end = self.seal(plaintext, true);
        self.sum.update(END);
        end.extend_from_slice(&END);
        end.extend_from_slice(&self.sum.finalize());
        end
    }

    fn seal(&mut self, plaintext: &[u8], last: bool) -> Vec<u8> {
        let name = chunk_name(&self.header, self.chunks, last);
        let sealed = self
            .key
            .seal(&SealContext::Document { key: &name }, plaintext);
        self.chunks += 1;
        let piece = [&len(&sealed)[..], &sealed].concat();
        self.sum.update(&piece);
        piece
    }
}

/// Reads a backup file chunk by chunk.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    sum: Sha256,
    header: Hash,
    chunks: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<(Self, Header), RestoreError> {
        // It is opened twice, so it cannot be a pipe.
        let file = file::open_regular(path).map_err(FileError::at(path))?;
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            sum: Sha256::new(),
            header: Hash::default(),
            chunks: 0,
        };
        let not_a_backup = || RestoreError::NotABackup(path.to_owned());
        let mut magic = [0; MAGIC.len()];
        reader.fill(&mut magic).map_err(|_| not_a_backup())?;
        if magic != *MAGIC {
            return Err(not_a_backup());
        }
        let found = reader.number()?;
        if found != FORMAT {
            return Err(RestoreError::Newer {
                file: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
        let json = reader.piece()?.unwrap_or_default();
        reader.header = Hash::of(&json);
        let header = serde_json::from_slice(&json)
            .map_err(|_| reader.damaged("its header cannot be read"))?;
        Ok((reader, header))
    }

    /// The next sealed chunk; `None` at the end, after the checksum was verified.
    pub(super) fn chunk(&mut self) -> Result<Option<Vec<u8>>, RestoreError> {
        let piece = self.piece()?;
        if piece.is_none() {
            self.check_sum()?;
        }
        Ok(piece)
    }

    /// The plaintext of a chunk. `last` says whether it is the last one.
    pub(super) fn unseal(
        &mut self,
        key: &SealingKey,
        sealed: &[u8],
        last: bool,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, RestoreError> {
        let name = chunk_name(&self.header, self.chunks, last);
        self.chunks += 1;
        key.open(&SealContext::Document { key: &name }, sealed)
            .map_err(|_| self.damaged("a part of it was edited, moved or left out"))
    }

    pub(super) fn damaged(&self, finding: &'static str) -> RestoreError {
        RestoreError::Damaged {
            file: self.path.clone(),
            finding,
        }
    }

    fn check_sum(&mut self) -> Result<(), RestoreError> {
        let expected = self.sum.clone().finalize();
        let mut found = [0; 32];
        self.fill(&mut found)?;
        if *expected != found {
            return Err(self.damaged("its checksum does not match"));
        }
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            _ => Err(self.damaged("there is data after its end")),
        }
    }

    fn piece(&mut self) -> Result<Option<Vec<u8>>, RestoreError> {
        let len = self.number()?;
        if len == 0 {
            return Ok(None);
        }
        // A damaged length must not cause a large allocation: reads at most what the file has.
        let mut piece = Vec::new();
        let read = (&mut self.file).take(len.into()).read_to_end(&mut piece);
        read.map_err(FileError::at(&self.path))?;
        if piece.len() < len as usize {
            return Err(self.truncated());
        }
        self.sum.update(&piece);
        Ok(Some(piece))
    }

    fn number(&mut self) -> Result<u32, RestoreError> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RestoreError> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.sum.update(&*bytes);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated()),
            Err(error) => Err(FileError::at(&self.path)(error).into()),
        }
    }

    fn truncated(&self) -> RestoreError {
        RestoreError::Truncated(self.path.clone())
    }
}

/// Reads a whole backup and verifies its checksum. Needs no key, so the returned header is not
/// authenticated.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn check(file: &Path) -> Result<Header, RestoreError> {
    let (mut reader, header) = Reader::open(file)?;
    while reader.chunk()?.is_some() {}
    Ok(header)
}

/// The name that a chunk is sealed under. The key seals only this file, so the name
/// only needs to distinguish its chunks.
fn chunk_name(header: &Hash, chunk: u64, last: bool) -> String {
    let last = if last { "last" } else { "more" };
    format!("backup/{header}/{chunk}/{last}")
}

fn len(bytes: &[u8]) -> [u8; 4] {
    // A chunk is at most slightly larger than the largest document, far below the limit.
    u32::try_from(bytes.len())
        .expect("a piece below 4 GiB")
        .to_be_bytes()
}

const MAGIC: &[u8; 15] = b"keyside-backup\n";
pub(super) const FORMAT: u32 = 1;
/// The end mark: a piece of length zero, which no header or chunk has.
const END: [u8; 4] = [0; 4];
