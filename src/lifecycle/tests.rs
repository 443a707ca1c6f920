//! The core, as tables and as properties over random histories.

mod accepted;
mod histories;
mod origin;

use super::shorten::{Length, shortened};
use super::*;
use crate::api::condition::{Condition, ConditionStatus, ConditionType, Reason};
use crate::api::invocation::{
    Attempt, AttemptState, CompletionPolicy, DeliveryPolicy, FunctionInvocationSpec,
    FunctionInvocationStatus, Outcome, RetryAction, RetryRule,
};

const ME: &str = "me";

fn spec(policy: DeliveryPolicy) -> FunctionInvocationSpec {
    let mut spec: FunctionInvocationSpec =
        serde_json::from_value(serde_json::json!({"function": {"name": "resize"}})).unwrap();
    spec.delivery_policy = policy;
    spec
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// An object as the tests drive it: what the API server would hold.
#[derive(Clone, Debug)]
struct Object {
    spec: FunctionInvocationSpec,
    status: FunctionInvocationStatus,
    deleting: bool,
    resolve: Option<String>,
    lookup: bool,
    restored: bool,
}

impl Object {
    fn new(spec: FunctionInvocationSpec) -> Self {
        let status = FunctionInvocationStatus::default();
        Self { spec, status, deleting: false, resolve: None, lookup: false, restored: false }
    }

    fn view(&self) -> View<'_> {
        View {
            spec: &self.spec,
            status: &self.status,
            uid: "uid",
            origin: self.origin(),
            generation: 1,
            created: at(0),
            deleting: self.deleting,
            resolve: self.resolve.as_deref(),
            lookup: self.lookup,
        }
    }

    fn origin(&self) -> Origin<'_> {
        if self.restored && self.status.submitted_as.is_none() {
            Origin::Restored("nightly")
        } else {
            Origin::New
        }
    }

    fn decide(&self, now: Timestamp, progress: Progress, unchanged_for: Duration) -> Step {
        decide(&self.view(), &Moment { now, holder: ME, progress, unchanged_for, looked_up: false })
    }

    fn next(&self, now: Timestamp) -> Step {
        self.decide(now, Progress::Nothing, Duration::ZERO)
    }

    fn claimed(mut self, number: i64, holder: &str, now: Timestamp) -> Self {
        self.status = record::claimed(&self.view(), number, holder, &target(), now);
        self
    }

    fn answered(mut self, reply: &Reply, now: Timestamp) -> Self {
        self.status = record::answered(&self.view(), reply, now, 0);
        self
    }

    fn state(&self) -> Option<AttemptState> {
        self.status.attempt.as_ref().and_then(|a| a.state)
    }

    fn reason(&self) -> Option<Reason> {
        Condition::find(&self.status.conditions, ConditionType::Ready).map(|c| c.reason)
    }

    fn condition(&self, type_: ConditionType) -> Option<ConditionStatus> {
        Condition::find(&self.status.conditions, type_).map(|c| c.status)
    }
}

fn target() -> Target {
    Target { endpoint: "https://there".into(), urn: "urn".into(), event_version: "sha256:e".into() }
}

fn trouble(class: ErrorClass, http_status: Option<u16>) -> Reply {
    Reply::Trouble(Trouble {
        class,
        http_status,
        code: http_status.map(|s| format!("FSS.0{s}")),
        message: "as the service says".into(),
        gateway_request_id: None,
        retry_after: None,
    })
}

fn accepted() -> Reply {
    Reply::Accepted(Acceptance { request_id: Some("id".into()), ..Acceptance::default() })
}

// === what is next ===

#[test]
fn a_new_object_is_invoked_as_attempt_one() {
    assert_eq!(Object::new(spec(DeliveryPolicy::AtMostOnce)).next(at(1)), Step::Invoke { number: 1 });
}

