//! `keyside vault`: what an administrator of Vault or OpenBao needs for these settings.

mod policy;

use clap::Subcommand;

use super::{Console, Failure};

#[derive(Subcommand)]
pub(crate) enum Vault {
    /// Print the minimal policy that these settings need, in the format of `vault policy write`
    Policy(policy::Policy),
}

pub(crate) async fn run(command: &Vault, console: &Console) -> Result<(), Failure> {
    match command {
        Vault::Policy(policy) => policy.run(console).await,
    }
}
