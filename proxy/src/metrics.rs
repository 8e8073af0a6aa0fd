//! The data plane's metrics. No label comes from request content: providers and codes come from
//! configuration, and every series starts at zero.

use std::collections::HashMap;

use keyside_config::ProviderId;
use keyside_credentials::runs::{Outcome, REFUSED, Tokens};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::refusal::Refusal;

/// The data plane's metrics, registered once.
pub struct Metrics {
    requests: IntCounterVec,
    refusals: HashMap<&'static str, IntCounter>,
    duration: HistogramVec,
    first_byte: HistogramVec,
    overhead: HistogramVec,
    tokens: IntCounterVec,
    token_details: IntCounterVec,
    /// Responses in flight, event streams and tunnels included.
    pub(crate) streams: IntGauge,
}

/// One provider's series, looked up once at start.
pub(crate) struct ProviderMetrics {
    outcomes: [IntCounter; Outcome::ALL.len()],
    pub(crate) duration: Histogram,
    pub(crate) first_byte: Histogram,
    pub(crate) overhead: Histogram,
    input: IntCounter,
    output: IntCounter,
    cached_input: IntCounter,
    cache_write: IntCounter,
    reasoning: IntCounter,
}

/// Every outcome by which runs can be found: how a forwarded request ended, any refusal, or the code
/// of one.
pub fn outcomes() -> impl Iterator<Item = &'static str> {
    let forwarded = Outcome::ALL.into_iter().map(Outcome::as_str);
    forwarded.chain([REFUSED]).chain(Refusal::codes())
}

impl Metrics {
    /// Creates the metrics and registers them.
    ///
    /// # Errors
    /// One of the names is already registered.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            prometheus::Result::Ok(counters)
        };
        let seconds = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(options, &["provider"])?;
            registry.register(Box::new(histogram.clone()))?;
            prometheus::Result::Ok(histogram)
        };
        let refused = counters(
            "keyside_refusals_total",
            "Requests refused, by code.",
            &["code"],
        )?;
        let streams = IntGauge::new(
            "keyside_streams_in_flight",
            "Answers on their way to clients.",
        )?;
        registry.register(Box::new(streams.clone()))?;
        Ok(Self {
            requests: counters(
                "keyside_requests_total",
                "Requests forwarded, by outcome.",
                &["provider", "outcome"],
            )?,
            refusals: Refusal::codes()
                .map(|code| (code, refused.with_label_values(&[code])))
                .collect(),
            duration: seconds(
                "keyside_request_duration_seconds",
                "From a request's head to the end of its response.",
                RESPONSE_BUCKETS,
            )?,
            first_byte: seconds(
                "keyside_time_to_first_byte_seconds",
                "From a request's head to the first byte of its response's body.",
                RESPONSE_BUCKETS,
            )?,
            overhead: seconds(
                "keyside_overhead_seconds",
                "From a request's head until it is handed to the upstream connection.",
                OVERHEAD_BUCKETS,
            )?,
            tokens: counters(
                "keyside_tokens_total",
                "Tokens that providers bill, as they reported them, cached and reasoning ones \
                 included.",
                &["provider", "direction"],
            )?,
            token_details: counters(
                "keyside_token_details_total",
                "Of those tokens, the ones read from a cache, written to one, and spent on \
                 reasoning.",
                &["provider", "kind"],
            )?,
            streams,
        })
    }

    pub(crate) fn refused(&self, code: &str) {
        if let Some(counter) = self.refusals.get(code) {
            counter.inc();
        }
    }

    pub(crate) fn provider(&self, id: &ProviderId) -> ProviderMetrics {
        let id = id.as_str();
        let detail = |kind: &str| self.token_details.with_label_values(&[id, kind]);
        ProviderMetrics {
            outcomes: Outcome::ALL
                .map(|outcome| self.requests.with_label_values(&[id, outcome.as_str()])),
            duration: self.duration.with_label_values(&[id]),
            first_byte: self.first_byte.with_label_values(&[id]),
            overhead: self.overhead.with_label_values(&[id]),
            input: self.tokens.with_label_values(&[id, "input"]),
            output: self.tokens.with_label_values(&[id, "output"]),
            cached_input: detail("cached_input"),
            cache_write: detail("cache_write"),
            reasoning: detail("reasoning"),
        }
    }
}

impl ProviderMetrics {
    pub(crate) fn ended(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    /// Adds the token counts of one request. Unknown counts add nothing.
    pub(crate) fn metered(&self, tokens: Tokens) {
        let figures = [
            (&self.input, tokens.input),
            (&self.output, tokens.output),
            (&self.cached_input, tokens.cached_input),
            (&self.cache_write, tokens.cache_write),
            (&self.reasoning, tokens.reasoning),
        ];
        for (counter, figure) in figures {
            if let Some(figure) = figure {
                counter.inc_by(figure);
            }
        }
    }
}

/// Seconds; models may take minutes.
const RESPONSE_BUCKETS: &[f64] = &[
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// Seconds; Keyside's own work takes microseconds.
const OVERHEAD_BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1,
];
