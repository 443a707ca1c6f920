//! The life of one invocation as pure decisions: what to do next, what an answer means, what to write.
//!
//! Guarantees: nothing in here can fail, wait, read a clock, draw a random number or talk to anybody.
//! Time and chance are arguments, decisions and statuses are values. The shell carries them out.

pub mod backoff;
pub mod classify;
pub mod decide;
pub mod origin;
pub mod record;
pub mod resolve;
pub mod room;
pub mod state;
mod tell;
#[cfg(test)]
mod tests;

use crate::api::invocation::{
    CompletionPolicy, ErrorClass, Execution, FunctionInvocation, FunctionInvocationSpec,
    FunctionInvocationStatus, InvocationResult, InvocationType, RESOLVE,
};
use jiff::Timestamp;
use std::sync::LazyLock;
use std::time::Duration;

pub use decide::{Conclusion, Moment, Progress, Step, decide};
pub use origin::Origin;
pub use resolve::{Call, Resolution};
pub use state::State;
pub use tell::{remedy, says_already};

/// An attempt that another process claimed is not given up before it has not changed for this long while we
/// watched.
pub const TAKEOVER: Duration = Duration::from_mins(2);

/// The clocks of two machines may differ by this much: nothing ends, and nothing is deleted, because of less.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// What an attempt takes beside its request: a send window (10 s), a minute of tries to record its answer,
/// and 5 s between the two.
const AROUND_A_REQUEST: Duration = Duration::from_secs(75);

/// When an attempt that another process claimed is given up, so that a process that is alive and reaches the
/// API server is not overtaken.
#[must_use]
pub fn takeover(spec: &FunctionInvocationSpec) -> Duration {
    let request = Duration::from_secs(spec.request_timeout_seconds.unsigned_abs());
    TAKEOVER.max(request.saturating_add(AROUND_A_REQUEST))
}

/// Stands in for a status that is not there.
static BLANK: LazyLock<FunctionInvocationStatus> = LazyLock::new(FunctionInvocationStatus::default);

/// What the core needs to know of an object.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What the user asks for.
    pub spec: &'a FunctionInvocationSpec,
    /// What is written so far.
    pub status: &'a FunctionInvocationStatus,
    /// `metadata.uid`.
    pub uid: &'a str,
    /// Whether it may have been submitted before it was made.
    pub origin: Origin<'a>,
    /// `metadata.generation`.
    pub generation: i64,
    /// When it was created, by the API server's clock.
    pub created: Timestamp,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The value of the annotation that resolves an ambiguous attempt.
    pub resolve: Option<&'a str>,
    /// Whether the provider lets us read the service's list for evidence about an ambiguous attempt.
    pub lookup: bool,
}

