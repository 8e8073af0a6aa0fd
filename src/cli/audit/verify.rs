//! `keyside audit verify`: verifies the audit log, or a receipt against it.
//!
//! Asks a running Keyside, or reads a data folder that no process serves, with the same result.
//! With the public key it verifies an export or a receipt without any of Keyside's data.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use clap::Args;
use keyside_admin::wire::{ConfirmView, VerifyView};
use keyside_credentials::{
    PublicKey, Receipt,
    audit::{ReceiptError, verify_export},
};
use serde_json::{Value, json};

use super::{Admin, Console, Failure};
use crate::cli::{
    offline::OfflineFolder,
    sensitive::{self, ReadError},
};

#[derive(Args)]
pub(crate) struct Verify {
    /// An NDJSON export to verify with --key alone, without Keyside or a data folder
    #[arg(value_name = "FILE", requires = "key", conflicts_with = "offline")]
    file: Option<PathBuf>,
    /// The installation's public key, as `keyside audit key` prints it
    #[arg(long, value_name = "PUBLIC", value_parser = public_key)]
    key: Option<PublicKey>,
    /// Read the data folder itself, while no Keyside serves it
    #[arg(long)]
    offline: bool,
    /// Verify the receipt of an erased workspace too: that this installation signed it, and that
    /// the log has its erasure
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    admin: Admin,
}

impl Verify {
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        match (&self.file, &self.receipt, &self.key) {
            (Some(file), _, Some(key)) => export(file, key, console),
            (_, Some(file), Some(key)) => signed_receipt(file, key, console),
            (_, Some(file), None) => self.receipt(file, console).await,
            (None, None, Some(_)) => Err(Failure::usage(
                "expected an export or a receipt to check with the key, found none",
            )
            .next("Give the file of `keyside audit export`, or --receipt FILE.")),
            (_, None, _) => self.log(console).await,
        }
    }

    async fn log(&self, console: &Console) -> Result<(), Failure> {
        let (found, expected, next) = match self.offline {
            true => {
                let folder = OfflineFolder::open(console).await?;
                let found = offline_log(&folder).await?;
                let path = folder.path().display();
                let expected = format!("the data folder {path} as it was written");
                (found, expected, NEXT_OFFLINE)
            }
            false => {
                let found = self.admin.client(console)?.get(VERIFY).await?;
                (found, "the audit log as it was written".to_owned(), NEXT)
            }
        };
        if found["intact"] == true {
            let (records, chains) = (&found["records"], &found["chains"]);
            return console.print(&found, || {
                format!("The audit log is what was written: {records} records in {chains} chains\n")
            });
        }
        mismatch(&found, &expected, next, console)
    }

    async fn receipt(&self, file: &Path, console: &Console) -> Result<(), Failure> {
        let (shown, receipt) = read(file)?;
        let found = match self.offline {
            true => offline_receipt(&OfflineFolder::open(console).await?, receipt).await?,
            false => self.admin.client(console)?.post(VERIFY, &shown).await?,
        };
        if found["confirmed"] == true {
            let text = |field| shown[field].as_str().unwrap_or("?");
            let (workspace, at, by) = (text("workspace"), text("erasedAt"), text("erasedBy"));
            return console.print(&found, || {
                format!("The receipt is valid: {by} erased workspace {workspace} at {at}, and the audit log has the record\n")
            });
        }
        mismatch(
            &found,
            "a receipt that the audit log confirms",
            "Get the original receipt, verify the log (`keyside audit verify`), and check whether the workspace exists again (`keyside workspace list`).",
            console,
        )
    }
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::parse(text)
        .ok_or_else(|| "expected 64 hex digits, as `keyside audit key` prints".to_owned())
}