#[test]
fn what_stands_in_the_way_is_judged_in_order() {
    let fresh = || Object::new(spec(DeliveryPolicy::AtMostOnce));
    let mut deleting = fresh();
    deleting.deleting = true;
    assert_eq!(deleting.next(at(1)), Step::Rest);

    let mut cancelled = fresh();
    (cancelled.spec.cancel, cancelled.spec.suspend) = (true, true);
    assert_eq!(cancelled.next(at(1)), Step::Conclude(Conclusion::Cancelled));

    let mut suspended = fresh();
    suspended.spec.suspend = true;
    assert_eq!(suspended.next(at(1)), Step::Suspend);
    suspended.status = record::suspended(&suspended.view(), at(1));
    assert_eq!(suspended.next(at(999_999)), Step::Rest, "a suspension outlives the deadline");
    suspended.spec.suspend = false;
    assert_eq!(suspended.next(at(999_999)), Step::Resume);
    suspended.status = record::resumed(&suspended.view(), at(999_999));
    assert_eq!(
        suspended.next(at(1_000_000)),
        Step::Invoke { number: 1 },
        "the deadline counts from the resume"
    );
    suspended.status.next_attempt_time = Some(at(40));
    let resumed = record::resumed(&suspended.view(), at(9));
    let ready = Condition::find(&resumed.conditions, ConditionType::Ready);
    assert_eq!(ready.map(|ready| &*ready.message), Some("Waiting to be sent: not before 08:00:40 UTC."));

    let late = fresh();
    assert_eq!(late.next(at(3599)), Step::Invoke { number: 1 });
    assert_eq!(late.next(at(3600)), Step::Wait(at(3605)), "another clock may be behind");
    let Step::Conclude(Conclusion::Failed(reason, _)) = late.next(at(3605)) else { unreachable!() };
    assert_eq!(reason, Reason::DeadlineExceeded);
}

#[test]
fn an_own_claim_is_never_sent_a_second_time_from_memory() {
    let object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1));
    let next = |progress| object.decide(at(2), progress, Duration::from_secs(9999));
    assert_eq!(next(Progress::Nothing), Step::HandBack);
    assert_eq!(next(Progress::Returned), Step::HandBack);
    assert_eq!(next(Progress::Sent), Step::GiveUpOwn);
    assert_eq!(next(Progress::Answered), Step::Save);
    assert!(matches!(next(Progress::Saved), Step::Observe(_)));
}

#[test]
fn another_process_is_given_its_time_and_then_taken_over() {
    let object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, "other", at(1));
    let next = |unchanged| object.decide(at(99_999), Progress::Nothing, unchanged);
    assert_eq!(next(Duration::ZERO), Step::Observe(TAKEOVER));
    assert_eq!(next(Duration::from_secs(119)), Step::Observe(Duration::from_secs(1)));
    assert_eq!(next(TAKEOVER), Step::TakeOver);
}

#[test]
fn a_long_request_is_given_its_time_and_more() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, "other", at(1));
    object.spec.request_timeout_seconds = 90;
    assert_eq!(object.decide(at(9), Progress::Nothing, TAKEOVER), Step::Observe(Duration::from_secs(45)));
    assert_eq!(object.decide(at(9), Progress::Nothing, Duration::from_secs(165)), Step::TakeOver);
}

#[test]
fn a_handed_back_claim_is_no_attempt_and_another_follows() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1));
    object.status = record::handed_back(&object.view(), at(2));
    assert_eq!(object.status.attempts, Some(0));
    assert_eq!(object.next(at(3)), Step::Invoke { number: 2 });
}

#[test]
fn a_finished_object_rests_until_its_time_to_live_is_over() {
    let mut object =
        Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1)).answered(&accepted(), at(2));
    assert_eq!(object.next(at(3)), Step::Rest);
    object.spec.ttl_seconds_after_finished = Some(10);
    assert_eq!(object.next(at(3)), Step::Wait(at(17)), "another clock may be behind");
    assert_eq!(object.next(at(17)), Step::Delete);
    object.spec.ttl_seconds_after_finished = Some(0);
    assert_eq!(object.next(at(2)), Step::Delete);
}

