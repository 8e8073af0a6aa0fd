//! Figures over runs: counts, errors, latency percentiles and tokens, in total and in groups.

use std::{
    collections::{BTreeMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
    ops::ControlFlow,
};

use jiff::{civil::Date, tz::TimeZone};
use keyside_store::StorageError;

use super::{Outcome, RunFilter, RunKind, RunPosition, Runs, StoredRun, Tokens, sum_reported};
use crate::model::{Environment, named};

named! {
    /// What runs are grouped by.
    pub enum Dimension {
        /// The workspace.
        Workspace = "workspace",
        /// The provider.
        Provider = "provider",
        /// The credential.
        Credential = "credential",
        /// The environment of the credential.
        Environment = "environment",
        /// The tag that the runner sent.
        Tag = "tag",
        /// What the request was made for.
        Kind = "kind",
        /// The day in UTC on which the request was received.
        Day = "day",
    }
}

/// The values that all runs of a group share; `None` for what they are not grouped by, and for runs
/// without a value: a refused request has no credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The day in UTC.
    pub day: Option<Date>,
    /// The workspace.
    pub workspace: Option<Box<str>>,
    /// The provider's id.
    pub provider: Option<Box<str>>,
    /// The credential's id.
    pub credential: Option<Box<str>>,
    /// The credential's environment; also set if runs are grouped by credential, whose environment
    /// never changes.
    pub environment: Option<Environment>,
    /// The tag.
    pub tag: Option<Box<str>>,
    /// The kind.
    pub kind: Option<RunKind>,
}

/// Figures of some runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Number of runs.
    pub count: u64,
    /// Runs that failed, refused ones included. A client that disconnected is not a failure.
    pub errors: u64,
    /// Runs that Keyside refused without forwarding them.
    pub refused: u64,
    /// The latency of forwarded runs; `None` if there are none.
    pub latency: Option<Percentiles>,
    /// Sums of the counts that were reported; `None` if no run reported this one.
    pub tokens: Tokens,
    /// Forwarded runs for which neither input nor output tokens were reported, which differs from
    /// 0: the sums do not contain them.
    pub unknown_usage: u64,
}

/// Percentiles in microseconds, by the nearest-rank method: each is the latency of some run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the runs took at most this long.
    pub p50_us: u64,
    /// 95 % of the runs did.
    pub p95_us: u64,
    /// 99 % of the runs did.
    pub p99_us: u64,
}

/// Figures of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupFigures {
    /// What its runs share.
    pub group: Group,
    /// The label of the credential in the latest run, if runs are grouped by credential.
    pub label: Option<Box<str>>,
    /// Its figures.
    pub figures: Figures,
}

/// Figures in total and in groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFigures {
    /// Of all runs that match, those of omitted groups included.
    pub total: Figures,
    /// The largest of at most 10,000 groups with the latest runs, ordered by their values.
    pub groups: Vec<GroupFigures>,
    /// Number of other groups, which were omitted.
    pub omitted: usize,
}

impl Runs {
    /// Figures of the runs that match, and of at most `limit` groups of them. Live checks count
    /// only if the filter asks for their kind: a check is not a use of the credential, and a key
    /// that it finds rejected is not a request that failed. Reads all kept records: about a
    /// microsecond each, and 16 bytes of memory.
    ///
    /// # Errors
    /// Storage failed: figures of some of the runs would be wrong.
    pub async fn figures(
        &self,
        filter: &RunFilter,
        by: &HashSet<Dimension>,
        limit: usize,
    ) -> Result<RunFigures, StorageError> {
        let (mut total, mut groups) = (Tally::default(), Groups::default());
        let uses_only = filter.kind.is_none();
        let add = |_: RunPosition, run: StoredRun| {
            if !uses_only || run.kind.is_use() {
                total.add(&run);
                groups.add(&run, by);
            }
            ControlFlow::Continue(())
        };
        self.shared.read_back(filter, None, add).await?;
        Ok(RunFigures {
            total: total.figures(),
            omitted: groups.omitted(limit),
            groups: largest(groups.tallies, limit),
        })
    }
}

/// The groups while runs are added, newest first. A runner that sends a new tag with each request
/// makes a group of each, so their number is limited.
#[derive(Default)]
struct Groups {
    tallies: BTreeMap<Group, Tally>,
    /// Hashes of the groups beyond [`MAX_GROUPS`], to count them.
    beyond: HashSet<u64>,
    hasher: RandomState,
}

impl Groups {
    fn add(&mut self, run: &StoredRun, by: &HashSet<Dimension>) {
        let group = Group::of(run, by);
        if self.tallies.len() >= MAX_GROUPS && !self.tallies.contains_key(&group) {
            self.beyond.insert(self.hasher.hash_one(&group));
            return;
        }
        let tally = self.tallies.entry(group).or_default();
        tally.add(run);
        // The latest run's.
        if by.contains(&Dimension::Credential) && tally.label.is_none() {
            tally.label = run.used.as_ref().map(|used| used.label.clone());
        }
    }

