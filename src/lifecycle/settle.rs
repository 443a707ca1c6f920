//! The status to write when a doubt is settled: by the service's list, or by a person.

use super::record::{accepted, begun, end, set_state, troubled};
use super::tell::{Situation, with};
use super::{Acceptance, Conclusion, Resolution, Trouble, View};
use crate::api::condition::{ConditionStatus, Reason};
use crate::api::invocation::{
    AttemptState, DeliveryPolicy, ErrorClass, FunctionInvocationStatus, Outcome, RequestIdSource,
};
use jiff::Timestamp;

/// The service's list holds the one request that can be the attempt in doubt.
#[must_use]
pub fn found(view: &View<'_>, request_id: String, now: Timestamp) -> FunctionInvocationStatus {
    let acceptance = Acceptance { request_id: Some(request_id), ..Acceptance::default() };
    accepted(view, &acceptance, RequestIdSource::Lookup, now)
}

/// The service's list shows that the attempt in doubt was not accepted: another follows.
#[must_use]
pub fn not_accepted(view: &View<'_>, now: Timestamp, chance: u64) -> FunctionInvocationStatus {
    let trouble = Trouble {
        class: ErrorClass::NotSent,
        http_status: None,
        code: None,
        message: "FunctionGraph's list shows that the request, which was in doubt, was not accepted".into(),
        gateway_request_id: None,
        retry_after: None,
    };
    // Under AtLeastOnce it was counted when it became doubtful.
    let mut status = view.status.clone();
    if view.spec.delivery_policy == DeliveryPolicy::AtLeastOnce {
        status.failed_attempts = Some(view.failed().saturating_sub(1).max(0));
    }
    troubled(&View { status: &status, ..*view }, &trouble, now, chance)
}

/// The service's list does not settle the doubt.
#[must_use]
pub fn unresolved(view: &View<'_>, candidates: Vec<String>, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = begun(view, now);
    status.candidate_request_ids = Some(candidates).filter(|ids| !ids.is_empty());
    end(view, status, &Conclusion::Unknown, now)
}

/// A person has settled the doubt.
#[must_use]
pub fn resolved(view: &View<'_>, resolution: &Resolution, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    status.resolution = Some(resolution.as_str().into());
    // What is said now is the whole truth: no memory of doubt stays in the conditions.
    status.conditions = Vec::new();
    match resolution {
        Resolution::Accepted(id) => {
            let acceptance = Acceptance { request_id: Some(id.clone()), ..Acceptance::default() };
            accepted(&View { status: &status, ..*view }, &acceptance, RequestIdSource::User, now)
        }
        Resolution::Fail => {
            status.outcome = Some(Outcome::Failed);
            status.completion_time = Some(now);
            status.next_attempt_time = None;
            let message = "Counted as failed, as the annotation says.".into();
            let accepted = ConditionStatus::Unknown;
            with(view, status, now, Situation::Ended { reason: Reason::Resolved, message, accepted })
        }
        Resolution::Retry => {
            set_state(&mut status, AttemptState::NotSent);
            (status.outcome, status.completion_time, status.next_attempt_time) = (None, None, None);
            (status.start_time, status.failed_attempts) = (Some(now), Some(0));
            status.candidate_request_ids = None;
            let message = "Sent again, as the annotation says; the deadline counts from now.".into();
            with(view, status, now, Situation::Waiting(Reason::Resolved, message))
        }
    }
}

/// The annotation was taken away: the same word may be given again.
#[must_use]
pub fn withdrawn(view: &View<'_>) -> FunctionInvocationStatus {
    let submitted_as = view.status.attempt.as_ref().map(|_| view.uid.into());
    FunctionInvocationStatus { resolution: None, submitted_as, ..view.status.clone() }
}
