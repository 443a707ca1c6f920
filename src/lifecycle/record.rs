//! Composes the status for every event in the life of an invocation. No other module composes one.

mod resolution;

use super::classify::{Pause, Ruling, rule};
use super::decide::{past_deadline, past_limit};
use super::tell::{
    Situation, acceptance, advice, ambiguity, describe, execution, is_ambiguous, observed, refusal,
    was_retried, with,
};
use super::{
    Acceptance, CLOCK_SKEW, Conclusion, Evidence, Executed, Reply, Target, Trouble, View, backoff, display,
    later, resolve,
};
use crate::api::condition::{ConditionStatus, Reason};
use crate::api::invocation::{
    Attempt, AttemptError, AttemptState, BEFORE_THE_RESTORE, DeliveryPolicy, ErrorClass, Execution,
    ExecutionStatus, FunctionInvocationStatus, Outcome, RequestIdSource,
};
use jiff::Timestamp;

pub use resolution::{resolution_forgotten, resolution_refused, resolved};

/// FunctionGraph's code for a cancelled execution: `function invocation canceled`.
const CANCELLED_CODE: &str = "4208";

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

/// The result of an attempt is known. Also for an object that became `Unknown` in the meantime.
pub fn answered(view: &View<'_>, reply: &Reply, now: Timestamp, chance: u64) -> FunctionInvocationStatus {
    match reply {
        Reply::Accepted(acceptance) => accepted(view, acceptance, RequestIdSource::Response, now),
        Reply::Trouble(trouble) => troubled(view, trouble, now, chance),
    }
}

fn accepted(
    view: &View<'_>,
    Acceptance { request_id, instance_id, executed }: &Acceptance,
    source: RequestIdSource,
    now: Timestamp,
) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    resolve::note(view, &mut status);
    set_state(&mut status, AttemptState::Accepted);
    // FunctionGraph's own answer takes precedence over the annotation.
    let answered = status.request_id_source == Some(RequestIdSource::Response) && status.request_id.is_some();
    if source == RequestIdSource::Response || !answered {
        status.request_id.clone_from(request_id);
        status.request_id_source = request_id.as_ref().map(|_| source);
        status.instance_id.clone_from(instance_id);
        status.accepted_time = Some(now);
    }
    status.next_attempt_time = None;
    status.error = None;
    status.candidate_request_ids = None;
    // An object that became Unknown in the meantime is not finished after all.
    (status.outcome, status.completion_time) = (None, None);
    if let Some(Executed { execution, result }) = executed.as_deref() {
        status.result = Some(Box::new(result.clone()));
        return at_its_end(view, status, execution, now);
    }
    let message = match source {
        RequestIdSource::Response => acceptance(&status, ""),
        RequestIdSource::User => {
            acceptance(&status, ", according to the annotation functiongraph.io/resolve")
        }
    };
    if view.follows() && source == RequestIdSource::Response {
        if request_id.is_none() {
            return end(view, status, &Conclusion::Unfollowed(message), now);
        }
        let message = format!("{message} The operator follows its execution.");
        return with(view, status, now, Situation::Following(Reason::Running, message));
    }
    status.outcome = Some(Outcome::Accepted);
    status.completion_time = Some(now);
    with(view, status, now, Situation::Well(Reason::Accepted, message))
}

/// FunctionGraph reported the end of the execution.
pub fn executed(view: &View<'_>, execution: &Execution, now: Timestamp) -> FunctionInvocationStatus {
    at_its_end(view, begun(view, now), execution, now)
}

fn at_its_end(
    view: &View<'_>,
    mut status: FunctionInvocationStatus,
    ended: &Execution,
    now: Timestamp,
) -> FunctionInvocationStatus {
    // The time of the request to stop it may be missing: its write can be lost after FunctionGraph took the request.
    let stopped = ended.error_code.as_deref() == Some(CANCELLED_CODE) && view.spec.cancel;
    status.execution = Some(Box::new(ended.clone()));
    status.completion_time = Some(now);
    let message = execution(ended, status.result.as_deref());
    let (outcome, reason, message) = match ended.status {
        Some(ExecutionStatus::Success) => {
            status.outcome = Some(Outcome::Executed);
            return with(view, status, now, Situation::Well(Reason::Executed, message));
        }
        Some(ExecutionStatus::Fail) if stopped => {
            let message = "FunctionGraph stopped the execution, because spec.cancel is true.".into();
            (Outcome::Cancelled, Reason::Cancelled, message)
        }
        Some(ExecutionStatus::Discard) => (Outcome::Failed, Reason::Discarded, message),
        Some(ExecutionStatus::Fail | ExecutionStatus::Wait | ExecutionStatus::Running) | None => {
            (Outcome::Failed, Reason::ExecutionFailed, message)
        }
    };
    status.outcome = Some(outcome);
    with(view, status, now, Situation::Ended { reason, message, accepted: ConditionStatus::True })
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

pub(super) fn troubled(
    view: &View<'_>,
    trouble: &Trouble,
    now: Timestamp,
    chance: u64,
) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    resolve::note(view, &mut status);
    status.error = Some(Box::new(AttemptError {
        time: Some(now),
        class: Some(trouble.class),
        http_status: trouble.http_status.map(i64::from),
        code: trouble.code.clone(),
        message: Some(trouble.message.clone()).filter(|m| !m.is_empty()),
        gateway_request_id: trouble.gateway_request_id.clone(),
    }));
    if matches!(trouble.class, ErrorClass::Throttled | ErrorClass::Unavailable) {
        status.throttled_attempts = Some(view.throttled().saturating_add(1));
    }
    match rule(trouble, view.spec) {
        Ruling::Retry { state, pause, counted } => {
            set_state(&mut status, state);
            if counted {
                status.failed_attempts = Some(view.failed().saturating_add(1));
            }
            again(view, status, trouble, pause, now, chance)
        }
        Ruling::Ambiguous if view.spec.delivery_policy == DeliveryPolicy::AtLeastOnce => {
            set_state(&mut status, AttemptState::Ambiguous);
            status.failed_attempts = Some(view.failed().saturating_add(1));
            again(view, status, trouble, Pause::Backoff, now, chance)
        }
        Ruling::Ambiguous if view.lookup && view.status.outcome.is_none() => {
            set_state(&mut status, AttemptState::Ambiguous);
            let message = format!(
                "{} FunctionGraph may have accepted the invocation. The operator reads FunctionGraph's list in about two minutes, and shows the result here.",
                describe(trouble)
            );
            with(view, status, now, Situation::Waiting(Reason::LookingUp, message))
        }
        Ruling::Ambiguous => {
            set_state(&mut status, AttemptState::Ambiguous);
            end(view, status, &Conclusion::Unknown(None), now)
        }
        Ruling::Fail { state, reason } => {
            set_state(&mut status, state);
            let message = refusal(trouble, reason);
            // Only a rule of the user ends an ambiguous attempt as failed.
            let conclusion = match state {
                AttemptState::Ambiguous => Conclusion::Ruled(message),
                AttemptState::Claimed
                | AttemptState::Accepted
                | AttemptState::Rejected
                | AttemptState::NotSent => Conclusion::Failed(reason, message),
            };
            end(view, status, &conclusion, now)
        }
    }
}

