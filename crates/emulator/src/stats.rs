//! Counters of all requests, including refused ones.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::api::Api;

/// Numbers of requests at the emulated API, and of their results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requests whose headers arrived, answered or not.
    pub seen: u64,
    /// Accepted submissions; the length of a ledger that was never cleared.
    pub accepted: u64,
    /// Calls per API, including refused ones. Requests without a matching API count only in `seen`.
    pub calls: BTreeMap<Api, u64>,
    /// Issued credentials per API.
    pub issued: BTreeMap<Api, u64>,
    /// Answers per HTTP status. Requests in `seen` without an answer were cut, hang or are in progress.
    pub answered: BTreeMap<u16, u64>,
    /// Requests refused because of their credential, including those with a locked key.
    pub failed_authentications: u64,
}

/// The counters, shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct Stats(Mutex<Requests>);

impl Stats {
    pub(crate) fn seen(&self) {
        self.0.lock().seen += 1;
    }

    pub(crate) fn called(&self, api: Api) {
        *self.0.lock().calls.entry(api).or_default() += 1;
    }

    pub(crate) fn accepted(&self) {
        self.0.lock().accepted += 1;
    }

    pub(crate) fn issued(&self, api: Api) {
        *self.0.lock().issued.entry(api).or_default() += 1;
    }

    pub(crate) fn answered(&self, status: u16) {
        *self.0.lock().answered.entry(status).or_default() += 1;
    }

    pub(crate) fn failed_authentication(&self) {
        self.0.lock().failed_authentications += 1;
    }

    pub(crate) fn clear(&self) {
        *self.0.lock() = Requests::default();
    }

    pub(crate) fn read(&self) -> Requests {
        self.0.lock().clone()
    }
}
