//! The numbers of the operator, in OpenMetrics text. No object name, request id or URN is ever a label, and a provider
//! that is gone has no series any more.

mod labels;
mod reading;
mod scrape;
#[cfg(test)]
mod tests;

pub use reading::{ProviderNow, Reading};

use crate::api::invocation::{ErrorClass, Outcome};
use labels::{
    ClassLabels, CodeLabels, NamespaceLabels, OutcomeLabels, ProviderLabels, ReasonLabels, TraceLabels,
    WatchLabels,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The label of providers that do not exist: anybody can name them, and no real name has parentheses.
const MISSING: &str = "(missing)";

/// The label of providers without series of their own.
const OTHERS: &str = "(others)";

/// Providers with series of their own: each costs up to 135, and anybody who may create providers makes them.
const PROVIDERS: usize = 100;

/// Every way to end.
const OUTCOMES: [Outcome; 5] =
    [Outcome::Accepted, Outcome::Executed, Outcome::Failed, Outcome::Unknown, Outcome::Cancelled];

/// Every way an attempt ends; `None` is an acceptance.
const CLASSES: [Option<ErrorClass>; 9] = [
    None,
    Some(ErrorClass::Throttled),
    Some(ErrorClass::Unavailable),
    Some(ErrorClass::FunctionDisabled),
    Some(ErrorClass::Unauthenticated),
    Some(ErrorClass::Rejected),
    Some(ErrorClass::Redirected),
    Some(ErrorClass::NotSent),
    Some(ErrorClass::Ambiguous),
];

/// Every kind of answer.
const CODES: [&str; 5] = ["none", "2xx", "3xx", "4xx", "5xx"];

/// The watches, as their label names them.
pub const WATCHES: [&str; 5] = ["unfinished", "unknown", "expiring", "providers", "cluster-providers"];

/// How long an acceptance takes, in seconds: the time of a creation is written in whole seconds.
const ACCEPTANCE: [f64; 12] =
    [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0];

type Seconds = Gauge<f64, AtomicU64>;

/// All metrics of one process.
pub struct Metrics {
    registry: Mutex<Registry>,
    invocations: Family<OutcomeLabels, Counter>,
    attempts: Family<ClassLabels, Counter>,
    request_duration: Family<CodeLabels, HistogramWithExemplars<TraceLabels>>,
    acceptance: Family<ProviderLabels, Histogram>,
    list_requests: Family<ProviderLabels, Counter>,
    followed: Family<ProviderLabels, Gauge>,
    in_flight: Family<ProviderLabels, Gauge>,
    waiting: Family<ProviderLabels, Gauge>,
    throttled: Family<ProviderLabels, Gauge>,
    rate: Family<ProviderLabels, Seconds>,
    pending_oldest: Family<ProviderLabels, Seconds>,
    unknown: Family<ProviderLabels, Gauge>,
    provider_ready: Family<ReasonLabels, Gauge>,
    expiration: Family<ProviderLabels, Seconds>,
    not_renewed: Family<ProviderLabels, Gauge>,
    without_series: Gauge,
    ready: Gauge,
    conflicts: Counter,
    lost: Counter,
    reconcile_duration: Histogram,
    reconcile_errors: Counter,
    watch_errors: Family<WatchLabels, Counter>,
    watch_silence: Family<WatchLabels, Seconds>,
    namespace_served: Family<NamespaceLabels, Gauge>,
    /// The providers with series of their own, at most [`PROVIDERS`].
    counted: Mutex<HashSet<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let new = Self {
            registry: Mutex::new(Registry::with_prefix("functiongraph_operator")),
            invocations: Family::default(),
            attempts: Family::default(),
            request_duration: Family::new_with_constructor(|| {
                HistogramWithExemplars::new(exponential_buckets(0.001, 2.0, 16))
            }),
            acceptance: Family::new_with_constructor(|| Histogram::new(ACCEPTANCE)),
            list_requests: Family::default(),
            followed: Family::default(),
            in_flight: Family::default(),
            waiting: Family::default(),
            throttled: Family::default(),
            rate: Family::default(),
            pending_oldest: Family::default(),
            unknown: Family::default(),
            provider_ready: Family::default(),
            expiration: Family::default(),
            not_renewed: Family::default(),
            without_series: Gauge::default(),
            ready: Gauge::default(),
            conflicts: Counter::default(),
            lost: Counter::default(),
            reconcile_duration: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            reconcile_errors: Counter::default(),
            watch_errors: Family::default(),
            watch_silence: Family::default(),
            namespace_served: Family::default(),
            counted: Mutex::default(),
        };
        // A counter that begins at its first event hides that event from `increase()`.
        for watch in WATCHES {
            let _ = new.watch_errors.get_or_create(&WatchLabels { watch });
        }
        new.register();
        new
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut *registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The operator's version", version);
        r.register("ready", "1 while /readyz says so", self.ready.clone());
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
            "acceptance_seconds",
            "From the creation of an object to its acceptance by FunctionGraph",
            self.acceptance.clone(),
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
            "Age of the oldest object that is neither finished, accepted nor suspended",
            self.pending_oldest.clone(),
        );
        r.register(
            "unknown",
            "Objects with the outcome Unknown that nobody has settled",
            self.unknown.clone(),
        );
        r.register(
            "provider_ready",
            "1 for a provider that can be used, 0 for one that cannot, and why",
            self.provider_ready.clone(),
        );
        r.register(
            "providers_without_series",
            "Providers that are counted together as (others)",
            self.without_series.clone(),
        );
        r.register(
            "credential_expiration_timestamp_seconds",
            "When the credential in use ends, where that is known",
            self.expiration.clone(),
        );
        r.register(
            "credential_renewal_failing",
            "1 while a credential is used that could not be renewed at the last try",
            self.not_renewed.clone(),
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
        r.register(
            "watch_silence_seconds",
            "Time since the API server last sent anything on a watch",
            self.watch_silence.clone(),
        );
        r.register(
            "namespace_served",
            "1 for a namespace of --namespaces in which the operator works, 0 for one that does not exist or lacks permissions",
            self.namespace_served.clone(),
        );
    }

    /// An invocation of a provider ended; `None` if there is no such provider.
    pub fn ended(&self, provider: Option<&str>, outcome: Outcome) {
        let provider = provider.map_or_else(|| MISSING.to_owned(), |name| self.counting(name));
        self.invocations.get_or_create(&OutcomeLabels { provider, outcome: outcome.as_str() }).inc();
    }

    /// An attempt ended, `None` with an acceptance.
    pub fn attempted(&self, provider: &str, class: Option<ErrorClass>) {
        let labels = ClassLabels { provider: self.counting(provider), class: class_name(class) };
        self.attempts.get_or_create(&labels).inc();
    }

    /// A request was answered with this HTTP status, or with nothing; its trace, if there is one, is the exemplar.
    pub fn requested(
        &self,
        provider: &str,
        http_status: Option<u16>,
        took: Duration,
        trace_id: Option<String>,
    ) {
        let [none, success, redirect, client, server] = CODES;
        let code_class = match http_status {
            None => none,
            Some(200..300) => success,
            Some(300..400) => redirect,
            Some(400..500) => client,
            Some(_) => server,
        };
        let labels = CodeLabels { provider: self.counting(provider), code_class };
        self.request_duration.get_or_create(&labels).observe(
            took.as_secs_f64(),
            trace_id.map(|trace_id| TraceLabels { trace_id }),
            None,
        );
    }

    /// An object was accepted so long after its creation.
    pub fn accepted(&self, provider: &str, after: Duration) {
        self.acceptance.get_or_create(&labels(&self.counting(provider))).observe(after.as_secs_f64());
    }

    /// A page of the service's list was asked for.
    pub fn listed(&self, provider: &str) {
        self.list_requests.get_or_create(&labels(&self.counting(provider))).inc();
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
    pub fn watch_broke(&self, watch: &'static str) {
        self.watch_errors.get_or_create(&WatchLabels { watch }).inc();
    }
}

fn labels(provider: &str) -> ProviderLabels {
    ProviderLabels { provider: provider.into() }
}

/// What logs, metrics and traces call the end of an attempt; `None` is an acceptance.
#[must_use]
pub fn class_name(class: Option<ErrorClass>) -> &'static str {
    class.map_or("Accepted", ErrorClass::as_str)
}
