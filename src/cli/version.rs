//! `keyside version`.

use std::env::consts::{ARCH, OS};

use serde_json::json;

use super::{Console, Failure};

pub(crate) fn run(console: &Console) -> Result<(), Failure> {
    let version = json!({ "name": "keyside", "version": VERSION, "os": OS, "arch": ARCH });
    console.print(&version, || format!("keyside {VERSION} ({ARCH}-{OS})\n"))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