#[test]
fn a_status_that_makes_no_sense_is_waited_for_and_then_given_up() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce));
    object.status.attempt = Some(Attempt::default());
    assert_eq!(object.next(at(1)), Step::Observe(TAKEOVER));
    assert_eq!(object.decide(at(1), Progress::Nothing, TAKEOVER), Step::TakeOver);
    object.status = record::ambiguous(&object.view(), "why", at(2), 0);
    assert_eq!(object.status.outcome, Some(Outcome::Unknown));
}

#[test]
fn an_ambiguous_attempt_without_an_outcome_is_concluded_under_at_most_once() {
    let ambiguous = |policy| {
        let mut object = Object::new(spec(policy)).claimed(1, ME, at(1));
        object.status.attempt.as_mut().unwrap().state = Some(AttemptState::Ambiguous);
        object.next(at(2))
    };
    assert_eq!(ambiguous(DeliveryPolicy::AtMostOnce), Step::Conclude(Conclusion::Unknown(None)));
    assert_eq!(ambiguous(DeliveryPolicy::AtLeastOnce), Step::Invoke { number: 2 });
}

#[test]
fn an_unknown_outcome_says_when_to_look_for_the_request() {
    let object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1));
    let look = |status: &FunctionInvocationStatus| {
        let ready = status.condition(ConditionType::Ready).unwrap();
        ready.message.split_once("Look for it in the function's logs").unwrap().1[..27].to_owned()
    };
    let status = record::ambiguous(&object.view(), "no answer", at(2), 0);
    assert_eq!(look(&status), format!(" around {}", at(1).strftime("%Y-%m-%d %H:%M:%S")));
}

#[test]
fn a_later_attempt_sends_the_event_of_the_first_or_none() {
    let object = Object::new(spec(DeliveryPolicy::AtMostOnce));
    assert_eq!(decide::changed_event(&object.view(), "sha256:e"), None);
    let object = object.claimed(1, ME, at(1)).answered(&trouble(ErrorClass::Throttled, Some(429)), at(2));
    assert_eq!(object.status.event_version.as_deref(), Some("sha256:e"));
    assert_eq!(decide::changed_event(&object.view(), "sha256:e"), None);
    let changed = decide::changed_event(&object.view(), "sha256:f");
    assert!(matches!(changed, Some(Conclusion::Failed(Reason::InvalidPayload, _))), "{changed:?}");
    let again = Target { event_version: "sha256:f".into(), ..target() };
    let claimed = record::claimed(&object.view(), 2, ME, &again, at(3));
    assert_eq!(claimed.event_version.as_deref(), Some("sha256:e"), "the first claim counts");
}

#[test]
fn an_event_that_is_not_the_claimed_one_ends_the_object_unsent() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1));
    let conclusion = decide::changed_event(&object.view(), "sha256:f").unwrap();
    object.status = record::not_as_claimed(&object.view(), &conclusion, at(2));
    assert_eq!((object.status.outcome, object.state()), (Some(Outcome::Failed), Some(AttemptState::NotSent)));
    assert_eq!(object.condition(ConditionType::Accepted), Some(ConditionStatus::False));
}

#[test]
fn a_status_that_does_not_fit_is_cut_to_what_decides() {
    let result = crate::api::invocation::InvocationResult {
        body: Some("b".repeat(8000)),
        log_tail: Some("l".repeat(4000)),
        ..Default::default()
    };
    let executed = Executed { result, ..Executed::default() };
    let reply = Reply::Accepted(Acceptance { executed: Some(Box::new(executed)), ..Acceptance::default() });
    let status =
        Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1)).answered(&reply, at(2)).status;
    let size = |length| serde_json::to_string(&shortened(status.clone(), length)).unwrap().len();
    assert_eq!(shortened(status.clone(), Length::Full), status);
    assert!(size(Length::Full) > 12_000);
    assert!(size(Length::Short) < 3000, "{}", size(Length::Short));
    assert!(size(Length::Minimal) < size(Length::Short));
    let minimal = shortened(status.clone(), Length::Minimal);
    assert_eq!((minimal.outcome, &minimal.attempt), (status.outcome, &status.attempt));
    let short = shortened(status.clone(), Length::Short);
    assert_eq!(short.result.unwrap().truncated, Some(true));
    assert!(short.conditions.iter().all(|condition| condition.message.contains("Shortened")));
    let lengths: Vec<_> = std::iter::successors(Some(Length::Full), |length| length.shorter()).collect();
    assert_eq!(lengths, [Length::Full, Length::Short, Length::Minimal]);
}

