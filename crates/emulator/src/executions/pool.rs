//! The instances of one function and their queue: a simulation that you advance to any time. It reads no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::execution::{Attempt, Event, Execution, Finished, Outcome, Progress, later};
use crate::config::{Failure, Limits};
use crate::handler::{Job, Output, Report};

/// Error of a request that was cancelled by force, and of everything on the same instance.
const CANCELED: (i64, &str) = (4208, "function invocation canceled");

/// Past, running and queued executions of one function.
#[derive(Debug)]
pub(super) struct Pool {
    limits: Limits,
    retention: Option<Duration>,
    /// All events of the simulation up to this time have happened.
    clock: Timestamp,
    /// The last number. Events and instances share one sequence.
    last: u64,
    all: BTreeMap<u64, Execution>,
    /// Queued events, by the earliest time of their next run.
    queue: BTreeSet<(Timestamp, u64)>,
    /// Queued events, by the time at which they are discarded.
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// Running events, by the time at which they end.
    ends: BTreeSet<(Timestamp, u64)>,
    /// Number of events on each instance, without reserved instances.
    instances: BTreeMap<u64, u32>,
    /// Executions for which a caller waits. They are not removed.
    awaited: BTreeSet<u64>,
    /// What somebody else has to do.
    orders: Vec<Order>,
    /// Whether any event so far must end in time.
    pub(super) driven: bool,
}

/// What the simulation cannot do itself.
#[derive(Debug)]
pub(super) enum Order {
    /// Let the user's code carry out a run.
    Start(Running, Job),
    /// Stop a run.
    Stop(Running),
    /// Tell a destination.
    Tell(Box<Finished>),
}

/// A run that the user's code carries out: the numbers of the execution and of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Running {
    number: u64,
    run: u32,
}

/// The next event of the simulation. Variants with the same time happen in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    End,
    Start,
    GiveUp,
}

/// State of an execution, for a waiting caller.
#[derive(Debug)]
pub(super) enum Observation {
    /// It ends at this time or earlier.
    Until(Timestamp),
    /// It has ended: start, end and outcome, and what the user's code left behind.
    Ended(Timestamp, Timestamp, Outcome, Option<Output>),
}

impl Pool {
    pub(super) fn new(now: Timestamp, limits: Limits, retention: Option<Duration>) -> Self {
        Self {
            limits,
            retention,
            clock: now,
            last: 0,
            all: BTreeMap::new(),
            queue: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            ends: BTreeSet::new(),
            instances: BTreeMap::new(),
            awaited: BTreeSet::new(),
            orders: Vec::new(),
            driven: false,
        }
    }

    /// Changes the number of instances. Running events continue.
    pub(super) fn resize(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Advances the simulation to a time.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some((time, next, number)) = self.next().filter(|(time, ..)| *time <= now) {
            self.clock = self.clock.max(time);
            match next {
                Next::End => self.end(number),
                Next::Start => self.start(number),
                Next::GiveUp => self.give_up(number),
            }
        }
        self.clock = self.clock.max(now);
    }

