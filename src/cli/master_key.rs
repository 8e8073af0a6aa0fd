//! `keyside master-key`: the key that wraps the workspaces' keys.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::{Answer, Failure};

/// What can be done with master keys.
#[derive(Subcommand)]
pub(crate) enum MasterKey {
    /// Print a new master key: 32 random bytes in base64
    Generate {
        /// Write it to a new file that only you may read, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub(crate) fn run(command: &MasterKey, answer: &Answer) -> Result<(), Failure> {
    let MasterKey::Generate { out } = command;
    let key = keyside_credentials::MasterKey::generate();
    match out {
        Some(path) => {
            write_new(path, &key)?;
            let written = json!({ "file": path });
            answer.give(&written, |_| {
                format!("Wrote a new master key to {}\n", path.display())
            })
        }
        None => answer.give(&json!({ "masterKey": *key }), |_| format!("{}\n", *key)),
    }
}

/// Never over a file that is there: it may be the key that everything is sealed with.
fn write_new(path: &PathBuf, key: &str) -> Result<(), Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{key}")?;
        file.sync_all()
    });
    written.map_err(|error| {
        Failure::failed(format!(
            "expected to write a new file {}, found: {error}",
            path.display()
        ))
        .next("Name a file that does not exist yet, in a folder that you may write to.")
    })
}
