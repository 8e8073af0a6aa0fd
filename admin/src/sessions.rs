//! Sessions of the admin page, in this process's memory.
//!
//! A session is opened by three values that only its browser has: the id in the path, the cookie
//! that is sent to that path alone, and over https a second cookie with the `__Host-` prefix. It
//! acts for a token, and ends with it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use keyside_credentials::{ActorId, WorkspaceId};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::random::{Digest, digest, random_hex, short_hex};

/// The open sessions, by id.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Record>>);

/// What the browser of a new session gets.
pub(crate) struct NewSession {
    pub(crate) id: String,
    pub(crate) cookie: Zeroizing<String>,
    pub(crate) host_cookie: Zeroizing<String>,
}

/// The session of a request.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// The token that the session acts for.
    pub(crate) actor: ActorId,
    /// What its CSRF tokens are derived from; on no page itself.
    csrf: String,
    /// The workspace that was shown last.
    pub(crate) workspace: Option<WorkspaceId>,
    /// Until the session ends, even if it is used.
    pub(crate) left: Duration,
    /// Whether the person gave proof of identity a moment ago, which what cannot be undone requires.
    pub(crate) is_fresh: bool,
}

/// What the last form did, for the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flash {
    /// Empty if the page itself says what was done.
    pub(crate) title: &'static str,
    pub(crate) text: String,
    /// Problems that did not stop it.
    pub(crate) warnings: Vec<String>,
}

struct Record {
    actor: ActorId,
    cookie: Digest,
    host_cookie: Digest,
    csrf: String,
    workspace: Option<WorkspaceId>,
    flash: Option<Flash>,
    opened: Instant,
    seen: Instant,
    /// When the person last gave proof of identity.
    proven: Option<Instant>,
}

impl Sessions {
    /// Opens a session. Beyond the limit of its token or of all, the session that was idle longest
    /// ends.
    pub(crate) fn open(&self, actor: ActorId, now: Instant) -> NewSession {
        let new = NewSession {
            id: random_hex().to_string(),
            cookie: random_hex(),
            host_cookie: random_hex(),
        };
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.is_live(now));
        make_room(&mut sessions, PER_TOKEN, |session| session.actor == actor);
        make_room(&mut sessions, IN_TOTAL, |_| true);
        let record = Record {
            actor,
            cookie: digest(&new.cookie),
            host_cookie: digest(&new.host_cookie),
            csrf: random_hex().to_string(),
            workspace: None,
            flash: None,
            opened: now,
            seen: now,
            proven: Some(now),
        };
        sessions.insert(new.id.clone(), record);
        new
    }

    /// The session with this id, if one of `cookies` is its own, and over https one of
    /// `host_cookies` too. Counts as a use.
    ///
    /// Another server on this host can set further cookies of the same name, so a browser may send
    /// several.
    pub(crate) fn find(
        &self,
        id: &str,
        cookies: &[&str],
        host_cookies: Option<&[&str]>,
        now: Instant,
    ) -> Option<Session> {
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(id)?;
        let includes =
            |given: &[&str], expected: &Digest| given.iter().any(|it| digest(it) == *expected);
        let is_own = includes(cookies, &session.cookie)
            && host_cookies.is_none_or(|given| includes(given, &session.host_cookie));
        if !is_own {
            return None;
        }
        if !session.is_live(now) {
            sessions.remove(id);
            return None;
        }
        session.seen = now;
        Some(session.view(id, now))
    }

    /// Makes `workspace` the one that pages show unless their address says otherwise.
    pub(crate) fn select(&self, id: &str, workspace: &WorkspaceId) {
        self.update(id, |session| session.workspace = Some(workspace.clone()));
    }

    /// Sets what the next page says.
    pub(crate) fn set_flash(&self, id: &str, flash: Flash) {
        self.update(id, |session| session.flash = Some(flash));
    }

    /// What the last form did, once.
    pub(crate) fn take_flash(&self, id: &str) -> Option<Flash> {
        self.0.lock().get_mut(id)?.flash.take()
    }

    /// Records that the person gave proof of identity.
    pub(crate) fn prove(&self, id: &str, now: Instant) {
        self.update(id, |session| session.proven = Some(now));
    }

    /// As if more time had passed since the last proof of identity than it counts for.
    #[cfg(test)]
    pub(crate) fn forget_proofs(&self) {
        for session in self.0.lock().values_mut() {
            session.proven = None;
        }
    }

    pub(crate) fn close(&self, id: &str) {
        self.0.lock().remove(id);
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut Record)) {
        if let Some(session) = self.0.lock().get_mut(id) {
            change(session);
        }
    }
}

