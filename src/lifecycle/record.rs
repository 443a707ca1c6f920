//! Composes the status for every event in the life of an invocation. No other module composes one.

mod answer;
mod resolution;

use super::tell::{Situation, advice, ambiguity, is_ambiguous, observed, was_retried, with};
use super::{Conclusion, Evidence, Reply, Target, Trouble, View, display, resolve};
use crate::api::condition::{ConditionStatus, Reason};
use crate::api::invocation::{
    Attempt, AttemptState, BEFORE_THE_RESTORE, ErrorClass, FunctionInvocationStatus, Outcome,
};
use jiff::Timestamp;

pub use answer::{answered, executed};
pub use resolution::{resolution_forgotten, resolution_refused, resolved};

/// The operator claims a new attempt.
pub fn claimed(
    view: &View<'_>,
    number: i64,
    holder: &str,
    target: &Target,
    now: Timestamp,
) -> FunctionInvocationStatus {
    let first = view.status.event_version.clone();
    let status = FunctionInvocationStatus {
        attempt: Some(Attempt {
            number: Some(number),
            holder: Some(holder.into()),
            state: Some(AttemptState::Claimed),
            claim_time: Some(now),
            endpoint: Some(target.endpoint.clone()),
            urn: Some(target.urn.clone()),
        }),
        event_version: first.or_else(|| Some(target.event_version.clone())),
        attempts: Some(view.status.attempts.unwrap_or_default().saturating_add(1)),
        next_attempt_time: None,
        submitted_as: Some(view.uid.into()),
        ..begun(view, now)
    };
    with(view, status, now, Situation::Waiting(Reason::Progressing, "The invocation is being sent.".into()))
}

/// The operator gives a claim back unsent. It does not count as an attempt.
pub fn handed_back(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    set_state(&mut status, AttemptState::NotSent);
    status.attempts = status.attempts.map(|n| n.saturating_sub(1).max(0));
    if status.attempts == Some(0) {
        // Nothing was ever sent, so the next claim sets the event.
        status.event_version = None;
    }
    with(view, status, now, Situation::Waiting(Reason::Progressing, "Waiting to be sent.".into()))
}

/// The event in the answer to the claim is not the claimed one. The operator sends neither of the two.
pub fn not_as_claimed(view: &View<'_>, conclusion: &Conclusion, now: Timestamp) -> FunctionInvocationStatus {
    let status = handed_back(view, now);
    end(view, status, conclusion, now)
}

/// An attempt of this process, or one that it took over, is ambiguous and stays so.
pub fn ambiguous(view: &View<'_>, why: &str, now: Timestamp, chance: u64) -> FunctionInvocationStatus {
    let trouble = Trouble::unanswered(ErrorClass::Ambiguous, why.into());
    answered(view, &Reply::Trouble(trouble), now, chance)
}

/// The operator follows the execution and reports progress.
pub fn following(
    view: &View<'_>,
    reason: Reason,
    message: String,
    now: Timestamp,
) -> FunctionInvocationStatus {
    with(view, begun(view, now), now, Situation::Following(reason, message))
}

/// FunctionGraph accepted the request to stop the execution. The execution has ended when the list says so.
pub fn stopping(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let status = FunctionInvocationStatus { cancel_time: Some(now), ..begun(view, now) };
    let message = "The operator asked FunctionGraph to stop the execution, and waits for its end.".into();
    with(view, status, now, Situation::Following(Reason::Running, message))
}

/// The object finishes here, without an answer that decides it.
pub fn concluded(view: &View<'_>, conclusion: &Conclusion, now: Timestamp) -> FunctionInvocationStatus {
    end(view, begun(view, now), conclusion, now)
}

/// The operator read FunctionGraph's list about the ambiguous attempt. The object finishes as unknown, with the
/// evidence.
pub fn looked_up(view: &View<'_>, evidence: Evidence, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = begun(view, now);
    let Evidence { request_ids, sentence } = evidence;
    status.candidate_request_ids = Some(request_ids).filter(|ids| !ids.is_empty());
    end(view, status, &Conclusion::Unknown(Some(sentence)), now)
}

/// Only the spec has changed.
pub fn acknowledged(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    observed(view, view.status.clone(), now)
}

/// The clock of this status' writer was ahead: corrects every time.
pub fn corrected(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let ahead = view.written_ahead(now);
    let mut status = view.status.clone();
    for time in [
        &mut status.start_time,
        &mut status.accepted_time,
        &mut status.cancel_time,
        &mut status.completion_time,
    ] {
        *time = time.map(|time| time.min(now));
    }
    if let Some(error) = &mut status.error {
        error.time = error.time.map(|time| time.min(now));
    }
    // The pause started with the error, and keeps its length.
    status.next_attempt_time = status.next_attempt_time.map(|next| next.saturating_sub(ahead).unwrap_or(now));
    observed(view, status, now)
}

