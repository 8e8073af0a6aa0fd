//! Whole lists of the admin API, however many pages they take.

use serde_json::Value;

use super::{CREDENTIALS, Keyside};

impl Keyside {
    /// Every credential's view, page by page.
    pub fn everything(&self) -> Vec<Value> {
        self.pages(CREDENTIALS)
    }

    /// All that the list at `path` has, page by page.
    pub fn pages(&self, path: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{path}?limit=1000{cursor}");
            let listed = self.admin("GET", &path, None);
            assert_eq!(listed.status(), 200, "{}", listed.text());
            let page = listed.json();
            all.extend(page["items"].as_array().expect("a list").iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}
