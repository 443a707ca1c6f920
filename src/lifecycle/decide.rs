//! The next step for an object, from what is written, what this process remembers, and the time.

use super::resolve::{self, Call};
use super::{CLOCK_SKEW, Origin, Resolution, State, View, backoff, later, takeover, until};
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::{
    CompletionPolicy, DeliveryPolicy, ErrorClass, InvocationType, Outcome, ProviderKind, RESOLVE,
    RequestIdSource,
};
use jiff::Timestamp;
use std::time::Duration;

/// How long an outdated copy is given to be replaced by the watch before it is looked at again.
const STALE: Duration = Duration::from_secs(5);

/// Velero makes the object first and writes its status, if it is told to restore that, right afterwards: it is given
/// this long, because the API server's rules would keep its status from replacing ours.
const ITS_STATUS: Duration = Duration::from_secs(10);

/// An execution is followed for this long after its acceptance: an event may wait for 24 h and run for 72 h.
pub const FOLLOWED: Duration = Duration::from_hours(100);

/// What surrounds a decision.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The wall clock.
    pub now: Timestamp,
    /// This process.
    pub holder: &'a str,
    /// What this process remembers of its own claim on this object.
    pub progress: Progress,
    /// For how long this process has seen the attempt unchanged, on its own monotonic clock.
    pub unchanged_for: Duration,
    /// Whether this process has read the service's list about the ambiguous attempt, or tried for long enough.
    pub looked_up: bool,
}

/// What a process remembers of an attempt that it claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing: then it has certainly not sent it.
    Nothing,
    /// It began to give it back unsent and does not know the end.
    Returned,
    /// It began to send and does not know the end.
    Sent,
    /// It has the answer, which is not written yet.
    Answered,
    /// It has written the answer; the object at hand is an older copy.
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
    /// Write the answer that this process has in hand.
    Save,
    /// This process claimed it and never sent it: give the claim back.
    HandBack,
    /// This process began to send it and lost track: write that it is ambiguous.
    GiveUpOwn,
    /// Somebody else's claim: look again after this long.
    Observe(Duration),
    /// Somebody else's claim that has not changed for too long: write that it is ambiguous.
    TakeOver,
    /// Read the service's list for evidence about the ambiguous attempt.
    LookUp,
    /// Follow the execution.
    Follow,
    /// Ask the service to stop the execution.
    Stop,
    /// The annotation resolves the attempt: write it.
    Resolve(Resolution),
    /// The annotation changes nothing: write why.
    RefuseResolution,
    /// The annotation was removed, and may be set again: write that.
    ForgetResolution,
    /// The status was written by a clock that ran ahead: write its times as they can have been.
    CorrectTimes,
    /// Nothing but the spec has changed: write that it was seen.
    Acknowledge,
    /// Write how it ended.
    Conclude(Conclusion),
    /// Write that it is suspended.
    Suspend,
    /// Write that it goes on; the deadline counts from now.
    Resume,
    /// Look again at this time.
    Wait(Timestamp),
    /// Delete the object: its time to live is over.
    Delete,
    /// Nothing, until the object changes.
    Rest,
}

/// An end that needs no answer from the service.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion {
    /// An acceptance that somebody recorded without an outcome.
    Accepted,
    /// Accepted, and what became of the execution cannot be known.
    Unfollowed(String),
    /// Ambiguous, and never sent again; with a sentence on what the service's list showed, if it was read.
    Unknown(Option<String>),
    /// It may have been accepted before this object was made.
    Restored(String),
    /// Cancelled before it was sent.
    Cancelled,
    /// Not accepted, and not tried any more.
    Failed(Reason, String),
    /// A rule of the user says that the answer means failure, whatever may be in doubt.
    Ruled(String),
}

/// The next step.
#[must_use]
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

/// What to do about an object that may have been submitted before it was made; `None` if it may go its way.
fn judge_origin(view: &View<'_>, now: Timestamp) -> Option<Step> {
    let whence = match view.origin {
        Origin::New => return None,
        Origin::Restored(name) => {
            format!("Velero restored this object (restore {name}), without what became of it")
        }
        Origin::Copy(uid) => {
            format!("This object was restored or copied: it says that it was submitted as object {uid}")
        }
    };
    let resolves = matches!(resolve::call(view), Some(Call::Act(_)));
    let open = match State::of(view.status) {
        State::Fresh | State::Claimed { .. } | State::Open { .. } | State::Ambiguous { .. } => true,
        // The annotation that it carries is older than the object.
        State::Finished(Outcome::Unknown) => resolves,
        State::Finished(Outcome::Accepted | Outcome::Executed | Outcome::Failed | Outcome::Cancelled)
        | State::Accepted => false,
    };
    if !open || view.deleting {
        return None;
    }
    let restored = later(view.created, ITS_STATUS);
    let fresh = matches!(view.origin, Origin::Restored(_)) && State::of(view.status) == State::Fresh;
    // A creation in the future is believed as far as clocks may differ.
    if fresh && restored > now && view.created <= later(now, ITS_STATUS) {
        return Some(Step::Wait(restored));
    }
    Some(Step::Conclude(Conclusion::Restored(format!(
        "{whence}. FunctionGraph may have accepted it before, so the operator does not send it by itself. Look for it in the function's logs, or where it was copied from. Then set the annotation {RESOLVE} to Retry (it is sent), Fail, or the request's id."
    ))))
}

