//! Tells the receivers of `[[webhook]]` what happens to credentials.
//!
//! Each event of the registry becomes one message, which goes into the bounded queue of each
//! receiver that wants it. Deliveries are kept in memory only: what was not delivered when the
//! process ends is lost.

mod endpoint;
mod message;
mod request;
mod retry;
mod secret;

use std::{sync::Arc, time::Duration};

use keyside_config::{Settings, Webhook};
use keyside_credentials::{CredentialEvent, Registry, SystemClock};
use keyside_proxy::{Egress, OutboundClient};
use prometheus::{IntCounterVec, Opts};
use tokio::{
    runtime::Runtime,
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use self::{
    endpoint::{Counters, Endpoint, Queue},
    message::Message,
    retry::stopped,
    secret::WebhookSecret,
};

/// The running deliveries.
pub(crate) struct Webhooks {
    dispatcher: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

/// Checks the webhooks of the settings, without using the network: their files contain usable
/// secrets, and their receivers may be connected to.
///
/// # Errors
/// The first that must be changed, with the remedy; never any of a secret.
pub(crate) fn check(settings: &Settings) -> Result<(), String> {
    settings.webhooks.iter().try_for_each(check_one)
}

fn check_one(webhook: &Webhook) -> Result<(), String> {
    let secret = WebhookSecret::read(webhook)?;
    let url = match &secret {
        WebhookSecret::Url(url) => Some(url),
        _ => webhook.format.url(),
    };
    url.map_or(Ok(()), |url| {
        let checked = OutboundClient::check(&url.origin, webhook.allow_private);
        checked.map_err(|error| format!("{}: webhook {}: {error}", webhook.origin, webhook.name))
    })
}

impl Webhooks {
    /// Subscribes to the registry's events and delivers them on `runtime`. `None` if there is no
    /// webhook.
    ///
    /// # Errors
    /// The metric cannot be registered.
    pub(crate) fn start(
        settings: &Settings,
        egress: &Arc<Egress>,
        registry: &Registry,
        runtime: &Runtime,
        metrics: &prometheus::Registry,
    ) -> prometheus::Result<Option<Self>> {
        if settings.webhooks.is_empty() {
            return Ok(None);
        }
        let deliveries = Opts::new(
            "keyside_webhook_deliveries_total",
            "Events by webhook and outcome: delivered, failed (given up), dropped (queue full; or lost \
             before it was known which webhooks want them, and then counted for each).",
        );
        let deliveries = IntCounterVec::new(deliveries, &["webhook", "outcome"])?;
        metrics.register(Box::new(deliveries.clone()))?;
        let client = Arc::new(OutboundClient::new(egress.clone(), &settings.proxy));
        let (sender, stopping) = watch::channel(false);
        let (mut queues, mut receivers) = (Vec::new(), Vec::new());
        for webhook in &settings.webhooks {
            let counters = Counters::new(&deliveries, &webhook.name);
            let (queue, messages) = Queue::new(webhook, counters.clone());
            let endpoint = Arc::new(Endpoint {
                webhook: webhook.clone(),
                client: client.clone(),
                clock: Arc::new(SystemClock),
                stopping: stopping.clone(),
                counters,
            });
            queues.push(queue);
            receivers.push(endpoint.run(messages));
        }
        let events = registry.events();
        let dispatcher = runtime.spawn(async move {
            let receivers: JoinSet<()> = receivers.into_iter().collect();
            dispatch(events, queues, stopping).await;
            receivers.join_all().await;
        });
        Ok(Some(Self {
            dispatcher,
            stopping: sender,
        }))
    }

    /// Attempts each delivery that is waiting once more, within `FINISH_LIMIT`.
    pub(crate) async fn finish(self) {
        let _ = self.stopping.send(true);
        if timeout(FINISH_LIMIT, self.dispatcher).await.is_err() {
            tracing::warn!("webhooks were not delivered before the process ended");
        }
    }
}

/// Puts each event into the queues of those that want it, until the process stops and no event is
/// left.
async fn dispatch(
    mut events: broadcast::Receiver<CredentialEvent>,
    queues: Vec<Queue>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            () = stopped(&mut stopping) => return,
        };
        match event {
            Ok(event) => offer(&queues, &event),
            Err(RecvError::Lagged(missed)) => lost(&queues, missed),
            Err(RecvError::Closed) => return,
        }
    }
}

fn offer(queues: &[Queue], event: &CredentialEvent) {
    let kind = message::event_of(event.kind);
    let mut wanting = queues.iter().filter(|queue| queue.wants(kind)).peekable();
    if wanting.peek().is_none() {
        return;
    }
    let message = Arc::new(Message::new(random_id(), event));
    wanting.for_each(|queue| queue.offer(&message));
}

/// Counts events that were overwritten before they were read. Nobody knows of which kinds they were,
/// so each webhook may have missed them.
fn lost(queues: &[Queue], missed: u64) {
    tracing::warn!(
        missed,
        "events were lost before they reached the webhooks: this process does not keep up"
    );
    queues.iter().for_each(|queue| queue.count_dropped(missed));
}

/// Unique, so that receivers recognise what they got before.
fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system's random generator works");
    format!("evt_{:032x}", u128::from_be_bytes(bytes))
}

/// How long a stop waits for deliveries.
const FINISH_LIMIT: Duration = Duration::from_secs(3);
