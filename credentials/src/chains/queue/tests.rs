//! The lock of a chain: order, cancelled callers, and many concurrent callers.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use super::{
    Priority::{High, Normal},
    *,
};

/// A caller waiting for the lock. Polled by hand, so that the order of arrival is known.
type Waiter = Pin<Box<dyn Future<Output = Turn>>>;

fn waiter(queue: &Arc<Queue>, priority: Priority) -> Waiter {
    let queue = queue.clone();
    Box::pin(async move { queue.lock(priority).await })
}

fn poll(waiter: &mut Waiter) -> Option<Turn> {
    match waiter
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

/// Takes the lock, which must be free.
fn lock_now(queue: &Arc<Queue>) -> Turn {
    poll(&mut waiter(queue, Normal)).expect("the lock is free")
}

/// Polls all waiters: the number of the one that got the lock, and the lock.
fn next(waiters: &mut [Option<Waiter>]) -> Option<(usize, Turn)> {
    for (number, waiting) in waiters.iter_mut().enumerate() {
        let Some(turn) = waiting.as_mut().and_then(poll) else {
            continue;
        };
        *waiting = None;
        return Some((number, turn));
    }
    None
}

/// The order in which the waiters get the lock, each alone.
fn order(waiters: &mut [Option<Waiter>]) -> Vec<usize> {
    let mut order = Vec::new();
    while let Some((number, turn)) = next(waiters) {
        assert!(next(waiters).is_none(), "two waiters have the lock");
        order.push(number);
        drop(turn);
    }
    order
}

/// Waiters that have arrived in this order.
fn waiting(queue: &Arc<Queue>, priorities: &[Priority]) -> Vec<Option<Waiter>> {
    let mut waiters: Vec<_> = priorities
        .iter()
        .map(|priority| Some(waiter(queue, *priority)))
        .collect();
    assert!(next(&mut waiters).is_none(), "a waiter got the lock");
    waiters
}

#[test]
fn high_priority_callers_go_first_and_each_priority_keeps_its_order() {
    let queue = Arc::new(Queue::default());
    let held = lock_now(&queue);
    let mut waiters = waiting(&queue, &[Normal, Normal, High, Normal, High]);
    drop(held);
    assert_eq!(order(&mut waiters), [2, 4, 0, 1, 3]);
    drop(lock_now(&queue));
}

#[test]
fn a_high_priority_caller_overtakes_waiting_callers_but_not_the_next_lock_holder() {
    let queue = Arc::new(Queue::default());
    let held = lock_now(&queue);
    let mut waiters = waiting(&queue, &[Normal, Normal]);
    drop(held);
    // The first waiter was granted the lock, but has not been polled since.
    waiters.extend(waiting(&queue, &[High]));
    assert_eq!(order(&mut waiters), [0, 2, 1]);
}

#[test]
fn a_cancelled_caller_changes_nothing_for_the_others() {
    let priorities = [Normal, High, Normal, High];
    let all = [1, 3, 0, 2];
    for cancelled in 0..1 << priorities.len() {
        let is_cancelled = |number: &usize| cancelled & (1 << number) != 0;
        for has_turn in [false, true] {
            let queue = Arc::new(Queue::default());
            let mut held = Some(lock_now(&queue));
            let mut waiters = waiting(&queue, &priorities);
            if has_turn {
                // The first waiter is cancelled after it was granted the lock and before it was
                // polled.
                held = None;
            }
            for number in (0..priorities.len()).filter(is_cancelled) {
                waiters[number] = None;
            }
            drop(held);
            let left: Vec<_> = all.into_iter().filter(|it| !is_cancelled(it)).collect();
            assert_eq!(order(&mut waiters), left, "{cancelled:b}, {has_turn}");
            drop(lock_now(&queue));
            drop(waiters);
            assert_eq!(Arc::strong_count(&queue), 1, "a lock is left over");
        }
    }
}

#[test]
fn a_lock_future_dropped_before_its_first_poll_blocks_nobody() {
    let queue = Arc::new(Queue::default());
    drop(waiter(&queue, High));
    let held = lock_now(&queue);
    drop(waiter(&queue, High));
    let mut waiters = waiting(&queue, &[Normal]);
    drop(held);
    assert_eq!(order(&mut waiters), [0]);
}

#[test]
fn the_lock_is_wanted_while_a_caller_waits_that_was_not_cancelled() {
    let queue = Arc::new(Queue::default());
    let held = lock_now(&queue);
    assert!(!held.is_wanted());
    for priority in [Normal, High] {
        let mut waiters = waiting(&queue, &[priority]);
        assert!(held.is_wanted(), "{priority:?}");
        waiters.clear();
        assert!(!held.is_wanted(), "{priority:?}");
    }
}

#[test]
fn a_hundred_thousand_callers_can_be_cancelled_at_once() {
    let queue = Arc::new(Queue::default());
    let held = lock_now(&queue);
    let mut waiters = waiting(&queue, &[Normal; 100_000]);
    waiters.clear();
    drop(held);
    drop(lock_now(&queue));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_lock_is_exclusive_and_never_lost_among_many_tasks_of_which_some_are_cancelled() {
    let queue = Arc::new(Queue::default());
    let inside = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (queue, inside) = (queue.clone(), inside.clone());
            tokio::spawn(async move {
                for round in 0..100 {
                    let priority = if (task + round) % 3 == 0 {
                        High
                    } else {
                        Normal
                    };
                    if (task * 7 + round) % 5 == 0 {
                        tokio::select! {
                            biased;
                            turn = queue.lock(priority) => drop(turn),
                            () = tokio::task::yield_now() => {}
                        }
                        continue;
                    }
                    let turn = queue.lock(priority).await;
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(lock_now(&queue));
}