    /// How many there are beside the `limit` largest ones.
    fn omitted(&self, limit: usize) -> usize {
        self.tallies.len().saturating_sub(limit) + self.beyond.len()
    }
}

/// The largest groups, in the order of their values.
fn largest(groups: BTreeMap<Group, Tally>, limit: usize) -> Vec<GroupFigures> {
    let mut groups: Vec<_> = groups.into_iter().collect();
    // Stable, so that groups of equal size keep their order.
    groups.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.figures.count));
    groups.truncate(limit);
    groups.sort_by(|(one, _), (other, _)| one.cmp(other));
    let figures = groups.into_iter().map(|(group, mut tally)| GroupFigures {
        group,
        label: tally.label.take(),
        figures: tally.figures(),
    });
    figures.collect()
}

impl Group {
    fn of(run: &StoredRun, by: &HashSet<Dimension>) -> Self {
        let used = run.used.as_ref();
        let mut group = Self::default();
        for dimension in by {
            match dimension {
                Dimension::Workspace => group.workspace = Some(run.workspace.clone()),
                Dimension::Provider => {
                    group.provider = Some(run.provider.clone()).filter(|id| !id.is_empty());
                }
                Dimension::Credential => {
                    group.credential = used.map(|it| it.credential.clone());
                    group.environment = used.map(|it| it.environment);
                }
                Dimension::Environment => group.environment = used.map(|it| it.environment),
                Dimension::Tag => group.tag.clone_from(&run.tag),
                Dimension::Kind => group.kind = Some(run.kind),
                Dimension::Day => group.day = Some(run.at.to_zoned(TimeZone::UTC).date()),
            }
        }
        group
    }
}

/// Figures while runs are added.
#[derive(Default)]
struct Tally {
    figures: Figures,
    latencies: Vec<u64>,
    label: Option<Box<str>>,
}

impl Tally {
    fn add(&mut self, run: &StoredRun) {
        let figures = &mut self.figures;
        figures.count += 1;
        figures.errors += u64::from(SUCCESSES.iter().all(|it| it.as_str() != &*run.outcome));
        if run.is_refused() {
            figures.refused += 1;
            return;
        }
        self.latencies.push(run.latency_us);
        let tokens = &run.tokens;
        figures.unknown_usage += u64::from(tokens.input.is_none() && tokens.output.is_none());
        let sums = &mut figures.tokens;
        for (sum, count) in [
            (&mut sums.input, tokens.input),
            (&mut sums.output, tokens.output),
            (&mut sums.cached_input, tokens.cached_input),
            (&mut sums.cache_write, tokens.cache_write),
            (&mut sums.reasoning, tokens.reasoning),
        ] {
            *sum = sum_reported(*sum, count);
        }
    }

    fn figures(mut self) -> Figures {
        self.latencies.sort_unstable();
        self.figures.latency = Percentiles::of(&self.latencies);
        self.figures
    }
}

impl Percentiles {
    fn of(sorted: &[u64]) -> Option<Self> {
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            p50_us: rank(50)?,
            p95_us: rank(95)?,
            p99_us: rank(99)?,
        })
    }
}

/// Groups whose figures are added up.
const MAX_GROUPS: usize = 10_000;

/// Outcomes that are no failure of Keyside or the provider: a whole response below 400, and a
/// client that disconnected.
const SUCCESSES: [Outcome; 2] = [Outcome::Ok, Outcome::ClientClosed];

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn groups_beyond_the_limit_are_counted_as_omitted() {
        let run = |tag: usize| StoredRun {
            at: Timestamp::UNIX_EPOCH,
            request_id: "req_1".into(),
            kind: RunKind::Traffic,
            workspace: "acme".into(),
            provider: "openai".into(),
            used: None,
            status: 200,
            outcome: "ok".into(),
            refused: None,
            latency_us: 1,
            first_byte_us: None,
            tokens: Tokens::default(),
            run_id: None,
            tag: Some(tag.to_string().into()),
        };
        let (mut groups, by) = (Groups::default(), HashSet::from([Dimension::Tag]));
        for _ in 0..2 {
            for tag in 0..MAX_GROUPS + 3 {
                groups.add(&run(tag), &by);
            }
        }
        assert_eq!(groups.tallies.len(), MAX_GROUPS);
        let counts = groups.tallies.values().map(|tally| tally.figures.count);
        assert_eq!(counts.sum::<u64>(), 2 * MAX_GROUPS as u64);
        assert_eq!(groups.omitted(100), MAX_GROUPS - 100 + 3);
    }

    #[test]
    fn a_percentile_is_the_latency_of_a_run() {
        assert_eq!(Percentiles::of(&[]), None);
        for (sorted, expected) in [
            (vec![7], [7, 7, 7]),
            (vec![1, 2], [1, 2, 2]),
            ((1..=100).collect(), [50, 95, 99]),
            ((1..=1_000).collect(), [500, 950, 990]),
        ] {
            let found = Percentiles::of(&sorted).unwrap();
            assert_eq!([found.p50_us, found.p95_us, found.p99_us], expected);
        }
    }
}
