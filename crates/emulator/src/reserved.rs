//! The reserved instances: their number for each URN.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Number of instances of one URN that are kept ready: the body of `PUT …/reservedinstances`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    /// Permanent number.
    pub(crate) count: u32,
    /// Whether they are idle, and cheaper, while they run nothing.
    #[serde(default)]
    pub(crate) idle_mode: bool,
    /// Rules for additional instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tactics_config: Option<Tactics>,
}

/// Rules for additional instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tactics {
    #[serde(skip_serializing_if = "Option::is_none")]
    cron_configs: Option<Vec<Cron>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_configs: Option<Vec<Metric>>,
}

/// By schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cron {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "cron", skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    /// In seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_time: Option<i64>,
}

/// By use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Metric {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<MetricKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<u32>,
}

/// The measured quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum MetricKind {
    /// The share of busy reserved instances.
    Concurrency,
}

/// All reservations, by URN.
#[derive(Debug, Default)]
pub(crate) struct ReservedInstances(Mutex<BTreeMap<String, Reservation>>);

impl ReservedInstances {
    /// Creates or replaces a reservation. A reservation without a number and without rules is removed.
    pub(crate) fn put(&self, urn: String, reservation: Reservation) {
        let mut all = self.0.lock();
        let tactics = reservation.tactics_config.as_ref();
        if reservation.count == 0 && tactics.is_none_or(|tactics| *tactics == Tactics::default()) {
            all.remove(&urn);
        } else {
            all.insert(urn, reservation);
        }
    }

    /// Removes the reservations of all URNs with this prefix.
    pub(crate) fn remove_all(&self, beginning: &str) {
        self.0.lock().retain(|urn, _| !urn.starts_with(beginning));
    }

    /// The reservation of one URN, or all reservations in the order of their URNs.
    pub(crate) fn list(&self, urn: Option<&str>) -> Vec<(String, Reservation)> {
        let all = self.0.lock();
        let found = all.iter().filter(|(key, _)| urn.is_none_or(|urn| urn == *key));
        found.map(|(urn, reservation)| (urn.clone(), reservation.clone())).collect()
    }
}
