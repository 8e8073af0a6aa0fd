//! Reads and prints what the admin API returns: single resources, and lists.

use std::{collections::BTreeSet, fmt::Display};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Console, Failure};
use crate::client::{Client, ClientError};

/// Returns every item of a list.
pub(crate) async fn list_all(
    client: &Client,
    path: &str,
    filters: &str,
) -> Result<Vec<Value>, Failure> {
    let found = list(client, path, filters, usize::MAX).await?;
    Ok(found.items)
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listing {
    pub(crate) items: Vec<Value>,
    /// Null at the end of the list.
    next_cursor: Value,
    pub(crate) warnings: BTreeSet<String>,
}

/// Returns up to `wanted` items of a list, page by page. A page may be short and still have a next
/// one: a rare item may be some pages away.
pub(crate) async fn list(
    client: &Client,
    path: &str,
    filters: &str,
    wanted: usize,
) -> Result<Listing, ClientError> {
    let mut found = Listing::default();
    while found.items.len() < wanted {
        let limit = (wanted - found.items.len()).min(1_000);
        let after = filter("cursor", &found.next_cursor.as_str());
        let path = format!("{path}?limit={limit}{filters}{after}");
        let mut page = client.get(&path).await?;
        let mut field = |name: &str| page.get_mut(name).map_or(Value::Null, Value::take);
        if let Value::Array(more) = field("items") {
            found.items.extend(more);
        }
        if let Value::Array(more) = field("warnings") {
            let more = more.iter().filter_map(Value::as_str);
            found.warnings.extend(more.map(str::to_owned));
        }
        found.next_cursor = field("nextCursor");
        if found.next_cursor.is_null() {
            break;
        }
    }
    Ok(found)
}

/// Prints a list as JSON, or as the table that `table` makes of its items. `expected` says what an
/// item is.
pub(crate) fn print_list<T: DeserializeOwned>(
    items: &[Value],
    expected: &str,
    console: &Console,
    table: impl FnOnce(&[T], &Console) -> String,
) -> Result<(), Failure> {
    let read: Vec<T> = read_all(items, expected)?;
    let page = json!({ "items": items, "nextCursor": null });
    console.print(&page, || table(&read, console))
}

/// Reads one resource. Unknown fields of newer servers are ignored.
pub(crate) fn read<T: DeserializeOwned>(value: &Value, expected: &str) -> Result<T, Failure> {
    T::deserialize(value).map_err(|_| unexpected_format(expected))
}

pub(crate) fn read_all<T: DeserializeOwned>(
    items: &[Value],
    expected: &str,
) -> Result<Vec<T>, Failure> {
    items.iter().map(|item| read(item, expected)).collect()
}

/// A parameter for the query of a list: `&name=value`, or nothing without a value.
pub(crate) fn filter(name: &str, value: &Option<impl Display>) -> String {
    let value = value.as_ref().map(|value| escaped(&value.to_string()));
    value.map_or_else(String::new, |value| format!("&{name}={value}"))
}

pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The failure for a response in a format that this release cannot read.
pub(crate) fn unexpected_format(expected: &str) -> Failure {
    Failure::failed(format!(
        "expected {expected} from Keyside, found another format"
    ))
    .next("Use the `keyside` of the same version as the server's (`keyside version`).")
}

pub(crate) const CREDENTIALS: &str = "/api/integrations/credentials";