    /// What somebody else has to do since the last call.
    pub(super) fn orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// When something happens next that must happen in time, if only time passes.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.next().map(|(time, ..)| time).filter(|time| self.driven && *time < Timestamp::MAX)
    }

    /// Ends a run that the user's code carried out, unless it was stopped.
    pub(super) fn report(&mut self, Running { number, run }: Running, report: Report) {
        let Some(execution) = self.all.get_mut(&number) else { return };
        if execution.runs() != run || !matches!(execution.progress, Progress::Running { .. }) {
            return;
        }
        execution.report(report);
        self.end(number);
        self.advance(self.clock);
    }

    fn next(&self) -> Option<(Timestamp, Next, u64)> {
        let start = self.queue.first().filter(|_| self.has_capacity());
        [
            self.ends.first().map(|(time, number)| (*time, Next::End, *number)),
            start.map(|(time, number)| ((*time).max(self.clock), Next::Start, *number)),
            self.deadlines.first().map(|(time, number)| (*time, Next::GiveUp, *number)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn add(&mut self, event: Event) -> u64 {
        self.forget();
        let number = self.number();
        self.driven |= event.is_driven();
        self.all.insert(number, Execution::new(event));
        number
    }

    /// Puts an event into the queue.
    pub(super) fn queue(&mut self, event: Event) {
        let accepted = event.accepted;
        let number = self.add(event);
        self.wait(number, accepted);
        self.advance(accepted);
    }

    /// Runs an event at once, if an instance is free.
    pub(super) fn run(&mut self, event: Event) -> Option<u64> {
        if !self.has_capacity() {
            return None;
        }
        let number = self.add(event);
        self.awaited.insert(number);
        self.start(number);
        Some(number)
    }

    /// Runs an event at once, on a reserved instance.
    pub(super) fn run_reserved(&mut self, event: Event) {
        let (number, instance) = (self.add(event), self.number());
        self.start_on(number, instance);
    }

    /// Puts an event at the end of the queue, also after a failed run.
    fn wait(&mut self, number: u64, since: Timestamp) {
        let Some(execution) = self.all.get_mut(&number) else { return };
        let ready = later(since, execution.event.queue_latency);
        execution.progress = Progress::Wait { ready };
        self.queue.insert((ready, number));
        self.deadlines.insert((execution.event.deadline, number));
    }

    /// Takes an event out of the queue.
    fn leave_queue(&mut self, number: u64) {
        if let Some(Execution { event, progress: Progress::Wait { ready }, .. }) = self.all.get(&number) {
            self.queue.remove(&(*ready, number));
            self.deadlines.remove(&(event.deadline, number));
        }
    }

    pub(super) fn has_capacity(&self) -> bool {
        let Limits { instances, events_each } = self.limits;
        instances.is_none_or(|most| (self.instances.len() as u64) < most)
            || self.instances.values().any(|events| *events < events_each)
    }

    /// Starts an event on the first instance with free capacity, or on a new one.
    fn start(&mut self, number: u64) {
        let each = self.limits.events_each;
        // An instance that takes one event at a time is never free while it runs one.
        let shared = self.instances.iter().filter(|_| each > 1).find(|(_, events)| **events < each);
        let room = shared.map(|(instance, _)| *instance);
        let instance = room.unwrap_or_else(|| self.number());
        *self.instances.entry(instance).or_default() += 1;
        self.leave_queue(number);
        self.start_on(number, instance);
    }

    fn start_on(&mut self, number: u64, instance: u64) {
        let start = self.clock;
        if let Some(execution) = self.all.get_mut(&number) {
            execution.attempts.push(Attempt { start, ended: None, instance });
            let Event { latency, request_id, body, version, memory, .. } = &execution.event;
            let end = latency.map_or(Timestamp::MAX, |latency| later(start, latency));
            if latency.is_none() {
                let running = Running { number, run: execution.runs() };
                let (request_id, event, version) = (request_id.clone(), body.clone(), version.clone());
                let job = Job { request_id, instance, event, version, memory: *memory };
                self.orders.push(Order::Start(running, job));
            }
            execution.progress = Progress::Running { start, end, instance };
            self.ends.insert((end, number));
        }
    }

    /// Ends a run. The execution ends too, unless it is retried.
    fn end(&mut self, number: u64) {
        let Some(execution) = self.all.get(&number) else { return };
        let failure = execution.failure().cloned();
        let event = &execution.event;
        let again = failure.as_ref().is_some_and(|failure| failure.system || event.retries_code)
            && execution.runs() <= event.retries
            && self.clock < event.deadline;
        let start = self.leave_instance(number, failure.clone());
        if again {
            self.wait(number, self.clock);
        } else {
            self.finish(number, start, failure.map_or(Outcome::Success, Outcome::Fail));
        }
    }

    /// Discards an event that was queued for too long. If it has run before, its last failure is the result.
    fn give_up(&mut self, number: u64) {
        self.leave_queue(number);
        let failed = self.all.get(&number).filter(|execution| !execution.attempts.is_empty());
        let failure = failed.and_then(|execution| execution.failure().cloned());
        self.finish(number, None, failure.map_or(Outcome::Discard, Outcome::Fail));
    }

    /// Removes a running event from its instance, and returns the start of the run.
    fn leave_instance(&mut self, number: u64, failure: Option<Failure>) -> Option<Timestamp> {
        let execution = self.all.get_mut(&number)?;
        let Progress::Running { start, end, instance } = execution.progress else { return None };
        if let Some(attempt) = execution.attempts.last_mut() {
            attempt.ended = Some((self.clock, failure));
        }
        self.ends.remove(&(end, number));
        if let Some(events) = self.instances.get_mut(&instance) {
            *events -= 1;
            if *events == 0 {
                self.instances.remove(&instance);
            }
        }
        Some(start)
    }

    fn finish(&mut self, number: u64, start: Option<Timestamp>, outcome: Outcome) {
        if let Some(execution) = self.all.get_mut(&number) {
            execution.progress = Progress::Ended { start, end: self.clock, outcome };
            if let Some(destination) = execution.destination().cloned() {
                let execution = execution.clone();
                self.orders.push(Order::Tell(Box::new(Finished { execution, destination })));
            }
        }
    }

    /// The queued or running asynchronous request with this id.
    pub(super) fn alive(&self, urn: &str, request_id: &str) -> Option<u64> {
        let mut all = self.all.iter();
        let found = all.find(|(_, Execution { event, progress, .. })| {
            let over = matches!(progress, Progress::Ended { .. });
            event.listed && !over && event.request_id == request_id && event.urn == urn
        });
        found.map(|(number, _)| *number)
    }

    /// Cancels an execution. With `force`, removes its instance and everything that runs on it.
    pub(super) fn cancel(&mut self, number: u64, force: bool) {
        let place = self.instance(number).filter(|_| force);
        let runs_there = |number: &u64| self.instance(*number) == place;
        let ended: Vec<u64> = match place {
            Some(_) => self.ends.iter().map(|(_, number)| *number).filter(runs_there).collect(),
            None => vec![number],
        };
        for number in ended {
            self.leave_queue(number);
            let (code, message) = CANCELED;
            let failure = Failure { system: true, ..Failure::new(code, message) };
            let stopped = self.all.get(&number).filter(|execution| execution.event.latency.is_none());
            self.orders
                .extend(stopped.map(|execution| Order::Stop(Running { number, run: execution.runs() })));
            let start = self.leave_instance(number, Some(failure.clone()));
            self.finish(number, start, Outcome::Fail(failure));
        }
        // Queued events may start on the freed instances.
        self.advance(self.clock);
    }

    /// The instance of a running event.
    fn instance(&self, number: u64) -> Option<u64> {
        match self.all.get(&number)?.progress {
            Progress::Running { instance, .. } => Some(instance),
            Progress::Wait { .. } | Progress::Ended { .. } => None,
        }
    }

    /// The state of an execution for which a caller waits.
    pub(super) fn observe(&self, number: u64) -> Observation {
        match self.all.get(&number).map(|execution| &execution.progress) {
            Some(Progress::Running { end, .. }) => Observation::Until(*end),
            Some(Progress::Ended { start, end, outcome }) => {
                let output = self.all.get(&number).and_then(|execution| execution.output.clone());
                Observation::Ended(start.unwrap_or(*end), *end, outcome.clone(), output)
            }
            // Such an execution is never queued. It is removed while a caller waits only if its function is deleted.
            Some(Progress::Wait { .. }) | None => {
                Observation::Ended(self.clock, self.clock, Outcome::Discard, None)
            }
        }
    }

    /// The caller does not wait any more.
    pub(super) fn abandon(&mut self, number: u64) {
        self.awaited.remove(&number);
    }

    /// All executions that are not forgotten, in the order of acceptance.
    pub(super) fn remembered(&self) -> impl Iterator<Item = &Execution> {
        self.all.values().filter(|execution| !self.is_forgotten(execution))
    }

    fn is_forgotten(&self, execution: &Execution) -> bool {
        match (&execution.progress, self.retention) {
            (Progress::Ended { end, .. }, Some(retention)) => later(*end, retention) <= self.clock,
            _ => false,
        }
    }

    /// Removes executions that are no longer listed. Keeps those for which a caller waits, even with a very short
    /// retention.
    fn forget(&mut self) {
        while let Some((&number, execution)) = self.all.first_key_value()
            && !self.awaited.contains(&number)
            && self.is_forgotten(execution)
        {
            self.all.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests;
