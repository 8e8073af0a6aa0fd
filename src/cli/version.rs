//! `keyside version`.

use std::env::consts::{ARCH, OS};

use serde_json::json;

use super::{Failure, Output};

pub(crate) fn run(output: &Output) -> Result<(), Failure> {
    let version = json!({ "name": "keyside", "version": VERSION, "os": OS, "arch": ARCH });
    output.print(&version, |_| format!("keyside {VERSION} ({ARCH}-{OS})\n"))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
