//! Codes of one-time links, which open a session of the token that asked for them.
//!
//! They are in this process's memory only, so a restart ends them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use keyside_credentials::ActorId;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::random::{Digest, digest, random_hex};

/// The codes that are not used yet.
#[derive(Default)]
pub struct SignInLinks(Mutex<HashMap<Digest, Link>>);

struct Link {
    actor: ActorId,
    made: Instant,
}

impl SignInLinks {
    /// A URL that opens one session of `actor`'s token, within [`Self::LIFETIME`]. The code is in the
    /// fragment, which browsers send to no server. `public_url` has no slash at the end.
    pub fn create(&self, public_url: &str, actor: &ActorId) -> Zeroizing<String> {
        let code = self.create_at(actor, Instant::now());
        Zeroizing::new(format!("{public_url}/link#{}", *code))
    }

    /// How long a link can be used.
    pub const LIFETIME: Duration = Duration::from_secs(5 * 60);

    fn create_at(&self, actor: &ActorId, now: Instant) -> Zeroizing<String> {
        let code = random_hex();
        let mut links = self.0.lock();
        links.retain(|_, link| link.left(now).is_some());
        let of_actor = links.iter().filter(|(_, link)| link.actor == *actor);
        let oldest = of_actor.clone().min_by_key(|(_, link)| link.made);
        let oldest = oldest.map(|(code, _)| *code);
        if of_actor.count() >= PER_TOKEN
            && let Some(oldest) = oldest
        {
            links.remove(&oldest);
        }
        let actor = actor.clone();
        links.insert(digest(&code), Link { actor, made: now });
        code
    }

    /// Whose session a code opens and how long it still works, without using it.
    pub(crate) fn peek(&self, code: &str, now: Instant) -> Option<(ActorId, Duration)> {
        let links = self.0.lock();
        let link = links.get(&digest(code))?;
        Some((link.actor.clone(), link.left(now)?))
    }

    /// Uses a code. Of several requests with one code, one gets the actor.
    pub(crate) fn redeem(&self, code: &str, now: Instant) -> Option<ActorId> {
        let link = self.0.lock().remove(&digest(code))?;
        link.left(now).map(|_| link.actor)
    }
}

impl Link {
    /// The remaining lifetime; `None` once it is over.
    fn left(&self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.made);
        let left = SignInLinks::LIFETIME.checked_sub(age)?;
        (!left.is_zero()).then_some(left)
    }
}

/// Unused links per token; a further one ends the oldest.
const PER_TOKEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(id: &str) -> ActorId {
        id.parse().unwrap()
    }

    #[test]
    fn a_code_opens_one_session_of_the_token_that_made_it() {
        let (links, now) = (SignInLinks::default(), Instant::now());
        let code = links.create_at(&actor("tok_a"), now);
        assert_eq!(links.peek(&code, now).unwrap().0, actor("tok_a"));
        assert_eq!(links.redeem(&code, now), Some(actor("tok_a")));
        assert_eq!(links.redeem(&code, now), None);
        assert_eq!(links.peek(&code, now), None);
        assert_eq!(links.redeem("", now), None);
    }

    #[test]
    fn a_code_ends_after_five_minutes() {
        let (links, now) = (SignInLinks::default(), Instant::now());
        let code = links.create_at(&actor("tok_a"), now);
        let just_before = now + SignInLinks::LIFETIME - Duration::from_millis(1);
        assert!(links.peek(&code, just_before).is_some());
        assert_eq!(links.peek(&code, now + SignInLinks::LIFETIME), None);
        assert_eq!(links.redeem(&code, now + SignInLinks::LIFETIME), None);
    }

    #[test]
    fn the_number_of_unused_codes_is_bounded_per_token() {
        let (links, now) = (SignInLinks::default(), Instant::now());
        let others = links.create_at(&actor("tok_b"), now);
        let at = |n| now + Duration::from_secs(n);
        let codes: Vec<_> = (0..10)
            .map(|n| links.create_at(&actor("tok_a"), at(n)))
            .collect();
        let works = |code: &Zeroizing<String>| links.peek(code, at(10)).is_some();
        let working: Vec<_> = codes.iter().map(works).collect();
        assert_eq!(
            working,
            [false, false, true, true, true, true, true, true, true, true]
        );
        assert!(works(&others), "another token's link");
    }

    #[test]
    fn a_link_has_the_code_in_its_fragment() {
        let links = SignInLinks::default();
        let url = links.create("https://keys.example/k", &actor("tok_a"));
        let code = url.strip_prefix("https://keys.example/k/link#").unwrap();
        assert_eq!(code.len(), 32);
        assert!(links.peek(code, Instant::now()).is_some());
    }
}
