//! Objects, chains and signed heads: the storage layer of Keyside.
//!
//! A change is one compare-and-swap. Its immutable objects are written first, each under a key that
//! contains its own hash; then the chain's head is swapped for one that names them. The audit
//! record and the change it records are in the same swap, so either both happen or neither,
//! whatever crashes and however many processes write to the backend.
//!
//! This crate knows nothing about credentials: documents are names and bytes, records are bytes.
//! The crates above define their meaning. A backend implements [`Storage`], [`Archive`], [`RunLog`]
//! and [`Notes`], and passes their contract suites (feature `contract`).

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
    backend::{Archive, Backend, CommitStep, Edit, Notes, RunLog, Storage, StoredCommit},
    error::{Effect, MAX_NOTE, StorageError},
    hash::{Hash, hex, unhex},
    memory::Memory,
    signing::{PublicKey, Signature, Signer, SigningKey, TrustedKeys},
};
