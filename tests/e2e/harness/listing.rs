//! Every credential there is, however many pages that takes.

use super::{CREDENTIALS, Keyside};
use serde_json::Value;

impl Keyside {
    /// Every credential's view, page by page.
    pub fn everything(&self) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{CREDENTIALS}?limit=1000{cursor}");
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
