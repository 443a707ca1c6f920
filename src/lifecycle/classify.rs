//! The consequences of an attempt's result: the table of answers, then the user's own rules.

use super::Trouble;
use crate::api::condition::Reason;
use crate::api::invocation::{AttemptState, ErrorClass, FunctionInvocationSpec, RetryAction};

/// What to do about an attempt without a known acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Retry: FunctionGraph certainly did not accept it.
    Retry {
        state: AttemptState,
        pause: Pause,
        /// Whether it counts against `backoffLimit`.
        counted: bool,
    },
    /// Fail.
    Fail { state: AttemptState, reason: Reason },
    /// Ambiguous: never send again under `AtMostOnce`.
    Ambiguous,
}

/// Length of the pause before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Full jitter and `Retry-After`.
    Backoff,
    /// Minutes, because a person must act first.
    Slow,
    /// None: the provider's gate decides.
    Gate,
}

/// The ruling on `trouble` for an object with this spec.
pub fn rule(trouble: &Trouble, spec: &FunctionInvocationSpec) -> Ruling {
    let by_table = table(trouble.class);
    let Some(action) = users_action(trouble, spec) else { return by_table };
    match (by_table, action) {
        // AtLeastOnce retries an ambiguous attempt anyway, AtMostOnce never does.
        (Ruling::Ambiguous, RetryAction::Retry)
        | (Ruling::Fail { .. }, RetryAction::Fail)
        | (_, RetryAction::Other) => by_table,
        (Ruling::Ambiguous, RetryAction::Fail) => {
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
        ErrorClass::Ambiguous => Ruling::Ambiguous,
    }
}

/// The action of the user's first matching rule. Only an answer can match. A refused credential is a problem of the
/// provider and not of the invocation.
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
