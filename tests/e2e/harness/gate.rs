//! A gate that a test opens step by step while fake servers wait at it.

use std::sync::{Condvar, Mutex};

use super::PATIENCE;

/// The current step.
#[derive(Default)]
pub struct Gate {
    step: Mutex<usize>,
    opened: Condvar,
}

impl Gate {
    /// Opens the gate up to `step`.
    pub fn open(&self, step: usize) {
        *self.step.lock().expect("no panic") = step;
        self.opened.notify_all();
    }

    /// Waits until `step` is open; `false` after a long timeout.
    pub fn wait_for(&self, step: usize) -> bool {
        let now = self.step.lock().expect("no panic");
        let closed = |now: &mut usize| *now < step;
        // Longer than the test itself waits, so that the test names what is missing.
        let waited = self.opened.wait_timeout_while(now, PATIENCE * 4, closed);
        !waited.expect("no panic").1.timed_out()
    }
}
