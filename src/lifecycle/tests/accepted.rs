//! After the acceptance, and after an ambiguous attempt: executions, lists, resolutions.

use super::*;
use crate::api::invocation::{Execution, ExecutionStatus, InvocationResult, RequestIdSource};
use crate::lifecycle::decide::FOLLOW_LIMIT;

const ID: &str = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";

fn followed() -> Object {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce));
    object.spec.completion_policy = CompletionPolicy::Executed;
    object
}

fn running() -> Object {
    followed().claimed(1, ME, at(1)).answered(&accepted(), at(2))
}

fn ended(status: ExecutionStatus, code: Option<&str>) -> Execution {
    Execution { status: Some(status), error_code: code.map(Into::into), ..Execution::default() }
}

fn ambiguous(policy: DeliveryPolicy) -> Object {
    Object::new(spec(policy))
        .claimed(1, ME, at(1))
        .answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(2))
}

#[test]
fn an_execution_is_followed_from_the_acceptance_to_the_end_that_the_service_tells() {
    assert_eq!(running().reason(), Some(Reason::Running));
    assert_eq!(running().status.outcome, None);
    assert_eq!(running().condition(ConditionType::Accepted), Some(ConditionStatus::True));
    assert_eq!(running().next(at(3)), Step::Follow);
    let cases = [
        (ExecutionStatus::Success, None, Outcome::Executed, Reason::Executed),
        (ExecutionStatus::Fail, Some("4002"), Outcome::Failed, Reason::ExecutionFailed),
        (ExecutionStatus::Fail, Some("4208"), Outcome::Failed, Reason::ExecutionFailed),
        (ExecutionStatus::Discard, None, Outcome::Failed, Reason::Discarded),
    ];
    for (status, code, outcome, reason) in cases {
        let mut object = running();
        object.status = record::executed(&object.view(), &ended(status, code), at(9));
        assert_eq!((object.status.outcome, object.reason()), (Some(outcome), Some(reason)), "{code:?}");
        assert_eq!(object.condition(ConditionType::Accepted), Some(ConditionStatus::True));
        assert_eq!(object.status.request_id.as_deref(), Some("id"));
        assert_eq!(object.next(at(10)), Step::Rest);
    }
}

#[test]
fn what_cannot_be_followed_ends_as_unknown_and_is_never_sent_again() {
    let nameless = followed().claimed(1, ME, at(1)).answered(&Reply::Accepted(Acceptance::default()), at(2));
    assert_eq!(nameless.status.outcome, Some(Outcome::Unknown));
    assert_eq!(nameless.reason(), Some(Reason::ExecutionUnknown));
    assert_eq!(nameless.condition(ConditionType::Accepted), Some(ConditionStatus::True));

    let mut endless = running();
    let late = later(at(2), FOLLOW_LIMIT);
    let Step::Conclude(conclusion) = endless.next(late) else { unreachable!() };
    endless.status = record::concluded(&endless.view(), &conclusion, late);
    assert_eq!(endless.reason(), Some(Reason::ExecutionUnknown));

    for mut object in [nameless, endless] {
        object.resolve = Some("Retry".into());
        assert_eq!(object.next(late), Step::RefuseResolution, "that it was accepted is certain");
        object.status = record::resolution_refused(&object.view(), None, late);
        assert_eq!(object.next(late), Step::Rest);
        assert_eq!(refused(&object), Some(Reason::NothingToResolve));
        object.resolve = Some("Fail".into());
        assert_eq!(object.next(late), Step::Resolve(Resolution::Fail));
        object.status = record::resolved(&object.view(), &Resolution::Fail, late);
        assert_eq!((object.status.outcome, refused(&object)), (Some(Outcome::Failed), None));
        assert_eq!(object.condition(ConditionType::Accepted), Some(ConditionStatus::True));
    }
}

/// Why the annotation changed nothing, if the status says so.
fn refused(object: &Object) -> Option<Reason> {
    Condition::find(&object.status.conditions, ConditionType::ResolutionRefused).map(|c| c.reason)
}

#[test]
fn an_id_that_was_typed_is_recorded_and_nothing_is_done_with_it() {
    let mut object =
        followed().claimed(1, ME, at(1)).answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(2));
    object.resolve = Some(format!("Accepted:{ID}"));
    let Step::Resolve(resolution) = object.next(at(3)) else { unreachable!() };
    object.status = record::resolved(&object.view(), &resolution, at(3));
    assert_eq!(object.status.outcome, Some(Outcome::Accepted), "it is not followed");
    assert_eq!(object.status.request_id.as_deref(), Some(ID));
    object.status.outcome = None; // as an older version left it
    object.spec.cancel = true;
    assert!(matches!(object.next(at(4)), Step::Conclude(Conclusion::Unfollowed(_))));
}