// === clocks ===

#[test]
fn the_deadline_counts_from_the_creation_whenever_the_operator_came() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce));
    object.spec.active_deadline_seconds = 5;
    assert!(matches!(object.next(at(25)), Step::Conclude(Conclusion::Failed(Reason::DeadlineExceeded, _))));
    assert_eq!(object.claimed(1, ME, at(3)).status.start_time, Some(at(0)));
}

#[test]
fn clocks_that_differ_by_seconds_end_nothing() {
    for ahead in [0, 1, 3, 5] {
        let mut resumed = Object::new(spec(DeliveryPolicy::AtMostOnce));
        resumed.spec.active_deadline_seconds = 30;
        resumed.status = record::suspended(&resumed.view(), at(10));
        resumed.status = record::resumed(&resumed.view(), at(1000 + ahead));
        assert_eq!(resumed.next(at(1000)), Step::Invoke { number: 1 }, "resumed by a clock {ahead} s ahead");
        assert!(resumed.claimed(1, ME, at(1000)).status.start_time >= Some(at(1000)));

        let mut finished = Object::new(spec(DeliveryPolicy::AtMostOnce))
            .claimed(1, ME, at(1000 + ahead))
            .answered(&accepted(), at(1000 + ahead));
        finished.spec.ttl_seconds_after_finished = Some(30);
        assert_eq!(finished.next(at(1000)), Step::Wait(at(1035)), "finished by a clock {ahead} s ahead");
        assert!(matches!(finished.next(at(1030)), Step::Wait(_)));
    }
}

#[test]
fn an_age_is_reached_though_the_clock_of_the_creation_was_ahead() {
    let object = Object::new(spec(DeliveryPolicy::AtMostOnce));
    // The creation is at second 0.
    for (now, rest) in [(-3600, 0), (-9, 0), (-5, 3), (0, 3), (1, 2), (3, 0), (4, 0)] {
        let left = object.view().until_age(Duration::from_secs(3), at(now));
        assert_eq!(left, Duration::from_secs(rest), "{now}");
        assert_eq!(object.view().until_due_for(Duration::from_secs(3), at(now)), left, "{now}");
    }
    let mut started = object;
    started.status.start_time = Some(at(10));
    for (now, rest) in [(0, 3), (10, 3), (12, 1), (13, 0)] {
        let left = started.view().until_due_for(Duration::from_secs(3), at(now));
        assert_eq!(left, Duration::from_secs(rest), "{now}");
    }
}

#[test]
fn times_of_a_clock_that_ran_ahead_are_corrected_once() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce));
    object.spec.active_deadline_seconds = 60;
    object.status = record::suspended(&object.view(), at(0));
    object.status = record::resumed(&object.view(), at(600));
    let mut object =
        object.claimed(1, ME, at(600)).answered(&trouble(ErrorClass::Throttled, Some(429)), at(600));
    object.status.next_attempt_time = Some(at(604));
    assert_eq!(object.next(at(1)), Step::CorrectTimes);
    object.status = record::corrected(&object.view(), at(1));
    assert_eq!(object.status.start_time, Some(at(1)));
    assert_eq!(object.next(at(1)), Step::Wait(at(5)), "the pause keeps its length");
    assert!(matches!(object.next(at(66)), Step::Conclude(Conclusion::Failed(Reason::DeadlineExceeded, _))));

    let mut finished = Object::new(spec(DeliveryPolicy::AtMostOnce))
        .claimed(1, ME, at(172_800))
        .answered(&accepted(), at(172_800));
    finished.spec.ttl_seconds_after_finished = Some(30);
    assert_eq!(finished.next(at(1)), Step::CorrectTimes);
    finished.status = record::corrected(&finished.view(), at(1));
    assert_eq!(finished.next(at(1)), Step::Wait(at(36)));
    assert_eq!(finished.status.outcome, Some(Outcome::Accepted));
}