impl Session {
    /// A CSRF token for the forms of one page. No two are the same: the lengths of compressed pages
    /// would reveal a text that all of them have (`compression.rs`).
    pub(crate) fn csrf_token(&self) -> String {
        self.csrf_token_of(&random_hex())
    }

    /// Whether a form carries a CSRF token of this session.
    pub(crate) fn is_csrf_token(&self, given: &str) -> bool {
        let nonce = given.get(..NONCE).unwrap_or_default();
        digest(given) == digest(&self.csrf_token_of(nonce))
    }

    /// The nonce, and 128 bits of its digest with the session's own random value.
    fn csrf_token_of(&self, nonce: &str) -> String {
        let proof = digest(&format!("{nonce}{}", self.csrf));
        format!("{nonce}{}", short_hex(&proof, 16))
    }
}

impl Record {
    fn is_live(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) < IDLE && !self.left(now).is_zero()
    }

    fn left(&self, now: Instant) -> Duration {
        LIFETIME.saturating_sub(now.saturating_duration_since(self.opened))
    }

    fn view(&self, id: &str, now: Instant) -> Session {
        Session {
            id: id.to_owned(),
            actor: self.actor.clone(),
            csrf: self.csrf.clone(),
            workspace: self.workspace.clone(),
            left: self.left(now),
            is_fresh: self
                .proven
                .is_some_and(|proven| now.saturating_duration_since(proven) < FRESH),
        }
    }
}

/// If at least `limit` sessions are counted, ends the one of them that was idle longest.
fn make_room(
    sessions: &mut HashMap<String, Record>,
    limit: usize,
    is_counted: impl Fn(&Record) -> bool,
) {
    let counted: Vec<_> = sessions
        .iter()
        .filter(|(_, session)| is_counted(session))
        .map(|(id, session)| (session.seen, id))
        .collect();
    if counted.len() < limit {
        return;
    }
    let longest_idle = counted.into_iter().min().map(|(_, id)| id.clone());
    if let Some(id) = longest_idle {
        sessions.remove(&id);
    }
}

