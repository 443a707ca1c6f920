//! One event and the state of its execution.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::{Failure, Function};

/// An accepted event and the parameters of its execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    /// The called URN, under which the record is listed.
    pub(crate) urn: String,
    pub(crate) accepted: Timestamp,
    /// Whether it is asynchronous, and so appears in listings.
    pub(crate) listed: bool,
    /// Whether its states were to be logged.
    pub(crate) logged: bool,
    /// Minimum time in the queue before each run.
    pub(crate) queue_latency: Duration,
    /// Duration of each run.
    pub(crate) latency: Duration,
    pub(crate) failure: Option<Failure>,
    /// How often the service retries it after a failure.
    pub(crate) retries: u32,
    /// Whether the service retries it also after a failure of the user's code.
    pub(crate) retries_code: bool,
    /// When it is discarded if it is still queued.
    pub(crate) deadline: Timestamp,
}

/// An event and the state of its execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Execution {
    pub(crate) event: Event,
    pub(crate) progress: Progress,
    /// Runs that have started.
    pub(crate) runs: u32,
}

/// State of an execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    /// Queued, also between two runs.
    Wait {
        /// Earliest time of its next run.
        ready: Timestamp,
    },
    /// Running on an instance.
    Running {
        /// Start of the run.
        start: Timestamp,
        /// End of the run, unless it is cancelled.
        end: Timestamp,
        /// Its instance.
        instance: u64,
    },
    /// Ended.
    Ended {
        /// Start of the last run, if there was one.
        start: Option<Timestamp>,
        end: Timestamp,
        outcome: Outcome,
    },
}

/// Result of an execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// A success.
    Success,
    /// A failure.
    Fail(Failure),
    /// Discarded, because it was queued for too long.
    Discard,
}

impl Event {
    /// An event that the function as declared accepts now.
    pub(crate) fn of(function: &Function, urn: String, request_id: String, accepted: Timestamp) -> Self {
        let (latency, failure) = function.run();
        Self {
            request_id,
            urn,
            accepted,
            listed: true,
            logged: false,
            queue_latency: function.queue_latency,
            latency,
            failure,
            retries: 0,
            retries_code: false,
            deadline: Timestamp::MAX,
        }
    }
}

impl Execution {
    /// The state in the spelling of the API.
    pub(crate) fn status(&self) -> &'static str {
        match &self.progress {
            Progress::Wait { .. } => "WAIT",
            Progress::Running { .. } => "RUNNING",
            Progress::Ended { outcome: Outcome::Success, .. } => "SUCCESS",
            Progress::Ended { outcome: Outcome::Fail(_), .. } => "FAIL",
            Progress::Ended { outcome: Outcome::Discard, .. } => "DISCARD",
        }
    }

    /// The failure of the current run, unless it is cancelled.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        let fails = |failure: &&Failure| failure.times.is_none_or(|times| self.runs <= times);
        self.event.failure.as_ref().filter(fails)
    }
}

/// `time` plus `wait`. A sum beyond the range of timestamps (thousands of years) becomes the last one: such a wait
/// never ends.
pub(crate) fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
