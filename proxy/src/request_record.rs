//! One forwarded request's account: kept while it runs, written when it ends.
//!
//! Whichever way it ends (the last byte, a refusal, a client that leaves), the
//! account is dropped and so written, once: a run record, the metrics, a log line.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use keyside_credentials::{
    Grant, Timestamp,
    runs::{Run, Tokens, Used},
};

use crate::{
    activity::InFlightGuard, destination::Destination, ledger::Ledger, metrics::Outcome,
    quota::QuotaPermit, request_id::RequestId,
};

/// The account of one exchange with a provider.
pub(crate) struct RequestRecord {
    pub(crate) grant: Grant,
    pub(crate) destination: Arc<Destination>,
    ledger: Arc<Ledger>,
    pub(crate) request_id: RequestId,
    at: Timestamp,
    started: Instant,
    run_id: Option<Box<str>>,
    tag: Option<Box<str>>,
    status: u16,
    first_byte: Option<Duration>,
    tokens: Tokens,
    outcome: Outcome,
    refused: Option<Box<RefusalDetails>>,
    /// Keeps the connection busy, and the process from leaving.
    pub(crate) in_flight: InFlightGuard,
    /// One of the requests in flight that there may be.
    _quota_permit: QuotaPermit,
}

/// What is told of a request that Keyside answered in the provider's place.
struct RefusalDetails {
    code: &'static str,
    /// What went wrong upstream.
    cause: Option<String>,
    /// What the client was told to do.
    remedy: String,
}

impl RequestRecord {
    pub(crate) fn begin(
        grant: Grant,
        destination: Arc<Destination>,
        ledger: Arc<Ledger>,
        arrival: Arrival,
        (in_flight, quota_permit): (InFlightGuard, QuotaPermit),
    ) -> Self {
        ledger.metrics.streams.inc();
        Self {
            at: ledger.clock.now(),
            grant,
            destination,
            ledger,
            request_id: arrival.request_id,
            started: arrival.at,
            run_id: None,
            tag: None,
            status: 0,
            first_byte: None,
            tokens: Tokens::default(),
            outcome: Outcome::ClientClosed,
            refused: None,
            in_flight,
            _quota_permit: quota_permit,
        }
    }

    /// Takes the caller's own names for this request into the run record.
    pub(crate) fn tag_with(&mut self, run_id: Option<Box<str>>, tag: Option<Box<str>>) {
        self.run_id = run_id;
        self.tag = tag;
    }

    /// The request is handed to the upstream connection.
    pub(crate) fn sent(&self) {
        self.destination
            .metrics
            .overhead
            .observe(self.started.elapsed().as_secs_f64());
    }

    /// No answer will come.
    pub(crate) fn unanswered(&mut self) {
        self.outcome = Outcome::Unanswered;
    }

    /// Keyside answers with a refusal, whose message is `remedy`.
    pub(crate) fn refused(&mut self, code: &'static str, cause: Option<String>, remedy: String) {
        self.refused = Some(Box::new(RefusalDetails {
            code,
            cause,
            remedy,
        }));
    }

    /// The head of the answer is here.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// A piece of the answer's body is here.
    pub(crate) fn chunk_received(&mut self) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.started.elapsed());
        }
    }

    /// What its answer reported as its cost.
    pub(crate) fn metered(&mut self, tokens: Tokens) {
        self.tokens = tokens;
    }

    /// The answer is complete, unless it was found before that it is not.
    pub(crate) fn completed(&mut self) {
        if self.outcome == Outcome::ClientClosed {
            self.outcome = Outcome::of_status(self.status);
        }
    }

    /// The credential was revoked, and this is cut off.
    pub(crate) fn revoked(&mut self) {
        self.outcome = Outcome::Revoked;
    }

    /// The upstream broke off.
    pub(crate) fn aborted(&mut self) {
        self.outcome = Outcome::UpstreamAborted;
    }

    /// An exchange that has not ended when the process closes was cut by that. Its parts are dropped one by one then, and one
    /// that is gone looks to the others like a client that left or an upstream that broke off.
    fn apply_drain(&mut self) {
        let unfinished = matches!(
            self.outcome,
            Outcome::ClientClosed | Outcome::UpstreamAborted | Outcome::Unanswered
        );
        if unfinished && self.in_flight.is_cut_by_drain() {
            self.outcome = Outcome::CutByDrain;
        }
    }

    /// One line whatever happened, so that a failure and its cause are found by the request's id.
    fn log(&self, latency: Duration) {
        let refused = self.refused.as_deref();
        let cause = refused.and_then(|refused| refused.cause.as_deref());
        // A macro, since the level of an event is a constant.
        macro_rules! log_event {
            ($level:ident) => {
                tracing::event!(
                    target: "keyside::request",
                    tracing::Level::$level,
                    request_id = self.request_id.as_str(),
                    workspace = self.grant.workspace().as_str(),
                    provider = &*self.destination.id,
                    credential = self.grant.credential_id().as_str(),
                    status = self.status,
                    outcome = self.outcome.as_str(),
                    code = refused.map(|refused| refused.code),
                    cause,
                    remedy = refused.map(|refused| refused.remedy.as_str()),
                    latency_us = micros(latency),
                    input_tokens = self.tokens.input,
                    output_tokens = self.tokens.output,
                    cached_input_tokens = self.tokens.cached_input,
                    cache_write_tokens = self.tokens.cache_write,
                    reasoning_tokens = self.tokens.reasoning,
                    "request"
                )
            };
        }
        match cause {
            Some(_) => log_event!(WARN),
            None => log_event!(INFO),
        }
    }

    fn run(&mut self, latency: Duration) -> Run {
        Run {
            at: self.at,
            request_id: self.request_id.as_str().into(),
            workspace: self.grant.workspace().clone(),
            provider: self.destination.id.clone(),
            used: Some(Used {
                credential: self.grant.credential_id().clone(),
                label: self.grant.label().clone(),
                environment: self.grant.environment(),
            }),
            refused: None,
            status: self.status,
            outcome: self.outcome.as_str(),
            latency_us: micros(latency),
            first_byte_us: self.first_byte.map(micros),
            tokens: self.tokens,
            run_id: self.run_id.take(),
            tag: self.tag.take(),
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.apply_drain();
        let latency = self.started.elapsed();
        let metrics = &self.destination.metrics;
        metrics.ended(self.outcome);
        metrics.duration.observe(latency.as_secs_f64());
        if let Some(first_byte) = self.first_byte {
            metrics.first_byte.observe(first_byte.as_secs_f64());
        }
        metrics.metered(self.tokens);
        self.ledger.metrics.streams.dec();
        self.log(latency);
        let run = self.run(latency);
        self.ledger.runs.record(run);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
