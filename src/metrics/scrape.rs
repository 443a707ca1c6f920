//! The text of a scrape: current gauges, and series for a bounded number of providers.

use super::{
    CODES, ClassLabels, CodeLabels, MISSING, Metrics, NamespaceLabels, OTHERS, OutcomeLabels, PROVIDERS,
    Reading, ReasonLabels, WatchLabels, class_name, labels,
};
use crate::api::invocation::{ErrorClass, Outcome};
use prometheus_client::encoding::text;
use std::collections::{BTreeSet, HashSet};
use strum::VariantArray;

impl Metrics {
    /// The text of a scrape, with current gauges.
    pub fn text(&self, now: &Reading) -> String {
        // Lock from the gauges on, so that a concurrent scrape does not see half of them.
        let registry = self.registry.lock();
        let known: BTreeSet<_> = now.providers.iter().map(|provider| provider.name.as_str()).collect();
        let counted = self.keep(&known);
        self.without_series.set(size(known.len() - counted.len()));
        let label = |name: &str| match name {
            name if counted.contains(name) => name.to_owned(),
            name if known.contains(name) => OTHERS.to_owned(),
            _ => MISSING.to_owned(),
        };
        self.show(now, label);
        let mut out = String::new();
        if text::encode(&mut out, &registry).is_err() {
            tracing::warn!("cannot write the metrics");
        }
        out
    }

    /// Sets the gauges. If several providers share a label: adds their numbers, sets a flag if one of them has it,
    /// and takes the earliest time.
    fn show(&self, now: &Reading, label: impl Fn(&str) -> String) {
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

    /// The label for a provider's counters: its own as long as the limit allows.
    pub(super) fn counting(&self, provider: &str) -> String {
        let mut counted = self.counted.lock();
        if !counted.contains(provider) {
            if counted.len() >= PROVIDERS {
                return OTHERS.to_owned();
            }
            counted.insert(provider.to_owned());
        }
        provider.to_owned()
    }

    /// Keeps the counters of existing providers, removes all others, and gives free series to providers without any.
    /// Returns the providers with counters.
    fn keep(&self, known: &BTreeSet<&str>) -> HashSet<String> {
        let mut counted = self.counted.lock();
        counted.retain(|provider| {
            let stays = known.contains(provider.as_str());
            if !stays {
                self.forget(provider);
            }
            stays
        });
        for provider in known {
            if counted.len() >= PROVIDERS {
                break;
            }
            counted.insert((*provider).to_owned());
        }
        for provider in &*counted {
            self.begin(provider);
        }
        if counted.len() < known.len() {
            self.begin(OTHERS);
        }
        counted.clone()
    }

    /// Creates the counter with value 0, because `increase()` does not see the first event of a new series.
    fn begin(&self, provider: &str) {
        for outcome in Outcome::VARIANTS {
            let labels = OutcomeLabels { provider: provider.into(), outcome: outcome.as_str() };
            let _ = self.invocations.get_or_create(&labels);
        }
        for class in classes() {
            let labels = ClassLabels { provider: provider.into(), class: class_name(class) };
            let _ = self.attempts.get_or_create(&labels);
        }
        let _ = self.list_requests.get_or_create(&labels(provider));
    }

    fn forget(&self, provider: &str) {
        for outcome in Outcome::VARIANTS {
            self.invocations.remove(&OutcomeLabels { provider: provider.into(), outcome: outcome.as_str() });
        }
        for class in classes() {
            self.attempts.remove(&ClassLabels { provider: provider.into(), class: class_name(class) });
        }
        for code_class in CODES {
            self.request_duration.remove(&CodeLabels { provider: provider.into(), code_class });
        }
        self.acceptance.remove(&labels(provider));
        self.list_requests.remove(&labels(provider));
    }
}

/// All results of an attempt; `None` is an acceptance.
fn classes() -> impl Iterator<Item = Option<ErrorClass>> {
    std::iter::once(None).chain(ErrorClass::VARIANTS.iter().copied().map(Some))
}

fn size(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