/// Verifies an export by itself.
fn export(file: &Path, key: &PublicKey, console: &Console) -> Result<(), Failure> {
    let named = file.display();
    let opened = File::open(file).map_err(|error| {
        Failure::failed(format!("expected an export in {named}, found: {error}"))
    })?;
    match verify_export(BufReader::new(opened), key) {
        Ok(checked) => {
            let result = json!({
                "intact": true, "installation": checked.installation, "records": checked.records,
                "hidden": checked.hidden, "chains": checked.chains, "finding": null,
            });
            console.print(&result, || {
                format!(
                    "The export is signed by installation {}: {} records in {} chains, {} of them as a hash only\n",
                    checked.installation, checked.records, checked.chains, checked.hidden,
                )
            })
        }
        Err(error) => {
            let result = json!({ "intact": false, "finding": error.to_string() });
            let expected = format!("an export in {named} that is signed with the key");
            let next = "Export again, and ask where this file came from.";
            mismatch(&result, &expected, next, console)
        }
    }
}

/// Verifies the signature of a receipt by itself.
fn signed_receipt(file: &Path, key: &PublicKey, console: &Console) -> Result<(), Failure> {
    let (_, receipt) = read(file)?;
    if receipt.is_some_and(|receipt| receipt.is_signed_by(key)) {
        let result = json!({ "confirmed": true, "finding": null });
        return console.print(&result, || {
            "The receipt is signed with this key\n".to_owned()
        });
    }
    let result = json!({ "confirmed": false, "finding": ReceiptError::Foreign.to_string() });
    let expected = "a receipt that is signed with this key";
    let next = "Get the original receipt, and compare the key with `keyside audit key`.";
    mismatch(&result, expected, next, console)
}

/// For programs a mismatch is a result, for people and exit codes a failure.
fn mismatch(found: &Value, expected: &str, next: &str, console: &Console) -> Result<(), Failure> {
    console.print(found, String::new)?;
    let finding = found["finding"].as_str().unwrap_or("damage");
    Err(Failure::failed(format!("expected {expected}, found: {finding}")).next(next))
}

/// The JSON in a file, and the receipt that it is, if it is one. That is read from the text: JSON
/// that was parsed has lost a field that the text has twice.
fn read(file: &Path) -> Result<(Value, Option<Receipt>), Failure> {
    let named = file.display();
    let text = File::open(file).map_err(ReadError::from);
    let text = text.and_then(|file| sensitive::read_text(file, Receipt::MAX_LEN));
    let text = text.map_err(|error| {
        Failure::failed(format!("expected a receipt in {named}, found: {error}"))
    })?;
    let shown = serde_json::from_str(&text).map_err(|_| {
        Failure::failed(format!(
            "expected a receipt in {named}, found something that is not JSON"
        ))
        .next("Give the file that `keyside workspace erase` was written to.")
    })?;
    Ok((shown, serde_json::from_str(&text).ok()))
}

/// Returns the same object as the API.
async fn offline_log(folder: &OfflineFolder) -> Result<Value, Failure> {
    let view = VerifyView::of(folder.log.verify().await);
    let view = view.map_err(|error| folder.unreadable(&error))?;
    Ok(json!(view))
}

/// Returns the same object as the API.
async fn offline_receipt(
    folder: &OfflineFolder,
    receipt: Option<Receipt>,
) -> Result<Value, Failure> {
    let confirmed = match receipt {
        Some(receipt) => folder.log.confirm(&receipt).await,
        None => Err(ReceiptError::Foreign.into()),
    };
    let view = ConfirmView::of(confirmed).map_err(|error| folder.unreadable(&error))?;
    Ok(json!(view))
}

const VERIFY: &str = "/api/audit/verify";
const NEXT: &str = "Keep a copy of the data folder for the investigation, and compare with the last export and the heads in Keyside's logs.";
const NEXT_OFFLINE: &str = "Keep a copy of the data folder for the investigation; `keyside doctor` lists every damaged head and document in it. Then restore the \
     newest copy of the whole data folder, or a backup of it (`keyside restore`).";