#[test]
fn a_request_whose_provider_leads_elsewhere_is_followed_on_or_resolved() {
    let mut object = running();
    let message = "elsewhere".to_owned();
    object.status = record::following(&object.view(), Reason::DestinationChanged, message, at(3));
    assert_eq!(object.next(at(4)), Step::Follow);
    for value in ["Retry", "Fail", "Accepted:other"] {
        let mut object = object.clone();
        object.resolve = Some(value.into());
        match object.next(at(5)) {
            Step::RefuseResolution => assert_eq!(value, "Retry"),
            Step::Resolve(resolution) => {
                object.status = record::resolved(&object.view(), &resolution, at(5));
                assert!(object.status.outcome.is_some_and(Outcome::is_final), "{value}");
                assert_eq!(object.status.request_id.as_deref(), Some("id"), "FunctionGraph's own id stays");
                assert_eq!(object.status.request_id_source, Some(RequestIdSource::Response));
            }
            step => unreachable!("{step:?}"),
        }
    }
}

#[test]
fn a_running_execution_is_stopped_once_and_counts_as_cancelled_when_the_service_says_so() {
    let mut object = running();
    object.spec.cancel = true;
    assert_eq!(object.next(at(3)), Step::Stop);
    // The request was taken, and the write that says so was lost.
    let mut unsaid = object.clone();
    unsaid.status = record::executed(&object.view(), &ended(ExecutionStatus::Fail, Some("4208")), at(9));
    assert_eq!((unsaid.status.outcome, unsaid.reason()), (Some(Outcome::Cancelled), Some(Reason::Cancelled)));
    object.status = record::stopping(&object.view(), at(3));
    assert_eq!(object.next(at(4)), Step::Follow);
    let after = |execution| {
        let mut object = object.clone();
        object.status = record::executed(&object.view(), &execution, at(9));
        (object.status.outcome, object.reason())
    };
    let stopped = after(ended(ExecutionStatus::Fail, Some("4208")));
    assert_eq!(stopped, (Some(Outcome::Cancelled), Some(Reason::Cancelled)));
    let too_late = after(ended(ExecutionStatus::Success, None));
    assert_eq!(too_late, (Some(Outcome::Executed), Some(Reason::Executed)));
}

#[test]
fn a_synchronous_answer_is_the_end_of_the_execution() {
    for (status, outcome) in
        [(ExecutionStatus::Success, Outcome::Executed), (ExecutionStatus::Fail, Outcome::Failed)]
    {
        let result = InvocationResult { body: Some("{}".into()), ..InvocationResult::default() };
        let executed = Executed { execution: ended(status, None), result: result.clone() };
        let reply =
            Reply::Accepted(Acceptance { executed: Some(Box::new(executed)), ..Acceptance::default() });
        let object =
            Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1)).answered(&reply, at(2));
        assert_eq!(object.status.outcome, Some(outcome));
        assert_eq!(object.status.result.as_deref(), Some(&result));
        let ready = Condition::find(&object.status.conditions, ConditionType::Ready).unwrap();
        assert!(ready.message.contains("status.result"), "{}", ready.message);
        assert_eq!(object.condition(ConditionType::Accepted), Some(ConditionStatus::True));
    }
}

#[test]
fn a_late_acceptance_of_a_followed_invocation_takes_unknown_back() {
    let mut object = followed().claimed(1, ME, at(1));
    object.status = record::ambiguous(&object.view(), "why", at(200), 0);
    assert_eq!(object.status.outcome, Some(Outcome::Unknown));
    let object = object.answered(&accepted(), at(201));
    assert_eq!((object.status.outcome, object.status.completion_time), (None, None));
    assert_eq!(object.next(at(202)), Step::Follow);
}

