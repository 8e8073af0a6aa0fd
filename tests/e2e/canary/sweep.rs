//! Collects everything that Keyside prints, shows or stores, to search it.

use super::codings::Canary;
use crate::harness::{CREDENTIALS, Keyside};
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The collected bytes, by source.
#[derive(Default)]
pub struct Sweep {
    seen: Vec<(String, Vec<u8>)>,
}

impl Sweep {
    pub fn saw(&mut self, place: &str, bytes: &[u8]) {
        self.seen.push((place.to_owned(), bytes.to_vec()));
    }

    /// All surfaces of a running process.
    pub fn everything_of(&mut self, keyside: &Keyside) {
        self.saw("standard error", keyside.logs().as_bytes());
        self.saw("standard output", keyside.stdout().as_bytes());
        for page in ["/metrics", "/healthz", "/readyz", "/"] {
            self.saw(page, &keyside.observed(page).raw);
        }
        if !keyside.is_sidecar() {
            self.admin_pages_of(keyside);
        }
        self.process(keyside);
        self.files_under(keyside.builder_of().home());
    }

    fn admin_pages_of(&mut self, keyside: &Keyside) {
        let ids = keyside.everything();
        let ids = ids.iter().map(|view| view["id"].as_str().expect("an id"));
        let each = ids.map(|id| format!("{CREDENTIALS}/{id}"));
        let pages = ADMIN_PAGES.iter().map(|&page| page.to_owned());
        for page in pages.chain(each.collect::<Vec<_>>()) {
            let answer = keyside.admin("GET", &page, None);
            assert_eq!(answer.status(), 200, "{page}: {}", answer.text());
            self.saw(&page, &answer.raw);
        }
        for page in ADMIN_FILES {
            let answer = keyside.admin("POST", page, Some(&json!({})));
            assert_eq!(answer.status(), 200, "{page}: {}", answer.text());
            self.saw(page, &answer.raw);
        }
    }

    /// Information from the operating system.
    fn process(&mut self, keyside: &Keyside) {
        let process = format!("/proc/{}", keyside.pid());
        for file in ["environ", "cmdline", "comm", "status", "maps", "limits"] {
            self.file_of_process(&format!("{process}/{file}"));
        }
        // There are no core dumps to search.
        let limits = fs::read_to_string(format!("{process}/limits")).expect("its limits");
        let mut limits = limits.lines();
        let core = limits.find_map(|line| line.strip_prefix("Max core file size"));
        let core: Vec<_> = core.expect("a limit").split_whitespace().collect();
        assert_eq!(core[..2], ["0", "0"], "a core dump is allowed");
        let threads = fs::read_dir(format!("{process}/task")).expect("its threads");
        for thread in threads.flatten() {
            self.file_of_process(&format!("{}/comm", thread.path().display()));
        }
    }

    /// Every file, by its path from the folder, and the names themselves.
    pub fn files_under(&mut self, folder: &Path) {
        self.files(folder, folder);
    }

    /// Fails on the first source that contains any part of it in any encoding. `but` may contain
    /// it.
    pub fn assert_without(&self, what: &str, canary: &Canary, but: &[&str]) {
        assert!(!self.seen.is_empty(), "nothing was looked at");
        for (place, bytes) in &self.seen {
            if but.contains(&place.as_str()) {
                assert!(canary.found_in(bytes).is_some(), "{place} is its place");
            } else if let Some(coding) = canary.found_in(bytes) {
                let text = String::from_utf8_lossy(bytes);
                panic!("{what} is in {place}, {coding}: {text:.20000}");
            }
        }
    }

    fn files(&mut self, root: &Path, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let place = path
                .strip_prefix(root)
                .expect("inside")
                .display()
                .to_string();
            if path.is_dir() {
                self.files(root, &path);
            } else if let Ok(bytes) = fs::read(&path) {
                self.saw("the name of a file", place.as_bytes());
                self.saw(&place, &bytes);
            }
        }
    }

    /// If even its own user may not read the process's environment, there is nothing to search.
    fn file_of_process(&mut self, file: &str) {
        match fs::read(file) {
            Ok(bytes) => self.saw(file, &bytes),
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{file}: {error}"),
        }
    }
}

const ADMIN_PAGES: [&str; 12] = [
    CREDENTIALS,
    "/api/integrations/credentials?status=revoked",
    "/api/integrations/providers",
    "/api/workspaces",
    "/api/workspaces/acme",
    "/api/runs",
    "/api/runs/figures?by=credential,tag",
    "/api/audit",
    "/api/audit/export?format=ndjson",
    "/api/audit/export?format=csv",
    "/api/audit/verify",
    "/api/tokens",
];

/// Exports and backups.
const ADMIN_FILES: [&str; 2] = ["/api/workspaces/acme/export", "/api/backup"];
