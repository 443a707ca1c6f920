//! The conditions of a status, and their messages.

use super::{Trouble, View, resolve};
use crate::api::condition::{Condition, ConditionStatus, ConditionType, Reason, see_ready};
use crate::api::invocation::{
    Attempt, AttemptError, AttemptState, DeliveryPolicy, Execution, ExecutionStatus,
    FunctionInvocationStatus, InvocationResult, RESOLVE,
};
use jiff::Timestamp;

/// FunctionGraph's code for a function without the called version. It reads an alias without its mark as a version.
const NO_SUCH_VERSION: &str = "FSS.1052";

/// What follows on advice about a provider: many who invoke may not change it, and may not even read it.
const NOT_YOURS: &str = " If the provider is not yours, tell its owner.";

/// Situation that the conditions describe.
pub(super) enum Situation {
    /// In progress or waiting.
    Waiting(Reason, String),
    /// Suspended.
    Suspended,
    /// Accepted, and the operator follows the execution.
    Following(Reason, String),
    /// Finished successfully.
    Well(Reason, String),
    /// Finished without success.
    Ended { reason: Reason, message: String, accepted: ConditionStatus },
}

/// `status` with the conditions for `situation`. Only `Ready` has the message in full, so that `kubectl describe` prints
/// it once.
pub(super) fn with(
    view: &View<'_>,
    mut status: FunctionInvocationStatus,
    now: Timestamp,
    situation: Situation,
) -> FunctionInvocationStatus {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{Accepted, Finished, Ready, Reconciling, ResolutionRefused, Stalled, Suspended};
    let refused = status.condition(ResolutionRefused).cloned();
    let ambiguous = is_ambiguous(&View { status: &status, ..*view });
    // The reason of `Accepted` keeps an earlier ambiguous attempt visible through later ones.
    let accepted_for = |reason| match reason {
        _ if ambiguous => Reason::OutcomeUnknown,
        _ if was_retried(view) => Reason::Resolved,
        reason => reason,
    };
    let (reason, message, ready, accepted, finished) = match situation {
        Situation::Waiting(reason, message) => {
            (reason, message, Unknown, (Unknown, accepted_for(reason)), False)
        }
        Situation::Suspended => {
            let message = "spec.suspend is true. The operator sends nothing until you set it to false.";
            let reason = Reason::Suspended;
            (reason, message.to_owned(), Unknown, (Unknown, accepted_for(reason)), False)
        }
        Situation::Following(reason, message) => (reason, message, Unknown, (True, Reason::Accepted), False),
        Situation::Well(reason, message) => (reason, message, True, (True, Reason::Accepted), True),
        Situation::Ended { reason, message, accepted } => (reason, message, False, (accepted, reason), True),
    };
    // What tools that read conditions in the manner of kstatus go by, and people who suspended the object.
    let state = match (ready, finished) {
        (False, _) => Some(Stalled),
        (_, True) => None,
        _ if reason == Reason::Suspended => Some(Suspended),
        _ => Some(Reconciling),
    };
    let mut wanted = vec![
        Condition::new(Ready, ready, reason, &message),
        Condition::new(Accepted, accepted.0, accepted.1, about_acceptance(accepted, finished)),
        Condition::new(Finished, finished, reason, about_end(finished)),
    ];
    wanted.extend(state.map(|state| Condition::new(state, True, reason, see_ready(state))));
    let put = |wanted| Condition::put(&view.status.conditions, wanted, view.generation, now);
    status.conditions = put(wanted);
    status.observed_generation = Some(view.generation);
    let handled = view.resolve.filter(|value| resolve::is_handled(value, &status));
    if let (Some(refused), Some(value)) = (refused, handled) {
        // An id of another object stays invalid. All other refusals depend on the current status.
        let (reason, message) = match refused.reason {
            Reason::RequestIdInUse => (refused.reason, refused.message),
            _ => resolve::refusal(value, &status),
        };
        status.conditions.extend(put(vec![Condition::new(ResolutionRefused, True, reason, &message)]));
    }
    status
}

/// The message of the condition `Accepted`.
fn about_acceptance((status, reason): (ConditionStatus, Reason), finished: ConditionStatus) -> &'static str {
    let ambiguous = finished == ConditionStatus::True || reason == Reason::OutcomeUnknown;
    match (status, reason) {
        (ConditionStatus::True, _) => "FunctionGraph accepted the invocation.",
        (ConditionStatus::False, _) => "FunctionGraph did not accept the invocation.",
        (ConditionStatus::Unknown, Reason::Resolved) => "FunctionGraph may have accepted an earlier attempt.",
        (ConditionStatus::Unknown, _) if ambiguous => "FunctionGraph may have accepted the invocation.",
        (ConditionStatus::Unknown, _) => "FunctionGraph has not accepted the invocation yet.",
    }
}

