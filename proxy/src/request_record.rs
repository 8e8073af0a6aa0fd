//! The record of one forwarded request: filled in while it runs, written when it ends.
//!
//! However a request ends (last byte, refusal, client disconnect), its record is dropped. `Drop`
//! writes it, so it is written exactly once: a run record, metrics and a log line.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use keyside_credentials::{
    Grant, RequestId, Timestamp,
    runs::{Outcome, Run, RunKind, Tokens},
};

use crate::{
    activity::InFlightGuard, destination::Destination, ledger::Ledger, quota::QuotaPermit,
    rejection::ErrorResponse,
};

/// When a request's head arrived, and the id that it was given.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) request_id: RequestId,
    pub(crate) at: Instant,
}

impl Arrival {
    pub(crate) fn now(request_id: RequestId) -> Self {
        Self {
            request_id,
            at: Instant::now(),
        }
    }
}

/// Marks a request that this process makes itself, a preview, as an extension of its head. Gets
/// the run record when the request ends.
#[derive(Clone, Default)]
pub(crate) struct InProcess(Arc<OnceLock<Run>>);

impl InProcess {
    /// The record, once the request has ended.
    pub(crate) fn run(&self) -> Option<&Run> {
        self.0.get()
    }
}

/// The record of one request that was granted a credential.
pub(crate) struct RequestRecord {
    pub(crate) grant: Grant,
    pub(crate) destination: Arc<Destination>,
    ledger: Arc<Ledger>,
    pub(crate) request_id: RequestId,
    /// Wall-clock time, for the run record and for limits of a day.
    at: Timestamp,
    /// When the head arrived; durations are measured from here.
    started: Instant,
    kind: RunKind,
    run_id: Option<Box<str>>,
    tag: Option<Box<str>>,
    status: u16,
    first_byte: Option<Duration>,
    tokens: Tokens,
    /// Whether the provider reports token counts for requests of this route.
    pub(crate) is_metered: bool,
    /// Whether the provider may have got the request.
    is_sent: AtomicBool,
    outcome: Outcome,
    refused: Option<Box<RefusalDetails>>,
    /// Set if the response may reject the key.
    error: Option<Box<ErrorResponse>>,
    /// `None` for a runner's request.
    in_process: Option<InProcess>,
    /// Counts the request as in flight for its connection and for the drain.
    pub(crate) in_flight: InFlightGuard,
    /// Its share of `proxy.limits.requests`.
    _quota_permit: QuotaPermit,
}

