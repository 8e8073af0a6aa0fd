//! Names the versions of secrets in KV version 2, for callers that compare them.
//!
//! Vault's number alone does not identify a version: a secret that was deleted with its metadata
//! and written again starts at 1 again, as does one in a mount that was created again.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// The last version seen of each secret in KV version 2.
#[derive(Default)]
pub(crate) struct Versions(Mutex<BTreeMap<Key, Seen>>);

/// The secret's API path, and its fixed version if it has one.
type Key = (String, Option<u64>);

struct Seen {
    number: u64,
    /// When Vault created it, as Vault writes it.
    created: String,
    /// Whether its numbers started again while this process ran.
    has_restarted: bool,
}

impl Versions {
    /// The name of a version: its number, followed by its creation time if other versions had such
    /// numbers before. Different versions of a secret never have the same name.
    pub(crate) fn name(
        &self,
        path: &str,
        pinned: Option<u64>,
        number: u64,
        created: &str,
    ) -> String {
        let mut all = self.0.lock();
        let seen = all
            .entry((path.to_owned(), pinned))
            .or_insert_with(|| Seen {
                number,
                created: created.to_owned(),
                has_restarted: false,
            });
        let is_newer = created > seen.created.as_str();
        // A lower number that is older comes from a standby that is behind.
        if number > seen.number || is_newer || (number == seen.number && created != seen.created) {
            seen.has_restarted |= number <= seen.number;
            seen.number = number;
            created.clone_into(&mut seen.created);
        }
        match seen.has_restarted {
            false => number.to_string(),
            true => format!("{number} (created {created})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "kv/data/acme/openai";

    #[test]
    fn a_version_is_named_by_its_number_until_numbers_start_again() {
        let versions = Versions::default();
        let name = |number, created| versions.name(PATH, None, number, created);
        assert_eq!(name(1, "2026-01-01T00:00:00Z"), "1");
        assert_eq!(name(2, "2026-01-02T00:00:00Z"), "2");
        // From a standby that is behind.
        assert_eq!(name(1, "2026-01-01T00:00:00Z"), "1");
        assert_eq!(name(2, "2026-01-02T00:00:00Z"), "2");
        let again = name(1, "2026-01-03T00:00:00Z");
        assert_eq!(again, "1 (created 2026-01-03T00:00:00Z)");
        assert_eq!(name(1, "2026-01-03T00:00:00Z"), again);
        assert_eq!(
            name(2, "2026-01-04T00:00:00Z"),
            "2 (created 2026-01-04T00:00:00Z)"
        );
    }

    #[test]
    fn the_same_number_at_another_time_is_another_version_even_if_vault_s_clock_went_back() {
        let versions = Versions::default();
        assert_eq!(versions.name(PATH, None, 1, "2026-01-02T00:00:00Z"), "1");
        let again = versions.name(PATH, None, 1, "2026-01-01T00:00:00Z");
        assert_eq!(again, "1 (created 2026-01-01T00:00:00Z)");
    }

    #[test]
    fn a_fixed_version_does_not_affect_the_latest_one() {
        let versions = Versions::default();
        assert_eq!(versions.name(PATH, None, 3, "2026-01-03T00:00:00Z"), "3");
        assert_eq!(versions.name(PATH, Some(1), 1, "2026-01-01T00:00:00Z"), "1");
        assert_eq!(versions.name(PATH, None, 3, "2026-01-03T00:00:00Z"), "3");
    }
}
