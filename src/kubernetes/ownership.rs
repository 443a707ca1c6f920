//! Decides who owns an attempt, from the object and from what this process wrote.

use crate::api::FunctionInvocation;
use crate::api::invocation::{Attempt, AttemptState, FunctionInvocationStatus};

/// Whether `fresh` holds the claim `wanted`, made from `mine`, and nobody can have sent it. `unsent` means that this
/// process has not started to send it or to give it back.
///
/// An earlier claim of this process can arrive late, for the same attempt but with another destination or another
/// event. The event prepared now must not be sent for it.
pub fn owns(
    mine: &FunctionInvocation,
    fresh: &FunctionInvocation,
    wanted: &FunctionInvocationStatus,
    unsent: bool,
) -> bool {
    let (Some(status), Some(wrote)) = (&fresh.status, &wanted.attempt) else { return false };
    fresh.metadata.uid == mine.metadata.uid
        && status.attempt.as_ref().is_some_and(|found| {
            found.number == wrote.number
                && found.holder == wrote.holder
                && found.state == Some(AttemptState::Claimed)
                && found.endpoint == wrote.endpoint
                && found.urn == wrote.urn
        })
        && status.event_version == wanted.event_version
        && status.outcome.is_none()
        && unsent
}

/// Whether an object holds the attempt that was written.
pub(crate) fn holds(object: &FunctionInvocation, status: &FunctionInvocationStatus) -> bool {
    attempt(object).map(|a| a.state) == status.attempt.as_ref().map(|a| a.state)
}

/// Owner of an attempt when its answer is to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This process, and the result is not recorded yet.
    Ours,
    /// The result is recorded already: an earlier write succeeded, and its answer was lost.
    Written,
    /// Not this process any more.
    Lost(&'static str),
}

/// Who owns the attempt in `mine`, now that the object is `fresh` and `status` is to be written.
pub fn ownership(
    mine: &FunctionInvocation,
    fresh: &FunctionInvocation,
    status: &FunctionInvocationStatus,
) -> Ownership {
    if mine.metadata.uid != fresh.metadata.uid {
        return Ownership::Lost("the object was deleted, and another object has its name");
    }
    let (Some(claimed), Some(stands)) = (attempt(mine), attempt(fresh)) else {
        return Ownership::Lost("the attempt is gone from the object");
    };
    if claimed.number != stands.number || claimed.holder != stands.holder {
        return Ownership::Lost("another attempt was made meanwhile");
    }
    let outcome = fresh.status.as_ref().and_then(|s| s.outcome);
    let wanted = status.attempt.as_ref().and_then(|a| a.state);
    match stands.state {
        Some(AttemptState::Claimed) | None if outcome.is_none() => Ownership::Ours,
        // Another writer contradicts an acceptance. The acceptance wins, or the invocation would be sent again.
        _ if wanted == Some(AttemptState::Accepted) && outcome.is_none() => Ownership::Ours,
        state if state == wanted => Ownership::Written,
        Some(AttemptState::Ambiguous) if outcome.is_none_or(|o| !o.is_final()) => Ownership::Ours,
        _ => Ownership::Lost("the attempt was resolved meanwhile"),
    }
}

fn attempt(object: &FunctionInvocation) -> Option<&Attempt> {
    object.status.as_ref()?.attempt.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claimed(endpoint: &str, event: &str) -> FunctionInvocation {
        let attempt =
            json!({"number": 1, "holder": "h", "state": "Claimed", "endpoint": endpoint, "urn": "u"});
        serde_json::from_value(json!({
            "apiVersion": "functiongraph.io/v1alpha1",
            "kind": "FunctionInvocation",
            "metadata": {"name": "o", "uid": "uid"},
            "spec": {"function": {"name": "f"}},
            "status": {"attempt": attempt, "eventVersion": event},
        }))
        .unwrap()
    }

    #[test]
    fn a_claim_is_ours_only_with_the_destination_and_the_event_that_were_claimed() {
        let mine = claimed("a", "1");
        let owned =
            |fresh: &FunctionInvocation, unsent| owns(&mine, fresh, mine.status.as_ref().unwrap(), unsent);
        assert!(owned(&claimed("a", "1"), true));
        assert!(!owned(&claimed("a", "1"), false));
        assert!(!owned(&claimed("b", "1"), true));
        assert!(!owned(&claimed("a", "2"), true));
    }
}
