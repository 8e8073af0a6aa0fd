//! One token for all readers of a process: signs in once, renews in time, replaces an ended token,
//! and finds out what a 403 means.
//!
//! Sign-ins and renewals are serialized, so that a hundred readers with an ended token cause one
//! sign-in. After a failure the next attempt backs off; callers get the last error meanwhile.

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
    /// Set once Vault has refused a token's lookup of itself although the token was new: the policy
    /// forbids it, so a refused lookup says nothing about the token.
    lookup_is_forbidden: AtomicBool,
}

/// Whether Vault last said that a token is valid.
#[derive(Clone, Copy)]
struct Lookup {
    generation: u64,
    /// Time of the request.
    asked: Instant,
    alive: bool,
}

/// State of sign-in and renewal. Locked by the task that signs in or renews.
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

    /// Vault's clock, requested without a token.
    ///
    /// # Errors
    /// Vault is unavailable.
    pub(crate) async fn date(&self) -> Result<Option<String>, VaultError> {
        self.http.date().await
    }

    /// Sends a call with a valid token. Returns a 403 only if it is about the call and not about
    /// the token.
    ///
    /// # Errors
    /// Vault is unavailable, or signing in fails.
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

    /// A token whose lease has not ended, renewed if that is due.
    ///
    /// # Errors
    /// Vault is unavailable, or signing in fails.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Arc<Lease>, VaultError> {
        let now = Instant::now();
        match self.current.load_full() {
            Some(lease) if !lease.is_due(now) => Ok(lease),
            Some(lease) if !lease.has_ended(now) => match self.renewal.try_lock() {
                Ok(mut renewal) => Ok(self.extend(&mut renewal, lease).await),
                // Another task is renewing, and the token is still valid.
                Err(_) => Ok(lease),
            },
            Some(ended) => self.replace(ended.generation).await,
            None => self.replace(0).await,
        }
    }

    async fn send(&self, lease: &Lease, call: &Call) -> Result<Answer, VaultError> {
        self.http.send(Some(lease.token.header()), call).await
    }

    /// Signs in, unless another task has already replaced the token of this generation.
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

    /// Renews a token that is due, or signs in if it cannot be renewed. If both fail, the old token
    /// is used until it ends.
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

    /// `None` if the token cannot be renewed any more.
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

    /// Whether the token that got a 403 is valid, so that the 403 is about the call. Asks Vault
    /// after the 403 arrived; concurrent callers share one result if it is recent enough.
    async fn is_alive(&self, lease: &Lease) -> Result<bool, VaultError> {
        let refused = Instant::now();
        if self.look_up(lease, refused).await? {
            self.lookup_is_forbidden.store(false, Relaxed);
            return Ok(true);
        }
        // If the lookup says nothing, only a new sign-in now and then can tell.
        let is_young = refused.duration_since(lease.signed_in) < ASSUME_ALIVE_FOR;
        Ok(self.lookup_is_forbidden.load(Relaxed) && is_young)
    }

    /// Asks Vault whether the token is valid, unless its policy forbids that.
    async fn look_up(&self, lease: &Lease, refused: Instant) -> Result<bool, VaultError> {
        let mut last = self.lookup.lock().await;
        let same_token = last.filter(|last| last.generation == lease.generation);
        if let Some(last) = same_token.filter(|last| !last.alive || last.asked >= refused) {
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

    /// Keeps the token alive while nobody uses it. If the runtime of this task ends, the next
    /// reader renews, and a sign-in starts the task again.
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

    /// When to renew or check the token next.
    async fn next_step(&self) -> Instant {
        let renewal = self.renewal.lock().await;
        let now = Instant::now();
        let due = match self.current.load_full() {
            Some(lease) => lease.due().unwrap_or(now + IDLE_CHECK_INTERVAL),
            None => now,
        };
        let retry = renewal.retry.as_ref().map_or(due, |(at, _)| *at);
        due.max(retry).max(now + MIN_STEP)
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
        // `lease` logs and counts a failure, and `next_step` waits for the retry.
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

    /// Doubles the backoff, up to a maximum, and subtracts a random part of up to half.
    fn failed(&mut self, error: VaultError) {
        if self.failures == 0 {
            tracing::warn!(%error, "cannot renew or replace the Vault token; Keyside keeps retrying");
        }
        let longest = MIN_BACKOFF * 2_u32.saturating_pow(self.failures.min(10));
        let wait = longest
            .min(MAX_BACKOFF)
            .mul_f64(1.0 - random_fraction() / 2.0);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some((Instant::now() + wait, error));
    }
}

/// The longest wait after the first failure; it doubles with each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// Bounds the time from the end of an outage to the first sign-in.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Prevents a busy loop if a token is due all the time.
const MIN_STEP: Duration = Duration::from_millis(100);
/// How often a token without an end is checked.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(3600);
/// If no token may look itself up: how long after a sign-in a 403 is assumed to be about the call.
const ASSUME_ALIVE_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
