//! The status to write for each thing that can happen to an invocation. The only place that composes one.

use super::classify::{Pause, Ruling, rule};
use super::decide::{past_deadline, past_limit};
use super::{Conclusion, Reply, Trouble, View, backoff, display, later};
use crate::api::condition::{Claim, Condition, ConditionStatus, ConditionType, Reason};
use crate::api::invocation::{
    Attempt, AttemptError, AttemptState, DeliveryPolicy, ErrorClass, FunctionInvocationStatus, Outcome,
    RequestIdSource,
};
use jiff::Timestamp;

/// A new attempt is claimed.
#[must_use]
pub fn claimed(view: &View<'_>, number: i64, holder: &str, now: Timestamp) -> FunctionInvocationStatus {
    let status = FunctionInvocationStatus {
        attempt: Some(Attempt {
            number: Some(number),
            holder: Some(holder.into()),
            state: Some(AttemptState::Claimed),
            claim_time: Some(now),
        }),
        attempts: Some(view.status.attempts.unwrap_or_default().saturating_add(1)),
        next_attempt_time: None,
        ..begun(view, now)
    };
    with(view, status, now, Situation::Waiting(Reason::Progressing, "The invocation is being sent.".into()))
}

/// A claim is given back unsent: it was no attempt.
#[must_use]
pub fn handed_back(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    set_state(&mut status, AttemptState::NotSent);
    status.attempts = status.attempts.map(|n| n.saturating_sub(1).max(0));
    with(view, status, now, Situation::Waiting(Reason::Progressing, "Waiting to be sent.".into()))
}

/// An attempt of ours, or one that we took over, is in doubt and will stay so.
#[must_use]
pub fn in_doubt(view: &View<'_>, why: &str, now: Timestamp, chance: u64) -> FunctionInvocationStatus {
    let trouble = Trouble {
        class: ErrorClass::Ambiguous,
        http_status: None,
        code: None,
        message: why.into(),
        gateway_request_id: None,
        retry_after: None,
    };
    answered(view, &Reply::Trouble(trouble), now, chance)
}

/// The end of an attempt is known. Also for an object that was declared `Unknown` meanwhile.
#[must_use]
pub fn answered(view: &View<'_>, reply: &Reply, now: Timestamp, chance: u64) -> FunctionInvocationStatus {
    match reply {
        Reply::Accepted { request_id } => accepted(view, request_id.clone(), now),
        Reply::Trouble(trouble) => troubled(view, trouble, now, chance),
    }
}

fn accepted(view: &View<'_>, request_id: Option<String>, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    set_state(&mut status, AttemptState::Accepted);
    let message = match &request_id {
        Some(id) => format!("FunctionGraph accepted the invocation as request {id}."),
        None => "FunctionGraph accepted the invocation, but its answer held no request id that can be read."
            .into(),
    };
    status.outcome = Some(Outcome::Accepted);
    status.request_id_source = request_id.as_ref().map(|_| RequestIdSource::Response);
    status.request_id = request_id;
    status.accepted_time = Some(now);
    status.completion_time = Some(now);
    status.next_attempt_time = None;
    status.error = None;
    with(view, status, now, Situation::Accepted(message))
}

