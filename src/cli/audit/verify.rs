//! `keyside audit verify`: the log, or a receipt that it vouches for. Asked of a running Keyside, or of a data folder that
//! nobody serves; the answer is the same.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use keyside_config::{Kms, Settings, Sources, Store};
use keyside_credentials::audit::{VerifyError, confirm_at_rest, verify_at_rest};
use serde_json::{Value, json};

use super::super::{Admin, Answer, Failure};

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
            true => AtRest::of(sources)?.log().await?,
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
        refuted(&found, "the audit log as it was written", answer)
    }

    async fn receipt(
        &self,
        file: &Path,
        sources: &Sources,
        answer: &Answer,
    ) -> Result<(), Failure> {
        let shown = read(file)?;
        let found = match self.offline {
            true => AtRest::of(sources)?.receipt(&shown).await?,
            false => self.admin.client(sources)?.post(VERIFY, &shown).await?,
        };
        if found["confirmed"] == true {
            let text = |field| shown[field].as_str().unwrap_or("?");
            let (workspace, at, by) = (text("workspace"), text("erasedAt"), text("erasedBy"));
            return answer.give(&found, |_| {
                format!("The receipt is good: {by} erased workspace {workspace} at {at}, and the audit log tells of it\n")
            });
        }
        refuted(&found, "a receipt that the audit log confirms", answer)
    }
}

/// For programs a finding is an answer; for both it is a failure.
fn refuted(found: &Value, expected: &str, answer: &Answer) -> Result<(), Failure> {
    answer.give(found, |_| String::new())?;
    let finding = found["finding"].as_str().unwrap_or("damage");
    Err(Failure::failed(format!("expected {expected}, found: {finding}")).next(
        "Keep the data folder as it is for whoever looks into it, and compare with the last export and the heads in Keyside's logs.",
    ))
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

/// A data folder that nobody serves, answering as the API does.
struct AtRest {
    path: PathBuf,
    kms: Kms,
}

impl AtRest {
    fn of(sources: &Sources) -> Result<Self, Failure> {
        let settings = Settings::load(sources)?.settings;
        match settings.store {
            Store::Sled { path } => Ok(Self {
                path,
                kms: settings.kms,
            }),
            Store::Vault => Err(Failure::usage(
                "expected a data folder, found a store across the network",
            )
            .next("Check it online: `keyside audit verify`.")),
        }
    }

    async fn log(&self) -> Result<Value, Failure> {
        match verify_at_rest(&self.store(), &self.keyring(), &self.kms).await {
            Ok(head) => Ok(json!({
                "intact": true, "position": head.position, "hash": head.hash, "finding": null,
            })),
            Err(VerifyError::Broken(found)) => Ok(json!({
                "intact": false, "position": found.position, "hash": null, "finding": found.to_string(),
            })),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    async fn receipt(&self, shown: &Value) -> Result<Value, Failure> {
        let confirmed = match serde_json::from_value(shown.clone()) {
            Ok(receipt) => {
                confirm_at_rest(&self.store(), &self.keyring(), &self.kms, &receipt).await
            }
            Err(_) => Err(VerifyError::ReceiptForeign),
        };
        match confirmed {
            Ok(()) => Ok(json!({ "confirmed": true, "finding": null })),
            Err(error) if error.is_finding() => {
                Ok(json!({ "confirmed": false, "finding": error.to_string() }))
            }
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    fn keyring(&self) -> PathBuf {
        self.path.join("keyring")
    }

    fn unreadable(&self, error: &VerifyError) -> Failure {
        Failure::failed(format!(
            "expected a data folder at {}, found: {error}",
            self.path.display()
        ))
        .next("Stop Keyside there first, or leave --offline out; `keyside check` says which folder the settings name.")
    }
}

const VERIFY: &str = "/api/audit/verify";
