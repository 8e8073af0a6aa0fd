//! Reads lists of the admin API.

use serde_json::Value;

use crate::{client::Client, failure::Failure};

/// Returns every item of a list, page by page.
pub(crate) async fn list_all(
    client: &Client,
    path: &str,
    filters: &str,
) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = client
            .get(&format!("{path}?limit=1000{filters}{cursor}"))
            .await?;
        if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
            items.extend(more);
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}

/// The failure for a response in a format that this release cannot read.
pub(crate) fn unexpected_format(expected: &str) -> Failure {
    Failure::failed(format!(
        "expected {expected} from Keyside, found another format"
    ))
    .next("Use the `keyside` of the same version as the server's (`keyside version`).")
}

/// The path of all keys.
pub(crate) const CREDENTIALS: &str = "/api/integrations/credentials";