#[test]
fn a_pause_that_no_policy_can_have_made_is_none() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce))
        .claimed(1, ME, at(1))
        .answered(&trouble(ErrorClass::NotSent, None), at(2));
    object.status.next_attempt_time = Some(Timestamp::MAX);
    assert_eq!(object.next(at(3)), Step::Invoke { number: 2 });
    object.status.next_attempt_time = Some(at(990));
    assert_eq!(object.next(at(3)), Step::Wait(at(990)));
    object.status.start_time = Some(Timestamp::MAX);
    assert_eq!(object.next(at(3)), Step::CorrectTimes);
}

#[test]
fn an_edit_that_changes_nothing_else_is_acknowledged() {
    let edited = |object: &Object| {
        let view = View { generation: 2, ..object.view() };
        let moment = Moment {
            now: at(3),
            holder: ME,
            progress: Progress::Nothing,
            unchanged_for: Duration::ZERO,
            looked_up: false,
        };
        (decide(&view, &moment), record::acknowledged(&view, at(3)))
    };
    let once = || Object::new(spec(DeliveryPolicy::AtMostOnce));
    let finished = once().claimed(1, ME, at(1)).answered(&accepted(), at(2));
    let waiting =
        once().claimed(1, ME, at(1)).answered(&trouble(ErrorClass::FunctionDisabled, Some(429)), at(2));
    let unknown = once().claimed(1, ME, at(1)).answered(&trouble(ErrorClass::Ambiguous, None), at(2));
    for object in [finished, waiting, unknown] {
        let (step, status) = edited(&object);
        assert_eq!(step, Step::Acknowledge);
        assert_eq!(status.observed_generation, Some(2));
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == 2));
        assert_eq!((status.outcome, status.attempt), (object.status.outcome, object.status.attempt));
    }
    assert_eq!(edited(&once()).0, Step::Invoke { number: 1 }, "what was never written is not acknowledged");
}

// === what an answer means ===

#[test]
fn each_kind_of_answer_ends_as_the_table_says() {
    use AttemptState::{Ambiguous, NotSent, Rejected};
    use ErrorClass as Class;
    let cases = [
        (Class::Throttled, Some(429), Rejected, None, Some(Reason::Throttled), (1, 0)),
        (Class::Unavailable, Some(503), Rejected, None, Some(Reason::Throttled), (1, 0)),
        (Class::FunctionDisabled, Some(429), Rejected, None, Some(Reason::FunctionDisabled), (0, 0)),
        (Class::Unauthenticated, Some(401), Rejected, None, Some(Reason::WaitingForProvider), (0, 0)),
        (Class::NotSent, None, NotSent, None, Some(Reason::BackingOff), (0, 1)),
        (Class::Rejected, Some(404), Rejected, Some(Outcome::Failed), Some(Reason::Rejected), (0, 0)),
        (
            Class::Redirected,
            Some(302),
            Rejected,
            Some(Outcome::Failed),
            Some(Reason::RedirectRefused),
            (0, 0),
        ),
        (
            Class::Ambiguous,
            Some(504),
            Ambiguous,
            Some(Outcome::Unknown),
            Some(Reason::OutcomeUnknown),
            (0, 0),
        ),
    ];
    for (class, status, state, outcome, reason, (throttled, failed)) in cases {
        let object = Object::new(spec(DeliveryPolicy::AtMostOnce))
            .claimed(1, ME, at(1))
            .answered(&trouble(class, status), at(2));
        assert_eq!(object.state(), Some(state), "{class:?}");
        assert_eq!(object.status.outcome, outcome, "{class:?}");
        assert_eq!(object.reason(), reason, "{class:?}");
        assert_eq!((object.view().throttled(), object.view().failed()), (throttled, failed), "{class:?}");
        let error = object.status.error.unwrap();
        assert_eq!((error.class, error.http_status), (Some(class), status.map(i64::from)), "{class:?}");
    }
}

