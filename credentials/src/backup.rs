//! Backup and restore: everything that an installation is, in one file that only its master key opens.
//!
//! A file is a header that can be read by anyone, chunks sealed under a key of their own (XChaCha20-Poly1305, bound to the
//! header, to their place in the file and to being the last), an end mark and the SHA-256 of it all. So a copy can be
//! checked without any key, and an edited one does not open. The master key is not in it.

mod error;
mod format;
mod item;
mod make;
mod restore;

pub use self::{
    error::RestoreError,
    format::{Header, check},
    make::Backup,
    restore::{OpenStore, OpeningStore, Restore, Restored},
};

#[cfg(test)]
mod tests;
