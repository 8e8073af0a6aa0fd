//! One receiver: its queue of messages, and the deliveries in progress. Both are bounded, so a
//! receiver that is down costs no more memory than that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{StatusCode, header::RETRY_AFTER, response::Parts as Head};
use keyside_config::{Webhook, WebhookEvent};
use keyside_credentials::Clock;
use keyside_proxy::{OutboundClient, OutboundError};
use prometheus::{IntCounter, IntCounterVec};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{JoinSet, spawn_blocking},
};

use super::{
    message::Message,
    request,
    retry::{Attempt, until_delivered},
    secret::WebhookSecret,
};

/// A receiver.
pub(super) struct Endpoint {
    pub(super) webhook: Webhook,
    pub(super) client: Arc<OutboundClient>,
    pub(super) clock: Arc<dyn Clock>,
    /// True once the process is stopping.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) counters: Counters,
}

/// Deliveries to one receiver, by outcome.
#[derive(Clone)]
pub(super) struct Counters {
    delivered: IntCounter,
    failed: IntCounter,
    dropped: IntCounter,
}

/// The end of a queue that messages are put into.
pub(super) struct Queue {
    name: String,
    events: Vec<WebhookEvent>,
    sender: mpsc::Sender<Arc<Message>>,
    /// Set while messages are dropped, so that the log says so once.
    is_full: AtomicBool,
    counters: Counters,
}

impl Counters {
    /// `deliveries` has the labels `webhook` and `outcome`.
    pub(super) fn new(deliveries: &IntCounterVec, webhook: &str) -> Self {
        let counter = |outcome| deliveries.with_label_values(&[webhook, outcome]);
        Self {
            delivered: counter("delivered"),
            failed: counter("failed"),
            dropped: counter("dropped"),
        }
    }
}

impl Queue {
    pub(super) fn new(
        webhook: &Webhook,
        counters: Counters,
    ) -> (Self, mpsc::Receiver<Arc<Message>>) {
        let (sender, messages) = mpsc::channel(CAPACITY);
        let queue = Self {
            name: webhook.name.clone(),
            events: webhook.events.clone(),
            sender,
            is_full: AtomicBool::new(false),
            counters,
        };
        (queue, messages)
    }

    pub(super) fn wants(&self, event: WebhookEvent) -> bool {
        self.events.contains(&event)
    }

    /// Puts a message in, or drops it if the queue is full. Never waits.
    pub(super) fn offer(&self, message: &Arc<Message>) {
        match self.sender.try_send(message.clone()) {
            Ok(()) => self.is_full.store(false, Ordering::Relaxed),
            Err(_) => self.overflowed(),
        }
    }

    /// Counts events that are not sent to the receiver.
    pub(super) fn count_dropped(&self, count: u64) {
        self.counters.dropped.inc_by(count);
    }

    fn overflowed(&self) {
        self.count_dropped(1);
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                webhook = self.name,
                waiting = CAPACITY,
                "events are dropped: a webhook's receiver does not keep up"
            );
        }
    }
}

impl Endpoint {
    /// Delivers what comes through the queue until the other end is dropped and everything was
    /// delivered or given up. A delivery that waits for its next attempt holds up no other.
    pub(super) async fn run(self: Arc<Self>, mut messages: mpsc::Receiver<Arc<Message>>) {
        let slots = Arc::new(Semaphore::new(CONCURRENT_ATTEMPTS));
        let mut deliveries = JoinSet::new();
        while let Some(message) = messages.recv().await {
            while deliveries.try_join_next().is_some() {}
            while deliveries.len() >= MAX_DELIVERIES {
                let _ = deliveries.join_next().await;
            }
            deliveries.spawn(self.clone().deliver(message, slots.clone()));
        }
        while deliveries.join_next().await.is_some() {}
    }

    async fn deliver(self: Arc<Self>, message: Arc<Message>, slots: Arc<Semaphore>) {
        let (webhook, event) = (self.webhook.name.as_str(), message.event.as_str());
        let will_retry = |reason: &str, pause: Duration| {
            let seconds = pause.as_secs();
            tracing::info!(
                webhook,
                event,
                id = message.id,
                reason,
                seconds,
                "a webhook will be retried"
            );
        };
        let attempt = || self.attempt(&message, &slots);
        let stopping = self.stopping.clone();
        match until_delivered(attempt, random, will_retry, stopping).await {
            Ok(attempts) => {
                self.counters.delivered.inc();
                tracing::debug!(
                    webhook,
                    event,
                    id = message.id,
                    attempts,
                    "a webhook was delivered"
                );
            }
            Err(given_up) => {
                self.counters.failed.inc();
                tracing::warn!(
                    webhook,
                    event,
                    id = message.id,
                    attempts = given_up.attempts,
                    reason = given_up.reason,
                    "a webhook was not delivered"
                );
            }
        }
    }

