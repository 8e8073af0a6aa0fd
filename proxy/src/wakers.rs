//! Waiting for rare events (deadlines, revocation, shutdown) without polling them again for each
//! chunk.
//!
//! hyper polls a connection several times for each chunk, and everything the connection waits for
//! with it. The types here check with one atomic load whether their event has fired, and poll the
//! future behind it only if it would not wake the current task yet.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    task::coop,
    time::{Instant, Sleep, sleep_until},
};

/// A one-shot event that may never fire.
pub(crate) struct OneShot<F> {
    registered: RegisteredWaker,
    future: F,
}

impl<F: Future<Output = ()> + Unpin> OneShot<F> {
    /// `future` must become ready when the event fires, and must not wake its task before.
    pub(crate) fn new(future: F) -> Self {
        Self {
            registered: RegisteredWaker::default(),
            future,
        }
    }

    /// Ready once the event has fired; `fired` is the caller's cheap check for that.
    pub(crate) fn poll(&mut self, fired: bool, context: &mut Context<'_>) -> Poll<()> {
        if !fired && self.registered.will_wake(context) {
            return Poll::Pending;
        }
        self.registered.register(context);
        Pin::new(&mut self.future).poll(context)
    }
}

/// A timer that is armed when first polled and re-armed only when it fires, so that a deadline that
/// keeps moving away costs almost nothing.
#[derive(Default)]
pub(crate) struct Timer {
    registered: RegisteredWaker,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The current deadline was set by [`Timer::wake_within`].
    kept: bool,
}

impl Timer {
    /// Ready once `deadline` has passed. Otherwise the task is woken at the deadline or earlier; an
    /// early wake-up is spurious.
    pub(crate) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        self.kept = false;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
            self.registered.clear();
        }
        if self.registered.will_wake(context) && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            self.registered.register(context);
            ready!(sleep.as_mut().poll(context));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }

    /// Guarantees that the task is woken within `at_most`, each time it is called. Reads the clock
    /// only if a deadline was set in between or the timer has fired.
    pub(crate) fn wake_within(&mut self, at_most: Duration, context: &mut Context<'_>) {
        let set = self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed());
        if !(self.kept && set && self.registered.will_wake(context)) {
            let _ = self.poll(Instant::now() + at_most, context);
            self.kept = true;
        }
    }
}

/// Expires when nothing has been received for `limit`.
pub(crate) struct IdleTimer {
    limit: Duration,
    since: Option<Instant>,
    timer: Timer,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            timer: Timer::default(),
        }
    }

    /// Ready once the limit has passed since the last [`IdleTimer::reset`]. The first poll after a
    /// reset starts the timer.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.timer.poll(since + self.limit, context)
    }

    pub(crate) fn reset(&mut self) {
        self.since = None;
    }
}

/// The waker that a future was last polled with.
#[derive(Default)]
struct RegisteredWaker(Option<Waker>);

impl RegisteredWaker {
    fn will_wake(&self, context: &Context<'_>) -> bool {
        let waker = context.waker();
        self.0
            .as_ref()
            .is_some_and(|registered| registered.will_wake(waker))
    }

    /// Called before the future is polled.
    fn register(&mut self, context: &Context<'_>) {
        // A tokio timer polled by a task without coop budget returns early and does not store the
        // waker.
        self.0 = coop::has_budget_remaining().then(|| context.waker().clone());
    }

    fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    /// A fake task that counts how often it is woken.
    #[derive(Default)]
    pub(crate) struct WakeCounter(AtomicUsize);

    impl Wake for WakeCounter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl WakeCounter {
        pub(crate) fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_wakes_the_task_that_polled_last() {
        let (mut timer, deadline) = (Timer::default(), Instant::now() + Duration::from_secs(1));
        let (first, second) = (Arc::<WakeCounter>::default(), Arc::<WakeCounter>::default());
        for task in [&first, &first, &second, &second] {
            let waker = Waker::from(task.clone());
            let polled = timer.poll(deadline, &mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((first.times(), second.times()), (0, 1));
        assert!(
            poll_fn(|context| Poll::Ready(timer.poll(deadline, context)))
                .await
                .is_ready()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn wake_within_wakes_its_task_every_time() {
        let mut timer = Timer::default();
        for times in 1..4 {
            let task = Arc::<WakeCounter>::default();
            let waker = Waker::from(task.clone());
            for _ in 0..times {
                timer.wake_within(Duration::from_secs(2), &mut Context::from_waker(&waker));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(task.times() > 0, "kept {times} times");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wake_within_moves_a_later_deadline_forward() {
        let mut timer = Timer::default();
        let task = Arc::<WakeCounter>::default();
        let waker = Waker::from(task.clone());
        let context = &mut Context::from_waker(&waker);
        for times in 1..4 {
            let later = Instant::now() + Duration::from_secs(60);
            assert!(timer.poll(later, context).is_pending());
            timer.wake_within(Duration::from_secs(2), context);
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(task.times(), times);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_has_fired_waits_for_another_deadline() {
        let (mut timer, start) = (Timer::default(), Instant::now());
        for seconds in [1, 3, 2, 4] {
            let deadline = start + Duration::from_secs(seconds);
            poll_fn(|context| timer.poll(deadline, context)).await;
            assert!(Instant::now() >= deadline);
        }
        assert_eq!(start.elapsed().as_secs(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_polled_by_a_task_without_coop_budget_still_fires() {
        let (mut timer, start) = (Timer::default(), Instant::now());
        let deadline = start + Duration::from_secs(1);
        let mut spent = false;
        poll_fn(|context| {
            while !spent && coop::has_budget_remaining() {
                let _ = std::pin::pin!(coop::consume_budget()).poll(context);
            }
            spent = true;
            timer.poll(deadline, context)
        })
        .await;
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test]
    async fn a_one_shot_event_wakes_the_task_that_polled_last() {
        let (give, fired) = tokio::sync::oneshot::channel::<()>();
        let mut one_shot = OneShot::new(Box::pin(async move { fired.await.unwrap() }));
        let (first, second) = (Arc::<WakeCounter>::default(), Arc::<WakeCounter>::default());
        for task in [&first, &first, &second, &second] {
            let waker = Waker::from(task.clone());
            let polled = one_shot.poll(false, &mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        give.send(()).unwrap();
        assert_eq!((first.times(), second.times()), (0, 1));
        poll_fn(|context| one_shot.poll(true, context)).await;
    }
}