#[test]
fn a_list_is_evidence_for_you_and_no_answer_of_it_sends_or_names_anything() {
    let looking = |policy| {
        let mut object = Object::new(spec(policy));
        object.lookup = true;
        object.claimed(1, ME, at(1)).answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(2))
    };
    assert_eq!(looking(DeliveryPolicy::AtLeastOnce).next(at(400)), Step::Invoke { number: 2 });
    for request_ids in [vec![], vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]] {
        let mut object = looking(DeliveryPolicy::AtMostOnce);
        assert_eq!((object.status.outcome, object.reason()), (None, Some(Reason::LookingUp)));
        assert_eq!(object.next(at(3)), Step::LookUp);
        let evidence = Evidence { request_ids: request_ids.clone(), sentence: "The list shows this.".into() };
        object.status = record::looked_up(&object.view(), evidence, at(110));
        assert_eq!(
            (object.status.outcome, object.state()),
            (Some(Outcome::Unknown), Some(AttemptState::Ambiguous))
        );
        assert_eq!((&object.status.request_id, &object.status.request_id_source), (&None, &None));
        assert_eq!(object.status.candidate_request_ids.clone().unwrap_or_default(), request_ids);
        let ready = Condition::find(&object.status.conditions, ConditionType::Ready).unwrap();
        assert!(ready.message.contains("The list shows this."), "{}", ready.message);
        assert_eq!(object.next(at(9999)), Step::Rest);
    }
    let moment = Moment {
        now: at(900),
        holder: ME,
        progress: Progress::Nothing,
        unchanged_for: Duration::ZERO,
        looked_up: true,
    };
    let given_up = decide(&looking(DeliveryPolicy::AtMostOnce).view(), &moment);
    assert_eq!(given_up, Step::Conclude(Conclusion::Unknown(None)));
}

#[test]
fn each_value_of_the_annotation_resolves_once() {
    let asked = |value: &str| {
        let mut object = ambiguous(DeliveryPolicy::AtMostOnce);
        assert_eq!(object.status.outcome, Some(Outcome::Unknown));
        object.resolve = Some(value.into());
        let Step::Resolve(resolution) = object.next(at(7200)) else { unreachable!("{value}") };
        object.status = record::resolved(&object.view(), &resolution, at(7200));
        object
    };
    let accepted = asked(ID);
    assert_eq!(accepted.status.outcome, Some(Outcome::Accepted));
    assert_eq!(accepted.status.request_id.as_deref(), Some(ID));
    assert_eq!(accepted.status.request_id_source, Some(RequestIdSource::User));

    let failed = asked("Fail");
    assert_eq!((failed.status.outcome, failed.reason()), (Some(Outcome::Failed), Some(Reason::Resolved)));
    assert_eq!(failed.condition(ConditionType::Accepted), Some(ConditionStatus::Unknown));

    let again = asked("Retry");
    assert_eq!(again.status.outcome, None);
    assert_eq!(again.next(at(7201)), Step::Invoke { number: 2 }, "the deadline counts from the resolution");
    let mut again =
        again.claimed(2, ME, at(7201)).answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(7202));
    assert_eq!(again.status.outcome, Some(Outcome::Unknown));
    assert_eq!(again.next(at(7203)), Step::Rest, "the value was handled");
    again.resolve = None;
    assert_eq!(again.next(at(7203)), Step::ForgetResolution);
    again.status = record::resolution_forgotten(&again.view(), at(7203));
    again.resolve = Some("Retry".into());
    assert_eq!(again.next(at(7204)), Step::Resolve(Resolution::Retry));
}

#[test]
fn an_annotation_on_what_is_not_ambiguous_is_refused_once_and_does_not_count_later() {
    let fresh = Object::new(spec(DeliveryPolicy::AtMostOnce));
    let backing_off =
        fresh.clone().claimed(1, ME, at(1)).answered(&trouble(ErrorClass::NotSent, None), at(2));
    let mut suspended = fresh.clone();
    suspended.spec.suspend = true;
    suspended.status = record::suspended(&suspended.view(), at(1));
    for object in [fresh, backing_off, suspended] {
        for value in ["Retry", "Fail", ID] {
            let mut object = object.clone();
            object.resolve = Some(value.into());
            let before = Object { resolve: None, ..object.clone() }.next(at(400));
            assert_eq!(object.next(at(400)), Step::RefuseResolution);
            object.status = record::resolution_refused(&object.view(), None, at(400));
            assert_eq!(refused(&object), Some(Reason::NothingToResolve));
            assert_eq!(object.next(at(400)), before, "and it goes on as before");
            object.spec.suspend = false;
            if object.next(at(400)) == Step::Resume {
                object.status = record::resumed(&object.view(), at(400));
            }
            let Step::Invoke { number } = object.next(at(400)) else { unreachable!() };
            let mut object = object
                .claimed(number, ME, at(400))
                .answered(&trouble(ErrorClass::Ambiguous, Some(500)), at(401));
            assert_eq!(object.status.outcome, Some(Outcome::Unknown));
            assert_eq!(object.next(at(402)), Step::Rest, "it was there before");
            assert_eq!(refused(&object), Some(Reason::ResolvedTooEarly));
            object.resolve = None;
            object.status = record::resolution_forgotten(&object.view(), at(403));
            assert_eq!(refused(&object), None);
            object.resolve = Some("Fail".into());
            assert_eq!(object.next(at(404)), Step::Resolve(Resolution::Fail));
        }
    }
}

