//! One event and how far its execution has come.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::{Failure, Function};

/// An event that was accepted, and what is to become of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    /// The URN that was called: the record is filed under it.
    pub(crate) urn: String,
    pub(crate) accepted: Timestamp,
    /// Whether it is asynchronous, and so appears in listings.
    pub(crate) listed: bool,
    /// Whether the state of it was to be logged.
    pub(crate) logged: bool,
    /// How long it waits before each run, at the least.
    pub(crate) queue_latency: Duration,
    /// How long each run takes.
    pub(crate) latency: Duration,
    pub(crate) failure: Option<Failure>,
    /// How often the service runs it again after a failure of its own.
    pub(crate) retries: u32,
    /// When it is given up if it still waits.
    pub(crate) deadline: Timestamp,
}

/// An event and how far its execution has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Execution {
    pub(crate) event: Event,
    pub(crate) progress: Progress,
    /// Runs that have begun.
    pub(crate) runs: u32,
}

/// Where an execution stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    /// In the queue, also between two runs.
    Wait {
        /// When it may run, at the earliest.
        ready: Timestamp,
    },
    /// On an instance.
    Running {
        /// Since when.
        start: Timestamp,
        /// Until when, if nobody ends it.
        end: Timestamp,
        /// Where.
        instance: u64,
    },
    /// Over.
    Ended {
        /// When the last run began, if there was one.
        start: Option<Timestamp>,
        end: Timestamp,
        outcome: Outcome,
    },
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// Well.
    Success,
    /// With a failure.
    Fail(Failure),
    /// It waited until it was too old.
    Discard,
}

impl Event {
    /// An event of a function as that is declared, accepted now.
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
            deadline: Timestamp::MAX,
        }
    }
}

impl Execution {
    /// As the API spells where it stands.
    pub(crate) fn status(&self) -> &'static str {
        match &self.progress {
            Progress::Wait { .. } => "WAIT",
            Progress::Running { .. } => "RUNNING",
            Progress::Ended { outcome: Outcome::Success, .. } => "SUCCESS",
            Progress::Ended { outcome: Outcome::Fail(_), .. } => "FAIL",
            Progress::Ended { outcome: Outcome::Discard, .. } => "DISCARD",
        }
    }

    /// How the present run ends, if nobody ends it.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        let fails = |failure: &&Failure| failure.times.is_none_or(|times| self.runs <= times);
        self.event.failure.as_ref().filter(fails)
    }
}

/// A time after another. Only a wait of thousands of years does not fit: that one never ends.
pub(crate) fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
