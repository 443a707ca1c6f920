//! Pure decisions about one invocation: the next step, the meaning of an answer, and the status to write.
//!
//! Guarantees: nothing in here can fail, wait, read a clock, use randomness or call anybody. Time and randomness are
//! arguments; decisions and statuses are values. `reconcile` carries them out.

pub mod backoff;
pub(crate) mod classify;
pub mod decide;
pub(crate) mod origin;
pub mod record;
pub(crate) mod resolve;
pub(crate) mod shorten;
pub(crate) mod state;
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
pub use resolve::Resolution;
pub use state::State;
pub(crate) use tell::{not_known, remedy, says_already};

/// An attempt of another process is taken over only after this process has seen no change of it for this long.
pub const TAKEOVER: Duration = Duration::from_mins(2);

/// Maximum difference between the clocks of two machines. Nothing ends and nothing is deleted because of a smaller
/// difference.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// Duration of an attempt beyond its request: a send window (10 s), a minute of tries to record its answer, and 5 s
/// between the two.
const ATTEMPT_OVERHEAD: Duration = Duration::from_secs(75);

/// When an attempt of another process is taken over. A process that is alive and reaches the API server is never
/// overtaken.
pub fn takeover(spec: &FunctionInvocationSpec) -> Duration {
    let request = Duration::from_secs(spec.request_timeout_seconds.unsigned_abs());
    TAKEOVER.max(request.saturating_add(ATTEMPT_OVERHEAD))
}

/// Replaces a missing status.
static BLANK: LazyLock<FunctionInvocationStatus> = LazyLock::new(FunctionInvocationStatus::default);

/// The parts of an object that a decision needs.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The spec.
    pub spec: &'a FunctionInvocationSpec,
    /// The current status.
    pub status: &'a FunctionInvocationStatus,
    /// `metadata.uid`.
    pub uid: &'a str,
    /// Whether the object may have been submitted before its creation.
    pub origin: Origin<'a>,
    /// `metadata.generation`.
    pub generation: i64,
    /// When it was created, by the API server's clock.
    pub created: Timestamp,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The value of the annotation `functiongraph.io/resolve`.
    pub resolve: Option<&'a str>,
    /// Whether the provider allows the operator to read the list for evidence about an ambiguous attempt.
    pub lookup: bool,
}

impl<'a> View<'a> {
    /// The view of an object. `listed` says whether its provider allows the operator to read the list of invocations.
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
            // That list has no other invocation types.
            lookup: listed && object.spec.invocation_type == InvocationType::Async,
        }
    }

    /// Start of the deadline: the creation, or the latest resume or `Retry`. Never in the future.
    pub fn start(&self, now: Timestamp) -> Timestamp {
        self.status.start_time.unwrap_or(self.created).min(now)
    }

    /// When the next attempt is due, as far as the status says.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Timestamp {
        self.status.next_attempt_time.unwrap_or(self.start(now))
    }

    /// How long until the object is of this age. A creation time in the future counts within the clock skew only.
    pub fn until_age(&self, age: Duration, now: Timestamp) -> Duration {
        let rest = until(later(self.created, age), now);
        if rest > age + CLOCK_SKEW { Duration::ZERO } else { rest.min(age) }
    }

    /// How long until the next attempt has been due for this time.
    pub fn until_due_for(&self, time: Duration, now: Timestamp) -> Duration {
        let started = self.status.start_time.map(|start| start.min(now));
        let due = self.status.next_attempt_time.or(started);
        due.map_or_else(|| self.until_age(time, now), |due| until(later(due, time), now))
    }

    /// When the operator stops to retry.
    pub fn deadline(&self, now: Timestamp) -> Timestamp {
        later(self.start(now), Duration::from_secs(self.spec.active_deadline_seconds.unsigned_abs()))
    }

    /// How far the clock of this status' writer was ahead of `now`; zero within the clock skew.
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

    /// Whether the spec has changed since the status was last written.
    pub fn is_outdated(&self) -> bool {
        let observed = self.status.observed_generation.filter(|generation| *generation >= 0);
        !self.deleting && observed.is_some_and(|observed| observed != self.generation)
    }

    /// Failed attempts that count against the limit.
    pub fn failed(&self) -> i64 {
        self.status.failed_attempts.unwrap_or_default()
    }

    /// Whether the operator follows the execution after the acceptance.
    pub fn follows(&self) -> bool {
        self.spec.completion_policy == CompletionPolicy::Executed
            && self.spec.invocation_type == InvocationType::Async
    }

    /// Attempts that FunctionGraph answered with 429 or 503.
    pub fn throttled(&self) -> i64 {
        self.status.throttled_attempts.unwrap_or_default()
    }
}

/// Destination and event of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The endpoint, as a URL.
    pub endpoint: String,
    /// The invoked URN.
    pub urn: String,
    /// Identifies the event, as in `status.eventVersion`.
    pub event_version: String,
}

/// Evidence from FunctionGraph's list about an ambiguous attempt. It helps you to resolve the attempt; the operator
/// does not decide by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The request ids, if there are few and the user may see them.
    pub request_ids: Vec<String>,
    /// A sentence with the result, the time and the endpoint.
    pub sentence: String,
}

/// Result of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// FunctionGraph accepted it.
    Accepted(Acceptance),
    /// Anything else.
    Trouble(Trouble),
}

/// An acceptance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acceptance {
    /// The id of the request, if the answer held a readable one.
    pub request_id: Option<String>,
    /// The id of the instance, for `Reserved`.
    pub instance_id: Option<String>,
    /// The execution, for `Sync`.
    pub executed: Option<Box<Executed>>,
}

/// An execution whose end came with the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// How the execution ended.
    pub execution: Execution,
    /// The result of the function.
    pub result: InvocationResult,
}

/// An attempt without a known acceptance.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Whether FunctionGraph accepted the invocation.
    pub class: ErrorClass,
    /// The HTTP status, if there was an answer.
    pub http_status: Option<u16>,
    /// FunctionGraph's error code.
    pub code: Option<String>,
    /// FunctionGraph's message, or the operator's own error.
    pub message: String,
    /// The gateway's id of the request.
    pub gateway_request_id: Option<String>,
    /// How long FunctionGraph asks the operator to wait.
    pub retry_after: Option<Duration>,
}

impl Trouble {
    /// An attempt without an answer.
    pub(crate) fn unanswered(class: ErrorClass, message: String) -> Self {
        Self { class, http_status: None, code: None, message, gateway_request_id: None, retry_after: None }
    }
}

/// `time + duration`, or the maximum time if the sum is out of range.
pub fn later(time: Timestamp, duration: Duration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// The duration from `now` until `time`; zero if `time` has passed.
pub fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default()
}

/// The function in short: `package:name:qualifier`.
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
