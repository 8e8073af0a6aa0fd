//! HashiCorp Vault and OpenBao: signs in once a process, keeps the token alive, and reads secrets for those who follow them.
//!
//! The way of a read: `kv` turns a reference into requests, with the mount from `mounts`; `session` attaches a token
//! that is alive, and decides what a 403 means; `client` sends. No request of a runner ever waits for this crate.
//!
//! vaultrs gives the requests (path, method, query) that carry no secret; sending them and reading the answers is done here.
//! Its own client cannot add a header to a request, panics on a token with a line break in it, writes up to three log lines at
//! ERROR for each expected 403 or 404, and keeps tokens, secrets and whole answers in plain strings and in errors with `Debug`.
//! Requests that carry a secret (sign-in, unwrapping) are built here too: rustify leaves a copy of the body in freed memory.
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

pub use crate::{
    error::{ErrorResponse, VaultError},
    mounts::{KvVersion, Mount},
    transit::Transit,
    vault::Vault,
};
