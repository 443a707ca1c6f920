//! What is not counted but read at each scrape.

use crate::api::Reason;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that is read at each scrape. Providers are named as in [`ProviderNow::name`]; those that are not among
/// `providers` are counted together, whatever objects call them.
#[derive(Default)]
pub struct Reading {
    /// Whether the operator works.
    pub ready: bool,
    /// The providers that exist.
    pub providers: Vec<ProviderNow>,
    /// Objects in the lines of providers that do not exist.
    pub waiting_for_none: Vec<(String, usize)>,
    /// By provider, the age in seconds of the oldest object that is to be sent.
    pub oldest: Vec<(String, f64)>,
    /// By provider, the executions that are followed.
    pub followed: Vec<(String, usize)>,
    /// By provider, the objects whose outcome is `Unknown`.
    pub unknown: Vec<(String, usize)>,
    /// By watch, for how long nothing has come.
    pub silences: Vec<(&'static str, Duration)>,
    /// The namespaces that the operator's flag names, and whether it can work there.
    pub namespaces: BTreeMap<String, bool>,
}

/// A provider at the moment of the reading.
pub struct ProviderNow {
    /// `namespace/name`, or `name` for one of the cluster.
    pub name: String,
    /// Whether it can be used.
    pub ready: bool,
    /// Why.
    pub reason: Reason,
    /// When its credential ends, if that is known.
    pub expires_at: Option<Timestamp>,
    /// Whether the credential could not be renewed at the last try.
    pub not_renewed: bool,
    /// Requests that wait for their answer.
    pub in_flight: usize,
    /// Objects in line.
    pub waiting: usize,
    /// Whether nothing is sent for now.
    pub held: bool,
    /// Requests per second at present.
    pub rate: f64,
}
