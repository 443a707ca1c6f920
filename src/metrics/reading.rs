//! Values that the operator does not count, but reads at each scrape.

use crate::api::Reason;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// All values read at a scrape. Providers are named as in [`ProviderNow::name`]. Providers outside `providers` share
/// one label.
#[derive(Default)]
pub struct Reading {
    /// Whether the operator is ready.
    pub ready: bool,
    /// The processes that divide the work; 0 while this one is not among them.
    pub members: usize,
    /// Unfinished objects that this process owns.
    pub owned: usize,
    /// What this process remembers of objects.
    pub remembered: usize,
    /// The providers that exist.
    pub providers: Vec<ProviderNow>,
    /// Objects in the queues of missing providers.
    pub waiting_for_none: Vec<(String, usize)>,
    /// By provider, the age in seconds of the oldest object that is still to be sent.
    pub oldest: Vec<(String, f64)>,
    /// By provider, the number of executions that the operator follows.
    pub followed: Vec<(String, usize)>,
    /// By provider, the number of objects with the outcome `Unknown`.
    pub unknown: Vec<(String, usize)>,
    /// By watch, the time since its last bytes.
    pub silences: Vec<(&'static str, Duration)>,
    /// The namespaces that the operator's flag names, and whether it can work there.
    pub namespaces: BTreeMap<String, bool>,
}

/// A provider at the time of the scrape.
pub struct ProviderNow {
    /// `namespace/name`, or `name` for a cluster-scoped provider.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// The reason of its condition `Ready`.
    pub reason: Reason,
    /// When its credential expires, if known.
    pub expires_at: Option<Timestamp>,
    /// Whether the last renewal of its credential has failed.
    pub not_renewed: bool,
    /// Requests that wait for an answer.
    pub in_flight: usize,
    /// Objects in its queue.
    pub waiting: usize,
    /// Whether the operator sends nothing to it now, because FunctionGraph throttles it or its endpoint failed.
    pub held: bool,
    /// Requests per second that are allowed now.
    pub rate: f64,
}
