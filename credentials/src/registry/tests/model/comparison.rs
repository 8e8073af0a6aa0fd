//! Compares the lists and answers of an authority with a state of the reference.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    reference::{Known, Reference},
    step::{self, LABELS, PROVIDERS},
    *,
};
use crate::{model::Fingerprint, resolver::Resolver};

/// Compares a list with a state, and copies ids and revisions that no answer has told into the
/// state.
pub(super) fn compare_views(
    state: &mut Reference,
    views: &[Credential],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(views.len(), state.credentials.len());
    recognize(state, views);
    for at in 0..state.credentials.len() {
        let (expected, now) = (&state.credentials[at], state.now);
        let mut views = views.iter();
        let view = views.find(|view| expected.id.as_ref() == Some(&view.id));
        let Some(view) = view else {
            return Err(TestCaseError::fail(format!("{expected:?} is not listed")));
        };
        prop_assert!(!view.damaged);
        prop_assert_eq!(view.label.as_str(), LABELS[expected.label]);
        prop_assert_eq!(view.expires_at.map(Timestamp::as_second), expected.expires);
        prop_assert_eq!(
            view.last_rotated_at.map(Timestamp::as_second),
            expected.rotated
        );
        prop_assert_eq!(view.status, expected.status(now));
        prop_assert_eq!(view.is_default, state.is_default(at));
        prop_assert_eq!(view.fingerprint.as_ref(), Some(&expected.fingerprint()));
        let versions: Vec<_> = view
            .versions
            .iter()
            .map(|version| {
                (
                    version.number,
                    version.state,
                    version.grace_until.map(Timestamp::as_second),
                )
            })
            .collect();
        prop_assert_eq!(versions, expected.states(now));
        state.credentials[at].revision = view.revision;
    }
    state.arrange(&views.iter().map(|view| &view.id).collect::<Vec<_>>());
    Ok(())
}

/// Finds the ids of credentials whose creation was answered by nothing.
fn recognize(state: &mut Reference, views: &[Credential]) {
    for at in 0..state.credentials.len() {
        let lost = &state.credentials[at];
        if lost.id.is_some() {
            continue;
        }
        let is_known = |view: &Credential| {
            let mut known = state.credentials.iter();
            known.any(|known| known.id.as_ref() == Some(&view.id))
        };
        let found = views.iter().find(|view| {
            let is_same = &*view.provider == PROVIDERS[lost.provider]
                && view.environment == lost.environment
                && view.label.as_str() == LABELS[lost.label]
                && view.fingerprint.as_ref() == Some(&lost.fingerprint());
            is_same && !is_known(view)
        });
        state.credentials[at].id = found.map(|view| view.id.clone());
    }
}

impl Known {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&secret(&step::secret(self.versions[self.current].secret)))
    }
}

pub(super) fn compare_answers(state: &Reference, resolver: &Resolver) -> Result<(), TestCaseError> {
    for (number, provider) in PROVIDERS.iter().enumerate() {
        for environment in [None, Some(Environment::Live), Some(Environment::Sandbox)] {
            let asked = CredentialQuery {
                provider,
                environment,
                ..ask("acme")
            };
            let answer = opened(resolver.resolve(&asked));
            prop_assert_eq!(answer, state.default_answer(number, environment));
        }
        for (at, label) in LABELS.iter().enumerate() {
            let asked = CredentialQuery {
                provider,
                label: Some(label),
                ..ask("acme")
            };
            let answer = opened(resolver.resolve(&asked));
            prop_assert_eq!(answer, state.labelled_answer(number, at));
        }
    }
    Ok(())
}
