//! One token for all readers of a process: signed in once, renewed in time, replaced when it has ended, and what a 403 means.
//!
//! Sign-ins and renewals take turns, so that a hundred readers of an ended token cause one. After a failure the next attempt
//! waits, longer each time; callers meanwhile get the last reason.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use reqwest::Method;
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use crate::{
    client::{Answer, Call, Http},
    error::VaultError,
    lease::{Lease, random_fraction},
    sign_in::{self, SignIn},
};

/// The token of this process.
pub(crate) struct Session {
    http: Arc<Http>,
    sign_in: SignIn,
    current: ArcSwapOption<Lease>,
    renewal: Mutex<RenewalState>,
    lookup: Mutex<Option<Lookup>>,
    /// A new token may not look itself up either, so a lookup that is refused says nothing.
    lookup_is_forbidden: AtomicBool,
}

/// What Vault last said of a token.
#[derive(Clone, Copy)]
struct Lookup {
    generation: u64,
    /// When it was asked.
    asked: Instant,
    alive: bool,
}

/// Held by the one who signs in or renews.
#[derive(Default)]
struct RenewalState {
    generation: u64,
    failures: u32,
    retry: Option<(Instant, VaultError)>,
    keeper: Option<JoinHandle<()>>,
}

impl Session {
    pub(crate) fn new(http: Arc<Http>, sign_in: SignIn) -> Self {
        Self {
            http,
            sign_in,
            current: ArcSwapOption::empty(),
            renewal: Mutex::default(),
            lookup: Mutex::default(),
            lookup_is_forbidden: AtomicBool::new(false),
        }
    }

    pub(crate) fn address(&self) -> &str {
        self.http.address()
    }

    /// When Vault says it is, without a token.
    ///
    /// # Errors
    /// Vault is away.
    pub(crate) async fn date(&self) -> Result<Option<String>, VaultError> {
        self.http.date().await
    }

    /// Sends a call with a token that is alive. A 403 comes back only if it is about the call.
    ///
    /// # Errors
    /// Vault is away, or no sign-in is possible.
    pub(crate) async fn call(self: &Arc<Self>, call: &Call) -> Result<Answer, VaultError> {
        let lease = self.lease().await?;
        let answer = self.send(&lease, call).await?;
        if answer.status != 403 || self.is_alive(&lease).await? {
            return Ok(answer);
        }
        let lease = self.replace(lease.generation).await?;
        let answer = self.send(&lease, call).await?;
        if answer.status == 403 && !self.is_alive(&lease).await? {
            self.lookup_is_forbidden.store(true, Relaxed);
        }
        Ok(answer)
    }

