//! The steps of a history.

use std::time::Duration;

use keyside_config::Verification;
use keyside_store::faulty::{Fault, Incident};
use proptest::prelude::*;

use super::Dice;
use crate::model::Environment;

/// A turn, after which the authorities are compared with the reference.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    Steps(Steps),
    Advance(i64),
    /// By the authority with this index.
    Sweep(usize),
    /// Restarts both authorities and the backend.
    Restart,
    /// By the authority with this index.
    BackUp(usize),
    /// Restores the last backup, if there is one.
    Restore,
}

/// The steps of the two authorities, which run concurrently.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    pub(super) of: [Vec<Step>; 2],
    /// How storage behaves; without it nothing is slow and nothing fails.
    pub(super) conditions: Option<StorageConditions>,
    /// After this many milliseconds of waiting the clock advances by this many seconds.
    pub(super) passes: Option<(u64, i64)>,
}

/// How storage behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageConditions {
    pub(super) seed: u64,
    /// Whether operations fail and authorities crash.
    pub(super) faults: bool,
}

/// A step of one authority.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(Create),
    /// The credential's index in the list, as for the steps below, and the rotation.
    Rotate(usize, Rotate),
    /// The version, and whether the caller has seen an older state.
    RollBack(usize, Option<u32>, bool),
    Edit(usize, Edit),
    /// Whether requests in flight are cut, and whether the caller has seen an older state.
    Revoke(usize, bool, bool),
    Restart,
}

#[derive(Clone, Debug)]
pub(super) struct Create {
    pub(super) label: usize,
    pub(super) provider: usize,
    pub(super) environment: Environment,
    pub(super) secret: u8,
    pub(super) expires_in: Option<i64>,
    pub(super) default: bool,
    pub(super) once: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Rotate {
    pub(super) secret: u8,
    pub(super) grace: u64,
    pub(super) expires_in: Option<Option<i64>>,
    pub(super) check: Option<Verification>,
    pub(super) stale: bool,
    pub(super) once: Option<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) label: Option<usize>,
    pub(super) expires_in: Option<Option<i64>>,
    pub(super) default: Option<bool>,
    pub(super) stale: bool,
}

/// Few, so that steps collide.
pub(super) const LABELS: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const PROVIDERS: [&str; 2] = ["openai", "anthropic"];

pub(super) fn secret(number: u8) -> String {
    format!("sk-{number}")
}

impl StorageConditions {
    /// The incidents of the operations of one authority, in order.
    pub(super) fn incidents(self, authority: usize) -> impl FnMut() -> Incident + Send + 'static {
        let mut dice = Dice::of(self.seed.wrapping_add(authority as u64));
        move || {
            let delay = match dice.below(64) {
                0..32 => 0,
                32..56 => dice.below(5),
                56..63 => dice.below(300),
                // Longer than all steps that the other authority takes meanwhile.
                _ => dice.below(600_000),
            };
            let fault = match dice.below(100) {
                0 | 1 => Some(Fault::Refused),
                2 | 3 => Some(Fault::AnswerLost),
                _ => None,
            };
            let fault = fault.filter(|_| self.faults);
            Incident {
                delay: Duration::from_millis(delay as u64),
                fault,
                crash: fault.is_some() && dice.below(4) == 0,
            }
        }
    }
}

impl Step {
    /// Whether the caller has seen an older state.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Rotate(_, rotate) => rotate.stale,
            Self::Edit(_, edit) => edit.stale,
            Self::RollBack(_, _, stale) | Self::Revoke(_, _, stale) => *stale,
            Self::Create(_) | Self::Restart => false,
        }
    }

    /// A rotation with a check is decided twice, and refused if another secret came between; the
    /// reference decides once.
    fn without_check(self) -> Self {
        match self {
            Self::Rotate(who, rotate) => Self::Rotate(
                who,
                Rotate {
                    check: None,
                    ..rotate
                },
            ),
            other => other,
        }
    }
}

