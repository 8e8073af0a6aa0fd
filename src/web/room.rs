//! Who is connected to one listener.
//!
//! Nobody waits for a place: where all are taken, the client that has been silent for longest gives up its own. So clients
//! that connect and say nothing keep nobody out, however many they are. Who sends a request slowly is silent too, and who has
//! just come gets the time to say something.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The connections there are, at most `size`.
pub(super) struct Room {
    size: usize,
    taken: Mutex<Vec<Weak<Place>>>,
}

/// One connection's place: free again once it is dropped.
pub(super) struct Place {
    since: Instant,
    state: Mutex<State>,
    needed: Notify,
}

/// In the order in which places are given up: those who are answered keep theirs for as long as there are others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    answering: bool,
    moved: Instant,
}

impl Room {
    pub(super) fn of(size: usize) -> Self {
        let taken = Mutex::default();
        Self { size, taken }
    }

    /// A place for one more.
    pub(super) fn admit(&self) -> Arc<Place> {
        let place = Arc::new(Place::new());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|place| place.strong_count() > 0);
        if taken.len() >= self.size {
            give_up_one(&mut taken);
        }
        taken.push(Arc::downgrade(&place));
        place
    }
}

fn give_up_one(taken: &mut Vec<Weak<Place>>) {
    let there = taken.iter().filter_map(Weak::upgrade);
    // Where most have just come, they are a flood, and those who were here before are not the ones to go.
    let spare_the_new = there.filter(|place| place.is_new()).count() <= taken.len() / 2;
    let ranks = taken.iter().map(|place| {
        let place = place.upgrade()?;
        let state = *place.state();
        Some((spare_the_new && place.is_new(), state))
    });
    let silent = ranks.enumerate().min_by_key(|(_, rank)| *rank);
    if let Some((silent, _)) = silent
        && let Some(place) = taken.swap_remove(silent).upgrade()
    {
        place.needed.notify_one();
    }
}

impl Place {
    fn new() -> Self {
        let state = State {
            answering: false,
            moved: Instant::now(),
        };
        Self {
            since: state.moved,
            state: Mutex::new(state),
            needed: Notify::new(),
        }
    }

    /// A byte went in or out.
    pub(super) fn moved(&self) {
        self.state().moved = Instant::now();
    }

    fn is_new(&self) -> bool {
        self.since.elapsed() < NEW
    }

    /// A request that is here as a whole is being worked on, or no longer is.
    pub(super) fn answering(&self, answering: bool) {
        self.state().answering = answering;
    }

    #[cfg(test)]
    pub(super) fn is_answering(&self) -> bool {
        self.state().answering
    }

    /// Waits until somebody else gets the place.
    pub(super) async fn is_needed(&self) {
        self.needed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Two plain values; whatever a panic left of them will do.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For a client to send its first request.
const NEW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    async fn after_a_second<T>(act: impl FnOnce() -> T) -> T {
        advance(Duration::from_secs(1)).await;
        act()
    }

    async fn is_given_up(place: &Place) -> bool {
        timeout(Duration::ZERO, place.is_needed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_who_was_silent_for_longest_makes_room() {
        let room = Room::of(3);
        let first = room.admit();
        let second = after_a_second(|| room.admit()).await;
        let third = after_a_second(|| room.admit()).await;
        after_a_second(|| first.moved()).await;
        let fourth = after_a_second(|| room.admit()).await;
        assert!(is_given_up(&second).await);
        for kept in [&first, &third, &fourth] {
            assert!(!is_given_up(kept).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_answered_stay_while_there_are_others() {
        let room = Room::of(2);
        let answered = room.admit();
        answered.answering(true);
        let idle = after_a_second(|| room.admit()).await;
        let last = after_a_second(|| room.admit()).await;
        assert!(is_given_up(&idle).await && !is_given_up(&answered).await);
        last.answering(true);
        let _newcomer = after_a_second(|| room.admit()).await;
        assert!(is_given_up(&answered).await && !is_given_up(&last).await);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_has_just_come_stays_though_others_have_moved_since() {
        let room = Room::of(4);
        let old = [room.admit(), room.admit(), room.admit()];
        let new = after_a_second(|| room.admit()).await;
        advance(Duration::from_millis(1)).await;
        old.iter().for_each(|place| place.moved());
        let _next = room.admit();
        assert!(!is_given_up(&new).await);
        assert!(is_given_up(&old[0]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_those_who_have_just_come_drives_out_none_who_are_answered() {
        let room = Room::of(4);
        let answered = room.admit();
        answered.answering(true);
        advance(Duration::from_secs(1)).await;
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(room.admit());
        }
        assert!(!is_given_up(&answered).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_was_left_is_free() {
        let room = Room::of(2);
        let stays = room.admit();
        for _ in 0..5 {
            drop(after_a_second(|| room.admit()).await);
        }
        assert!(!is_given_up(&stays).await);
    }
}
