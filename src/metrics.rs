//! The numbers of the operator, in OpenMetrics text. No object name, request id or URN is ever a label.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How an invocation ended, by provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    provider: String,
    outcome: &'static str,
}

/// How an attempt ended, by provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    provider: String,
    class: &'static str,
}

/// How a request was answered, by provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    provider: String,
    code_class: &'static str,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
}

/// What a provider's pace is at the moment of the reading.
pub struct Pace {
    /// `namespace/name`.
    pub provider: String,
    /// Requests that wait for their answer.
    pub in_flight: usize,
    /// Objects in line.
    pub waiting: usize,
    /// Whether nothing is sent for now.
    pub held: bool,
    /// Requests per second at present.
    pub rate: f64,
}

/// All metrics of one process.
pub struct Metrics {
    registry: Mutex<Registry>,
    invocations: Family<OutcomeLabels, Counter>,
    attempts: Family<ClassLabels, Counter>,
    request_duration: Family<CodeLabels, Histogram>,
    list_requests: Family<ProviderLabels, Counter>,
    followed: Family<ProviderLabels, Gauge>,
    in_flight: Family<ProviderLabels, Gauge>,
    waiting: Family<ProviderLabels, Gauge>,
    throttled: Family<ProviderLabels, Gauge>,
    rate: Family<ProviderLabels, Gauge<f64, AtomicU64>>,
    pending_oldest: Family<ProviderLabels, Gauge<f64, AtomicU64>>,
    conflicts: Counter,
    lost: Counter,
    reconcile_duration: Histogram,
    reconcile_errors: Counter,
    watch_errors: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let new = Self {
            registry: Mutex::new(Registry::with_prefix("functiongraph_operator")),
            invocations: Family::default(),
            attempts: Family::default(),
            request_duration: Family::new_with_constructor(seconds),
            list_requests: Family::default(),
            followed: Family::default(),
            in_flight: Family::default(),
            waiting: Family::default(),
            throttled: Family::default(),
            rate: Family::default(),
            pending_oldest: Family::default(),
            conflicts: Counter::default(),
            lost: Counter::default(),
            reconcile_duration: seconds(),
            reconcile_errors: Counter::default(),
            watch_errors: Counter::default(),
        };
        new.register();
        new
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        r.register("invocations", "Invocations that ended, by outcome", self.invocations.clone());
        r.register(
            "attempts",
            "Attempts that ended, by what their end says about acceptance",
            self.attempts.clone(),
        );
        r.register(
            "request_duration_seconds",
            "From the first byte sent to the last byte read",
            self.request_duration.clone(),
        );
        r.register(
            "list_requests",
            "Pages of FunctionGraph's list that were asked for",
            self.list_requests.clone(),
        );
        r.register("followed", "Accepted invocations whose execution is followed", self.followed.clone());
        r.register("in_flight", "Requests that wait for their answer", self.in_flight.clone());
        r.register("waiting", "Objects in line for their turn", self.waiting.clone());
        r.register(
            "throttled",
            "1 while nothing is sent to the provider: shut, paused or breaker open",
            self.throttled.clone(),
        );
        r.register("rate", "Requests per second that are allowed at present", self.rate.clone());
        r.register(
            "pending_oldest_seconds",
            "Age of the oldest object that is neither finished nor accepted",
            self.pending_oldest.clone(),
        );
        r.register(
            "status_write_conflicts",
            "Status writes refused because somebody else wrote first",
            self.conflicts.clone(),
        );
        r.register(
            "lost_answers",
            "Answers that could not be written to an object; each is in the log",
            self.lost.clone(),
        );
        r.register(
            "reconcile_duration_seconds",
            "Time of one reconcile, request included",
            self.reconcile_duration.clone(),
        );
        r.register(
            "reconcile_errors",
            "Reconciles that could not do their work",
            self.reconcile_errors.clone(),
        );
        r.register("watch_errors", "Errors of the watches", self.watch_errors.clone());
    }

    /// An invocation ended.
    pub fn ended(&self, provider: &str, outcome: &'static str) {
        self.invocations.get_or_create(&OutcomeLabels { provider: provider.into(), outcome }).inc();
    }

    /// An attempt ended.
    pub fn attempted(&self, provider: &str, class: &'static str) {
        self.attempts.get_or_create(&ClassLabels { provider: provider.into(), class }).inc();
    }

    /// A request was answered with this HTTP status, or with nothing.
    pub fn requested(&self, provider: &str, http_status: Option<u16>, took: Duration) {
        let code_class = match http_status {
            None => "none",
            Some(200..300) => "2xx",
            Some(300..400) => "3xx",
            Some(400..500) => "4xx",
            Some(_) => "5xx",
        };
        self.request_duration
            .get_or_create(&CodeLabels { provider: provider.into(), code_class })
            .observe(took.as_secs_f64());
    }

    /// A page of the service's list was asked for.
    pub fn listed(&self, provider: &str) {
        self.list_requests.get_or_create(&ProviderLabels { provider: provider.into() }).inc();
    }

    /// A status write met a conflict.
    pub fn conflict(&self) {
        self.conflicts.inc();
    }

    /// An answer could not be written.
    pub fn lost(&self) {
        self.lost.inc();
    }

    /// A reconcile ended.
    pub fn reconciled(&self, took: Duration, failed: bool) {
        self.reconcile_duration.observe(took.as_secs_f64());
        if failed {
            self.reconcile_errors.inc();
        }
    }

    /// A watch broke and is taken up again.
    pub fn watch_broke(&self) {
        self.watch_errors.inc();
    }

    /// The text for a scrape, with gauges as of now: `paces` of the providers, for each provider with pending
    /// objects the age in seconds of the oldest, and how many executions of each are `followed`.
    pub fn text(&self, paces: &[Pace], oldest: &[(String, f64)], followed: &[(Arc<str>, usize)]) -> String {
        let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        // What is gone must not go on telling its last value.
        self.in_flight.clear();
        self.waiting.clear();
        self.throttled.clear();
        self.rate.clear();
        for Pace { provider, in_flight, waiting, held, rate } in paces {
            let labels = ProviderLabels { provider: provider.clone() };
            self.in_flight.get_or_create(&labels).set(size(*in_flight));
            self.waiting.get_or_create(&labels).set(size(*waiting));
            self.throttled.get_or_create(&labels).set(i64::from(*held));
            self.rate.get_or_create(&labels).set(*rate);
        }
        self.pending_oldest.clear();
        for (provider, age) in oldest {
            self.pending_oldest.get_or_create(&ProviderLabels { provider: provider.clone() }).set(*age);
        }
        self.followed.clear();
        for (provider, count) in followed {
            let labels = ProviderLabels { provider: provider.to_string() };
            self.followed.get_or_create(&labels).set(size(*count));
        }
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if text::encode(&mut out, &registry).is_err() {
            tracing::warn!("the metrics could not be written");
        }
        out
    }
}
