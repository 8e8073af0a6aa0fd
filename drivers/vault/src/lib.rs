//! HashiCorp Vault and OpenBao: signs in once per process, keeps the token alive, and reads
//! secrets.
//!
//! A read passes these modules: `kv` turns a reference into requests, with the mount from `mounts`;
//! `session` adds a valid token and finds out what a 403 means; `client` sends. No request of a
//! runner ever waits for this crate.
//!
//! vaultrs defines the requests (path, method, query) that contain no secret; this crate sends them
//! and reads the responses. vaultrs's own client cannot add a header to a request, panics on a
//! token that contains a line break, writes up to three log lines at ERROR for every expected 403
//! or 404, and keeps tokens, secrets and whole responses in plain strings and in errors with
//! `Debug`. This crate also builds the requests that contain a secret (sign-in, unwrapping):
//! rustify, which vaultrs uses, leaves a copy of the body in freed memory.
//!
//! A rustls crypto provider must be installed in the process before [`Vault::open`].

#![deny(missing_docs)]

mod client;
mod error;
#[cfg(test)]
mod fake_vault;
mod kv;
mod lease;
mod mounts;
mod secret_file;
mod session;
mod sign_in;
mod transit;
mod value_key;
mod vault;
mod versions;

pub use crate::{
    error::{ErrorResponse, VaultError},
    mounts::{KvVersion, Mount},
    transit::Transit,
    vault::Vault,
};
