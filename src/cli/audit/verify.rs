//! `keyside audit verify`: the log, or a receipt that it vouches for. Asked of a running Keyside, or of a data folder that
//! nobody serves; the answer is the same. An export or a receipt is checked with the public key too, without any of Keyside's
//! data.

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
};

use clap::Args;
use keyside_config::Sources;
use keyside_credentials::{
    PublicKey, Receipt,
    audit::{ReceiptError, VerifyError, verify_export},
};
use serde_json::{Value, json};

use super::{Admin, Answer, Failure};
use crate::cli::offline::Folder;

/// `keyside audit verify`.
#[derive(Args)]
pub(crate) struct Verify {
    /// An export in NDJSON, to be checked with --key alone: no Keyside and no data folder are asked
    #[arg(value_name = "FILE", requires = "key", conflicts_with = "offline")]
    file: Option<PathBuf>,
    /// The installation's public key, as `keyside audit key` prints it
    #[arg(long, value_name = "PUBLIC", value_parser = public_key)]
    key: Option<PublicKey>,
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
        match (&self.file, &self.receipt, &self.key) {
            (Some(file), _, Some(key)) => export(file, key, answer),
            (_, Some(file), Some(key)) => signed_receipt(file, key, answer),
            (_, Some(file), None) => self.receipt(file, sources, answer).await,
            (None, None, Some(_)) => Err(Failure::usage(
                "expected an export or a receipt to check with the key, found none",
            )
            .next("Name the file of `keyside audit export`, or --receipt FILE.")),
            (_, None, _) => self.log(sources, answer).await,
        }
    }

    async fn log(&self, sources: &Sources, answer: &Answer) -> Result<(), Failure> {
        let (found, expected, next) = match self.offline {
            true => {
                let folder = Folder::open(sources).await?;
                let found = log_at_rest(&folder).await?;
                let path = folder.path().display();
                (
                    found,
                    format!("the data folder {path} as it was written"),
                    NEXT_AT_REST,
                )
            }
            false => {
                let found = self.admin.client(sources)?.get(VERIFY).await?;
                (found, "the audit log as it was written".to_owned(), NEXT)
            }
        };
        if found["intact"] == true {
            let (records, chains) = (&found["records"], &found["chains"]);
            return answer.give(&found, |_| {
                format!("The audit log is what was written: {records} records in {chains} chains\n")
            });
        }
        // For programs it is an answer; for both it is a failure.
        answer.give(&found, |_| String::new())?;
        Err(found_otherwise(&found, &expected).next(next))
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
            "Ask for the receipt as it was issued, check the log (`keyside audit verify`), and look whether the workspace is back (`keyside workspace list`).",
        ))
    }
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::parse(text)
        .ok_or_else(|| "expected 64 hex digits, as `keyside audit key` prints".to_owned())
}

/// Checks an export by itself.
fn export(file: &Path, key: &PublicKey, answer: &Answer) -> Result<(), Failure> {
    let named = file.display();
    let opened = fs::File::open(file).map_err(|error| {
        Failure::failed(format!("expected an export in {named}, found: {error}"))
    })?;
    match verify_export(BufReader::new(opened), key) {
        Ok(checked) => {
            let told = json!({
                "intact": true, "installation": checked.installation, "records": checked.records,
                "hidden": checked.hidden, "chains": checked.chains, "finding": null,
            });
            answer.give(&told, |_| {
                format!(
                    "The export is what installation {} has signed: {} records in {} chains, {} of them as no more than their hash\n",
                    checked.installation, checked.records, checked.chains, checked.hidden,
                )
            })
        }
        Err(error) => {
            let told = json!({ "intact": false, "finding": error.to_string() });
            answer.give(&told, |_| String::new())?;
            Err(found_otherwise(
                &told,
                &format!("an export in {named} that the key vouches for"),
            )
            .next("Export again, and ask where this file came from."))
        }
    }
}

/// Checks the signature of a receipt by itself.
fn signed_receipt(file: &Path, key: &PublicKey, answer: &Answer) -> Result<(), Failure> {
    let shown = read(file)?;
    let receipt: Option<Receipt> = serde_json::from_value(shown).ok();
    if receipt.is_some_and(|receipt| receipt.is_signed_by(key)) {
        let told = json!({ "confirmed": true, "finding": null });
        return answer.give(&told, |_| {
            "The receipt is signed with this key\n".to_owned()
        });
    }
    let told = json!({ "confirmed": false, "finding": ReceiptError::Foreign.to_string() });
    answer.give(&told, |_| String::new())?;
    Err(
        found_otherwise(&told, "a receipt that is signed with this key").next(
            "Ask for the receipt as it was issued, and compare the key with `keyside audit key`.",
        ),
    )
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
        Ok(verified) => Ok(json!({
            "intact": true, "records": verified.records, "chains": verified.heads.len(),
            "chain": null, "position": null, "finding": null,
        })),
        Err(VerifyError::Broken(found)) => Ok(json!({
            "intact": false, "records": null, "chains": null, "chain": found.chain,
            "position": (found.position > 0).then_some(found.position), "finding": found.to_string(),
        })),
        Err(error) => Err(folder.unreadable(&error)),
    }
}

/// The same answer as the API's.
async fn receipt_at_rest(folder: &Folder, shown: &Value) -> Result<Value, Failure> {
    let confirmed = match serde_json::from_value(shown.clone()) {
        Ok(receipt) => folder.log.confirm(&receipt).await,
        Err(_) => Err(ReceiptError::Foreign.into()),
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
const NEXT: &str = "Keep a copy of the data folder for the investigation, and compare with the last export and the heads in Keyside's logs.";
const NEXT_AT_REST: &str = "Keep a copy of the data folder for the investigation; `keyside doctor` lists all that is damaged in it. Then restore the \
     newest copy of the whole data folder, or a backup of it (`keyside restore`).";
