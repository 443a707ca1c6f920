//! What an attempt's end means for the object: the table of answers, then the user's own rules.

use super::Trouble;
use crate::api::condition::Reason;
use crate::api::invocation::{AttemptState, ErrorClass, FunctionInvocationSpec, RetryAction};

/// What to do about an attempt that did not end with an acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Try again: it was certainly not accepted.
    Retry {
        /// What is known of the attempt.
        state: AttemptState,
        /// How long to pause.
        pause: Pause,
        /// Whether it counts against `backoffLimit`.
        counted: bool,
    },
    /// Give up.
    Fail {
        /// What is known of the attempt.
        state: AttemptState,
        /// Why.
        reason: Reason,
    },
    /// It may have been accepted: never send again under `AtMostOnce`.
    Doubt,
}

/// How long to pause before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Full jitter and `Retry-After`.
    Backoff,
    /// Minutes: a person has to act first.
    Slow,
    /// None of its own: the provider's gate decides.
    Gate,
}

/// The ruling on `trouble` for an object with this spec.
#[must_use]
pub fn rule(trouble: &Trouble, spec: &FunctionInvocationSpec) -> Ruling {
    let by_table = table(trouble.class);
    let Some(action) = users_action(trouble, spec) else { return by_table };
    match (by_table, action) {
        // AtLeastOnce retries doubt anyway, AtMostOnce never does.
        (Ruling::Doubt, RetryAction::Retry)
        | (Ruling::Fail { .. }, RetryAction::Fail)
        | (_, RetryAction::Other) => by_table,
        (Ruling::Doubt, RetryAction::Fail) => {
            Ruling::Fail { state: AttemptState::Ambiguous, reason: Reason::Rejected }
        }
        (Ruling::Retry { state, .. }, RetryAction::Fail) => Ruling::Fail { state, reason: Reason::Rejected },
        (Ruling::Fail { state, .. } | Ruling::Retry { state, .. }, RetryAction::Retry) => {
            Ruling::Retry { state, pause: Pause::Backoff, counted: true }
        }
    }
}

fn table(class: ErrorClass) -> Ruling {
    let rejected = AttemptState::Rejected;
    match class {
        ErrorClass::Throttled | ErrorClass::Unavailable => {
            Ruling::Retry { state: rejected, pause: Pause::Backoff, counted: false }
        }
        ErrorClass::FunctionDisabled => Ruling::Retry { state: rejected, pause: Pause::Slow, counted: false },
        ErrorClass::Unauthenticated => Ruling::Retry { state: rejected, pause: Pause::Gate, counted: false },
        ErrorClass::NotSent => {
            Ruling::Retry { state: AttemptState::NotSent, pause: Pause::Backoff, counted: true }
        }
        ErrorClass::Rejected => Ruling::Fail { state: rejected, reason: Reason::Rejected },
        ErrorClass::Redirected => Ruling::Fail { state: rejected, reason: Reason::RedirectRefused },
        ErrorClass::Ambiguous => Ruling::Doubt,
    }
}

/// What the first matching rule of the user asks for. Only an answer can match, and a credential that was
/// refused is the provider's trouble, not the invocation's.
fn users_action(trouble: &Trouble, spec: &FunctionInvocationSpec) -> Option<RetryAction> {
    let status = i64::from(trouble.http_status?);
    if trouble.class == ErrorClass::Unauthenticated {
        return None;
    }
    spec.retry_policy
        .rules
        .iter()
        .find(|rule| {
            let status_fits = rule.http_statuses.is_empty() || rule.http_statuses.contains(&status);
            let code_fits = rule.error_codes.is_empty()
                || trouble.code.as_ref().is_some_and(|code| rule.error_codes.contains(code));
            status_fits && code_fits
        })
        .map(|rule| rule.action)
}