fn troubled(view: &View<'_>, trouble: &Trouble, now: Timestamp, chance: u64) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    status.error = Some(AttemptError {
        time: Some(now),
        class: Some(trouble.class),
        http_status: trouble.http_status.map(i64::from),
        code: trouble.code.clone(),
        message: Some(trouble.message.clone()).filter(|m| !m.is_empty()),
        gateway_request_id: trouble.gateway_request_id.clone(),
    });
    if matches!(trouble.class, ErrorClass::Throttled | ErrorClass::Unavailable) {
        status.throttled_attempts = Some(view.throttled().saturating_add(1));
    }
    if trouble.class == ErrorClass::Invalid {
        status.attempts = status.attempts.map(|n| n.saturating_sub(1).max(0));
    }
    match rule(trouble, view.spec) {
        Ruling::Retry { state, pause, counted } => {
            set_state(&mut status, state);
            if counted {
                status.failed_attempts = Some(view.failed().saturating_add(1));
            }
            again(view, status, trouble, pause, now, chance)
        }
        Ruling::Doubt if view.spec.delivery_policy == DeliveryPolicy::AtLeastOnce => {
            set_state(&mut status, AttemptState::Ambiguous);
            status.failed_attempts = Some(view.failed().saturating_add(1));
            again(view, status, trouble, Pause::Backoff, now, chance)
        }
        Ruling::Doubt => {
            set_state(&mut status, AttemptState::Ambiguous);
            end(view, status, &Conclusion::Unknown, now)
        }
        Ruling::Fail { state, reason } => {
            set_state(&mut status, state);
            let message = refusal(trouble, reason);
            // Nothing but a rule of the user ends an attempt that is in doubt as failed.
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

/// Another attempt follows, unless the limit, the deadline or an outcome already in place forbids it.
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
    let doubtful = is_doubtful(&after);
    if view.status.outcome.is_some() {
        // Declared Unknown by somebody else while we waited for the answer. A retry cannot be taken up
        // again from there, but what is known now can still be said.
        let conclusion = if doubtful {
            Conclusion::Unknown
        } else {
            Conclusion::Failed(
                Reason::Rejected,
                format!(
                    "{} The answer came after another process had given the attempt up, so it is not retried: create a new FunctionInvocation.",
                    describe(trouble)
                ),
            )
        };
        return end(view, status, &conclusion, now);
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
    if next.unwrap_or(now) >= after.deadline(now) {
        let conclusion = past_deadline(&after);
        return end(view, status, &conclusion, now);
    }
    status.next_attempt_time = next;
    let situation = match trouble.class {
        ErrorClass::Throttled | ErrorClass::Unavailable => {
            Situation::Waiting(Reason::Throttled, format!("{} It is tried again.", describe(trouble)))
        }
        ErrorClass::FunctionDisabled => Situation::Waiting(
            Reason::FunctionDisabled,
            format!(
                "{} Enable the function in FunctionGraph; it is asked again every few minutes until the deadline.",
                describe(trouble)
            ),
        ),
        ErrorClass::Unauthenticated => Situation::Waiting(
            Reason::WaitingForProvider,
            format!("{} It is sent again when the provider's credential is accepted.", describe(trouble)),
        ),
        ErrorClass::NotSent
        | ErrorClass::Ambiguous
        | ErrorClass::Rejected
        | ErrorClass::Redirected
        | ErrorClass::Invalid => {
            Situation::Waiting(Reason::BackingOff, format!("{} It is tried again.", describe(trouble)))
        }
    };
    with(view, status, now, situation)
}

/// It ends here, without an answer that decides it.
#[must_use]
pub fn concluded(view: &View<'_>, conclusion: &Conclusion, now: Timestamp) -> FunctionInvocationStatus {
    end(view, begun(view, now), conclusion, now)
}

/// It waits for something else than its own turn.
#[must_use]
pub fn waiting(view: &View<'_>, reason: Reason, message: String, now: Timestamp) -> FunctionInvocationStatus {
    with(view, begun(view, now), now, Situation::Waiting(reason, message))
}

/// Whether [`waiting`] would say something new.
#[must_use]
pub fn says_already(view: &View<'_>, reason: Reason, message: &str) -> bool {
    Condition::find(&view.status.conditions, ConditionType::Ready)
        .is_some_and(|c| c.reason == reason && c.message == message)
}

/// It is held back by `spec.suspend`. The deadline starts anew when it goes on.
#[must_use]
pub fn suspended(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let status = FunctionInvocationStatus { start_time: None, ..begun(view, now) };
    with(view, status, now, Situation::Suspended)
}

/// It goes on after a suspension.
#[must_use]
pub fn resumed(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let status = FunctionInvocationStatus { start_time: Some(now), ..begun(view, now) };
    with(view, status, now, Situation::Waiting(Reason::Progressing, "Waiting to be sent.".into()))
}

/// The status with what every write after the first look holds.
fn begun(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    status.start_time = Some(view.start(now));
    status.function = Some(display(view.spec));
    status
}

fn end(
    view: &View<'_>,
    mut status: FunctionInvocationStatus,
    conclusion: &Conclusion,
    now: Timestamp,
) -> FunctionInvocationStatus {
    let doubtful = is_doubtful(&View { status: &status, ..*view });
    status.next_attempt_time = None;
    status.completion_time = Some(now);
    let (outcome, reason, message, accepted) = match conclusion {
        Conclusion::Accepted => {
            status.outcome = Some(Outcome::Accepted);
            let message = "FunctionGraph accepted the invocation.".into();
            return with(view, status, now, Situation::Accepted(message));
        }
        Conclusion::Unknown => {
            (Outcome::Unknown, Reason::OutcomeUnknown, doubt(&status), ConditionStatus::Unknown)
        }
        Conclusion::Ruled(message) => {
            (Outcome::Failed, Reason::Rejected, message.clone(), ConditionStatus::Unknown)
        }
        Conclusion::Failed(_, message) if doubtful => (
            Outcome::Unknown,
            Reason::OutcomeUnknown,
            format!("{message} {}", doubt(&status)),
            ConditionStatus::Unknown,
        ),
        Conclusion::Cancelled if doubtful => (
            Outcome::Unknown,
            Reason::OutcomeUnknown,
            format!("Cancelled. {}", doubt(&status)),
            ConditionStatus::Unknown,
        ),
        Conclusion::Failed(reason, message) => {
            (Outcome::Failed, *reason, message.clone(), ConditionStatus::False)
        }
        Conclusion::Cancelled => (
            Outcome::Cancelled,
            Reason::Cancelled,
            "Cancelled before it was accepted; nothing is sent any more.".into(),
            ConditionStatus::False,
        ),
    };
    status.outcome = Some(outcome);
    with(view, status, now, Situation::Ended { reason, message, accepted })
}

/// Whether this or an earlier attempt may have been accepted.
fn is_doubtful(view: &View<'_>) -> bool {
    let last = view.status.attempt.as_ref().and_then(|a| a.state) == Some(AttemptState::Ambiguous);
    // Only AtLeastOnce goes on after doubt; there the Accepted condition remembers it: see `with`.
    let earlier = view.spec.delivery_policy == DeliveryPolicy::AtLeastOnce
        && Condition::find(&view.status.conditions, ConditionType::Accepted)
            .is_some_and(|c| c.reason == Reason::OutcomeUnknown);
    last || earlier
}

fn doubt(status: &FunctionInvocationStatus) -> String {
    let why = status.error.as_ref().and_then(|e| e.message.clone()).unwrap_or_default();
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    format!(
        "It cannot be known whether FunctionGraph accepted the invocation{why}. It is not sent again. Look for it in the function's logs around the claim time, and create a new FunctionInvocation if it did not run."
    )
}

/// One sentence on what went wrong.
fn describe(trouble: &Trouble) -> String {
    let parts = [trouble.http_status.map(|s| s.to_string()), trouble.code.clone()];
    let label = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let text = trouble.message.trim_end_matches('.');
    match (label.is_empty(), text.is_empty()) {
        (true, true) => "The attempt failed.".into(),
        (true, false) => format!("{}.", sentence(text)),
        (false, true) => format!("FunctionGraph answered {label}."),
        (false, false) => format!("FunctionGraph answered {label}: {text}."),
    }
}

/// `text` with a capital first letter: it was made to follow a colon.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}

fn refusal(trouble: &Trouble, reason: Reason) -> String {
    let what = describe(trouble);
    let hint = match (reason, trouble.http_status) {
        (Reason::RedirectRefused, _) => {
            "Redirects are never followed: set spec.endpoint of the provider to the right address."
        }
        (Reason::InvalidPayload, _) => "Mend the payload and create a new FunctionInvocation.",
        (_, Some(404)) => {
            "Check spec.function, and region and project of the provider; then create a new FunctionInvocation."
        }
        (_, Some(403)) => {
            "Give the provider's credential the permission to invoke the function; then create a new FunctionInvocation."
        }
        (_, Some(413)) => {
            "Send less: an asynchronous event may have 256 KB; then create a new FunctionInvocation."
        }
        _ => "It is not retried: mend the cause and create a new FunctionInvocation.",
    };
    format!("{what} {hint}")
}

fn set_state(status: &mut FunctionInvocationStatus, state: AttemptState) {
    if let Some(attempt) = &mut status.attempt {
        attempt.state = Some(state);
    }
}

/// What the conditions say.
enum Situation {
    /// Work goes on or waits.
    Waiting(Reason, String),
    /// Held back.
    Suspended,
    /// Accepted, and that is the end.
    Accepted(String),
    /// Over without success.
    Ended { reason: Reason, message: String, accepted: ConditionStatus },
}

/// `status` with the conditions for `situation`.
fn with(
    view: &View<'_>,
    mut status: FunctionInvocationStatus,
    now: Timestamp,
    situation: Situation,
) -> FunctionInvocationStatus {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{Accepted, Finished, Ready, Reconciling, Stalled, Suspended};
    let doubtful = is_doubtful(&View { status: &status, ..*view });
    let claim = |type_, status, reason, message: &str| Claim {
        type_,
        status,
        reason,
        message: shorten(message, MESSAGE),
    };
    let claims = match situation {
        Situation::Waiting(reason, message) => {
            // The reason of `Accepted` keeps the memory of doubt through later attempts.
            let accepted = if doubtful { Reason::OutcomeUnknown } else { reason };
            vec![
                claim(Ready, Unknown, reason, &message),
                claim(Accepted, Unknown, accepted, &message),
                claim(Finished, False, reason, &message),
                claim(Reconciling, True, reason, &message),
            ]
        }
        Situation::Suspended => {
            let message = "spec.suspend is true: nothing is sent until it is false.";
            let accepted = if doubtful { Reason::OutcomeUnknown } else { Reason::Suspended };
            vec![
                claim(Ready, Unknown, Reason::Suspended, message),
                claim(Accepted, Unknown, accepted, message),
                claim(Finished, False, Reason::Suspended, message),
                claim(Suspended, True, Reason::Suspended, message),
            ]
        }
        Situation::Accepted(message) => vec![
            claim(Ready, True, Reason::Accepted, &message),
            claim(Accepted, True, Reason::Accepted, &message),
            claim(Finished, True, Reason::Accepted, &message),
        ],
        Situation::Ended { reason, message, accepted } => vec![
            claim(Ready, False, reason, &message),
            claim(Accepted, accepted, reason, &message),
            claim(Finished, True, reason, &message),
            claim(Stalled, True, reason, &message),
        ],
    };
    status.conditions = Condition::put(&view.status.conditions, claims, view.generation, now);
    status.observed_generation = Some(view.generation);
    status
}

/// The longest message of a condition, in characters: the schema allows 2,048.
const MESSAGE: usize = 1500;

fn shorten(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
