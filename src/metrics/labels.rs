//! The labels of the metrics: closed lists, and names of providers.

use prometheus_client::encoding::EncodeLabelSet;

/// How an invocation ended, by provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `namespace/name`, or `name` for a cluster-scoped provider.
    pub provider: String,
    /// As in the status.
    pub outcome: &'static str,
}

/// How an attempt ended, by provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClassLabels {
    pub provider: String,
    /// As in the status, or `Accepted`.
    pub class: &'static str,
}

/// How a request was answered, by provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabels {
    pub provider: String,
    /// The first digit of the HTTP status, or `none`.
    pub code_class: &'static str,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderLabels {
    pub provider: String,
}

/// Why a provider is ready or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    pub provider: String,
    /// As in the `Ready` condition.
    pub reason: &'static str,
}

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WatchLabels {
    pub watch: &'static str,
}

/// A namespace that the operator's flag names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NamespaceLabels {
    /// Its name. Prometheus gives the label `namespace` to the operator's own.
    pub served_namespace: String,
}

/// The trace of an exemplar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TraceLabels {
    /// 32 hexadecimal digits.
    pub trace_id: String,
}
