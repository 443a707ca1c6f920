//! The next step for an object, from its status, this process's memory, and the time.

use super::resolve::{self, Call};
use super::tell::{clause, not_known};
use super::{CLOCK_SKEW, Origin, Resolution, State, View, backoff, later, takeover, until};
use crate::api::condition::{ConditionType, Reason};
use crate::api::invocation::{
    CompletionPolicy, DeliveryPolicy, ErrorClass, InvocationType, Outcome, ProviderKind, RESOLVE,
    RequestIdSource,
};
use jiff::Timestamp;
use std::time::Duration;

/// How long to wait for the watch to replace an outdated copy.
const STALE_COPY_DELAY: Duration = Duration::from_secs(5);

/// Velero creates the object first and writes its status right afterwards, if it restores the status. Wait this long
/// for it, because the API server's rules would keep the restored status from replacing the operator's.
const RESTORED_STATUS_DELAY: Duration = Duration::from_secs(10);

/// How long the operator follows an execution after its acceptance: an event may be queued for 24 h and run for 72 h.
pub const FOLLOW_LIMIT: Duration = Duration::from_hours(100);

/// The circumstances of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The wall clock.
    pub now: Timestamp,
    /// The id of this process.
    pub holder: &'a str,
    /// What this process remembers of its own claim on this object.
    pub progress: Progress,
    /// How long this process has seen the attempt unchanged, by its own monotonic clock.
    pub unchanged_for: Duration,
    /// Whether this process has read FunctionGraph's list about the ambiguous attempt, or has tried for long enough.
    pub looked_up: bool,
}

/// What a process remembers of an attempt that it claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing, so it certainly has not sent it.
    Nothing,
    /// It started to give the attempt back unsent; the result is unknown.
    Returned,
    /// It started to send; the result is unknown.
    Sent,
    /// It has the answer, which is not recorded yet.
    Answered,
    /// It has recorded the answer; this object is an older copy.
    Saved,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Claim and send attempt `number`.
    Invoke {
        /// 1 for the first.
        number: i64,
    },
    /// Record the answer that this process has in memory.
    Save,
    /// This process claimed it and never sent it: give the claim back.
    HandBack,
    /// This process started to send it and lost track: record it as ambiguous.
    GiveUpOwn,
    /// Another process has claimed it: check again after this time.
    Observe(Duration),
    /// The claim of another process has not changed for too long: record it as ambiguous.
    TakeOver,
    /// Read FunctionGraph's list for evidence about the ambiguous attempt.
    LookUp,
    /// Follow the execution.
    Follow,
    /// Ask FunctionGraph to stop the execution.
    Stop,
    /// The annotation resolves the attempt: record that.
    Resolve(Resolution),
    /// The annotation changes nothing: record the reason.
    RefuseResolution,
    /// The annotation was removed, and may be set again: record that.
    ForgetResolution,
    /// The clock of the status' writer was ahead: correct the times.
    CorrectTimes,
    /// Only the spec has changed: record that the operator has seen it.
    Acknowledge,
    /// Record the final result.
    Conclude(Conclusion),
    /// Record the suspension.
    Suspend,
    /// Record the resume. The deadline counts from now.
    Resume,
    /// Check again at this time.
    Wait(Timestamp),
    /// Delete the object: its time to live is over.
    Delete,
    /// Nothing, until the object changes.
    Rest,
}

/// A final result without an answer of FunctionGraph.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion {
    /// The status holds an acceptance without an outcome.
    Accepted,
    /// Accepted, but the result of the execution is unknown.
    Unfollowed(String),
    /// Ambiguous, and never sent again; with a sentence about FunctionGraph's list, if it was read.
    Unknown(Option<String>),
    /// It may have been accepted before this object was created.
    Restored(String),
    /// Cancelled before it was sent.
    Cancelled,
    /// Not accepted, and not retried.
    Failed(Reason, String),
    /// A rule of the user makes the answer a failure, even if it is ambiguous.
    Ruled(String),
}

/// The next step.
pub fn decide(view: &View<'_>, moment: &Moment<'_>) -> Step {
    // The origin comes first: the status and the annotations of a copy describe the original.
    if let Some(step) = judge_origin(view, moment.now) {
        return step;
    }
    match resolve::call(view) {
        Some(Call::Act(resolution)) => return Step::Resolve(resolution),
        Some(Call::Refuse) => return Step::RefuseResolution,
        Some(Call::Forget) => return Step::ForgetResolution,
        None => {}
    }
    let state = State::of(view.status);
    let is_claimed = matches!(state, State::Claimed { .. });
    if !is_claimed && !view.deleting && !view.written_ahead(moment.now).is_zero() {
        return Step::CorrectTimes;
    }
    let step = from_state(state, view, moment);
    let idle = matches!(step, Step::Rest | Step::Wait(_) | Step::Follow);
    if idle && view.is_outdated() { Step::Acknowledge } else { step }
}

