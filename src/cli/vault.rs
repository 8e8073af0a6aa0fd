//! `keyside vault`: what an administrator of Vault or OpenBao needs for these settings.

mod policy;

use clap::Subcommand;
use keyside_config::Sources;

use super::{Failure, Output};

#[derive(Subcommand)]
pub(crate) enum Vault {
    /// Print the minimal policy that these settings need, in the format of `vault policy write`
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
