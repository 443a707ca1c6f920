//! Reads any status into one of a few states.

use crate::api::invocation::{Attempt, AttemptState, FunctionInvocationStatus, Outcome};

/// State of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No attempt was claimed yet.
    Fresh,
    /// An attempt is claimed. Only its holder knows whether it was sent.
    Claimed {
        /// The attempt's number.
        number: i64,
        /// Its holder; empty if the status does not name one.
        holder: String,
    },
    /// The last attempt was certainly not accepted: another may follow.
    Open {
        /// The number of the last attempt.
        number: i64,
    },
    /// The last attempt may have been accepted.
    Ambiguous {
        /// The number of the last attempt.
        number: i64,
    },
    /// The last attempt was accepted, but the status has no outcome, because somebody edited it.
    Accepted,
    /// It has an outcome. `Unknown` can still be resolved.
    Finished(Outcome),
}

impl State {
    /// The state of a status. Total: anything unreadable counts as claimed by an unknown holder. Such an attempt is
    /// taken over in the end, and never sent again.
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