    /// A token that is alive as far as its lease says, renewed if that is due.
    ///
    /// # Errors
    /// Vault is away, or no sign-in is possible.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Arc<Lease>, VaultError> {
        let now = Instant::now();
        match self.current.load_full() {
            Some(lease) if !lease.is_due(now) => Ok(lease),
            Some(lease) if !lease.has_ended(now) => match self.renewal.try_lock() {
                Ok(mut renewal) => Ok(self.extend(&mut renewal, lease).await),
                // Somebody is at it, and the token still lives.
                Err(_) => Ok(lease),
            },
            Some(ended) => self.replace(ended.generation).await,
            None => self.replace(0).await,
        }
    }

    async fn send(&self, lease: &Lease, call: &Call) -> Result<Answer, VaultError> {
        self.http.send(Some(lease.token.header()), call).await
    }

    /// Signs in, unless somebody else has replaced the token of that generation meanwhile.
    async fn replace(self: &Arc<Self>, ended: u64) -> Result<Arc<Lease>, VaultError> {
        let mut renewal = self.renewal.lock().await;
        let now = Instant::now();
        if let Some(lease) = self.current.load_full() {
            if lease.generation > ended && !lease.has_ended(now) {
                return Ok(lease);
            }
            self.current.store(None);
        }
        match &renewal.retry {
            Some((at, reason)) if *at > now => Err(reason.clone()),
            _ => self.sign_in(&mut renewal).await,
        }
    }

    /// Renews a token that is due, or signs in where it cannot be renewed; on failure the old one serves until it ends.
    async fn extend(self: &Arc<Self>, renewal: &mut RenewalState, lease: Arc<Lease>) -> Arc<Lease> {
        let now = Instant::now();
        match self.current.load_full() {
            Some(current) if Arc::ptr_eq(&current, &lease) => {}
            Some(renewed) => return renewed,
            None => return lease,
        }
        if renewal.retry.as_ref().is_some_and(|(at, _)| *at > now) {
            return lease;
        }
        match self.renew(&lease).await {
            Ok(Some(renewed)) => {
                let renewed = Arc::new(renewed);
                self.current.store(Some(renewed.clone()));
                renewal.succeeded();
                renewed
            }
            Ok(None) => self.sign_in(renewal).await.unwrap_or(lease),
            Err(error) => {
                renewal.failed(error);
                lease
            }
        }
    }

    /// `None` where renewing has come to its end.
    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, VaultError> {
        if !lease.renewable {
            return Ok(None);
        }
        let call = Call::new(Method::POST, "auth/token/renew-self");
        let answer = self.send(lease, &call).await?;
        if !answer.is_success() {
            return Ok(None);
        }
        let duration = sign_in::renewed_for(&answer, &call)?;
        Ok(lease.renewed(duration))
    }

    async fn sign_in(
        self: &Arc<Self>,
        renewal: &mut RenewalState,
    ) -> Result<Arc<Lease>, VaultError> {
        match self.sign_in.sign_in(&self.http).await {
            Ok(grant) => {
                renewal.generation += 1;
                let lease = Arc::new(Lease::new(renewal.generation, grant));
                self.current.store(Some(lease.clone()));
                renewal.succeeded();
                self.spawn_renewal(renewal);
                let seconds = lease.remaining().map(|remaining| remaining.as_secs());
                tracing::info!(lease_seconds = seconds, "signed in to Vault");
                Ok(lease)
            }
            Err(error) => {
                renewal.failed(error.clone());
                Err(error)
            }
        }
    }

    /// Whether the token that got a 403 is alive, so that the 403 is about the call. Asked of Vault after the 403 came; those who
    /// wait for their turn here share an answer that is young enough.
    async fn is_alive(&self, lease: &Lease) -> Result<bool, VaultError> {
        let refused = Instant::now();
        if self.look_up(lease, refused).await? {
            self.lookup_is_forbidden.store(false, Relaxed);
            return Ok(true);
        }
        // Where that says nothing, a sign-in now and then is all that is left to find out.
        let is_young = refused.duration_since(lease.signed_in) < ASSUME_ALIVE_FOR;
        Ok(self.lookup_is_forbidden.load(Relaxed) && is_young)
    }

    /// Whether the token may look itself up; one that was refused is not asked again.
    async fn look_up(&self, lease: &Lease, refused: Instant) -> Result<bool, VaultError> {
        let mut last = self.lookup.lock().await;
        let of_it = last.filter(|last| last.generation == lease.generation);
        if let Some(last) = of_it.filter(|last| !last.alive || last.asked >= refused) {
            return Ok(last.alive);
        }
        let asked = Instant::now();
        let lookup = Call::of(&LookupTokenSelfRequest {});
        let alive = self.send(lease, &lookup).await?.status != 403;
        *last = Some(Lookup {
            generation: lease.generation,
            asked,
            alive,
        });
        Ok(alive)
    }

    /// Keeps the token alive while nobody asks for it. Where the runtime that this runs on ends, the next reader renews, and a
    /// sign-in starts it again.
    fn spawn_renewal(self: &Arc<Self>, renewal: &mut RenewalState) {
        if renewal
            .keeper
            .as_ref()
            .is_some_and(|keeper| !keeper.is_finished())
        {
            return;
        }
        let session = Arc::downgrade(self);
        renewal.keeper = Some(tokio::spawn(keep_alive(session)));
    }

    /// When the token has to be seen to next.
    async fn next_step(&self) -> Instant {
        let renewal = self.renewal.lock().await;
        let now = Instant::now();
        let due = match self.current.load_full() {
            Some(lease) => lease.due().unwrap_or(now + IDLE_CHECK_INTERVAL),
            None => now,
        };
        let retry = renewal.retry.as_ref().map_or(due, |(at, _)| *at);
        due.max(retry).max(now + SHORTEST_STEP)
    }
}

async fn keep_alive(session: Weak<Session>) {
    loop {
        let Some(alive) = session.upgrade() else {
            return;
        };
        let next = alive.next_step().await;
        drop(alive);
        sleep_until(next).await;
        let Some(alive) = session.upgrade() else {
            return;
        };
        // A failure is logged where it is counted, and waited for in the next step.
        let _ = alive.lease().await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(keeper) = self.renewal.get_mut().keeper.take() {
            keeper.abort();
        }
    }
}

impl RenewalState {
    fn succeeded(&mut self) {
        self.failures = 0;
        self.retry = None;
    }

    /// Doubles the wait, up to a limit, and takes up to half of it off by chance.
    fn failed(&mut self, error: VaultError) {
        if self.failures == 0 {
            tracing::warn!(%error, "Vault gives no new token; Keyside keeps trying");
        }
        let longest = MIN_BACKOFF * 2_u32.saturating_pow(self.failures.min(10));
        let wait = longest
            .min(MAX_BACKOFF)
            .mul_f64(1.0 - random_fraction() / 2.0);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some((Instant::now() + wait, error));
    }
}

const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// Bounds how long after the end of an outage the first sign-in comes.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
const SHORTEST_STEP: Duration = Duration::from_millis(100);
/// How often a token that does not end is looked at.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(3600);
/// How long 403s are taken to be about calls where no token may look itself up.
const ASSUME_ALIVE_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
