//! A gate: tasks that reach it wait while a test holds it.

use tokio::sync::watch;

/// Open until a test [holds](Self::hold) it.
#[derive(Default)]
pub struct Gate {
    held: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

/// Keeps a gate closed until it is dropped.
pub struct GateGuard<'a>(&'a Gate);

impl Gate {
    /// Closes it.
    pub fn hold(&self) -> GateGuard<'_> {
        self.held.send_replace(true);
        GateGuard(self)
    }

    /// Waits until so many have come to the gate while it was closed.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let waited = arrived.wait_for(|some| *some >= count).await;
        waited.expect("the gate has the sender");
    }

    /// How many have come to the gate while it was closed.
    pub fn arrivals(&self) -> usize {
        *self.arrived.borrow()
    }

    /// Goes through it, once it is open.
    pub async fn pass(&self) {
        let mut held = self.held.subscribe();
        let is_held = *held.borrow();
        if is_held {
            self.arrived.send_modify(|some| *some += 1);
        }
        let opened = held.wait_for(|held| !held).await;
        opened.expect("the gate has the sender");
    }
}

impl Drop for GateGuard<'_> {
    fn drop(&mut self) {
        self.0.held.send_replace(false);
    }
}
