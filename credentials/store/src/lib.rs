//! How Keyside keeps what it must not lose: immutable objects, and one signed head a chain.
//!
//! A change is one compare-and-swap. Its objects are written first, each under a key that holds its own hash; then the head
//! of the chain is swapped for one that names them. Record and change are the same swap, so that either both happened or
//! neither, whatever crashes, and whoever else writes to the same backend.
//!
//! This crate knows nothing of credentials: documents are names and bytes, records are bytes. What they mean is decided
//! above. What a backend must do is in [`Storage`], [`Archive`], [`RunLog`] and [`Notes`], and in their contract suites
//! (`contract`, a feature).

#![deny(missing_docs)]

mod backend;
pub mod chain;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod error;
#[cfg(any(test, feature = "contract"))]
pub mod faulty;
pub mod file;
mod hash;
mod memory;
mod signing;

pub use self::{
    backend::{Archive, Backend, Edit, Notes, RunLog, Storage},
    error::{Effect, StorageError},
    hash::{Hash, hex, unhex},
    memory::Memory,
    signing::{PublicKey, Signature, Signer, SigningKey, TrustedKeys},
};