#[test]
fn an_ambiguous_attempt_is_followed_by_another_only_under_at_least_once_and_is_never_forgotten() {
    let object = Object::new(spec(DeliveryPolicy::AtLeastOnce))
        .claimed(1, ME, at(1))
        .answered(&trouble(ErrorClass::Ambiguous, Some(504)), at(2));
    assert_eq!(object.status.outcome, None);
    assert_eq!(object.next(at(400)), Step::Invoke { number: 2 });
    for (class, status) in [(ErrorClass::Redirected, 302), (ErrorClass::Rejected, 404)] {
        let refused = object.clone().claimed(2, ME, at(400)).answered(&trouble(class, Some(status)), at(401));
        assert_eq!(refused.status.outcome, Some(Outcome::Unknown), "the first may have been accepted");
        assert_eq!(refused.condition(ConditionType::Accepted), Some(ConditionStatus::Unknown));
    }
}

#[test]
fn a_disabled_function_is_asked_again_in_minutes_and_named_at_the_end() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce));
    object.spec.active_deadline_seconds = 500;
    let disabled = trouble(ErrorClass::FunctionDisabled, Some(429));
    let object = object.claimed(1, ME, at(1)).answered(&disabled, at(2));
    assert_eq!(object.status.next_attempt_time, Some(at(302)));
    let object = object.claimed(2, ME, at(302)).answered(&disabled, at(303));
    assert_eq!(object.status.outcome, Some(Outcome::Failed), "the next would come after the deadline");
    assert_eq!(object.reason(), Some(Reason::FunctionDisabled));
}

#[test]
fn failed_attempts_end_at_the_limit_and_throttled_ones_do_not() {
    let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce));
    object.spec.retry_policy.backoff_limit = 2;
    for number in 1..=50 {
        object = object
            .claimed(number, ME, at(number))
            .answered(&trouble(ErrorClass::Throttled, Some(429)), at(number));
        assert_eq!(object.status.outcome, None);
    }
    for number in 51..=53 {
        assert_eq!(object.status.outcome, None);
        object =
            object.claimed(number, ME, at(number)).answered(&trouble(ErrorClass::NotSent, None), at(number));
    }
    assert_eq!(object.status.outcome, Some(Outcome::Failed));
    assert_eq!(object.reason(), Some(Reason::BackoffLimitExceeded));
}

#[test]
fn a_servers_wish_is_honoured_up_to_the_policys_ceiling() {
    let asked = |seconds| {
        let Reply::Trouble(trouble) = trouble(ErrorClass::Unavailable, Some(503)) else { unreachable!() };
        let reply = Reply::Trouble(Trouble { retry_after: Some(Duration::from_secs(seconds)), ..trouble });
        let object =
            Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(0)).answered(&reply, at(0));
        object.status.next_attempt_time.unwrap()
    };
    assert_eq!(asked(40), at(40));
    assert_eq!(asked(40_000), at(900));
}

#[test]
fn the_users_rules_bend_certain_answers_and_never_resend_an_ambiguous_attempt() {
    let with_rule = |policy, http_statuses, action| {
        let mut object = Object::new(spec(policy));
        object.spec.retry_policy.rules = vec![RetryRule { http_statuses, error_codes: vec![], action }];
        object.claimed(1, ME, at(1))
    };
    let not_found = trouble(ErrorClass::Rejected, Some(404));
    let timeout = trouble(ErrorClass::Ambiguous, Some(504));
    let once = DeliveryPolicy::AtMostOnce;
    let outcome = |object: Object, reply| object.answered(reply, at(2)).status.outcome;
    assert_eq!(outcome(with_rule(once, vec![404], RetryAction::Retry), &not_found), None);
    assert_eq!(outcome(with_rule(once, vec![400], RetryAction::Retry), &not_found), Some(Outcome::Failed));
    assert_eq!(outcome(with_rule(once, vec![504], RetryAction::Retry), &timeout), Some(Outcome::Unknown));
    let ruled = with_rule(once, vec![504], RetryAction::Fail).answered(&timeout, at(2));
    assert_eq!(ruled.status.outcome, Some(Outcome::Failed));
    let ready = Condition::find(&ruled.status.conditions, ConditionType::Ready).unwrap();
    assert!(ready.message.contains("may have accepted it"), "{}", ready.message);
}

