//! The statuses that follow from the annotation `functiongraph.io/resolve`.

use super::answer::accepted;
use super::set_state;
use crate::api::condition::{ConditionStatus, ConditionType, Reason};
use crate::api::invocation::{AttemptState, FunctionInvocationStatus, Outcome, RequestIdSource};
use crate::lifecycle::resolve::{Resolution, Subject, mark_refused, refusal, remembered, subject};
use crate::lifecycle::tell::{Situation, observed, with};
use crate::lifecycle::{Acceptance, State, View};
use jiff::Timestamp;

/// The annotation changes nothing, and the status gives the reason. `because` adds a reason that the status does not
/// have.
pub fn resolution_refused(
    view: &View<'_>,
    because: Option<(Reason, String)>,
    now: Timestamp,
) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    if status.conditions.is_empty() {
        let waiting = Situation::Waiting(Reason::Progressing, "Waiting to be sent.".into());
        status = with(view, status, now, waiting);
    }
    let value = view.resolve.unwrap_or_default();
    status.resolution = Some(remembered(value).into());
    let why = because.unwrap_or_else(|| refusal(value, &status));
    mark_refused(&mut status.conditions, why);
    observed(view, status, now)
}

/// You removed the annotation: you may set the same value again.
pub fn resolution_forgotten(view: &View<'_>, now: Timestamp) -> FunctionInvocationStatus {
    let submitted_as = view.status.attempt.as_ref().map(|_| view.uid.into());
    let mut status = FunctionInvocationStatus { resolution: None, submitted_as, ..view.status.clone() };
    status.conditions.retain(|condition| condition.type_ != ConditionType::ResolutionRefused);
    observed(view, status, now)
}

/// The annotation resolves the attempt.
pub fn resolved(view: &View<'_>, resolution: &Resolution, now: Timestamp) -> FunctionInvocationStatus {
    let mut status = view.status.clone();
    status.resolution = view.resolve.map(|value| remembered(value).into());
    // The condition about an earlier value without effect does not apply any more.
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
            let message = "The annotation functiongraph.io/resolve says Fail.".into();
            let was_accepted =
                State::of(view.status) == State::Accepted || subject(view.status) == Some(Subject::Lost);
            let accepted = if was_accepted { ConditionStatus::True } else { ConditionStatus::Unknown };
            with(view, status, now, Situation::Ended { reason: Reason::Resolved, message, accepted })
        }
        Resolution::Retry => {
            set_state(&mut status, AttemptState::NotSent);
            (status.outcome, status.completion_time, status.next_attempt_time) = (None, None, None);
            (status.start_time, status.failed_attempts) = (Some(now), Some(0));
            status.candidate_request_ids = None;
            let message =
                "The annotation functiongraph.io/resolve says Retry. The operator sends the invocation again. activeDeadlineSeconds counts from now."
                    .into();
            with(view, status, now, Situation::Waiting(Reason::Resolved, message))
        }
    }
}
