//! The instances of one function and their queue: a clockwork that is wound up to any time, and keeps no time itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::execution::{Event, Execution, Outcome, Progress, later};
use crate::config::{Failure, Limits};

/// What a request that was ended by force ends with, and everything beside it.
const CANCELED: (i64, &str) = (4208, "function invocation canceled");

/// What one function has run, runs and will run.
#[derive(Debug)]
pub(super) struct Pool {
    limits: Limits,
    retention: Option<Duration>,
    /// Everything up to here has happened.
    clock: Timestamp,
    /// Events and instances are counted in one row.
    last: u64,
    all: BTreeMap<u64, Execution>,
    /// What waits, by the earliest time at which it may run.
    queue: BTreeSet<(Timestamp, u64)>,
    /// The same, by the time at which it is given up.
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// What runs, by the time at which it ends.
    ends: BTreeSet<(Timestamp, u64)>,
    /// How many events run on each instance, those apart not counted.
    instances: BTreeMap<u64, u32>,
    /// Executions that nobody will look at: they go when they end.
    abandoned: BTreeSet<u64>,
}

/// What happens next; of things that happen at the same time, the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    End,
    Start,
    GiveUp,
}

/// What there is to see of an execution.
#[derive(Debug)]
pub(super) enum Look {
    /// It ends at this time, at the latest.
    Until(Timestamp),
    /// It has ended: start, end and outcome.
    Ended(Timestamp, Timestamp, Outcome),
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
            abandoned: BTreeSet::new(),
        }
    }

    /// From now on there are this many instances. What runs goes on.
    pub(super) fn resize(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Lets everything happen up to a time.
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

    fn next(&self) -> Option<(Timestamp, Next, u64)> {
        let start = self.queue.first().filter(|_| self.has_room());
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
        let progress = Progress::Wait { ready: event.accepted };
        self.all.insert(number, Execution { event, progress, runs: 0 });
        number
    }

    /// Puts an event into the queue.
    pub(super) fn queue(&mut self, event: Event) {
        let accepted = event.accepted;
        let number = self.add(event);
        self.wait(number, accepted);
        self.advance(accepted);
    }

    /// Runs an event at once, if there is room for it.
    pub(super) fn run(&mut self, event: Event) -> Option<u64> {
        if !self.has_room() {
            return None;
        }
        let number = self.add(event);
        self.start(number);
        Some(number)
    }

    /// Runs an event at once, on an instance that no other will run on.
    pub(super) fn run_apart(&mut self, event: Event) {
        let (number, instance) = (self.add(event), self.number());
        self.start_on(number, instance);
    }

    /// Puts an event at the end of the queue, which may be for the second time.
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

    pub(super) fn has_room(&self) -> bool {
        let Limits { instances, events_each } = self.limits;
        instances.is_none_or(|most| (self.instances.len() as u64) < most)
            || self.instances.values().any(|events| *events < events_each)
    }

    /// Starts an event on the first instance that has room, or on a new one.
    fn start(&mut self, number: u64) {
        let each = self.limits.events_each;
        // An instance that runs anything has no room for a second event if it takes one only.
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
            execution.runs += 1;
            let end = later(start, execution.event.latency);
            execution.progress = Progress::Running { start, end, instance };
            self.ends.insert((end, number));
        }
    }

    /// A run is at its end: the execution is, too, unless it is run again.
    fn end(&mut self, number: u64) {
        let Some(execution) = self.all.get(&number) else { return };
        let failure = execution.failure().cloned();
        let again = failure.as_ref().is_some_and(|failure| failure.system)
            && execution.runs <= execution.event.retries
            && self.clock < execution.event.deadline;
        let start = self.leave_instance(number);
        if again {
            self.wait(number, self.clock);
        } else {
            self.finish(number, start, failure.map_or(Outcome::Success, Outcome::Fail));
        }
    }

    /// An event has waited for too long; if it has run before, that is how it ended.
    fn give_up(&mut self, number: u64) {
        self.leave_queue(number);
        let failed = self.all.get(&number).filter(|execution| execution.runs > 0);
        let failure = failed.and_then(|execution| execution.failure().cloned());
        self.finish(number, None, failure.map_or(Outcome::Discard, Outcome::Fail));
    }

    /// Frees the place of a running event and says when the run began.
    fn leave_instance(&mut self, number: u64) -> Option<Timestamp> {
        let execution = self.all.get(&number)?;
        let Progress::Running { start, end, instance } = execution.progress else { return None };
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
        if self.abandoned.remove(&number) {
            self.all.remove(&number);
        } else if let Some(execution) = self.all.get_mut(&number) {
            execution.progress = Progress::Ended { start, end: self.clock, outcome };
        }
    }

    /// The asynchronous request with this id that waits or runs.
    pub(super) fn alive(&self, urn: &str, request_id: &str) -> Option<u64> {
        let mut all = self.all.iter();
        let found = all.find(|(_, Execution { event, progress, .. })| {
            let over = matches!(progress, Progress::Ended { .. });
            event.listed && !over && event.request_id == request_id && event.urn == urn
        });
        found.map(|(number, _)| *number)
    }

    /// Ends an execution early. With `force` its instance goes, and everything that runs there with it.
    pub(super) fn cancel(&mut self, number: u64, force: bool) {
        let place = self.instance(number).filter(|_| force);
        let runs_there = |number: &u64| self.instance(*number) == place;
        let ended: Vec<u64> = match place {
            Some(_) => self.ends.iter().map(|(_, number)| *number).filter(runs_there).collect(),
            None => vec![number],
        };
        for number in ended {
            self.leave_queue(number);
            let start = self.leave_instance(number);
            let (code, message) = CANCELED;
            self.finish(
                number,
                start,
                Outcome::Fail(Failure { system: true, ..Failure::new(code, message) }),
            );
        }
        // Others may start where these have left.
        self.advance(self.clock);
    }

    /// Where an event runs.
    fn instance(&self, number: u64) -> Option<u64> {
        match self.all.get(&number)?.progress {
            Progress::Running { instance, .. } => Some(instance),
            Progress::Wait { .. } | Progress::Ended { .. } => None,
        }
    }

    /// What there is to see of an execution that was run for somebody.
    pub(super) fn look(&self, number: u64) -> Look {
        match self.all.get(&number).map(|execution| &execution.progress) {
            Some(Progress::Running { end, .. }) => Look::Until(*end),
            Some(Progress::Ended { start, end, outcome }) => {
                Look::Ended(start.unwrap_or(*end), *end, outcome.clone())
            }
            // What somebody looks at neither waits nor is forgotten.
            Some(Progress::Wait { .. }) | None => Look::Ended(self.clock, self.clock, Outcome::Discard),
        }
    }

    /// Nobody will look at this one any more.
    pub(super) fn abandon(&mut self, number: u64) {
        match self.all.get(&number).map(|execution| &execution.progress) {
            Some(Progress::Ended { .. }) => {
                self.all.remove(&number);
            }
            _ => {
                self.abandoned.insert(number);
            }
        }
    }

    /// What is not yet forgotten, in the order of acceptance.
    pub(super) fn remembered(&self) -> impl Iterator<Item = &Execution> {
        self.all.values().filter(|execution| !self.is_forgotten(execution))
    }

    fn is_forgotten(&self, execution: &Execution) -> bool {
        match (&execution.progress, self.retention) {
            (Progress::Ended { end, .. }, Some(retention)) => later(*end, retention) <= self.clock,
            _ => false,
        }
    }

    /// Lets go of what is forgotten. What somebody looks at is younger than any retention that makes sense, but that
    /// is not relied on.
    fn forget(&mut self) {
        while let Some((&number, execution)) = self.all.first_key_value()
            && execution.event.listed
            && self.is_forgotten(execution)
        {
            self.all.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests;
