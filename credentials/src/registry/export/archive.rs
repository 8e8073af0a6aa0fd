//! A tar archive of JSON files, with a manifest of their hashes at the end.

use jiff::Timestamp;
use keyside_store::Hash;
use serde_json::{Value, json};

pub(super) struct Archive {
    tar: tar::Builder<Vec<u8>>,
    files: Vec<Value>,
    /// Modification time of every file, in seconds since 1970.
    at: u64,
}

impl Archive {
    pub(super) fn at(now: Timestamp) -> Self {
        Self {
            tar: tar::Builder::new(Vec::new()),
            files: Vec::new(),
            at: now.as_second().unsigned_abs(),
        }
    }

    pub(super) fn json(&mut self, name: &str, value: &impl serde::Serialize) {
        let json = serde_json::to_vec_pretty(value).expect("our own types serialize");
        self.file(name, &json);
    }

    /// Adds JSON documents, one per line.
    pub(super) fn lines(&mut self, name: &str, values: impl Iterator<Item = Value>) {
        let lines: String = values.map(|value| format!("{value}\n")).collect();
        self.file(name, lines.as_bytes());
    }

    /// Adds `manifest.json` and returns the archive.
    pub(super) fn finish(mut self, mut manifest: Value) -> Vec<u8> {
        manifest["files"] = Value::Array(std::mem::take(&mut self.files));
        self.json("manifest.json", &manifest);
        self.tar.into_inner().expect("memory takes every write")
    }

    fn file(&mut self, name: &str, contents: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.at);
        self.tar
            .append_data(&mut header, name, contents)
            .expect("memory takes every write, and the names are short");
        self.files.push(json!({
            "name": name,
            "bytes": contents.len(),
            "sha256": Hash::of(contents),
        }));
    }
}