/// The step for an object that may have been submitted before its creation; `None` if nothing prevents an attempt.
fn judge_origin(view: &View<'_>, now: Timestamp) -> Option<Step> {
    let origin = match view.origin {
        Origin::New => return None,
        Origin::Restored(name) => {
            format!("Velero restored this object (restore {name}) without its status")
        }
        Origin::Copy(uid) => {
            format!("This object was restored or copied, and was submitted before as object {uid}")
        }
    };
    let resolves = matches!(resolve::call(view), Some(Call::Act(_)));
    let open = match State::of(view.status) {
        State::Fresh | State::Claimed { .. } | State::Open { .. } | State::Ambiguous { .. } => true,
        // Its annotation is older than the object.
        State::Finished(Outcome::Unknown) => resolves,
        State::Finished(Outcome::Accepted | Outcome::Executed | Outcome::Failed | Outcome::Cancelled)
        | State::Accepted => false,
    };
    if !open || view.deleting {
        return None;
    }
    let restored = later(view.created, RESTORED_STATUS_DELAY);
    let fresh = matches!(view.origin, Origin::Restored(_)) && State::of(view.status) == State::Fresh;
    // Creation times in the future count within the clock skew.
    if fresh && restored > now && view.created <= later(now, RESTORED_STATUS_DELAY) {
        return Some(Step::Wait(restored));
    }
    Some(Step::Conclude(Conclusion::Restored(format!(
        "{origin}. FunctionGraph may have accepted it before, so the operator does not send it. Look for it in the function's logs, or where it was copied from. Then set the annotation {RESOLVE} to Retry (the operator sends it), Fail, or the request's id."
    ))))
}

fn from_state(state: State, view: &View<'_>, moment: &Moment<'_>) -> Step {
    let last = match state {
        State::Finished(_) => return after_the_end(view, moment.now),
        State::Claimed { holder, .. } if holder == moment.holder => return own_claim(moment.progress),
        State::Claimed { .. } => return anothers_claim(view, moment.unchanged_for),
        State::Accepted => return after_the_acceptance(view, moment.now),
        State::Ambiguous { .. } if view.spec.delivery_policy != DeliveryPolicy::AtLeastOnce => {
            let look_up = view.lookup && !moment.looked_up && !view.deleting;
            return if look_up { Step::LookUp } else { Step::Conclude(Conclusion::Unknown(None)) };
        }
        State::Fresh => 0,
        State::Open { number } | State::Ambiguous { number } => number,
    };
    before_an_attempt(view, moment.now).unwrap_or(Step::Invoke { number: last.saturating_add(1) })
}

/// The final result of an object with another event than its first attempt; `None` if the event is the same.
pub fn changed_event(view: &View<'_>, event_version: &str) -> Option<Conclusion> {
    let first = view.status.event_version.as_deref()?;
    (first != event_version).then(|| {
        let message = "The event differs from the event of the first attempt, so the operator does not send it. Create a new FunctionInvocation for the new event.";
        Conclusion::Failed(Reason::InvalidPayload, message.into())
    })
}

fn own_claim(progress: Progress) -> Step {
    match progress {
        Progress::Nothing | Progress::Returned => Step::HandBack,
        Progress::Sent => Step::GiveUpOwn,
        Progress::Answered => Step::Save,
        Progress::Saved => Step::Observe(STALE_COPY_DELAY),
    }
}

fn anothers_claim(view: &View<'_>, unchanged_for: Duration) -> Step {
    match takeover(view.spec).checked_sub(unchanged_for) {
        Some(rest) if !rest.is_zero() => Step::Observe(rest),
        Some(_) | None => Step::TakeOver,
    }
}

fn after_the_acceptance(view: &View<'_>, now: Timestamp) -> Step {
    if !view.follows() {
        return Step::Conclude(Conclusion::Accepted);
    }
    if view.status.request_id.is_none() {
        let why = "FunctionGraph accepted the invocation without a readable request id, so the operator cannot follow its execution.";
        return Step::Conclude(Conclusion::Unfollowed(why.into()));
    }
    if view.status.request_id_source != Some(RequestIdSource::Response) {
        let why = "The request id is not from FunctionGraph's answer, so the operator does not follow its execution.";
        return Step::Conclude(Conclusion::Unfollowed(why.into()));
    }
    if view.deleting {
        return Step::Rest;
    }
    let accepted = view.status.accepted_time.unwrap_or(view.created).min(now);
    if later(accepted, FOLLOW_LIMIT) <= now {
        let why = format!(
            "FunctionGraph reported no end of the execution within {} hours.",
            FOLLOW_LIMIT.as_secs() / 3600
        );
        return Step::Conclude(Conclusion::Unfollowed(why));
    }
    if view.spec.cancel && view.status.cancel_time.is_none() { Step::Stop } else { Step::Follow }
}