fn from_state(state: State, view: &View<'_>, moment: &Moment<'_>) -> Step {
    let last = match state {
        State::Finished(_) => return after_the_end(view, moment.now),
        State::Claimed { holder, .. } if holder == moment.holder => return own_claim(moment.progress),
        State::Claimed { .. } => return anothers_claim(view, moment.unchanged_for),
        State::Accepted => return after_the_acceptance(view, moment.now),
        State::Ambiguous { .. } if view.spec.delivery_policy != DeliveryPolicy::AtLeastOnce => {
            let look = view.lookup && !moment.looked_up && !view.deleting;
            return if look { Step::LookUp } else { Step::Conclude(Conclusion::Unknown(None)) };
        }
        State::Fresh => 0,
        State::Open { number } | State::Ambiguous { number } => number,
    };
    before_an_attempt(view, moment.now).unwrap_or(Step::Invoke { number: last.saturating_add(1) })
}

/// The end of an object whose event is not the one that its first attempt was claimed for; `None` if it is.
#[must_use]
pub fn changed_event(view: &View<'_>, event_version: &str) -> Option<Conclusion> {
    let first = view.status.event_version.as_deref()?;
    (first != event_version).then(|| {
        let message = "The event is not the one that the first attempt was made for, so it is not sent. Create a new FunctionInvocation for the new event.";
        Conclusion::Failed(Reason::InvalidPayload, message.into())
    })
}

fn own_claim(progress: Progress) -> Step {
    match progress {
        Progress::Nothing | Progress::Returned => Step::HandBack,
        Progress::Sent => Step::GiveUpOwn,
        Progress::Answered => Step::Save,
        Progress::Saved => Step::Observe(STALE),
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
        let why = "FunctionGraph accepted the invocation without a request id that can be read, so the operator cannot follow its execution.";
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
    if later(accepted, FOLLOWED) <= now {
        let why = format!("No end of the execution was reported within {} hours.", FOLLOWED.as_secs() / 3600);
        return Step::Conclude(Conclusion::Unfollowed(why));
    }
    if view.spec.cancel && view.status.cancel_time.is_none() { Step::Stop } else { Step::Follow }
}

fn after_the_end(view: &View<'_>, now: Timestamp) -> Step {
    let Some(ttl) = view.spec.ttl_seconds_after_finished else { return Step::Rest };
    // A restored object is the only record of what may have happened: it is kept until you have resolved it.
    let restored = Condition::find(&view.status.conditions, ConditionType::Finished)
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

/// What stands in the way of an attempt, in the order in which it is judged; `None` if nothing does.
fn before_an_attempt(view: &View<'_>, now: Timestamp) -> Option<Step> {
    if view.deleting {
        return Some(Step::Rest);
    }
    if view.spec.cancel {
        return Some(Step::Conclude(Conclusion::Cancelled));
    }
    let marked = Condition::find(&view.status.conditions, ConditionType::Suspended).is_some();
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
    // A pause that no policy can have made is none.
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
    Some(format!("This version of the operator does not know the value of {what}: upgrade the operator."))
}

/// The end of an object whose deadline is over.
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
            "Not accepted within activeDeadlineSeconds ({} s).{}",
            view.spec.active_deadline_seconds,
            last_error(view)
        ),
    )
}

/// The end of an object that failed too often.
pub(super) fn past_limit(view: &View<'_>) -> Conclusion {
    Conclusion::Failed(
        Reason::BackoffLimitExceeded,
        format!(
            "{} failed attempts, more than retryPolicy.backoffLimit ({}) allows.{}",
            view.failed(),
            view.spec.retry_policy.backoff_limit,
            last_error(view)
        ),
    )
}

fn last_error(view: &View<'_>) -> String {
    let Some(error) = &view.status.error else { return String::new() };
    let parts = [error.http_status.map(|s| s.to_string()), error.code.clone(), error.message.clone()];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if text.is_empty() { text } else { format!(" Last error: {text}") }
}

/// How long to sleep before [`decide`] is worth asking again; `None` if only a change can matter.
#[must_use]
pub fn wake(step: &Step, now: Timestamp) -> Option<Duration> {
    match step {
        Step::Wait(time) => Some(until(*time, now)),
        Step::Observe(rest) => Some(*rest),
        // Of what is followed, the shell knows when there is news.
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