#[test]
fn an_annotation_that_came_while_the_attempt_was_under_way_does_not_resolve_it() {
    for ended in [false, true] {
        let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1));
        let before = object.decide(at(2), Progress::Sent, Duration::ZERO);
        object.resolve = Some("Retry".into());
        assert_eq!(
            object.decide(at(2), Progress::Sent, Duration::ZERO),
            before,
            "nothing is written meanwhile"
        );
        let mut object = if ended {
            object.answered(&trouble(ErrorClass::Ambiguous, Some(500)), at(3))
        } else {
            object.status = record::ambiguous(&object.view(), "taken over", at(200), 0);
            object
        };
        assert_eq!(object.next(at(201)), Step::Rest);
        assert_eq!(refused(&object), Some(Reason::ResolvedTooEarly));
        object.resolve = Some("Fail".into());
        assert_eq!(object.next(at(202)), Step::Resolve(Resolution::Fail), "another value is newer");
    }
}

#[test]
fn what_is_not_understood_changes_nothing_and_says_so() {
    for value in ["Failed", "done", "true", "retry", "", "Accepted", "1167bf8c", "x y"] {
        let mut object = ambiguous(DeliveryPolicy::AtMostOnce);
        object.resolve = Some(value.into());
        assert_eq!(object.next(at(3)), Step::RefuseResolution, "{value}");
        let before = object.status.clone();
        object.status = record::resolution_refused(&object.view(), None, at(3));
        assert_eq!(refused(&object), Some(Reason::NotUnderstood), "{value}");
        assert_eq!((object.status.outcome, &object.status.request_id), (before.outcome, &before.request_id));
        assert_eq!(object.next(at(4)), Step::Rest);
        object.resolve = Some("Retry".into());
        assert_eq!(object.next(at(5)), Step::Resolve(Resolution::Retry));
    }
}

#[test]
fn after_retry_nothing_says_that_the_invocation_was_certainly_not_accepted() {
    let retried = || {
        let mut object = ambiguous(DeliveryPolicy::AtMostOnce);
        object.resolve = Some("Retry".into());
        object.status = record::resolved(&object.view(), &Resolution::Retry, at(3));
        object
    };
    let mut cancelled = retried();
    cancelled.spec.cancel = true;
    let Step::Conclude(conclusion) = cancelled.next(at(4)) else { unreachable!() };
    cancelled.status = record::concluded(&cancelled.view(), &conclusion, at(4));
    assert_eq!(cancelled.status.outcome, Some(Outcome::Cancelled));
    let refused = retried().claimed(2, ME, at(4)).answered(&trouble(ErrorClass::Rejected, Some(404)), at(5));
    assert_eq!(refused.status.outcome, Some(Outcome::Failed));
    let throttled =
        retried().claimed(2, ME, at(4)).answered(&trouble(ErrorClass::Throttled, Some(429)), at(5));
    for object in [&cancelled, &refused, &throttled] {
        assert_eq!(object.condition(ConditionType::Accepted), Some(ConditionStatus::Unknown));
    }
    let ready = Condition::find(&refused.status.conditions, ConditionType::Ready).unwrap();
    assert!(ready.message.contains("An earlier attempt was ambiguous"), "{}", ready.message);
    let accepted = retried().claimed(2, ME, at(4)).answered(&accepted(), at(5));
    assert_eq!(accepted.condition(ConditionType::Accepted), Some(ConditionStatus::True));
}

#[test]
fn a_resolution_that_came_before_a_late_answer_is_not_lost() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1));
    object.status = record::ambiguous(&object.view(), "taken over", at(200), 0);
    object.resolve = Some("Retry".into());
    let object = object.answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(201));
    assert_eq!(object.next(at(202)), Step::Resolve(Resolution::Retry));
}

#[test]
fn an_unknown_outcome_can_be_resolved_whatever_the_last_attempt_was() {
    let mut object = ambiguous(DeliveryPolicy::AtLeastOnce)
        .claimed(2, ME, at(400))
        .answered(&trouble(ErrorClass::Rejected, Some(400)), at(401));
    assert_eq!(
        (object.status.outcome, object.state()),
        (Some(Outcome::Unknown), Some(AttemptState::Rejected))
    );
    object.resolve = Some("Fail".into());
    assert_eq!(object.next(at(402)), Step::Resolve(Resolution::Fail));
}
