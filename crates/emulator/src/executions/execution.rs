//! One event and the state of its execution.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::api::Api;
use crate::config::{AsyncInvokeConfig, Destination, DestinationConfig, Failure, Function};
use crate::handler::{Output, Report};

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
    /// Duration of each run. None if the user's code carries it out, whose failures are its own, too.
    pub(crate) latency: Option<Duration>,
    pub(crate) failure: Option<Failure>,
    /// The event itself, or its beginning if nobody carries it out.
    pub(crate) body: Bytes,
    /// The length of the whole event.
    pub(crate) body_bytes: usize,
    /// The API that accepted it.
    pub(crate) api: Api,
    /// Who called it, for people.
    pub(crate) caller: String,
    /// The called version.
    pub(crate) version: String,
    /// Memory of each run, in MB.
    pub(crate) memory: u32,
    /// How often the service retries it after a failure.
    pub(crate) retries: u32,
    /// Whether the service retries it also after a failure of the user's code.
    pub(crate) retries_code: bool,
    /// Who is told of its end.
    pub(crate) destinations: DestinationConfig,
    /// When it is discarded if it is still queued.
    pub(crate) deadline: Timestamp,
}

/// An event and the state of its execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Execution {
    pub(crate) event: Event,
    pub(crate) progress: Progress,
    /// Runs that have started.
    pub(crate) attempts: Vec<Attempt>,
    /// What the last run left behind, if the user's code carried it out.
    pub(crate) output: Option<Output>,
    /// Its failure.
    reported: Option<Failure>,
}

/// One run of an execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) start: Timestamp,
    /// Its end, and its failure if it failed.
    pub(crate) ended: Option<(Timestamp, Option<Failure>)>,
    pub(crate) instance: u64,
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
            latency: (!function.has_code()).then_some(latency),
            failure,
            body: Bytes::new(),
            body_bytes: 0,
            api: Api::InvokeAsync,
            caller: String::new(),
            version: "latest".to_owned(),
            memory: function.memory,
            retries: 0,
            retries_code: false,
            destinations: DestinationConfig::default(),
            deadline: Timestamp::MAX,
        }
    }
}

impl Event {
    /// The event with the settings of the called URN.
    pub(crate) fn with(self, settings: &AsyncInvokeConfig) -> Self {
        Self {
            retries: settings.retries(),
            retries_code: settings.max_async_retry_attempts.is_some(),
            logged: settings.logs_status(),
            destinations: settings.destination_config.clone().unwrap_or_default(),
            deadline: later(self.accepted, settings.event_age()),
            ..self
        }
    }

    /// Whether something happens when it ends, although nobody asks.
    pub(super) fn is_driven(&self) -> bool {
        self.latency.is_none() || self.destinations != DestinationConfig::default()
    }
}

/// An execution that has ended, and one destination that is to be told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finished {
    pub(crate) execution: Execution,
    pub(crate) destination: Destination,
}

impl Execution {
    /// The destination for how it ended.
    pub(super) fn destination(&self) -> Option<&Destination> {
        let DestinationConfig { on_success, on_failure } = &self.event.destinations;
        match &self.progress {
            Progress::Ended { outcome: Outcome::Success, .. } => on_success.as_ref(),
            Progress::Ended { .. } => on_failure.as_ref(),
            Progress::Wait { .. } | Progress::Running { .. } => None,
        }
    }

    /// A queued event.
    pub(crate) fn new(event: Event) -> Self {
        let progress = Progress::Wait { ready: event.accepted };
        Self { event, progress, attempts: Vec::new(), output: None, reported: None }
    }

    /// Takes what the user's code did in the current run.
    pub(crate) fn report(&mut self, report: Report) {
        self.output = Some(report.output);
        self.reported = report.failure;
    }

    /// Runs that have started.
    pub(crate) fn runs(&self) -> u32 {
        self.attempts.len().try_into().unwrap_or(u32::MAX)
    }

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
        if self.event.latency.is_none() {
            return self.reported.as_ref();
        }
        let fails = |failure: &&Failure| failure.times.is_none_or(|times| self.runs() <= times);
        self.event.failure.as_ref().filter(fails)
    }
}

/// `time` plus `wait`. A sum beyond the range of timestamps (thousands of years) becomes the last one: such a wait
/// never ends.
pub(crate) fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
