//! `keyside audit key`: the public key that verifies exports and receipts on other machines.

use clap::Args;
use keyside_config::Sources;
use serde_json::json;

use super::{Admin, Failure, Output};
use crate::cli::offline::OfflineFolder;

#[derive(Args)]
pub(crate) struct Key {
    /// Read the data folder itself, while no Keyside serves it
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    admin: Admin,
}

impl Key {
    pub(super) async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let key = match self.offline {
            true => OfflineFolder::open(sources)
                .await?
                .log
                .audit()
                .public_key()
                .to_string(),
            false => {
                let found = self.admin.client(sources)?.get(KEY).await?;
                found["publicKey"].as_str().unwrap_or_default().to_owned()
            }
        };
        let result = json!({ "publicKey": key });
        output.print(&result, |_| format!("{key}\n"))
    }
}

const KEY: &str = "/api/audit/key";
