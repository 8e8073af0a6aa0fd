//! Backup and restore: an installation as one file that only its master key opens.
//!
//! The file has a plaintext header, chunks sealed under a key of their own (XChaCha20-Poly1305,
//! bound to the header, the chunk's position, and whether it is the last), an end mark, and the
//! SHA-256 of everything before it. A copy can thus be checked without a key, and an edited one
//! cannot be opened. The master key is not in it.

mod error;
mod format;
mod item;
mod make;
mod restore;

pub use self::{
    error::RestoreError,
    format::{Header, check},
    make::Backup,
    restore::{OpenStore, OpeningStore, Restore, Restored, expect_none_interrupted},
};

#[cfg(test)]
mod tests;