/// A session ends when it was not used for so long.
const IDLE: Duration = Duration::from_secs(60 * 60);
/// A session ends then, used or not.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// How long proof of identity counts for what cannot be undone.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// The hex digits of a CSRF token's nonce.
const NONCE: usize = 32;
/// Sessions of one token: a person with some browsers.
const PER_TOKEN: usize = 16;
/// Sessions of all tokens, below a kilobyte each.
const IN_TOTAL: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn actor(id: &str) -> ActorId {
        id.parse().unwrap()
    }

    fn found(sessions: &Sessions, new: &NewSession, now: Instant) -> Option<Session> {
        sessions.find(
            &new.id,
            &[new.cookie.as_str()],
            Some(&[new.host_cookie.as_str()]),
            now,
        )
    }

    #[test]
    fn a_session_needs_its_path_and_its_cookies() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let one = sessions.open(actor("tok_a"), now);
        let other = sessions.open(actor("tok_b"), now);
        assert_eq!(found(&sessions, &one, now).unwrap().actor, actor("tok_a"));
        let find = |cookies: &[&str], host: Option<&[&str]>| {
            sessions.find(&one.id, cookies, host, now).is_some()
        };
        let cookie = one.cookie.as_str();
        assert!(find(&["stray", cookie], None));
        assert!(!find(&[], None));
        for wrong in ["", "stray", other.cookie.as_str(), one.id.as_str()] {
            assert!(!find(&[wrong], None), "{wrong}");
        }
        assert!(!find(&[cookie], Some(&[])));
        for wrong in ["", "stray", other.host_cookie.as_str(), cookie] {
            assert!(!find(&[cookie], Some(&[wrong])), "{wrong}");
        }
        assert!(sessions.find("", &[cookie], None, now).is_none());
    }

    #[test]
    fn each_csrf_token_is_another_and_opens_one_session() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let session = |id| found(&sessions, &sessions.open(actor(id), now), now).unwrap();
        let (one, other) = (session("tok_a"), session("tok_a"));
        let (first, second) = (one.csrf_token(), one.csrf_token());
        assert_ne!(first[..NONCE], second[..NONCE]);
        assert_ne!(first[NONCE..], second[NONCE..]);
        assert!(!first.contains(&one.csrf), "{first}");
        for token in [&first, &second] {
            assert!(one.is_csrf_token(token) && !other.is_csrf_token(token));
        }
        let mixed = format!("{}{}", &first[..NONCE], &second[NONCE..]);
        let longer = format!("{first}0");
        for wrong in ["", "\u{e9}", &first[..NONCE], &one.csrf, &mixed, &longer] {
            assert!(!one.is_csrf_token(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_session_ends_after_an_hour_without_use() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let new = sessions.open(actor("tok_a"), now);
        let used = now + IDLE - SECOND;
        assert!(found(&sessions, &new, used).is_some());
        assert!(found(&sessions, &new, used + IDLE - SECOND).is_some());
        let late = used + IDLE - SECOND + IDLE;
        assert!(found(&sessions, &new, late).is_none());
    }

    #[test]
    fn a_session_ends_after_twelve_hours_of_use() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let new = sessions.open(actor("tok_a"), now);
        let mut at = now;
        while at + IDLE / 2 < now + LIFETIME {
            at += IDLE / 2;
            assert!(found(&sessions, &new, at).is_some());
        }
        assert!(found(&sessions, &new, now + LIFETIME).is_none());
        assert!(
            found(&sessions, &new, at).is_none(),
            "it does not come back"
        );
    }

    #[test]
    fn proof_of_identity_counts_for_five_minutes() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let new = sessions.open(actor("tok_a"), now);
        assert!(
            found(&sessions, &new, now + FRESH - SECOND)
                .unwrap()
                .is_fresh
        );
        assert!(!found(&sessions, &new, now + FRESH).unwrap().is_fresh);
        sessions.prove(&new.id, now + FRESH);
        assert!(found(&sessions, &new, now + FRESH).unwrap().is_fresh);
    }

    #[test]
    fn the_number_of_sessions_is_bounded_per_token() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let others = sessions.open(actor("tok_b"), now);
        let at = |n: usize| now + SECOND * u32::try_from(n).unwrap();
        let opened: Vec<_> = (0..=PER_TOKEN)
            .map(|n| sessions.open(actor("tok_a"), at(n)))
            .collect();
        let end = at(PER_TOKEN);
        assert!(found(&sessions, &opened[0], end).is_none());
        assert!(found(&sessions, &opened[1], end).is_some());
        assert!(found(&sessions, &others, end).is_some(), "another token's");
    }

    #[test]
    fn what_a_form_did_is_said_once() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let new = sessions.open(actor("tok_a"), now);
        let flash = Flash {
            title: "Created",
            text: "acme".to_owned(),
            warnings: vec!["mind the gap".to_owned()],
        };
        sessions.set_flash(&new.id, flash.clone());
        assert_eq!(sessions.take_flash(&new.id), Some(flash));
        assert_eq!(sessions.take_flash(&new.id), None);
    }

    #[test]
    fn a_closed_session_is_gone() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let new = sessions.open(actor("tok_a"), now);
        sessions.close(&new.id);
        assert!(found(&sessions, &new, now).is_none());
    }
}