fn after_the_end(view: &View<'_>, now: Timestamp) -> Step {
    let Some(ttl) = view.spec.ttl_seconds_after_finished else { return Step::Rest };
    // A restored object is the only record of an earlier attempt, so keep it until you have resolved it.
    let restored = view
        .status
        .condition(ConditionType::Finished)
        .is_some_and(|finished| finished.reason == Reason::Restored)
        || (view.origin != Origin::New && view.status.outcome == Some(Outcome::Unknown));
    if view.deleting || restored {
        return Step::Rest;
    }
    let finished = view.status.completion_time.unwrap_or(view.created).min(now);
    let skew = if ttl == 0 { Duration::ZERO } else { CLOCK_SKEW };
    let end = later(finished, Duration::from_secs(ttl.unsigned_abs()).saturating_add(skew));
    if end <= now { Step::Delete } else { Step::Wait(end) }
}

/// Conditions that prevent an attempt, in the order of their evaluation; `None` if there are none.
fn before_an_attempt(view: &View<'_>, now: Timestamp) -> Option<Step> {
    if view.deleting {
        return Some(Step::Rest);
    }
    if view.spec.cancel {
        return Some(Step::Conclude(Conclusion::Cancelled));
    }
    let marked = view.status.condition(ConditionType::Suspended).is_some();
    if view.spec.suspend {
        return Some(if marked { Step::Rest } else { Step::Suspend });
    }
    if marked {
        return Some(Step::Resume);
    }
    if let Some(what) = unsupported(view) {
        return Some(Step::Conclude(Conclusion::Failed(Reason::Unsupported, what)));
    }
    let deadline = view.deadline(now);
    if deadline <= now {
        let certain = later(deadline, CLOCK_SKEW);
        return Some(if certain <= now { Step::Conclude(past_deadline(view)) } else { Step::Wait(certain) });
    }
    if view.failed() > view.spec.retry_policy.backoff_limit {
        return Some(Step::Conclude(past_limit(view)));
    }
    // No policy allows a pause this long, so ignore it.
    let longest = later(now, backoff::longest(&view.spec.retry_policy));
    let next = view.status.next_attempt_time.filter(|next| *next > now && *next <= longest)?;
    Some(Step::Wait(next.min(deadline)))
}

fn unsupported(view: &View<'_>) -> Option<String> {
    let what = if view.spec.invocation_type == InvocationType::Other {
        "spec.invocationType"
    } else if view.spec.completion_policy == CompletionPolicy::Other {
        "spec.completionPolicy"
    } else if view.spec.provider_ref.kind == ProviderKind::Other {
        "spec.providerRef.kind"
    } else if view.spec.delivery_policy == DeliveryPolicy::Other {
        "spec.deliveryPolicy"
    } else {
        return None;
    };
    Some(not_known(&format!("the value of {what}")))
}

/// The final result of an object after its deadline.
pub(super) fn past_deadline(view: &View<'_>) -> Conclusion {
    let disabled = view.status.error.as_ref().is_some_and(|e| e.class == Some(ErrorClass::FunctionDisabled));
    if disabled {
        return Conclusion::Failed(
            Reason::FunctionDisabled,
            "The function is disabled in FunctionGraph. Enable it there, then create a new FunctionInvocation."
                .into(),
        );
    }
    Conclusion::Failed(
        Reason::DeadlineExceeded,
        format!(
            "activeDeadlineSeconds ({} s) has passed.{}",
            view.spec.active_deadline_seconds,
            last_obstacle(view)
        ),
    )
}

/// The final result of an object with too many failed attempts.
pub(super) fn past_limit(view: &View<'_>) -> Conclusion {
    Conclusion::Failed(
        Reason::BackoffLimitExceeded,
        format!(
            "{} failed attempts, more than retryPolicy.backoffLimit ({}) allows.{}",
            view.failed(),
            view.spec.retry_policy.backoff_limit,
            last_obstacle(view)
        ),
    )
}

/// What kept the object from being accepted last: what it waited for, or else the latest error.
fn last_obstacle(view: &View<'_>) -> String {
    let ready = view.status.condition(ConditionType::Ready);
    let waited = ready.filter(|ready| {
        matches!(ready.reason, Reason::WaitingForProvider | Reason::WaitingForPayload | Reason::Queued)
    });
    match (waited, view.status.error.as_deref()) {
        (Some(waited), _) => format!(" It waited: {}", waited.message),
        (None, Some(error)) => format!(" The latest error: {}.", clause(error)),
        (None, None) => String::new(),
    }
}

/// How long to wait before the next call of [`decide`]; `None` if only a change can matter.
pub fn wake(step: &Step, now: Timestamp) -> Option<Duration> {
    match step {
        Step::Wait(time) => Some(until(*time, now)),
        Step::Observe(rest) => Some(*rest),
        // The shell wakes followed objects when there is news.
        Step::Rest | Step::Follow => None,
        Step::Invoke { .. }
        | Step::LookUp
        | Step::Stop
        | Step::Resolve(_)
        | Step::RefuseResolution
        | Step::ForgetResolution
        | Step::CorrectTimes
        | Step::Acknowledge
        | Step::Save
        | Step::HandBack
        | Step::GiveUpOwn
        | Step::TakeOver
        | Step::Conclude(_)
        | Step::Suspend
        | Step::Resume
        | Step::Delete => Some(Duration::ZERO),
    }
}
