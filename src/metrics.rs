//! The operator's metrics, in OpenMetrics text. No label holds an object name, request id or URN. A deleted provider
//! has no series.

mod gauges;
mod labels;
mod reading;
mod scrape;
#[cfg(test)]
mod tests;

pub use reading::{ProviderNow, Reading};

use crate::api::invocation::{ErrorClass, Outcome};
use gauges::Gauges;
use labels::{ClassLabels, CodeLabels, OutcomeLabels, ProviderLabels, TraceLabels, WatchLabels};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use std::collections::HashSet;
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

/// All metrics of one process.
pub struct Metrics {
    registry: Mutex<Registry>,
    invocations: Family<OutcomeLabels, Counter>,
    attempts: Family<ClassLabels, Counter>,
    request_duration: Family<CodeLabels, HistogramWithExemplars<TraceLabels>>,
    acceptance: Family<ProviderLabels, Histogram>,
    list_requests: Family<ProviderLabels, Counter>,
    conflicts: Counter,
    lost: Counter,
    reconcile_duration: Histogram,
    reconcile_errors: Counter,
    watch_errors: Family<WatchLabels, Counter>,
    gauges: Gauges,
    /// The providers with series of their own, at most [`PROVIDERS`].
    counted: Mutex<HashSet<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("functiongraph_operator");
        let r = &mut registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The operator's version", version);
        let request_duration: Family<CodeLabels, _> =
            Family::new_with_constructor(|| HistogramWithExemplars::new(exponential_buckets(0.001, 2.0, 16)));
        let acceptance: Family<ProviderLabels, _> =
            Family::new_with_constructor(|| Histogram::new(ACCEPTANCE));
        let reconcile_duration = Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let metrics = Self {
            gauges: Gauges::register(r),
            invocations: new(r, "invocations", "Invocations that ended, by outcome"),
            attempts: new(r, "attempts", "Attempts that ended, by class of their result"),
            request_duration: registered(
                r,
                "request_duration_seconds",
                "From the first byte sent to the last byte read",
                request_duration,
            ),
            acceptance: registered(
                r,
                "acceptance_seconds",
                "From the creation of an object to its acceptance by FunctionGraph",
                acceptance,
            ),
            list_requests: new(r, "list_requests", "Requests for pages of FunctionGraph's list"),
            conflicts: new(r, "status_write_conflicts", "Status writes refused because of a conflict"),
            lost: new(
                r,
                "lost_answers",
                "Answers that the operator could not write to an object; each is in the log",
            ),
            reconcile_duration: registered(
                r,
                "reconcile_duration_seconds",
                "Time of one reconcile, request included",
                reconcile_duration,
            ),
            reconcile_errors: new(r, "reconcile_errors", "Reconciles that failed with an error"),
            watch_errors: new(r, "watch_errors", "Errors of the watches"),
            registry: Mutex::new(registry),
            counted: Mutex::default(),
        };
        // Create the counter with value 0, because `increase()` does not see the first event of a new series.
        for watch in WATCHES {
            let _ = metrics.watch_errors.get_or_create(&WatchLabels { watch });
        }
        metrics
    }
}

/// Registers a metric, and returns it.
fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a new metric.
fn new<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    registered(registry, name, help, M::default())
}

impl Metrics {
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
pub fn class_name(class: Option<ErrorClass>) -> &'static str {
    class.map_or("Accepted", ErrorClass::as_str)
}
