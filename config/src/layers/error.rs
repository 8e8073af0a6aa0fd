//! Converts a mismatch to the error that is shown to the author of the settings.

use super::{Fault, Mismatch, Node};
use crate::{
    error::SettingsError,
    similarity::{MIN_SIMILARITY, similarity},
};

impl SettingsError {
    /// The error for a mismatch in `tree`.
    pub(crate) fn new(mismatch: Mismatch, tree: &Node) -> Self {
        let Mismatch { key, origin, fault } = mismatch;
        let origin = origin.unwrap_or_else(|| tree.origin_of(&key).clone());
        // A quoted key may contain control characters, which must not break the line.
        let key = key.escape_debug().to_string();
        match fault {
            Fault::Unknown { name, known } => {
                let name = name.escape_debug().to_string();
                let table = key.strip_suffix(&name).unwrap_or_default();
                let nearest = nearest_key(table, &name, known);
                Self::UnknownKey {
                    origin,
                    key: masked(&key),
                    nearest,
                }
            }
            Fault::Reason(reason) => Self::Invalid {
                origin,
                key: masked(&key),
                reason,
            },
        }
    }
}

/// The key without runs of letters and digits that look random: a secret may have been pasted where
/// a name belongs. No setting's name has such a run.
fn masked(key: &str) -> String {
    let is_between = |c: char| !c.is_ascii_alphanumeric();
    let parts = key.split_inclusive(is_between);
    parts
        .flat_map(|part| {
            let (run, between) = part.split_at(part.trim_end_matches(is_between).len());
            let has_digit = run.bytes().any(|byte| byte.is_ascii_digit());
            let is_random = run.len() >= 24 || run.len() >= 16 && has_digit;
            [if is_random { "…" } else { run }, between]
        })
        .collect()
}

/// The most similar key of the same table, unless one of another table is much more similar.
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

/// Weight of the similarity of keys in other tables, from 0 to 1.
const OTHER_TABLE_WEIGHT: f64 = 0.3;