    /// One attempt, when a slot is free.
    async fn attempt(&self, message: &Message, slots: &Semaphore) -> Attempt {
        // Never an error: the semaphore is never closed.
        let _slot = slots.acquire().await.ok();
        let retried = |reason: String| Attempt::Failed {
            reason,
            retry_after: None,
        };
        let webhook = self.webhook.clone();
        let secret = match spawn_blocking(move || WebhookSecret::read(&webhook)).await {
            Ok(Ok(secret)) => secret,
            Ok(Err(reason)) => return retried(reason),
            Err(_) => return retried("the process is stopping".to_owned()),
        };
        let format = &self.webhook.format;
        let delivery = request::delivery(format, &secret, message, self.clock.now());
        let Some(request::Delivery { origin, request }) = delivery else {
            return Attempt::Refused("HTTP cannot represent the request".to_owned());
        };
        let allow_private = self.webhook.allow_private;
        let sent = self
            .client
            .send(&origin, allow_private, request, LIMIT)
            .await;
        let host = &origin.host;
        match sent {
            Ok(head) => judge(host, &head),
            Err(OutboundError::Refused(reason)) => Attempt::Refused(format!("{host}: {reason}")),
            Err(error) => retried(format!("{host}: {error}")),
        }
    }
}

/// Most errors pass: a receiver is deployed, or its settings are corrected. A redirect is not
/// followed, because the signature is for one receiver.
fn judge(host: &str, head: &Head) -> Attempt {
    let status = head.status;
    let reason = format!("{host} answered {}", status.as_u16());
    if status.is_success() {
        return Attempt::Delivered;
    }
    if status.is_redirection() || status == StatusCode::GONE {
        return Attempt::Refused(reason);
    }
    let retry_after = head.headers.get(RETRY_AFTER);
    let seconds = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Attempt::Failed {
        reason,
        retry_after: seconds.map(Duration::from_secs),
    }
}

/// From 0 to 1. Without random bytes, the middle.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// Messages that wait for a receiver.
const CAPACITY: usize = 256;
/// Deliveries to one receiver at a time, including those that wait for their next attempt.
const MAX_DELIVERIES: usize = 256;
/// Attempts at one receiver at a time.
const CONCURRENT_ATTEMPTS: usize = 4;
/// For one attempt, from connecting to the head of the response.
const LIMIT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use keyside_config::{Origin, WebhookFormat};
    use keyside_credentials::{CredentialChange, CredentialEventKind as Kind};
    use prometheus::Opts;

    use super::*;
    use crate::webhooks::message::tests::message;

    fn head(status: u16, retry_after: Option<&str>) -> Head {
        let mut response = http::Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header(RETRY_AFTER, value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_status_decides_whether_a_delivery_is_attempted_again() {
        for status in [200, 202, 204] {
            let judged = judge("hooks.example", &head(status, None));
            assert!(matches!(judged, Attempt::Delivered), "{status}");
        }
        for status in [301, 302, 308, 410] {
            let judged = judge("hooks.example", &head(status, None));
            let Attempt::Refused(reason) = judged else {
                panic!("{status} is attempted again");
            };
            assert_eq!(reason, format!("hooks.example answered {status}"));
        }
        for (status, asked, expected) in [
            (429, Some("120"), Some(120)),
            (503, Some(" 7 "), Some(7)),
            (503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), None),
            (503, Some("-1"), None),
            (500, None, None),
            (404, None, None),
            (401, None, None),
        ] {
            let judged = judge("hooks.example", &head(status, asked));
            let Attempt::Failed { retry_after, .. } = judged else {
                panic!("{status} is not attempted again");
            };
            assert_eq!(retry_after, expected.map(Duration::from_secs), "{status}");
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_what_comes_next() {
        let deliveries = Opts::new("deliveries", "For a test.");
        let deliveries = IntCounterVec::new(deliveries, &["webhook", "outcome"]).unwrap();
        let webhook = Webhook {
            name: "one".to_owned(),
            format: WebhookFormat::Slack,
            secret_file: "/run/secret".into(),
            events: vec![WebhookEvent::CredentialRotated],
            allow_private: false,
            origin: Origin::Default,
        };
        let counters = Counters::new(&deliveries, &webhook.name);
        let (queue, mut messages) = Queue::new(&webhook, counters.clone());
        assert!(queue.wants(WebhookEvent::CredentialRotated));
        assert!(!queue.wants(WebhookEvent::CredentialRevoked));
        let message = Arc::new(message(Kind::Changed(CredentialChange::Rotated)));
        for _ in 0..CAPACITY + 3 {
            queue.offer(&message);
        }
        assert_eq!(counters.dropped.get(), 3);
        assert!(messages.try_recv().is_ok());
        queue.offer(&message);
        assert_eq!(counters.dropped.get(), 3);
        assert!(!queue.is_full.load(Ordering::Relaxed));
    }
}
