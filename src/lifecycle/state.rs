//! Reads a status, however odd, into one of the few states that matter.

use crate::api::invocation::{Attempt, AttemptState, FunctionInvocationStatus, Outcome};

/// Where an invocation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was claimed yet.
    Fresh,
    /// An attempt is claimed; whether it was sent is known to its holder alone.
    Claimed {
        /// The attempt's number.
        number: i64,
        /// Its holder; empty if the status does not say.
        holder: String,
    },
    /// The last attempt was certainly not accepted: another may follow.
    Open {
        /// The number of the last attempt.
        number: i64,
    },
    /// It cannot be known whether the last attempt was accepted.
    Ambiguous {
        /// The number of the last attempt.
        number: i64,
    },
    /// The last attempt was accepted, but the status has no outcome (somebody else's edit).
    Accepted,
    /// It has an outcome. `Unknown` can still be resolved.
    Finished(Outcome),
}

impl State {
    /// The state that a status describes. Total: what cannot be understood counts as claimed by an unknown
    /// holder, so that it is waited for and then given up, never sent again.
    #[must_use]
    pub fn of(status: &FunctionInvocationStatus) -> Self {
        if let Some(outcome) = status.outcome {
            return Self::Finished(outcome);
        }
        let Some(Attempt { number, holder, state, claim_time: _, endpoint: _, urn: _ }) = &status.attempt
        else {
            return Self::Fresh;
        };
        let number = number.unwrap_or_default();
        match state {
            Some(AttemptState::Claimed) | None => {
                Self::Claimed { number, holder: holder.clone().unwrap_or_default() }
            }
            Some(AttemptState::Rejected | AttemptState::NotSent) => Self::Open { number },
            Some(AttemptState::Ambiguous) => Self::Ambiguous { number },
            Some(AttemptState::Accepted) => Self::Accepted,
        }
    }
}
