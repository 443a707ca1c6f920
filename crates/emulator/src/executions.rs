//! Executions of accepted events: they are queued, run on instances, end, and stay listed for a while.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock;
use crate::config::{Function, Listing};

mod execution;
mod pool;
pub(crate) use execution::{Event, Execution, Outcome, Progress, later};
use pool::{Observation, Pool};

/// All executions, by function.
#[derive(Debug)]
pub(crate) struct Executions {
    pools: Mutex<HashMap<String, Pool>>,
    /// Notified when an execution was cancelled.
    stopped: Notify,
    retention: Option<Duration>,
    lag: Duration,
    /// Whether only events with a status log are listed.
    needs_log: bool,
}

impl Executions {
    pub(crate) fn new(listing: &Listing) -> Self {
        let Listing { retention, lag, needs_status_log: needs_log, .. } = *listing;
        Self { pools: Mutex::default(), stopped: Notify::new(), retention, lag, needs_log }
    }

    /// Calls `act` with the pool of a function in its current state.
    fn with<T>(&self, function: &Function, now: Timestamp, act: impl FnOnce(&mut Pool) -> T) -> T {
        let mut pools = self.pools.lock();
        let limits = function.limits();
        let pool = pools.entry(function.key()).or_insert_with(|| Pool::new(now, limits, self.retention));
        pool.resize(limits);
        pool.advance(now);
        act(pool)
    }

    /// Forgets all executions of a function.
    pub(crate) fn forget(&self, function: &Function) {
        self.pools.lock().remove(&function.key());
        self.stopped.notify_waiters();
    }

    /// Puts an event into the queue.
    pub(crate) fn queue(&self, function: &Function, event: Event) {
        self.with(function, event.accepted, |pool| pool.queue(event));
    }

    /// Runs an event at once, on a reserved instance outside the pool.
    pub(crate) fn run_reserved(&self, function: &Function, event: Event) {
        self.with(function, event.accepted, |pool| pool.run_reserved(event));
    }

    /// Whether an event could run at once.
    pub(crate) fn has_capacity(&self, function: &Function, now: Timestamp) -> bool {
        self.with(function, now, |pool| pool.has_capacity())
    }

    /// Runs an event at once for a waiting caller; none if every instance is busy.
    pub(crate) fn run<'a>(&'a self, function: &'a Function, event: Event) -> Option<Run<'a>> {
        let number = self.with(function, event.accepted, |pool| pool.run(event))?;
        Some(Run { executions: self, function, number })
    }

    /// Whether an asynchronous request is queued or running.
    pub(crate) fn is_alive(&self, function: &Function, urn: &str, request_id: &str, now: Timestamp) -> bool {
        self.with(function, now, |pool| pool.alive(urn, request_id).is_some())
    }

    /// Cancels a request, and with `force` everything that runs on the same instance. Returns false if the request is
    /// neither queued nor running.
    pub(crate) fn cancel(
        &self,
        function: &Function,
        urn: &str,
        request_id: &str,
        force: bool,
        now: Timestamp,
    ) -> bool {
        let found = self.with(function, now, |pool| {
            let number = pool.alive(urn, request_id)?;
            pool.cancel(number, force);
            Some(number)
        });
        self.stopped.notify_waiters();
        found.is_some()
    }

    /// The asynchronous executions under a URN that `wanted` selects, in the order of acceptance. Executions that are
    /// not yet or no longer listed are left out.
    pub(crate) fn select(
        &self,
        function: &Function,
        urn: &str,
        now: Timestamp,
        wanted: impl Fn(&Execution) -> bool,
    ) -> Vec<Execution> {
        self.with(function, now, |pool| {
            let seen = |execution: &&Execution| {
                execution.event.urn == urn
                    && execution.event.listed
                    && (execution.event.logged || !self.needs_log)
                    && later(execution.event.accepted, self.lag) <= now
                    && wanted(execution)
            };
            pool.remembered().filter(seen).cloned().collect()
        })
    }
}

/// An execution for which a caller waits. If dropped, it continues to run, but its record is removed.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    executions: &'a Executions,
    function: &'a Function,
    number: u64,
}

impl Run<'_> {
    /// Waits for the end: returns start, end and outcome.
    pub(crate) async fn ended(&self) -> (Timestamp, Timestamp, Outcome) {
        loop {
            let stopped = self.executions.stopped.notified();
            let now = clock::now();
            match self.executions.with(self.function, now, |pool| pool.observe(self.number)) {
                Observation::Ended(start, end, outcome) => return (start, end, outcome),
                Observation::Until(end) => {
                    let wait = Duration::try_from(end.duration_since(now)).unwrap_or_default();
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = stopped => {}
                    }
                }
            }
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.executions.with(self.function, clock::now(), |pool| pool.abandon(self.number));
    }
}
