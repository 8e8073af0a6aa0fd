//! Sessions: for people who have shown their token to the page once. They live in memory only, and no longer than the token
//! that they began with.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Access, Principal, token::random_text};
use crate::{ActorId, authentic::Hash, model::random_id};

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// Without a request.
    pub idle: Duration,
    /// From the sign-in, whatever happens.
    pub lifetime: Duration,
}

/// The sessions there are. Times are monotonic: setting the clock neither ends nor prolongs one.
pub struct Sessions {
    rules: SessionRules,
    /// By the hash of their text: what is in memory signs nobody in.
    open: Mutex<HashMap<Hash, Entry>>,
}

/// A session that was opened, with its text: the only time that it is to be had.
pub struct OpenedSession {
    /// Its name in the audit log.
    pub id: String,
    /// What the browser keeps.
    pub text: Zeroizing<String>,
}

/// A session that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name in the audit log.
    pub id: String,
    /// Who is speaking.
    pub principal: Principal,
    /// How much longer its last proof counts.
    pub proof_left: Duration,
    /// How much longer it lasts at most.
    pub left: Duration,
}

struct Entry {
    id: String,
    token: ActorId,
    began: Instant,
    seen: Instant,
    proven: Instant,
}

impl Sessions {
    /// None yet.
    pub fn new(rules: SessionRules) -> Self {
        Self {
            rules,
            open: Mutex::default(),
        }
    }

    /// Opens one for a principal that has just shown its token. Its text is new: one that a browser already had, or was
    /// given by someone else, never becomes good.
    pub fn open(&self, principal: &Principal) -> OpenedSession {
        let now = Instant::now();
        let text = random_text("kss_");
        let id = random_id("ses_");
        let entry = Entry {
            id: id.clone(),
            token: principal.actor.clone(),
            began: now,
            seen: now,
            proven: now,
        };
        self.change(|open| {
            open.retain(|_, entry| !self.is_over(entry, now));
            if open.len() >= MOST {
                forget_longest_idle(open);
            }
            open.insert(Hash::of(text.as_bytes()), entry);
        });
        OpenedSession { id, text }
    }

    /// The session with this text, if it and its token are still good. Counts as a sign of life.
    pub fn resume(&self, text: &str, access: &Access) -> Option<Session> {
        let now = Instant::now();
        self.change(|open| {
            let hash = Hash::of(text.as_bytes());
            let entry = open.get_mut(&hash)?;
            let principal = access.principal(&entry.token);
            let Some(principal) = principal.filter(|_| !self.is_over(entry, now)) else {
                open.remove(&hash);
                return None;
            };
            entry.seen = now;
            let proof_left = PROOF.saturating_sub(now.duration_since(entry.proven));
            Some(Session {
                id: entry.id.clone(),
                proof_left,
                left: (self.rules.lifetime).saturating_sub(now.duration_since(entry.began)),
                principal: Principal {
                    proven: !proof_left.is_zero(),
                    ..principal
                },
            })
        })
    }

    /// Renews the proof of a session, if `principal` has just shown the very token that it began with.
    pub fn prove(&self, text: &str, principal: &Principal) -> bool {
        self.change(|open| {
            let entry = open.get_mut(&Hash::of(text.as_bytes()));
            let entry = entry.filter(|entry| entry.token == principal.actor);
            entry.map(|entry| entry.proven = Instant::now()).is_some()
        })
    }

    /// Ends a session at once.
    pub fn close(&self, text: &str) {
        self.change(|open| open.remove(&Hash::of(text.as_bytes())));
    }

    fn is_over(&self, entry: &Entry, now: Instant) -> bool {
        now.duration_since(entry.seen) >= self.rules.idle
            || now.duration_since(entry.began) >= self.rules.lifetime
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<Hash, Entry>) -> T) -> T {
        // Each change is one step on the map, so whatever a panic left of it is whole.
        change(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn forget_longest_idle(open: &mut HashMap<Hash, Entry>) {
    let oldest = open.iter().min_by_key(|(_, entry)| entry.seen);
    if let Some(hash) = oldest.map(|(hash, _)| *hash) {
        open.remove(&hash);
    }
}

/// How long showing the token counts as a proof for what asks for one.
const PROOF: Duration = Duration::from_secs(5 * 60);

/// At once. Whoever signs in more often than that loses the ones that were idle for longest.
const MOST: usize = 1_000;