/// The object waits for something other than its turn in the queue.
pub fn waiting(view: &View<'_>, reason: Reason, message: String, now: Timestamp) -> FunctionInvocationStatus {
    with(view, begun(view, now), now, Situation::Waiting(reason, message))
}

/// `spec.suspend` is true. The deadline counts from the resume.
pub fn suspended(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let status = FunctionInvocationStatus { start_time: None, ..begun(view, now) };
    with(view, status, now, Situation::Suspended)
}

/// `spec.suspend` is false again.
pub fn resumed(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let status = FunctionInvocationStatus { start_time: Some(now), ..begun(view, now) };
    let paused = status.next_attempt_time.filter(|next| *next > now);
    let message = paused.map_or_else(
        || "Waiting to be sent.".into(),
        |next| format!("Waiting to be sent: not before {}.", next.strftime("%H:%M:%S UTC")),
    );
    with(view, status, now, Situation::Waiting(Reason::Progressing, message))
}

/// The status with the fields that every write sets.
pub(super) fn begun(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    resolve::note(view, &mut status);
    status.start_time = Some(view.start(now));
    status.function = Some(display(view.spec));
    status
}

pub(super) fn end(
    view: &View<'_>,
    mut status: FunctionInvocationStatus,
    conclusion: &Conclusion,
    now: Timestamp,
) -> FunctionInvocationStatus {
    let ambiguous = is_ambiguous(&View { status: &status, ..*view });
    let (certain, retried) = if was_retried(view) {
        (ConditionStatus::Unknown, " An earlier attempt was ambiguous, and may have been accepted.")
    } else {
        (ConditionStatus::False, "")
    };
    status.next_attempt_time = None;
    status.completion_time = Some(now);
    let (outcome, reason, message, accepted) = match conclusion {
        Conclusion::Accepted => {
            status.outcome = Some(Outcome::Accepted);
            let message = "FunctionGraph accepted the invocation.".into();
            return with(view, status, now, Situation::Well(Reason::Accepted, message));
        }
        Conclusion::Unfollowed(why) => {
            let message = format!(
                "{why} The result is unknown. Check the function's logs. Then you may set the annotation functiongraph.io/resolve to Fail or Accepted:<request id>."
            );
            (Outcome::Unknown, Reason::ExecutionUnknown, message, ConditionStatus::True)
        }
        Conclusion::Unknown(evidence) => {
            let message = ambiguity(status.attempt.as_ref(), status.error.as_deref(), evidence.as_deref());
            (Outcome::Unknown, Reason::OutcomeUnknown, message, ConditionStatus::Unknown)
        }
        Conclusion::Restored(message) => {
            submitted_before(view, &mut status);
            (Outcome::Unknown, Reason::Restored, message.clone(), ConditionStatus::Unknown)
        }
        Conclusion::Ruled(message) => {
            (Outcome::Failed, Reason::Rejected, message.clone(), ConditionStatus::Unknown)
        }
        Conclusion::Failed(..) | Conclusion::Cancelled if ambiguous => {
            // The reason of a failure holds the error already.
            let (why, error) = match conclusion {
                Conclusion::Failed(_, message) => (message.as_str(), None),
                _ => ("Cancelled.", status.error.as_deref()),
            };
            let message = format!("{why} {}", ambiguity(status.attempt.as_ref(), error, None));
            (Outcome::Unknown, Reason::OutcomeUnknown, message, ConditionStatus::Unknown)
        }
        Conclusion::Failed(reason, message) => {
            (Outcome::Failed, *reason, format!("{message}{}{retried}", advice(*reason)), certain)
        }
        Conclusion::Cancelled => {
            let message = if retried.is_empty() {
                "Cancelled before it was accepted. The operator sends nothing more.".to_owned()
            } else {
                format!("Cancelled. The operator sends nothing more.{retried}")
            };
            (Outcome::Cancelled, Reason::Cancelled, message, certain)
        }
    };
    status.outcome = Some(outcome);
    with(view, status, now, Situation::Ended { reason, message, accepted })
}

/// Makes a restored object one with an ambiguous attempt, so that it is resolved like any other, and handled only once.
fn submitted_before(view: &View<'_>, status: &mut FunctionInvocationStatus) {
    let before = Attempt { number: Some(1), holder: Some(BEFORE_THE_RESTORE.into()), ..Attempt::default() };
    status.attempt.get_or_insert(before);
    set_state(status, AttemptState::Ambiguous);
    status.submitted_as = Some(view.uid.into());
    // You resolve it knowing the event that this object has.
    status.event_version = None;
    // The annotation is older than the copy, even if the copy has a status.
    resolve::note_copied(view, status);
}

fn set_state(status: &mut FunctionInvocationStatus, state: AttemptState) {
    if let Some(attempt) = &mut status.attempt {
        attempt.state = Some(state);
    }
}
