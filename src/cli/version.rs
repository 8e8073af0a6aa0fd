//! `keyside version`.

use std::env::consts::{ARCH, OS};

use serde_json::json;

use super::{Answer, Failure};

pub(crate) fn run(answer: &Answer) -> Result<(), Failure> {
    let version = json!({ "name": "keyside", "version": VERSION, "os": OS, "arch": ARCH });
    answer.give(&version, |_| format!("keyside {VERSION} ({ARCH}-{OS})\n"))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