/// Another attempt follows, unless the limit, the deadline or an existing outcome prevents it.
fn again(
    view: &View<'_>,
    mut status: FunctionInvocationStatus,
    trouble: &Trouble,
    pause: Pause,
    now: Timestamp,
    chance: u64,
) -> FunctionInvocationStatus {
    let policy = &view.spec.retry_policy;
    let after = View { status: &status, ..*view };
    let ambiguous = is_ambiguous(&after);
    if view.status.outcome.is_some() {
        return end(view, status, &taken_over(ambiguous, trouble), now);
    }
    if after.failed() > policy.backoff_limit {
        let conclusion = past_limit(&after);
        return end(view, status, &conclusion, now);
    }
    let tries = after.failed().saturating_add(after.throttled()).saturating_sub(1);
    let wait = match pause {
        Pause::Backoff => {
            let own = backoff::full_jitter(policy, tries, chance);
            Some(backoff::with_retry_after(own, trouble.retry_after, policy, chance.rotate_left(32)))
        }
        Pause::Slow => Some(backoff::slow(chance)),
        Pause::Gate => None,
    };
    let next = wait.map(|wait| later(now, wait));
    if next.unwrap_or(now) >= later(after.deadline(now), CLOCK_SKEW) {
        let conclusion = past_deadline(&after);
        return end(view, status, &conclusion, now);
    }
    status.next_attempt_time = next;
    let (reason, message) = waiting_for(trouble);
    with(view, status, now, Situation::Waiting(reason, message))
}

/// How an object ends whose attempt another process declared `Unknown` while this one waited for the answer. The operator
/// cannot retry from there, but it can record the result.
fn taken_over(ambiguous: bool, trouble: &Trouble) -> Conclusion {
    if ambiguous {
        return Conclusion::Unknown(None);
    }
    let message = format!(
        "{} The answer came after another process had taken the attempt over, so the operator does not retry it. Create a new FunctionInvocation.",
        describe(trouble)
    );
    Conclusion::Failed(Reason::Rejected, message)
}

/// What an object waits for after an answer.
fn waiting_for(trouble: &Trouble) -> (Reason, String) {
    let (reason, next) = match trouble.class {
        ErrorClass::Throttled | ErrorClass::Unavailable => (Reason::Throttled, "The operator tries again."),
        ErrorClass::FunctionDisabled => (
            Reason::FunctionDisabled,
            "Enable the function in FunctionGraph. The operator tries again every few minutes until the deadline.",
        ),
        ErrorClass::Unauthenticated => (
            Reason::WaitingForProvider,
            "The operator sends it again when FunctionGraph accepts the provider's credential.",
        ),
        ErrorClass::NotSent | ErrorClass::Ambiguous | ErrorClass::Rejected | ErrorClass::Redirected => {
            (Reason::BackingOff, "The operator tries again.")
        }
    };
    (reason, format!("{} {next}", describe(trouble)))
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
    with(view, status, now, Situation::Waiting(Reason::Progressing, "Waiting to be sent.".into()))
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
            let message = ambiguity(status.error.as_deref(), evidence.as_deref());
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
            let message = format!("{why} {}", ambiguity(error, None));
            (Outcome::Unknown, Reason::OutcomeUnknown, message, ConditionStatus::Unknown)
        }
        Conclusion::Failed(reason, message) => {
            (Outcome::Failed, *reason, format!("{message}{}{retried}", advice(*reason)), certain)
        }
        Conclusion::Cancelled => (
            Outcome::Cancelled,
            Reason::Cancelled,
            format!("Cancelled before it was accepted. The operator sends nothing more.{retried}"),
            certain,
        ),
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
