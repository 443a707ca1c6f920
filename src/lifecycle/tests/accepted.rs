//! After the acceptance, and in doubt: executions, lists, and what a person says.

use super::*;
use crate::api::invocation::{Execution, ExecutionStatus, InvocationResult, RequestIdSource};
use crate::lifecycle::decide::FOLLOWED;

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

fn in_doubt(policy: DeliveryPolicy) -> Object {
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
    let late = later(at(2), FOLLOWED);
    let Step::Conclude(conclusion) = endless.next(late) else { unreachable!() };
    endless.status = record::concluded(&endless.view(), &conclusion, late);
    assert_eq!(endless.reason(), Some(Reason::ExecutionUnknown));

    for mut object in [nameless, endless] {
        object.resolve = Some("Retry".into());
        assert_eq!(object.next(late), Step::Rest, "that it was accepted is not in doubt");
    }
}

#[test]
fn a_running_execution_is_stopped_once_and_counts_as_cancelled_when_the_service_says_so() {
    let mut object = running();
    object.spec.cancel = true;
    assert_eq!(object.next(at(3)), Step::Stop);
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
        assert_eq!(object.condition(ConditionType::Accepted), Some(ConditionStatus::True));
    }
}

#[test]
fn a_late_acceptance_of_a_followed_invocation_takes_unknown_back() {
    let mut object = followed().claimed(1, ME, at(1));
    object.status = record::in_doubt(&object.view(), "why", at(200), 0);
    assert_eq!(object.status.outcome, Some(Outcome::Unknown));
    let object = object.answered(&accepted(), at(201));
    assert_eq!((object.status.outcome, object.status.completion_time), (None, None));
    assert_eq!(object.next(at(202)), Step::Follow);
}

#[test]
fn doubt_is_looked_up_where_that_is_allowed_before_anything_else() {
    for policy in [DeliveryPolicy::AtMostOnce, DeliveryPolicy::AtLeastOnce] {
        let mut object = Object::new(spec(policy));
        object.lookup = true;
        let mut object =
            object.claimed(1, ME, at(1)).answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(2));
        assert_eq!(object.status.outcome, None);
        assert_eq!(object.next(at(3)), Step::LookUp);

        let mut found = object.clone();
        found.status = settle::found(&found.view(), "found".into(), at(40));
        assert_eq!(found.status.outcome, Some(Outcome::Accepted));
        assert_eq!(found.status.request_id_source, Some(RequestIdSource::Lookup));

        let mut free = object.clone();
        free.status = settle::not_accepted(&free.view(), at(40), 0);
        assert_eq!(free.next(at(400)), Step::Invoke { number: 2 });

        object.status = settle::unresolved(&object.view(), vec!["a".into(), "b".into()], at(40));
        assert_eq!(object.status.outcome, Some(Outcome::Unknown));
        assert_eq!(object.status.candidate_request_ids.as_ref().map(Vec::len), Some(2));
    }
    let doubtful = |policy| {
        let mut object = in_doubt(policy);
        (object.status.outcome, object.lookup) = (None, true);
        let moment = Moment {
            now: at(900),
            holder: ME,
            memory: Memory::Nothing,
            unchanged_for: Duration::ZERO,
            looked_up: true,
        };
        decide(&object.view(), &moment)
    };
    assert_eq!(doubtful(DeliveryPolicy::AtMostOnce), Step::Conclude(Conclusion::Unknown));
    assert_eq!(doubtful(DeliveryPolicy::AtLeastOnce), Step::Invoke { number: 2 });
}

#[test]
fn a_person_settles_a_doubt_once_per_word() {
    let asked = |word: &str| {
        let mut object = in_doubt(DeliveryPolicy::AtMostOnce);
        assert_eq!(object.status.outcome, Some(Outcome::Unknown));
        object.resolve = Some(word.into());
        let Step::Resolve(resolution) = object.next(at(7200)) else { unreachable!("{word}") };
        object.status = settle::resolved(&object.view(), &resolution, at(7200));
        object
    };
    let accepted = asked("1167bf8c");
    assert_eq!(accepted.status.outcome, Some(Outcome::Accepted));
    assert_eq!(accepted.status.request_id.as_deref(), Some("1167bf8c"));
    assert_eq!(accepted.status.request_id_source, Some(RequestIdSource::User));

    let failed = asked("Fail");
    assert_eq!((failed.status.outcome, failed.reason()), (Some(Outcome::Failed), Some(Reason::Resolved)));
    assert_eq!(failed.condition(ConditionType::Accepted), Some(ConditionStatus::Unknown));

    let again = asked("Retry");
    assert_eq!(again.status.outcome, None);
    assert_eq!(again.next(at(7201)), Step::Invoke { number: 2 }, "the deadline counts anew");
    let mut again =
        again.claimed(2, ME, at(7201)).answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(7202));
    assert_eq!(again.status.outcome, Some(Outcome::Unknown));
    assert_eq!(again.next(at(7203)), Step::Rest, "the word has been heard");
    again.resolve = None;
    assert_eq!(again.next(at(7203)), Step::Unresolve);
    again.status = settle::withdrawn(&again.view());
    again.resolve = Some("Retry".into());
    assert_eq!(again.next(at(7204)), Step::Resolve(Resolution::Retry));
}

#[test]
fn an_annotation_on_what_is_not_in_doubt_is_not_heard() {
    let fresh = Object::new(spec(DeliveryPolicy::AtMostOnce));
    let claimed = fresh.clone().claimed(1, ME, at(1));
    let refused = claimed.clone().answered(&trouble(ErrorClass::Rejected, Some(404)), at(2));
    for mut object in [fresh, claimed, refused, running()] {
        let before = object.next(at(3));
        object.resolve = Some("Retry".into());
        assert_eq!(object.next(at(3)), before);
    }
}

#[test]
fn a_person_is_heard_wherever_the_object_asks_for_a_word() {
    let mut object = in_doubt(DeliveryPolicy::AtLeastOnce)
        .claimed(2, ME, at(400))
        .answered(&trouble(ErrorClass::Rejected, Some(400)), at(401));
    assert_eq!(
        (object.status.outcome, object.state()),
        (Some(Outcome::Unknown), Some(AttemptState::Rejected))
    );
    object.resolve = Some("Fail".into());
    assert_eq!(object.next(at(402)), Step::Resolve(Resolution::Fail));
}

#[test]
fn an_attempt_that_was_not_accepted_after_all_counts_once() {
    for policy in [DeliveryPolicy::AtMostOnce, DeliveryPolicy::AtLeastOnce] {
        let mut object = Object::new(spec(policy));
        object.lookup = true;
        let object = object.claimed(1, ME, at(1)).answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(2));
        let status = settle::not_accepted(&object.view(), at(40), 0);
        assert_eq!(status.failed_attempts, Some(1), "{policy:?}");
    }
}
