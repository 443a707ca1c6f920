//! Executions of accepted events: they are queued, run on instances, end, and stay listed for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::clock;
use crate::config::{Config, Function, Listing};
use crate::handler::{Handler, Output, Place};
use crate::tasks::Tasks;

mod execution;
mod pool;
pub(crate) use execution::{Event, Execution, Finished, Outcome, Progress, later};
use pool::{Observation, Order, Pool, Running};

/// All executions, by function. A clone has the same executions.
#[derive(Debug, Clone)]
pub(crate) struct Executions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pools: Mutex<HashMap<String, Pool>>,
    /// The code of the functions that have some, and what it carries out.
    code: Mutex<Code>,
    /// Notified when an execution ended otherwise than by time.
    stopped: Notify,
    /// Notified when something may become due earlier.
    moved: Notify,
    tasks: Tasks,
    /// Where those executions go that a destination is told of.
    told: UnboundedSender<Finished>,
    place: Place,
    retention: Option<Duration>,
    lag: Duration,
    /// Whether only events with a status log are listed.
    needs_log: bool,
}

#[derive(Debug, Default)]
struct Code {
    handlers: HashMap<String, Arc<Handler>>,
    running: HashMap<(String, Running), AbortHandle>,
}

impl Executions {
    pub(crate) fn new(config: &Config, tasks: Tasks, told: UnboundedSender<Finished>) -> Self {
        let Listing { retention, lag, needs_status_log: needs_log, .. } = config.listing;
        let place = Place { region: config.region.clone(), project_id: config.project_id.clone() };
        let (pools, code, stopped, moved) = Default::default();
        Self(Arc::new(Shared { pools, code, stopped, moved, tasks, told, place, retention, lag, needs_log }))
    }

    /// Calls `act` with the pool of a function in its current state, and does what has to be done then.
    fn with<T>(&self, function: &Function, now: Timestamp, act: impl FnOnce(&mut Pool) -> T) -> T {
        let Shared { pools, retention, moved, .. } = &*self.0;
        let mut pools = pools.lock();
        let limits = function.limits();
        let pool = pools.entry(function.key()).or_insert_with(|| Pool::new(now, limits, *retention));
        pool.resize(limits);
        pool.advance(now);
        let result = act(pool);
        let (orders, driven) = (pool.orders(), pool.driven);
        drop(pools);
        for order in orders {
            self.carry_out(function, order);
        }
        if driven {
            moved.notify_one();
        }
        result
    }

    fn carry_out(&self, function: &Function, order: Order) {
        let key = function.key();
        let mut code = self.0.code.lock();
        match order {
            Order::Tell(finished) => {
                // An error means that the emulator ends.
                let _ = self.0.told.send(*finished);
            }
            Order::Stop(running) => {
                if let Some(run) = code.running.remove(&(key, running)) {
                    run.abort();
                }
            }
            Order::Start(running, job) => {
                let fits = code.handlers.get(&key).is_some_and(|handler| handler.fits(function));
                if !fits {
                    let handler = Handler::new(Arc::new(function.clone()), self.0.place.clone());
                    code.handlers.insert(key.clone(), Arc::new(handler));
                }
                let Some(handler) = code.handlers.get(&key).map(Arc::clone) else { return };
                let (executions, function) = (self.clone(), function.clone());
                let run = self.0.tasks.spawn(async move {
                    let report = handler.run(&job).await;
                    executions.0.code.lock().running.remove(&(function.key(), running));
                    executions.advance(&function, clock::now(), |pool| pool.report(running, report));
                    executions.0.stopped.notify_waiters();
                    executions.0.moved.notify_one();
                });
                code.running.insert((key, running), run);
            }
        }
    }

    /// Lets the events of functions with code or destinations start and end in time, although nobody asks for them.
    pub(crate) async fn drive(self, functions: impl Fn() -> Vec<Arc<Function>>) {
        loop {
            let moved = self.0.moved.notified();
            let functions = functions();
            let now = clock::now();
            let due =
                functions.iter().filter_map(|function| self.advance(function, now, |pool| pool.due())?).min();
            let wait = due.map(|due| Duration::try_from(due.duration_since(now)).unwrap_or_default());
            tokio::select! {
                () = moved => {}
                () = async {
                    match wait {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    /// Calls `act` with the pool of a function that has one, which may be declared otherwise by now.
    fn advance<T>(&self, function: &Function, now: Timestamp, act: impl FnOnce(&mut Pool) -> T) -> Option<T> {
        let (result, orders) = {
            let mut pools = self.0.pools.lock();
            let pool = pools.get_mut(&function.key())?;
            pool.advance(now);
            (act(pool), pool.orders())
        };
        for order in orders {
            self.carry_out(function, order);
        }
        Some(result)
    }

    /// Forgets all executions of a function, and stops those that run.
    pub(crate) fn forget(&self, function: &Function) {
        let key = function.key();
        self.0.pools.lock().remove(&key);
        let mut code = self.0.code.lock();
        code.handlers.remove(&key);
        code.running.retain(|(of, _), run| {
            let own = *of == key;
            if own {
                run.abort();
            }
            !own
        });
        drop(code);
        self.0.stopped.notify_waiters();
    }

    /// Forgets everything, and stops what runs.
    pub(crate) fn clear(&self) {
        self.0.pools.lock().clear();
        let mut code = self.0.code.lock();
        code.handlers.clear();
        code.running.drain().for_each(|(_, run)| run.abort());
        drop(code);
        self.0.stopped.notify_waiters();
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
        self.0.stopped.notify_waiters();
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
                    && (execution.event.logged || !self.0.needs_log)
                    && later(execution.event.accepted, self.0.lag) <= now
                    && wanted(execution)
            };
            pool.remembered().filter(seen).cloned().collect()
        })
    }
}

impl Executions {
    /// All executions of a function in their current state, in the order of acceptance, also those of waiting callers.
    pub(crate) fn all(&self, function: &Function, now: Timestamp) -> Vec<Execution> {
        self.with(function, now, |pool| pool.remembered().cloned().collect())
    }
}

/// An execution for which a caller waits. If dropped, it continues to run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    executions: &'a Executions,
    function: &'a Function,
    number: u64,
}

/// The end of an execution for which a caller waited.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) outcome: Outcome,
    /// What the user's code left behind.
    pub(crate) output: Option<Output>,
}

impl Run<'_> {
    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Ended {
        loop {
            let stopped = self.executions.0.stopped.notified();
            let now = clock::now();
            match self.executions.with(self.function, now, |pool| pool.observe(self.number)) {
                Observation::Ended(start, end, outcome, output) => {
                    return Ended { start, end, outcome, output };
                }
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
