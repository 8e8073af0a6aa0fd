//! Names the versions of secrets in KV version 2, for callers that compare them.
//!
//! Vault's number alone does not identify a version: a secret that was deleted with its metadata
//! and written again starts at 1 again, as does one in a mount that was created again.
//!
//! Standbys answer with data that is behind, so an answer may be older than the one before.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The newest version seen of each secret in KV version 2.
#[derive(Default)]
pub(crate) struct Versions(Mutex<BTreeMap<Key, Seen>>);

/// The secret's API path, and its fixed version if it has one.
type Key = (String, Option<u64>);

/// A version among those that this process has seen of its secret. Different ones never have the
/// same name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It is the newest, with this name.
    Newest(String),
    /// It is older than the one with this name, and must not replace it.
    OlderThan(String),
}

struct Seen {
    number: u64,
    /// When Vault created it, as Vault writes it.
    created: String,
    /// Whether its numbers started again while this process ran.
    has_restarted: bool,
    /// Since when Vault answers with an older version.
    behind_since: Option<Instant>,
}

impl Versions {
    /// Names a version: its number, followed by its creation time if other versions had such
    /// numbers before.
    pub(crate) fn name(
        &self,
        path: &str,
        pinned: Option<u64>,
        number: u64,
        created: &str,
        now: Instant,
    ) -> Named {
        let mut all = self.0.lock();
        let seen = all
            .entry((path.to_owned(), pinned))
            .or_insert_with(|| Seen {
                number,
                created: created.to_owned(),
                has_restarted: false,
                behind_since: None,
            });
        let is_older = number < seen.number && created <= seen.created.as_str();
        if is_older && now.duration_since(*seen.behind_since.get_or_insert(now)) < LONGEST_LAG {
            return Named::OlderThan(seen.name());
        }
        seen.behind_since = None;
        if number != seen.number || created != seen.created {
            seen.has_restarted |= number <= seen.number;
            seen.number = number;
            created.clone_into(&mut seen.created);
        }
        Named::Newest(seen.name())
    }
}

impl Seen {
    fn name(&self) -> String {
        let Self {
            number, created, ..
        } = self;
        match self.has_restarted {
            false => number.to_string(),
            true => format!("{number} (created {created})"),
        }
    }
}

/// A standby that is behind catches up sooner. After this time the newer version is gone: Vault was
/// restored from a snapshot.
const LONGEST_LAG: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "kv/data/acme/openai";

    fn newest(name: &str) -> Named {
        Named::Newest(name.to_owned())
    }

    #[test]
    fn a_version_is_named_by_its_number_until_numbers_start_again() {
        let versions = Versions::default();
        let now = Instant::now();
        let name = |number, created| versions.name(PATH, None, number, created, now);
        assert_eq!(name(1, "2026-01-01T00:00:00Z"), newest("1"));
        assert_eq!(name(2, "2026-01-02T00:00:00Z"), newest("2"));
        let again = name(1, "2026-01-03T00:00:00Z");
        assert_eq!(again, newest("1 (created 2026-01-03T00:00:00Z)"));
        assert_eq!(name(1, "2026-01-03T00:00:00Z"), again);
        assert_eq!(
            name(2, "2026-01-04T00:00:00Z"),
            newest("2 (created 2026-01-04T00:00:00Z)")
        );
    }

    #[test]
    fn an_older_version_is_from_a_standby_that_is_behind_unless_vault_keeps_answering_with_it() {
        let versions = Versions::default();
        let start = Instant::now();
        let older = |after: Duration| {
            let created = "2026-01-01T00:00:00Z";
            versions.name(PATH, None, 1, created, start + after)
        };
        let current = |number: u64, after: Duration| {
            let created = "2026-01-02T00:00:00Z";
            versions.name(PATH, None, number, created, start + after)
        };
        let behind = Named::OlderThan("2".to_owned());
        let second = Duration::from_secs(1);
        assert_eq!(older(Duration::ZERO), newest("1"));
        assert_eq!(current(2, Duration::ZERO), newest("2"));
        assert_eq!(older(second), behind);
        assert_eq!(older(LONGEST_LAG), behind);
        // The active node answers in between.
        assert_eq!(current(2, LONGEST_LAG), newest("2"));
        assert_eq!(older(LONGEST_LAG + second), behind);
        // Vault was restored, so its numbers start again.
        let restored = newest("1 (created 2026-01-01T00:00:00Z)");
        assert_eq!(older(LONGEST_LAG * 2 + second), restored);
        assert_eq!(older(LONGEST_LAG * 3), restored);
        let next = newest("2 (created 2026-01-02T00:00:00Z)");
        assert_eq!(current(2, LONGEST_LAG * 3), next);
    }

    #[test]
    fn the_same_number_at_another_time_is_another_version_even_if_vault_s_clock_went_back() {
        let versions = Versions::default();
        let name = |created| versions.name(PATH, None, 1, created, Instant::now());
        assert_eq!(name("2026-01-02T00:00:00Z"), newest("1"));
        let again = name("2026-01-01T00:00:00Z");
        assert_eq!(again, newest("1 (created 2026-01-01T00:00:00Z)"));
    }

    #[test]
    fn a_fixed_version_does_not_affect_the_latest_one() {
        let versions = Versions::default();
        let now = Instant::now();
        let latest = || versions.name(PATH, None, 3, "2026-01-03T00:00:00Z", now);
        assert_eq!(latest(), newest("3"));
        let fixed = versions.name(PATH, Some(1), 1, "2026-01-01T00:00:00Z", now);
        assert_eq!(fixed, newest("1"));
        assert_eq!(latest(), newest("3"));
    }
}