/// The message of the condition `Finished`.
fn about_end(finished: ConditionStatus) -> &'static str {
    match finished {
        ConditionStatus::True => "The object is finished.",
        ConditionStatus::False | ConditionStatus::Unknown => "The object is not finished yet.",
    }
}

/// `status` unchanged, for the current spec.
pub(super) fn observed(
    view: &View<'_>,
    mut status: FunctionInvocationStatus,
    now: Timestamp,
) -> FunctionInvocationStatus {
    let conditions = std::mem::take(&mut status.conditions);
    status.conditions = Condition::put(&view.status.conditions, conditions, view.generation, now);
    status.observed_generation = Some(view.generation);
    status
}

/// Whether a status already says this.
pub fn says_already(view: &View<'_>, reason: Reason, message: &str) -> bool {
    view.status.condition(ConditionType::Ready).is_some_and(|c| c.reason == reason && c.message == message)
}

/// Whether you chose Retry after an ambiguous attempt. That attempt may have been accepted nevertheless.
pub(super) fn was_retried(view: &View<'_>) -> bool {
    view.status.condition(ConditionType::Accepted).is_some_and(|accepted| accepted.reason == Reason::Resolved)
}

/// Whether this or an earlier attempt may have been accepted.
pub(super) fn is_ambiguous(view: &View<'_>) -> bool {
    let last = view.status.attempt.as_ref().and_then(|a| a.state) == Some(AttemptState::Ambiguous);
    // Only AtLeastOnce sends again after an ambiguous attempt. There the Accepted condition keeps it visible: see
    // `with`.
    let earlier = view.spec.delivery_policy == DeliveryPolicy::AtLeastOnce
        && view.status.condition(ConditionType::Accepted).is_some_and(|c| c.reason == Reason::OutcomeUnknown);
    last || earlier
}

/// The message about an ambiguous attempt. `evidence` describes FunctionGraph's list, if it was read.
pub(super) fn ambiguity(
    attempt: Option<&Attempt>,
    error: Option<&AttemptError>,
    evidence: Option<&str>,
) -> String {
    let why = error.map(clause).filter(|why| !why.is_empty());
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    let time = attempt.and_then(|attempt| attempt.claim_time);
    let time = time.map(|time| time.strftime(" around %Y-%m-%d %H:%M:%S UTC").to_string());
    let look = || format!("Look for it in the function's logs{}.", time.unwrap_or_default());
    let next = evidence.map_or_else(look, str::to_owned);
    format!(
        "FunctionGraph may have accepted the invocation{why}. The operator does not send it again. {next} Then set the annotation {RESOLVE} to Retry (the operator sends it again), Fail, or the request's id."
    )
}

/// The message about an acceptance. `how` says how it became known.
pub(super) fn acceptance(status: &FunctionInvocationStatus, how: &str) -> String {
    let name = match (&status.request_id, &status.instance_id) {
        (Some(id), None) => format!(" as request {id}"),
        (Some(id), Some(instance)) => format!(" as request {id} on instance {instance}"),
        (None, Some(instance)) => format!(" on instance {instance}"),
        (None, None) => ", but its answer held no readable request id".into(),
    };
    format!("FunctionGraph accepted the invocation{name}{how}.")
}

/// The message about the end of an execution. `result` is what a synchronous answer has left in the status.
pub(super) fn execution(execution: &Execution, result: Option<&InvocationResult>) -> String {
    let Execution { status, start_time: _, end_time: _, error_code, error_message } = execution;
    let parts = [error_code.clone(), error_message.clone().map(|text| text.trim_end_matches('.').to_owned())];
    let why = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    match status {
        Some(ExecutionStatus::Success) if result.is_some_and(|result| result.body.is_some()) => {
            "The function was executed. Its result is in status.result.".into()
        }
        Some(ExecutionStatus::Success) => "The function was executed.".into(),
        Some(ExecutionStatus::Discard) => format!(
            "FunctionGraph discarded the request before it ran{why}. It was queued for longer than the function's settings allow. Raise the function's maximum number of instances or maximum event age, then create a new FunctionInvocation."
        ),
        Some(ExecutionStatus::Fail | ExecutionStatus::Wait | ExecutionStatus::Running) | None => {
            let kept = result.is_some_and(|result| result.body.is_some() || result.log_tail.is_some());
            let place = if kept { "status.result and the function's logs" } else { "the function's logs" };
            format!(
                "The execution failed{why}. See {place}. Fix the cause, then create a new FunctionInvocation."
            )
        }
    }
}

