//! A gate that tests close to make tasks wait at a known point.

use tokio::sync::watch;

/// Open, unless a test [holds](Self::hold) it closed.
#[derive(Default)]
pub struct Gate {
    held: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

/// Keeps the gate closed until it is dropped.
pub struct GateGuard<'a>(&'a Gate);

impl Gate {
    /// Closes the gate.
    pub fn hold(&self) -> GateGuard<'_> {
        self.held.send_replace(true);
        GateGuard(self)
    }

    /// Waits until `count` tasks have arrived at the closed gate.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let waited = arrived.wait_for(|some| *some >= count).await;
        waited.expect("the gate has the sender");
    }

    /// Number of tasks that have arrived while the gate was closed.
    pub fn arrivals(&self) -> usize {
        *self.arrived.borrow()
    }

    /// Waits until the gate is open.
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