/// The refusal that Keyside sent instead of a provider's response.
struct RefusalDetails {
    code: &'static str,
    /// The upstream error, for the log only.
    cause: Option<String>,
    /// The message that the client received.
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
            kind: RunKind::Traffic,
            run_id: None,
            tag: None,
            status: 0,
            first_byte: None,
            tokens: Tokens::default(),
            is_metered: false,
            is_sent: AtomicBool::new(false),
            outcome: Outcome::ClientClosed,
            refused: None,
            error: None,
            in_process: None,
            in_flight,
            _quota_permit: quota_permit,
        }
    }

    /// Adds what the request was made for, and the caller's run id and tag, to the run record.
    pub(crate) fn tag_with(
        &mut self,
        kind: RunKind,
        run_id: Option<Box<str>>,
        tag: Option<Box<str>>,
    ) {
        self.kind = kind;
        self.run_id = run_id;
        self.tag = tag;
    }

    /// Has the run record given to the part of this process that made the request.
    pub(crate) fn report_to(&mut self, in_process: Option<InProcess>) {
        self.in_process = in_process;
    }

    /// Called when the request is ready to be sent; observes Keyside's own overhead. Returns the
    /// time.
    pub(crate) fn ready(&self) -> Instant {
        let now = Instant::now();
        let overhead = now - self.started;
        self.destination
            .metrics
            .overhead
            .observe(overhead.as_secs_f64());
        now
    }

    /// Called each time that the request is handed to an upstream connection. It counts towards
    /// limits once, and not at all if no connection could be opened.
    pub(crate) fn sent(&self) {
        if !self.is_sent.swap(true, Ordering::Relaxed) {
            self.grant.count_request(self.at);
        }
    }

    /// Whether the provider may have got the request.
    pub(crate) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Relaxed)
    }

    /// Called when the upstream will not respond.
    pub(crate) fn unanswered(&mut self) {
        self.outcome = Outcome::Unanswered;
    }

    /// Called when the provider certainly did not get the request, although a connection may have
    /// been given it.
    pub(crate) fn not_sent(&mut self) {
        *self.is_sent.get_mut() = false;
    }

    /// Called when Keyside sends a refusal, whose message is `remedy`.
    pub(crate) fn refused(&mut self, code: &'static str, cause: Option<String>, remedy: String) {
        self.refused = Some(Box::new(RefusalDetails {
            code,
            cause,
            remedy,
        }));
    }

    /// Called when the head of the response has arrived.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
        match status {
            101 | 200..=299 => self.grant.accepted(),
            _ => self.error = ErrorResponse::of(status),
        }
    }

    /// Called for each chunk of the response body that goes to the client, after redaction.
    pub(crate) fn chunk_passed(&mut self, chunk: &[u8]) {
        if let Some(error) = &mut self.error {
            error.push(chunk);
        }
    }

    /// Called for each chunk of the response body.
    pub(crate) fn chunk_received(&mut self) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.started.elapsed());
        }
    }

    /// Stores the token counts that the response reported.
    pub(crate) fn metered(&mut self, tokens: Tokens) {
        self.tokens = tokens;
    }

    /// Marks the response as complete, unless an earlier event already decided the outcome.
    pub(crate) fn completed(&mut self) {
        if self.outcome == Outcome::ClientClosed {
            self.outcome = Outcome::of_status(self.status);
        }
    }

    /// Called when the credential was revoked and this request was cut off.
    pub(crate) fn revoked(&mut self) {
        self.outcome = Outcome::Revoked;
    }

    /// Called when the upstream aborted the response.
    pub(crate) fn aborted(&mut self) {
        self.outcome = Outcome::UpstreamAborted;
    }

    /// A request that is unfinished when the process closes was cut by the drain. Shutdown drops
    /// its parts one after another, and the first one dropped looks to the others like a
    /// disconnected client or an aborted upstream; so the outcome is corrected here.
    fn apply_drain(&mut self) {
        let unfinished = matches!(
            self.outcome,
            Outcome::ClientClosed | Outcome::UpstreamAborted | Outcome::Unanswered
        );
        if unfinished && self.in_flight.is_cut_by_drain() {
            self.outcome = Outcome::CutByDrain;
        }
    }

    /// The tokens that count towards limits. Where the provider reported none although it may have
    /// charged for the request, `proxy.limits.unknown_tokens`.
    fn charged_tokens(&self) -> u64 {
        let may_be_charged = self.is_metered && self.is_sent() && self.status < 400;
        let unknown = || match may_be_charged {
            true => self.ledger.unknown_tokens,
            false => 0,
        };
        self.tokens.total().unwrap_or_else(unknown)
    }

    /// Logs one line for every request, so that its request id leads to any failure and the cause.
    fn log(&self, latency: Duration) {
        let refused = self.refused.as_deref();
        let cause = refused.and_then(|refused| refused.cause.as_deref());
        // A macro, because tracing needs the level as a constant.
        macro_rules! log_event {
            ($level:ident) => {
                tracing::event!(
                    target: "keyside::request",
                    tracing::Level::$level,
                    request_id = self.request_id.as_str(),
                    workspace = self.grant.workspace().as_str(),
                    provider = self.destination.provider.id.as_str(),
                    credential = self.grant.credential_id().as_str(),
                    environment = self.grant.environment().as_str(),
                    kind = self.kind.as_str(),
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

    /// Notes on the credential whether the provider rejected its key.
    fn note_rejection(&self) {
        let error = self.error.as_ref();
        if let Some(cause) = error.and_then(|error| error.cause()) {
            self.grant.rejected(cause);
        }
    }

    fn run(&mut self, latency: Duration) -> Run {
        Run {
            at: self.at,
            request_id: self.request_id.as_str().into(),
            kind: self.kind,
            workspace: self.grant.workspace().clone(),
            provider: Some(self.destination.provider.id.clone()),
            used: Some(self.grant.used()),
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
        let clock = &self.ledger.clock;
        self.grant
            .count_tokens(self.charged_tokens(), || clock.now());
        self.ledger.metrics.streams.dec();
        self.log(latency);
        self.note_rejection();
        let run = self.run(latency);
        if let Some(InProcess(slot)) = self.in_process.take() {
            // A request ends once.
            let _ = slot.set(run.clone());
        }
        self.ledger.runs.record(run);
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