/// One sentence about the error.
pub(super) fn describe(trouble: &Trouble) -> String {
    let parts = [trouble.http_status.map(|s| s.to_string()), trouble.code.clone()];
    let label = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let text = trouble.message.trim_end_matches('.');
    match (label.is_empty(), text.is_empty()) {
        (true, true) => "The attempt failed.".into(),
        (true, false) => match remedy(text) {
            "" => format!("{}.", sentence(text)),
            advice => format!("{}.{advice}{NOT_YOURS}", sentence(text)),
        },
        (false, true) => format!("FunctionGraph answered {label}."),
        (false, false) => format!("FunctionGraph answered {label}: {text}."),
    }
}

/// An error of a status as a clause, such as `500 FSS.0500: Internal server error`.
pub(super) fn clause(AttemptError { http_status, code, message, .. }: &AttemptError) -> String {
    let parts = [http_status.map(|status| status.to_string()), code.clone()];
    let label = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let text = message.as_deref().map(|text| text.trim_end_matches('.').to_owned());
    let parts = [Some(label), text].into_iter().flatten().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(": ")
}

/// What to do about a failed connection, as a sentence after its cause; empty if the cause is enough. The causes are those of
/// rustls, of the resolver and of the system.
pub fn remedy(cause: &str) -> &'static str {
    let has = |text| cause.contains(text);
    if has("invalid peer certificate: UnknownIssuer") {
        " Its certificate authority is not trusted. Add it to spec.caBundle of the provider."
    } else if has("proxy authorization required") {
        " The proxy asks for a password, and the operator has none. Let the proxy admit the operator by its address."
    } else if has("the proxy opened no tunnel") {
        " Check spec.proxy of the provider, and whether the proxy allows the endpoint."
    } else if !has("no connection to") {
        // A text of the service, or a connection that broke later.
        ""
    } else if has("failed to lookup address information") {
        " Check spec.region or spec.endpoint of the provider, and whether the operator reaches your DNS."
    } else if !(has("Connection refused") || has("timed out") || has("unreachable")) {
        ""
    } else if has("through the proxy") {
        " Check whether the proxy of spec.proxy answers, and whether it reaches the endpoint."
    } else {
        " Check spec.endpoint of the provider, whether a firewall or a NetworkPolicy is in the way, and whether a proxy is needed (spec.proxy)."
    }
}

/// `text` with a capital first letter, for a text that was written to follow a colon.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}

/// What to do about an object that failed because the operator stopped trying, as a sentence after the reason.
pub(super) fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::DeadlineExceeded => {
            " Fix the cause or raise activeDeadlineSeconds, then create a new FunctionInvocation."
        }
        Reason::BackoffLimitExceeded => " Fix the cause, then create a new FunctionInvocation.",
        _ => "",
    }
}

/// The message about an invocation that asks for what only a newer version of the operator knows.
pub fn not_known(what: &str) -> String {
    format!(
        "This version of the operator does not know {what}. Upgrade the operator, then create a new FunctionInvocation."
    )
}

/// The message about an ambiguous attempt that a rule of the user ends.
pub(super) fn ruled(trouble: &Trouble) -> String {
    format!(
        "{} FunctionGraph may have accepted it. A rule of spec.retryPolicy ends the invocation here. Check the function's logs before you create a new FunctionInvocation.",
        describe(trouble)
    )
}

pub(super) fn refusal(trouble: &Trouble, reason: Reason) -> String {
    let what = describe(trouble);
    let hint = match (reason, trouble.http_status) {
        (Reason::RedirectRefused, _) => {
            "The operator never follows a redirect. Set spec.endpoint of the provider to the right address, or ask its owner to."
        }
        (Reason::InvalidPayload, _) => "Fix the payload, then create a new FunctionInvocation.",
        (_, Some(404)) if trouble.code.as_deref() == Some(NO_SUCH_VERSION) => {
            "Check spec.function. An alias begins with an exclamation mark, as in qualifier: \"!prod\". Then create a new FunctionInvocation."
        }
        (_, Some(404)) => {
            "Check spec.function, and the region and project of the provider, then create a new FunctionInvocation."
        }
        (_, Some(403)) => {
            "Give the provider's credential the permission to invoke the function, or ask its owner to. Then create a new FunctionInvocation."
        }
        (_, Some(413)) => "Make the event smaller, then create a new FunctionInvocation.",
        _ => "The operator does not retry it. Fix the cause, then create a new FunctionInvocation.",
    };
    format!("{what} {hint}")
}
