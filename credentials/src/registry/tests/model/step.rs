//! What can happen.

use keyside_config::Verification;
use proptest::prelude::*;

use crate::model::Environment;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(Create),
    /// Whose place in the list, and how. The same for those below.
    Rotate(usize, Rotate),
    /// To which version, and whether it is asked for by someone who saw an older state.
    RollBack(usize, Option<u32>, bool),
    Edit(usize, Edit),
    /// Whether answers are cut off.
    Revoke(usize, bool, bool),
    Advance(i64),
    Restart,
    Sweep,
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

/// Few, so that steps meet.
pub(super) const LABELS: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const PROVIDERS: [&str; 2] = ["openai", "anthropic"];

pub(super) fn secret(number: u8) -> String {
    format!("sk-{number}")
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..22)
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
        4 => seconds().prop_map(Step::Advance),
        1 => Just(Step::Restart),
        1 => Just(Step::Sweep),
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

/// Around the ends there are: a second before, at the second, long after.
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
