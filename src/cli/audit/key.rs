//! `keyside audit key`: the public key that verifies exports and receipts on other machines.

use clap::Args;
use serde_json::json;

use super::{Admin, Console, Failure};
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
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let key = match self.offline {
            true => OfflineFolder::open(console)
                .await?
                .log
                .audit()
                .public_key()
                .to_string(),
            false => {
                let found = self.admin.client(console)?.get(KEY).await?;
                found["publicKey"].as_str().unwrap_or_default().to_owned()
            }
        };
        let result = json!({ "publicKey": key });
        console.print(&result, || format!("{key}\n"))
    }
}

const KEY: &str = "/api/audit/key";