pub(super) fn turns() -> impl Strategy<Value = Vec<Turn>> {
    proptest::collection::vec(turn(), 1..24)
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        8 => (authority(), step()).prop_map(|(authority, step)| Turn::Steps(alone(authority, step))),
        12 => together().prop_map(Turn::Steps),
        3 => seconds().prop_map(Turn::Advance),
        1 => authority().prop_map(Turn::Sweep),
        1 => Just(Turn::Restart),
        1 => authority().prop_map(Turn::BackUp),
        1 => Just(Turn::Restore),
    ]
}

fn authority() -> impl Strategy<Value = usize> {
    0..2usize
}

fn alone(authority: usize, step: Step) -> Steps {
    let mut steps = Steps::default();
    steps.of[authority].push(step);
    steps
}

fn together() -> impl Strategy<Value = Steps> {
    let some = || proptest::collection::vec(step().prop_map(Step::without_check), 0..3);
    let conditions =
        (any::<u64>(), any::<bool>()).prop_map(|(seed, faults)| StorageConditions { seed, faults });
    let passes = proptest::option::weighted(0.2, (0..400u64, seconds()));
    (some(), some(), conditions, passes).prop_map(|(one, other, conditions, passes)| Steps {
        of: [one, other],
        conditions: Some(conditions),
        passes,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => create().prop_map(Step::Create),
        6 => (any::<usize>(), rotate()).prop_map(|(who, rotate)| Step::Rotate(who, rotate)),
        4 => (any::<usize>(), proptest::option::of(0..5u32), stale())
            .prop_map(|(who, to, stale)| Step::RollBack(who, to, stale)),
        3 => (any::<usize>(), edit()).prop_map(|(who, edit)| Step::Edit(who, edit)),
        2 => (any::<usize>(), any::<bool>(), stale())
            .prop_map(|(who, cut, stale)| Step::Revoke(who, cut, stale)),
        1 => Just(Step::Restart),
    ]
}

fn create() -> impl Strategy<Value = Create> {
    let environment = prop_oneof![Just(Environment::Live), Just(Environment::Sandbox)];
    (
        0..LABELS.len(),
        0..PROVIDERS.len(),
        environment,
        0..4u8,
        proptest::option::weighted(0.3, expiry()),
        proptest::bool::weighted(0.3),
        once(),
    )
        .prop_map(
            |(label, provider, environment, secret, expires_in, default, once)| Create {
                label,
                provider,
                environment,
                secret,
                expires_in,
                default,
                once,
            },
        )
}

fn rotate() -> impl Strategy<Value = Rotate> {
    let verdict = prop_oneof![
        Just(Verification::Accepted),
        Just(Verification::Limited),
        Just(Verification::Rejected),
        Just(Verification::Unreachable),
    ];
    (
        0..4u8,
        prop_oneof![
            Just(0),
            Just(3_600),
            Just(86_400),
            Just(90 * 86_400),
            Just(90 * 86_400 + 1)
        ],
        proptest::option::weighted(0.2, proptest::option::of(expiry())),
        proptest::option::weighted(0.4, verdict),
        stale(),
        once(),
    )
        .prop_map(|(secret, grace, expires_in, check, stale, once)| Rotate {
            secret,
            grace,
            expires_in,
            check,
            stale,
            once,
        })
}

fn edit() -> impl Strategy<Value = Edit> {
    (
        proptest::option::of(0..LABELS.len()),
        proptest::option::weighted(0.4, proptest::option::of(expiry())),
        proptest::option::weighted(0.4, any::<bool>()),
        stale(),
    )
        .prop_map(|(label, expires_in, default, stale)| Edit {
            label,
            expires_in,
            default,
            stale,
        })
}

fn stale() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.1)
}

fn once() -> impl Strategy<Value = Option<u8>> {
    proptest::option::weighted(0.2, 0..2u8)
}

/// Around the existing expiry times: a second before, at the second, long after.
fn seconds() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(1),
        Just(3_599),
        Just(3_600),
        Just(86_400),
        Just(31 * 86_400)
    ]
}

fn expiry() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(3_600),
        Just(86_400),
        Just(40 * 86_400)
    ]
}
