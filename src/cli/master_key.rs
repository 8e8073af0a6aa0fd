//! `keyside master-key`: the key that wraps the workspace keys.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Admin, Console, Failure,
    new_file::{NewFile, until_stopped},
};

#[derive(Subcommand)]
pub(crate) enum MasterKey {
    /// Print a new master key: 32 random bytes in base64
    Generate {
        /// Write it to a new file with mode 600 instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Wrap all keys with a new master key, or with the newest versions of keys that were rotated
    /// in Vault, and replace the key that signs the audit log, while requests continue
    Rotate {
        #[command(flatten)]
        admin: Admin,
    },
}

pub(crate) async fn run(command: &MasterKey, console: &Console) -> Result<(), Failure> {
    match command {
        MasterKey::Generate { out } => {
            until_stopped(async { generate(out.as_ref(), console) }).await
        }
        MasterKey::Rotate { admin } => rotate(admin, console).await,
    }
}

async fn rotate(admin: &Admin, console: &Console) -> Result<(), Failure> {
    let rotated = admin
        .client(console)?
        .post("/api/master-key/rotate", &json!({}))
        .await?;
    for warning in rotated["warnings"].as_array().into_iter().flatten() {
        console.warn(text(warning));
    }
    console.print(&rotated, || match rotated["masterKey"] == rotated["previous"] {
        true => format!(
            "Wrapped {} keys with the newest versions in the key service ({} and the workspaces' own). Keyside does not \
             rotate those: do that there first. {SIGNING}\n",
            rotated["keys"],
            text(&rotated["masterKey"]),
        ),
        false => format!(
            "Wrapped {} keys with {}. {} is kept for older backups: delete its file once you need none of them. {SIGNING}\n",
            rotated["keys"],
            text(&rotated["masterKey"]),
            text(&rotated["previous"]),
        ),
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn generate(out: Option<&PathBuf>, console: &Console) -> Result<(), Failure> {
    let key = keyside_credentials::MasterKey::generate();
    match out {
        Some(path) => {
            // Never overwrites a file: it may be the key that everything is encrypted with.
            let mut file = NewFile::create(path.clone())?;
            file.write(key.as_bytes())?;
            file.write(b"\n")?;
            file.keep()?;
            let written = json!({ "file": path });
            console.print(&written, || {
                format!("Wrote a new master key to {}\n", path.display())
            })
        }
        None => console.print(&json!({ "masterKey": *key }), || format!("{}\n", *key)),
    }
}

const SIGNING: &str =
    "The audit log is signed with a new key: give `keyside audit key` to those who check exports";
