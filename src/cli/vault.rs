//! `keyside vault`: what an administrator of Vault or OpenBao has to know of these settings.

mod policy;

use clap::Subcommand;
use keyside_config::Sources;

use super::{Failure, Output};

/// What can be done about Vault.
#[derive(Subcommand)]
pub(crate) enum Vault {
    /// Print the least policy that these settings need, as `vault policy write` takes it
    Policy(policy::Policy),
}

pub(crate) async fn run(
    command: &Vault,
    sources: &Sources,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Vault::Policy(policy) => policy.run(sources, output).await,
    }
}
