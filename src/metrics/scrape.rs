//! The text of a scrape: current gauges, and series for a bounded number of providers.

use super::gauges::size;
use super::{
    CODES, ClassLabels, CodeLabels, MISSING, Metrics, OTHERS, OutcomeLabels, PROVIDERS, Reading, class_name,
    labels,
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
        self.gauges.without_series.set(size(known.len() - counted.len()));
        let label = |name: &str| match name {
            name if counted.contains(name) => name.to_owned(),
            name if known.contains(name) => OTHERS.to_owned(),
            _ => MISSING.to_owned(),
        };
        self.gauges.set(now, label);
        let mut out = String::new();
        if text::encode(&mut out, &registry).is_err() {
            tracing::warn!("cannot write the metrics");
        }
        out
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
pub(super) fn classes() -> impl Iterator<Item = Option<ErrorClass>> {
    std::iter::once(None).chain(ErrorClass::VARIANTS.iter().copied().map(Some))
}
