//! What became of the accepted events: records that move with the clock, WAIT to RUNNING to an end.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::config::{Failure, Function};

/// One execution; its state is a question of time only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) request_id: String,
    pub(crate) accepted: Timestamp,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) failure: Option<Failure>,
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Accepted, not started.
    Wait,
    /// Started, not ended.
    Running,
    /// Ended well.
    Success,
    /// Ended with a failure.
    Fail,
}

impl State {
    /// As the API spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "WAIT",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Fail => "FAIL",
        }
    }
}

impl Execution {
    /// The execution of an event that is accepted now, as the function declares it.
    pub(crate) fn of(function: &Function, request_id: String, accepted: Timestamp) -> Self {
        let later = |time: Timestamp, wait| {
            // Only a latency of thousands of years does not fit: such an execution never ends.
            let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
            time.saturating_add(wait).unwrap_or(Timestamp::MAX)
        };
        let start = later(accepted, function.queue_latency);
        let end = later(start, function.latency);
        Self { request_id, accepted, start, end, failure: function.failure.clone() }
    }

    pub(crate) fn state(&self, now: Timestamp) -> State {
        if now < self.start {
            State::Wait
        } else if now < self.end {
            State::Running
        } else if self.failure.is_none() {
            State::Success
        } else {
            State::Fail
        }
    }
}

/// All executions by the URN that was called, each list in the order of acceptance.
#[derive(Debug, Default)]
pub(crate) struct Executions(Mutex<HashMap<String, Vec<Execution>>>);

impl Executions {
    pub(crate) fn add(&self, function: &str, execution: Execution) {
        let mut all = self.0.lock();
        match all.get_mut(function) {
            Some(list) => list.push(execution),
            None => {
                all.insert(function.to_owned(), vec![execution]);
            }
        }
    }

    /// The executions of one function that `wanted` says yes to.
    pub(crate) fn select(&self, function: &str, wanted: impl Fn(&Execution) -> bool) -> Vec<Execution> {
        let all = self.0.lock();
        let list = all.get(function).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter(|execution| wanted(execution)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_execution_waits_runs_and_ends_as_declared() {
        let mut function = Function::named("f");
        function.queue_latency = Duration::from_secs(1);
        function.latency = Duration::from_secs(2);
        let accepted: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at =
            |execution: &Execution, seconds| execution.state(accepted + SignedDuration::from_secs(seconds));
        let good = Execution::of(&function, "a".into(), accepted);
        function.failure = Some(Failure { code: 4002, message: "raised".into() });
        let bad = Execution::of(&function, "b".into(), accepted);
        assert_eq!(
            [0, 1, 2, 3].map(|s| at(&good, s)),
            [State::Wait, State::Running, State::Running, State::Success]
        );
        assert_eq!(at(&bad, 3), State::Fail);
    }

    #[test]
    fn an_absurd_latency_never_ends_instead_of_failing() {
        let mut function = Function::named("f");
        function.latency = Duration::MAX;
        let execution = Execution::of(&function, "a".into(), Timestamp::UNIX_EPOCH);
        assert_eq!(execution.end, Timestamp::MAX);
    }
}
