//! Counters of everything that was asked, refused requests included.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::api::Api;

/// How many requests the emulated API has seen, and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requests whose head arrived, answered or not.
    pub seen: u64,
    /// Submissions that were accepted; the length of the ledger if it was never cleared.
    pub accepted: u64,
    /// Calls per API, refused ones included; requests that lead to no API are only in `seen`.
    pub calls: BTreeMap<Api, u64>,
    /// Credentials that were made, per API that made them.
    pub issued: BTreeMap<Api, u64>,
    /// Answers per HTTP status; what is missing to `seen` was cut, is hanging or under way.
    pub answered: BTreeMap<u16, u64>,
    /// Requests refused because of their credential, locked keys included.
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

    pub(crate) fn read(&self) -> Requests {
        self.0.lock().clone()
    }
}
