//! What does not fit, told as the error that a reader of the settings sees.

use super::{Fault, Mismatch, Node};
use crate::{
    error::SettingsError,
    similarity::{MIN_SIMILARITY, similarity},
};

impl SettingsError {
    /// Tells what does not fit in `tree`.
    pub(crate) fn new(mismatch: Mismatch, tree: &Node) -> Self {
        let Mismatch { key, origin, fault } = mismatch;
        let origin = origin.unwrap_or_else(|| tree.origin_of(&key).clone());
        // A quoted key may hold anything; it must not break the line that it is shown in.
        let key = key.escape_debug().to_string();
        match fault {
            Fault::Unknown { name, known } => {
                let name = name.escape_debug().to_string();
                let table = key.strip_suffix(&name).unwrap_or_default();
                let nearest = nearest_key(table, &name, known);
                Self::UnknownKey {
                    origin,
                    key,
                    nearest,
                }
            }
            Fault::Reason(reason) => Self::Invalid {
                origin,
                key,
                reason,
            },
        }
    }
}

/// A key of the same table, unless that is far off and another table has one that is near.
fn nearest_key(table: &str, name: &str, known: &[&str]) -> String {
    let defaults = Node::defaults();
    let here = known
        .iter()
        .map(|known| (format!("{table}{known}"), similarity(name, known)));
    let elsewhere = defaults.leaves().into_iter().filter_map(|(key, _)| {
        let similarity = similarity(name, key.rsplit('.').next()?);
        (similarity >= MIN_SIMILARITY).then_some((key, similarity - OTHER_TABLE_WEIGHT))
    });
    let candidates = here.chain(elsewhere);
    candidates
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(key, _)| key)
        .unwrap_or_default()
}

/// How much less likely a key of another table is.
const OTHER_TABLE_WEIGHT: f64 = 0.3;
