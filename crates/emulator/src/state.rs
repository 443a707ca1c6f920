//! What all connections of one emulator share.

use std::time::Duration;

use parking_lot::Mutex;

use crate::auth::Auth;
use crate::clock;
use crate::config::Config;
use crate::executions::Executions;
use crate::fault::FaultPlan;
use crate::functions::Functions;
use crate::ledger::Ledger;
use crate::rate_limit::{Bucket, RateLimit};
use crate::stats::Stats;

/// Everything that is known and everything that has happened.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) auth: Auth,
    pub(crate) functions: Functions,
    pub(crate) max_body_bytes: usize,
    pub(crate) max_sync_body_bytes: usize,
    pub(crate) gateway_timeout: Duration,
    pub(crate) rate_limit: Mutex<Option<Bucket>>,
    pub(crate) faults: FaultPlan,
    pub(crate) ledger: Ledger,
    pub(crate) executions: Executions,
    pub(crate) stats: Stats,
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        let state = Self {
            auth: Auth::new(config),
            functions: Functions::new(config),
            max_body_bytes: config.max_body_bytes,
            max_sync_body_bytes: config.max_sync_body_bytes,
            gateway_timeout: config.gateway_timeout,
            rate_limit: Mutex::default(),
            faults: FaultPlan::default(),
            ledger: Ledger::default(),
            executions: Executions::default(),
            stats: Stats::default(),
        };
        state.set_rate_limit(config.rate_limit);
        state
    }

    /// Starts a new rate limit with a full bucket, or lifts the present one.
    pub(crate) fn set_rate_limit(&self, limit: Option<RateLimit>) {
        *self.rate_limit.lock() = limit.map(|limit| Bucket::full(limit, clock::instant()));
    }
}