#[test]
fn the_refusal_of_a_version_says_how_an_alias_is_written() {
    let Reply::Trouble(trouble) = trouble(ErrorClass::Rejected, Some(404)) else { unreachable!() };
    for (code, hint) in [("FSS.1052", "An alias begins with"), ("FSS.0404", "the region and project")] {
        let reply = Reply::Trouble(Trouble { code: Some(code.into()), ..trouble.clone() });
        let object =
            Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1)).answered(&reply, at(2));
        let ready = Condition::find(&object.status.conditions, ConditionType::Ready).unwrap();
        assert!(ready.message.contains(hint), "{}", ready.message);
    }
}

#[test]
fn a_late_answer_refines_unknown_and_says_what_it_knows() {
    let taken_over = || {
        let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1));
        object.status = record::ambiguous(&object.view(), "why", at(200), 0);
        assert_eq!(object.status.outcome, Some(Outcome::Unknown));
        object
    };
    assert_eq!(taken_over().answered(&accepted(), at(201)).status.outcome, Some(Outcome::Accepted));
    let throttled = taken_over().answered(&trouble(ErrorClass::Throttled, Some(429)), at(201));
    assert_eq!(throttled.status.outcome, Some(Outcome::Failed), "it was certainly not accepted");
    assert_eq!(throttled.condition(ConditionType::Accepted), Some(ConditionStatus::False));
}

#[test]
fn an_acceptance_without_a_readable_id_is_still_an_acceptance() {
    let object = Object::new(spec(DeliveryPolicy::AtLeastOnce))
        .claimed(1, ME, at(1))
        .answered(&Reply::Accepted(Acceptance::default()), at(2));
    assert_eq!(object.status.outcome, Some(Outcome::Accepted));
    assert_eq!(object.status.request_id, None);
    assert_eq!(object.next(at(3)), Step::Rest);
}

#[test]
fn last_transition_time_moves_only_with_the_status() {
    let object = Object::new(spec(DeliveryPolicy::AtMostOnce)).claimed(1, ME, at(1));
    let throttled = object.answered(&trouble(ErrorClass::Throttled, Some(429)), at(9));
    for condition in &throttled.status.conditions {
        assert_eq!(condition.last_transition_time, at(1), "{:?}", condition.type_);
    }
}

#[test]
fn the_function_is_shown_short_whichever_way_it_was_given() {
    let mut spec = spec(DeliveryPolicy::AtMostOnce);
    assert_eq!(display(&spec), "default:resize:latest");
    for (urn, short) in [
        ("urn:fss:eu-de:p:function:pkg:name", "pkg:name:latest"),
        ("urn:fss:eu-de:p:function:pkg:name:!prod", "pkg:name:!prod"),
        ("nonsense", "nonsense"),
    ] {
        spec.function.urn = Some(urn.into());
        assert_eq!(display(&spec), short);
    }
}

#[test]
fn a_failed_connection_says_what_to_check() {
    for (cause, check) in [
        ("no connection to host: invalid peer certificate: UnknownIssuer", "spec.caBundle"),
        ("nothing was sent: the proxy opened no tunnel: unsuccessful", "spec.proxy"),
        ("the proxy opened no tunnel: proxy authorization required", "password"),
        ("no connection to host: failed to lookup address information: Name or service not known", "DNS"),
        ("no connection to host through the proxy: operation timed out", "the proxy of spec.proxy answers"),
        ("no connection to host: operation timed out", "NetworkPolicy"),
        ("no connection to host: Connection refused (os error 111)", "NetworkPolicy"),
        ("no connection to host: Network is unreachable (os error 101)", "NetworkPolicy"),
    ] {
        assert!(remedy(cause).contains(check), "{cause}: {}", remedy(cause));
    }
    for no_connection in ["connection reset", "FunctionGraph answered 504: upstream timed out"] {
        assert_eq!(remedy(no_connection), "");
    }
}
