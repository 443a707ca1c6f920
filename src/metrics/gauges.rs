//! The gauges: set at each scrape.

use super::labels::{NamespaceLabels, ProviderLabels, ReasonLabels, WatchLabels};
use super::{Reading, labels, new};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

type Seconds = Gauge<f64, AtomicU64>;

/// The values that the operator reads at a scrape.
pub struct Gauges {
    ready: Gauge,
    followed: Family<ProviderLabels, Gauge>,
    in_flight: Family<ProviderLabels, Gauge>,
    waiting: Family<ProviderLabels, Gauge>,
    throttled: Family<ProviderLabels, Gauge>,
    rate: Family<ProviderLabels, Seconds>,
    pending_oldest: Family<ProviderLabels, Seconds>,
    unknown: Family<ProviderLabels, Gauge>,
    provider_ready: Family<ReasonLabels, Gauge>,
    pub(super) without_series: Gauge,
    expiration: Family<ProviderLabels, Seconds>,
    not_renewed: Family<ProviderLabels, Gauge>,
    members: Gauge,
    owned: Gauge,
    remembered: Gauge,
    watch_silence: Family<WatchLabels, Seconds>,
    namespace_served: Family<NamespaceLabels, Gauge>,
}

impl Gauges {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            ready: new(r, "ready", "1 while /readyz answers 200"),
            followed: new(r, "followed", "Accepted invocations whose execution the operator follows"),
            in_flight: new(r, "in_flight", "Requests that wait for their answer"),
            waiting: new(r, "waiting", "Objects in the queue of their provider"),
            throttled: new(
                r,
                "throttled",
                "1 while the operator sends nothing to the provider, because FunctionGraph throttles it or its endpoint failed",
            ),
            rate: new(r, "rate", "Requests per second that are allowed now"),
            pending_oldest: new(
                r,
                "pending_oldest_seconds",
                "Age of the oldest object that is neither finished, accepted nor suspended",
            ),
            unknown: new(r, "unknown", "Objects with the outcome Unknown that nobody has resolved"),
            provider_ready: new(
                r,
                "provider_ready",
                "1 for a provider that is ready, 0 for one that is not, with the reason",
            ),
            without_series: new(r, "providers_without_series", "Providers with the common label (others)"),
            expiration: new(
                r,
                "credential_expiration_timestamp_seconds",
                "When the credential in use expires, if known",
            ),
            not_renewed: new(
                r,
                "credential_renewal_failing",
                "1 while the last renewal of the credential in use has failed",
            ),
            members: new(
                r,
                "members",
                "Processes that divide the work, this one included; 0 while it is not one of them",
            ),
            owned: new(r, "owned", "Unfinished objects that this process works on"),
            remembered: new(
                r,
                "remembered",
                "Attempts, lookups, notices and failures that this process remembers, for a minute to ten after their end",
            ),
            watch_silence: new(
                r,
                "watch_silence_seconds",
                "Time since the API server last sent bytes on a watch",
            ),
            namespace_served: new(
                r,
                "namespace_served",
                "1 for a namespace of --namespaces in which the operator works, 0 for one that does not exist or lacks permissions",
            ),
        }
    }

    /// Sets the gauges. If several providers share a label: adds their numbers, sets a flag if one of them has it,
    /// and takes the earliest time.
    pub(super) fn set(&self, now: &Reading, label: impl Fn(&str) -> String) {
        // Remove the series of deleted providers.
        for gauge in [
            &self.in_flight,
            &self.waiting,
            &self.throttled,
            &self.not_renewed,
            &self.unknown,
            &self.followed,
        ] {
            gauge.clear();
        }
        for gauge in [&self.rate, &self.expiration, &self.pending_oldest] {
            gauge.clear();
        }
        self.provider_ready.clear();
        self.ready.set(now.ready.into());
        self.members.set(size(now.members));
        self.owned.set(size(now.owned));
        self.remembered.set(size(now.remembered));
        for (watch, silence) in &now.silences {
            self.watch_silence.get_or_create(&WatchLabels { watch }).set(silence.as_secs_f64());
        }
        for (namespace, served) in &now.namespaces {
            let labels = NamespaceLabels { served_namespace: namespace.clone() };
            self.namespace_served.get_or_create(&labels).set((*served).into());
        }
        for provider in &now.providers {
            let label = label(&provider.name);
            let reason = ReasonLabels { provider: label.clone(), reason: provider.reason.as_str() };
            self.provider_ready.get_or_create(&reason).set(provider.ready.into());
            let label = labels(&label);
            self.in_flight.get_or_create(&label).inc_by(size(provider.in_flight));
            self.waiting.get_or_create(&label).inc_by(size(provider.waiting));
            self.rate.get_or_create(&label).inc_by(provider.rate);
            for (gauge, flag) in [(&self.throttled, provider.held), (&self.not_renewed, provider.not_renewed)]
            {
                let gauge = gauge.get_or_create_owned(&label);
                gauge.set(gauge.get().max(flag.into()));
            }
            if let Some(end) = provider.expires_at.map(|end| end.as_duration().as_secs_f64()) {
                let gauge = self.expiration.get_or_create_owned(&label);
                gauge.set(if gauge.get() > 0.0 { gauge.get().min(end) } else { end });
            }
        }
        for (name, count) in &now.waiting_for_none {
            self.waiting.get_or_create(&labels(&label(name))).inc_by(size(*count));
        }
        for (provider, age) in &now.oldest {
            let gauge = self.pending_oldest.get_or_create_owned(&labels(&label(provider)));
            gauge.set(gauge.get().max(*age));
        }
        for (gauge, counts) in [(&self.followed, &now.followed), (&self.unknown, &now.unknown)] {
            for (provider, count) in counts {
                gauge.get_or_create(&labels(&label(provider))).inc_by(size(*count));
            }
        }
    }
}

pub(super) fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