impl<'a> View<'a> {
    /// The view of an object. `listed`: whether its provider lets us read the list of invocations.
    #[must_use]
    pub fn of(object: &'a FunctionInvocation, listed: bool) -> Self {
        Self {
            spec: &object.spec,
            status: object.status.as_ref().unwrap_or(&BLANK),
            uid: object.metadata.uid.as_deref().unwrap_or_default(),
            origin: Origin::of(object),
            generation: object.metadata.generation.unwrap_or_default(),
            created: object.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0),
            deleting: object.metadata.deletion_timestamp.is_some(),
            resolve: object
                .metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(RESOLVE))
                .map(String::as_str),
            // Nothing else is in that list.
            lookup: listed && object.spec.invocation_type == InvocationType::Async,
        }
    }

    /// From when the deadline counts: the creation, or the latest resume or `Retry`. Never in the future.
    #[must_use]
    pub fn start(&self, now: Timestamp) -> Timestamp {
        self.status.start_time.unwrap_or(self.created).min(now)
    }

    /// When retrying ends.
    #[must_use]
    pub fn deadline(&self, now: Timestamp) -> Timestamp {
        later(self.start(now), Duration::from_secs(self.spec.active_deadline_seconds.unsigned_abs()))
    }

    /// How far ahead of `now` the clock was that wrote this status; zero if that is within what clocks may differ by.
    #[must_use]
    pub fn written_ahead(&self, now: Timestamp) -> Duration {
        let status = self.status;
        let past = [
            status.start_time,
            status.accepted_time,
            status.cancel_time,
            status.completion_time,
            status.error.as_ref().and_then(|error| error.time),
        ];
        let ahead = past.into_iter().flatten().max().map_or(Duration::ZERO, |latest| until(latest, now));
        if ahead > CLOCK_SKEW { ahead } else { Duration::ZERO }
    }

    /// Whether the spec was edited since the status was last written.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        let observed = self.status.observed_generation.filter(|generation| *generation >= 0);
        !self.deleting && observed.is_some_and(|observed| observed != self.generation)
    }

    /// Failed attempts that count against the limit.
    #[must_use]
    pub fn failed(&self) -> i64 {
        self.status.failed_attempts.unwrap_or_default()
    }

    /// Whether the execution is followed after the acceptance.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.spec.completion_policy == CompletionPolicy::Executed
            && self.spec.invocation_type == InvocationType::Async
    }

    /// Attempts that were answered 429 or 503.
    #[must_use]
    pub fn throttled(&self) -> i64 {
        self.status.throttled_attempts.unwrap_or_default()
    }
}

/// What an attempt is about to send, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The endpoint, as a URL.
    pub endpoint: String,
    /// The URN that is invoked.
    pub urn: String,
    /// What identifies the event, as `status.eventVersion` keeps it.
    pub event_version: String,
}

/// What the service's list showed around an ambiguous attempt: help for the person who resolves it, never a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The requests, where they are few and may be told.
    pub request_ids: Vec<String>,
    /// What was seen, when and where; a sentence.
    pub sentence: String,
}

/// How one attempt ended, in the core's own words.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The service accepted it.
    Accepted(Acceptance),
    /// Anything else.
    Trouble(Trouble),
}

/// An acceptance that was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acceptance {
    /// The id of the request, if the answer held one that can be read.
    pub request_id: Option<String>,
    /// The id of the instance, for `Reserved`.
    pub instance_id: Option<String>,
    /// What became of the execution, for `Sync`.
    pub executed: Option<Box<Executed>>,
}

/// An execution whose end came with the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// How it ended.
    pub execution: Execution,
    /// What it brought back.
    pub result: InvocationResult,
}

/// An attempt that did not end with an acceptance that was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// What it says about whether the invocation was accepted.
    pub class: ErrorClass,
    /// The HTTP status, if there was an answer.
    pub http_status: Option<u16>,
    /// The service's error code.
    pub code: Option<String>,
    /// The service's message, or what went wrong on our side.
    pub message: String,
    /// The gateway's id of the exchange.
    pub gateway_request_id: Option<String>,
    /// How long the service asks us to wait.
    pub retry_after: Option<Duration>,
}

/// `time + duration`, held at the end of time rather than failing.
#[must_use]
pub fn later(time: Timestamp, duration: Duration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// How long it is from `now` until `time`; zero if that has passed.
#[must_use]
pub fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default()
}

/// The function for people: `package:name:qualifier`.
#[must_use]
pub fn display(spec: &FunctionInvocationSpec) -> String {
    let function = &spec.function;
    if let Some(urn) = &function.urn {
        let fields: Vec<&str> = urn.split(':').skip(5).collect();
        return match fields.as_slice() {
            [package, name] => format!("{package}:{name}:latest"),
            [package, name, qualifier] => format!("{package}:{name}:{qualifier}"),
            _ => urn.clone(),
        };
    }
    let or = |field: &Option<String>, default: &str| field.clone().unwrap_or_else(|| default.into());
    format!(
        "{}:{}:{}",
        or(&function.package, "default"),
        or(&function.name, ""),
        or(&function.qualifier, "latest")
    )
}
