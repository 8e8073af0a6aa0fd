//! `keyside master-key`: the key that wraps the workspace keys.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Admin, Console, Failure, download::sync_folder_of};

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
        MasterKey::Generate { out } => generate(out.as_ref(), console),
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
            write_new(path, &key)?;
            let written = json!({ "file": path });
            console.print(&written, || {
                format!("Wrote a new master key to {}\n", path.display())
            })
        }
        None => console.print(&json!({ "masterKey": *key }), || format!("{}\n", *key)),
    }
}

/// Never overwrites a file: it may be the key that everything is encrypted with.
fn write_new(path: &PathBuf, key: &str) -> Result<(), Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{key}")?;
        file.sync_all()?;
        sync_folder_of(path)
    });
    written.map_err(|error| {
        Failure::failed(format!(
            "expected to write a new file {}, found: {error}",
            path.display()
        ))
        .next("Name a file that does not exist yet, in a folder that you may write to.")
    })
}

const SIGNING: &str =
    "The audit log is signed with a new key: give `keyside audit key` to those who check exports";
