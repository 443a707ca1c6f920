//! The statuses that follow from an answer of FunctionGraph, or from its absence.

use super::{begun, end, set_state};
use crate::api::condition::{ConditionStatus, Reason};
use crate::api::invocation::{
    AttemptError, AttemptState, DeliveryPolicy, ErrorClass, Execution, ExecutionStatus,
    FunctionInvocationStatus, Outcome, RequestIdSource,
};
use crate::lifecycle::classify::{Pause, Ruling, rule};
use crate::lifecycle::decide::{past_deadline, past_limit};
use crate::lifecycle::tell::{
    Situation, acceptance, describe, execution, is_ambiguous, refusal, ruled, with,
};
use crate::lifecycle::{
    Acceptance, CLOCK_SKEW, Conclusion, Executed, Reply, Trouble, View, backoff, later, resolve,
};
use jiff::Timestamp;

/// FunctionGraph's code for a cancelled execution: `function invocation canceled`.
const CANCELLED_CODE: &str = "4208";

/// The result of an attempt is known. Also for an object that became `Unknown` in the meantime.
pub fn answered(view: &View<'_>, reply: &Reply, now: Timestamp, chance: u64) -> FunctionInvocationStatus {
    match reply {
        Reply::Accepted(acceptance) => accepted(view, acceptance, RequestIdSource::Response, now),
        Reply::Trouble(trouble) => troubled(view, trouble, now, chance),
    }
}

pub(super) fn accepted(
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

fn troubled(view: &View<'_>, trouble: &Trouble, now: Timestamp, chance: u64) -> FunctionInvocationStatus {
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
            // Only a rule of the user ends an ambiguous attempt as failed.
            let conclusion = match state {
                AttemptState::Ambiguous => Conclusion::Ruled(ruled(trouble)),
                AttemptState::Claimed
                | AttemptState::Accepted
                | AttemptState::Rejected
                | AttemptState::NotSent => Conclusion::Failed(reason, refusal(trouble, reason)),
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
