//! What becomes of the accepted events: they wait, run on instances, end, and are remembered for a while.

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
use pool::{Look, Pool};

/// All executions, by function.
#[derive(Debug)]
pub(crate) struct Executions {
    pools: Mutex<HashMap<String, Pool>>,
    /// Rings when something ended before its time.
    stopped: Notify,
    retention: Option<Duration>,
    lag: Duration,
    /// Whether only what is logged is listed.
    needs_log: bool,
}

impl Executions {
    pub(crate) fn new(listing: &Listing) -> Self {
        let Listing { retention, lag, needs_status_log: needs_log, .. } = *listing;
        Self { pools: Mutex::default(), stopped: Notify::new(), retention, lag, needs_log }
    }

    /// What `act` makes of a function's pool, as it stands now.
    fn with<T>(&self, function: &Function, now: Timestamp, act: impl FnOnce(&mut Pool) -> T) -> T {
        let mut pools = self.pools.lock();
        let limits = function.limits();
        let pool = pools.entry(function.key()).or_insert_with(|| Pool::new(now, limits, self.retention));
        pool.resize(limits);
        pool.advance(now);
        act(pool)
    }

    /// Puts an event into the queue.
    pub(crate) fn queue(&self, function: &Function, event: Event) {
        self.with(function, event.accepted, |pool| pool.queue(event));
    }

    /// Runs an event at once, on an instance of its own beside those of the pool.
    pub(crate) fn run_apart(&self, function: &Function, event: Event) {
        self.with(function, event.accepted, |pool| pool.run_apart(event));
    }

    /// Whether an event could run at once.
    pub(crate) fn has_room(&self, function: &Function, now: Timestamp) -> bool {
        self.with(function, now, |pool| pool.has_room())
    }

    /// Runs an event at once, for a caller who waits; none if every instance is busy.
    pub(crate) fn run<'a>(&'a self, function: &'a Function, event: Event) -> Option<Run<'a>> {
        let number = self.with(function, event.accepted, |pool| pool.run(event))?;
        Some(Run { executions: self, function, number })
    }

    /// Whether an asynchronous request waits or runs.
    pub(crate) fn is_alive(&self, function: &Function, urn: &str, request_id: &str, now: Timestamp) -> bool {
        self.with(function, now, |pool| pool.alive(urn, request_id).is_some())
    }

    /// Ends a request early, and with `force` everything that runs on the same instance; false if it neither waits nor
    /// runs.
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

    /// The asynchronous executions filed under a URN that `wanted` says yes to, in the order of acceptance. Those that
    /// are too young to be seen or too old to be remembered are not asked about.
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

/// An execution whose end a caller waits for. Dropped, it runs on, but nobody remembers it.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    executions: &'a Executions,
    function: &'a Function,
    number: u64,
}

impl Run<'_> {
    /// When it started, when and how it ended.
    pub(crate) async fn ended(&self) -> (Timestamp, Timestamp, Outcome) {
        loop {
            let stopped = self.executions.stopped.notified();
            let now = clock::now();
            match self.executions.with(self.function, now, |pool| pool.look(self.number)) {
                Look::Ended(start, end, outcome) => return (start, end, outcome),
                Look::Until(end) => {
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
