//! The reserved instances that are asked for, so many for each URN.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How many instances of one URN are kept ready: the body of `PUT …/reservedinstances`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reservation {
    /// Always.
    pub(crate) count: u32,
    /// Whether they are idle, and cheaper, while nothing runs on them.
    #[serde(default)]
    pub(crate) idle_mode: bool,
    /// And at times more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tactics_config: Option<Tactics>,
}

/// When there are more of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tactics {
    #[serde(skip_serializing_if = "Option::is_none")]
    cron_configs: Option<Vec<Cron>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_configs: Option<Vec<Metric>>,
}

/// By the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// By what they are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum MetricKind {
    /// The share of reserved instances that is in use.
    Concurrency,
}

/// All of them, by the URN they are for.
#[derive(Debug, Default)]
pub(crate) struct ReservedInstances(Mutex<BTreeMap<String, Reservation>>);

impl ReservedInstances {
    /// Reserves, or changes what was reserved. With neither a number nor tactics nothing is left of it.
    pub(crate) fn put(&self, urn: String, reservation: Reservation) {
        let mut all = self.0.lock();
        let tactics = reservation.tactics_config.as_ref();
        if reservation.count == 0 && tactics.is_none_or(|tactics| *tactics == Tactics::default()) {
            all.remove(&urn);
        } else {
            all.insert(urn, reservation);
        }
    }

    /// What is reserved for one URN, or for all, in their order.
    pub(crate) fn list(&self, urn: Option<&str>) -> Vec<(String, Reservation)> {
        let all = self.0.lock();
        let found = all.iter().filter(|(key, _)| urn.is_none_or(|urn| urn == *key));
        found.map(|(urn, reservation)| (urn.clone(), reservation.clone())).collect()
    }
}
