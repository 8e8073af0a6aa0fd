//! `keyside audit verify`: the log, or a receipt that it vouches for. Asked of a running Keyside, or of a data folder that
//! nobody serves; the answer is the same.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use keyside_config::Sources;
use keyside_credentials::audit::VerifyError;
use serde_json::{Value, json};

use super::{Admin, Answer, Failure};
use crate::cli::at_rest::Folder;

/// `keyside audit verify`.
#[derive(Args)]
pub(crate) struct Verify {
    /// Read the data folder itself, while no Keyside serves it
    #[arg(long)]
    offline: bool,
    /// Check the receipt of an erased workspace too: that it is this installation's, and the log tells of it
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    admin: Admin,
}

impl Verify {
    pub(super) async fn run(&self, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
        match &self.receipt {
            Some(file) => self.receipt(file, sources, answer).await,
            None => self.log(sources, answer).await,
        }
    }

    async fn log(&self, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
        let found = match self.offline {
            true => log_at_rest(&Folder::open(sources).await?).await?,
            false => self.admin.client(sources)?.get(VERIFY).await?,
        };
        if found["intact"] == true {
            let (position, hash) = (
                &found["position"],
                found["hash"].as_str().unwrap_or_default(),
            );
            return answer.give(&found, |_| {
                format!("The audit log is what was written: {position} records, the last with hash {hash}\n")
            });
        }
        // For programs it is an answer; for both it is a failure.
        answer.give(&found, |_| String::new())?;
        Err(found_otherwise(&found, "the audit log as it was written").next(
            "Keep the data folder as it is for whoever looks into it, and compare with the last export and the heads in Keyside's logs.",
        ))
    }

    async fn receipt(
        &self,
        file: &Path,
        sources: &Sources,
        answer: &Answer,
    ) -> Result<(), Failure> {
        let shown = read(file)?;
        let found = match self.offline {
            true => receipt_at_rest(&Folder::open(sources).await?, &shown).await?,
            false => self.admin.client(sources)?.post(VERIFY, &shown).await?,
        };
        if found["confirmed"] == true {
            let text = |field| shown[field].as_str().unwrap_or("?");
            let (workspace, at, by) = (text("workspace"), text("erasedAt"), text("erasedBy"));
            return answer.give(&found, |_| {
                format!("The receipt is good: {by} erased workspace {workspace} at {at}, and the audit log tells of it\n")
            });
        }
        answer.give(&found, |_| String::new())?;
        Err(found_otherwise(&found, "a receipt that the audit log confirms").next(
            "Ask for the receipt as it was given out, check the log (`keyside audit verify`), and look whether the workspace is back (`keyside workspace list`).",
        ))
    }
}

fn found_otherwise(found: &Value, expected: &str) -> Failure {
    let finding = found["finding"].as_str().unwrap_or("damage");
    Failure::failed(format!("expected {expected}, found: {finding}"))
}

fn read(file: &Path) -> Result<Value, Failure> {
    let named = file.display();
    let text = fs::read(file).map_err(|error| {
        Failure::failed(format!("expected a receipt in {named}, found: {error}"))
    })?;
    serde_json::from_slice(&text).map_err(|_| {
        Failure::failed(format!(
            "expected a receipt in {named}, found something that is not JSON"
        ))
        .next("Give the file that `keyside workspace erase` was written to.")
    })
}

/// The same answer as the API's.
async fn log_at_rest(folder: &Folder) -> Result<Value, Failure> {
    match folder.log.verify().await {
        Ok(head) => Ok(json!({
            "intact": true, "position": head.position, "hash": head.hash, "finding": null,
        })),
        Err(VerifyError::Broken(found)) => Ok(json!({
            "intact": false, "position": found.position, "hash": null, "finding": found.to_string(),
        })),
        Err(error) => Err(folder.unreadable(&error)),
    }
}

/// The same answer as the API's.
async fn receipt_at_rest(folder: &Folder, shown: &Value) -> Result<Value, Failure> {
    let confirmed = match serde_json::from_value(shown.clone()) {
        Ok(receipt) => folder.log.confirm(&receipt).await,
        Err(_) => Err(VerifyError::ReceiptForeign),
    };
    match confirmed {
        Ok(()) => Ok(json!({ "confirmed": true, "finding": null })),
        Err(error) if error.is_finding() => {
            Ok(json!({ "confirmed": false, "finding": error.to_string() }))
        }
        Err(error) => Err(folder.unreadable(&error)),
    }
}

const VERIFY: &str = "/api/audit/verify";
