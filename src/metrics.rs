//! The operator's metrics, in OpenMetrics text. No label holds an object name, request id or URN. A deleted provider
//! has no series.

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
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Label of all missing providers: anybody can refer to one, and no real name has parentheses.
const MISSING: &str = "(missing)";

/// Label of all providers without series of their own.
const OTHERS: &str = "(others)";

/// Maximum number of providers with series of their own. Each costs up to 135 series, and users create providers.
const PROVIDERS: usize = 100;

/// All kinds of answers.
const CODES: [&str; 5] = ["none", "2xx", "3xx", "4xx", "5xx"];

/// Label values of the watches.
pub const WATCHES: [&str; 5] = ["unfinished", "unknown", "expiring", "providers", "cluster-providers"];

/// Buckets of the time to acceptance, in seconds. Creation times have whole seconds.
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
    members: Gauge,
    owned: Gauge,
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
            members: Gauge::default(),
            owned: Gauge::default(),
            conflicts: Counter::default(),
            lost: Counter::default(),
            reconcile_duration: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            reconcile_errors: Counter::default(),
            watch_errors: Family::default(),
            watch_silence: Family::default(),
            namespace_served: Family::default(),
            counted: Mutex::default(),
        };
        // Create the counter with value 0, because `increase()` does not see the first event of a new series.
        for watch in WATCHES {
            let _ = new.watch_errors.get_or_create(&WatchLabels { watch });
        }
        new.register();
        new
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock();
        let r = &mut *registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The operator's version", version);
        r.register("ready", "1 while /readyz answers 200", self.ready.clone());
        self.register_invocations(r);
        self.register_states(r);
        self.register_work(r);
    }

    fn register_invocations(&self, r: &mut Registry) {
        r.register("invocations", "Invocations that ended, by outcome", self.invocations.clone());
        r.register("attempts", "Attempts that ended, by class of their result", self.attempts.clone());
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
        r.register("list_requests", "Requests for pages of FunctionGraph's list", self.list_requests.clone());
        r.register(
            "followed",
            "Accepted invocations whose execution the operator follows",
            self.followed.clone(),
        );
    }

    fn register_states(&self, r: &mut Registry) {
        r.register("in_flight", "Requests that wait for their answer", self.in_flight.clone());
        r.register("waiting", "Objects in the queue of their provider", self.waiting.clone());
        r.register(
            "throttled",
            "1 while the operator sends nothing to the provider, because FunctionGraph throttles it or its endpoint failed",
            self.throttled.clone(),
        );
        r.register("rate", "Requests per second that are allowed now", self.rate.clone());
        r.register(
            "pending_oldest_seconds",
            "Age of the oldest object that is neither finished, accepted nor suspended",
            self.pending_oldest.clone(),
        );
        r.register(
            "unknown",
            "Objects with the outcome Unknown that nobody has resolved",
            self.unknown.clone(),
        );
        r.register(
            "provider_ready",
            "1 for a provider that is ready, 0 for one that is not, with the reason",
            self.provider_ready.clone(),
        );
        r.register(
            "providers_without_series",
            "Providers with the common label (others)",
            self.without_series.clone(),
        );
        r.register(
            "credential_expiration_timestamp_seconds",
            "When the credential in use expires, if known",
            self.expiration.clone(),
        );
        r.register(
            "credential_renewal_failing",
            "1 while the last renewal of the credential in use has failed",
            self.not_renewed.clone(),
        );
    }

    fn register_work(&self, r: &mut Registry) {
        r.register(
            "members",
            "Processes that divide the work, this one included; 0 while it is not one of them",
            self.members.clone(),
        );
        r.register("owned", "Unfinished objects that this process works on", self.owned.clone());
        r.register(
            "status_write_conflicts",
            "Status writes refused because of a conflict",
            self.conflicts.clone(),
        );
        r.register(
            "lost_answers",
            "Answers that the operator could not write to an object; each is in the log",
            self.lost.clone(),
        );
        r.register(
            "reconcile_duration_seconds",
            "Time of one reconcile, request included",
            self.reconcile_duration.clone(),
        );
        r.register("reconcile_errors", "Reconciles that failed with an error", self.reconcile_errors.clone());
        r.register("watch_errors", "Errors of the watches", self.watch_errors.clone());
        r.register(
            "watch_silence_seconds",
            "Time since the API server last sent bytes on a watch",
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

    /// An attempt ended; `None` with an acceptance.
    pub fn attempted(&self, provider: &str, class: Option<ErrorClass>) {
        let labels = ClassLabels { provider: self.counting(provider), class: class_name(class) };
        self.attempts.get_or_create(&labels).inc();
    }

    /// A request got this HTTP status, or no answer. Its trace, if there is one, becomes the exemplar.
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

    /// FunctionGraph accepted an object this long after its creation.
    pub fn accepted(&self, provider: &str, after: Duration) {
        self.acceptance.get_or_create(&labels(&self.counting(provider))).observe(after.as_secs_f64());
    }

    /// The operator requested a page of FunctionGraph's list.
    pub fn listed(&self, provider: &str) {
        self.list_requests.get_or_create(&labels(&self.counting(provider))).inc();
    }

    /// A status write had a conflict.
    pub fn conflict(&self) {
        self.conflicts.inc();
    }

    /// The operator could not write an answer.
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

    /// A watch failed and is restarted.
    pub fn watch_broke(&self, watch: &'static str) {
        self.watch_errors.get_or_create(&WatchLabels { watch }).inc();
    }
}

fn labels(provider: &str) -> ProviderLabels {
    ProviderLabels { provider: provider.into() }
}

/// Name of an attempt's result in logs, metrics and traces; `None` is an acceptance.
#[must_use]
pub fn class_name(class: Option<ErrorClass>) -> &'static str {
    class.map_or("Accepted", ErrorClass::as_str)
}
