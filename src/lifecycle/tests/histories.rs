//! Random histories of one invocation: whatever happens in whatever order, the promises hold.

use super::*;
use crate::api::invocation::{Execution, ExecutionStatus};
use proptest::prelude::*;

fn replies() -> impl Strategy<Value = Reply> {
    let class = prop_oneof![
        Just((ErrorClass::Throttled, Some(429))),
        Just((ErrorClass::Unavailable, Some(503))),
        Just((ErrorClass::FunctionDisabled, Some(429))),
        Just((ErrorClass::Unauthenticated, Some(401))),
        Just((ErrorClass::NotSent, None)),
        Just((ErrorClass::Ambiguous, None)),
        Just((ErrorClass::Ambiguous, Some(500))),
        Just((ErrorClass::Rejected, Some(404))),
    ];
    let retry_after = proptest::option::of(0u64..5000);
    prop_oneof![
        1 => Just(accepted()),
        9 => (class, retry_after).prop_map(|((class, status), retry_after)| {
            let Reply::Trouble(trouble) = trouble(class, status) else { unreachable!() };
            Reply::Trouble(Trouble { retry_after: retry_after.map(Duration::from_secs), ..trouble })
        }),
    ]
}

/// What can happen to an object between two steps.
#[derive(Clone, Debug)]
enum Event {
    /// The next attempt, if one is due, is answered.
    Answer(Box<Reply>, u64),
    /// The process dies between claim and answer.
    Crash(bool),
    /// Time passes, in seconds.
    Pass(i64),
    /// The user suspends or resumes.
    Suspend(bool),
    /// The user cancels.
    Cancel,
    /// What is followed is told to have ended like this.
    Executed(ExecutionStatus),
    /// The service's list, if it is read, shows this number of requests.
    Listed(usize),
    /// The user sets the annotation, or removes it.
    Resolve(Option<&'static str>),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        10 => (replies(), any::<u64>()).prop_map(|(reply, chance)| Event::Answer(Box::new(reply), chance)),
        2 => any::<bool>().prop_map(Event::Crash),
        8 => (0i64..700).prop_map(Event::Pass),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => Just(Event::Cancel),
        2 => prop_oneof![
            Just(ExecutionStatus::Success), Just(ExecutionStatus::Fail), Just(ExecutionStatus::Discard),
        ].prop_map(Event::Executed),
        2 => (0usize..3).prop_map(Event::Listed),
        1 => proptest::option::of(prop_oneof![Just("Retry"), Just("Fail"), Just("Accepted:an-id"), Just("typo")])
            .prop_map(Event::Resolve),
    ];
    proptest::collection::vec(event, 1..40)
}

/// The rules that the API server enforces, checked on every write of a history.
fn assert_lawful(old: &FunctionInvocationStatus, new: &FunctionInvocationStatus, policy: DeliveryPolicy) {
    if let Some(outcome) = old.outcome {
        assert!(new.outcome == Some(outcome) || outcome == Outcome::Unknown);
    }
    if let Some(before) = &old.attempt {
        let after = new.attempt.as_ref().expect("an attempt is never removed");
        if before.number == after.number {
            assert_eq!(before.holder, after.holder);
        } else {
            assert_eq!(after.number, before.number.map(|n| n + 1));
            let certain = matches!(before.state, Some(AttemptState::Rejected | AttemptState::NotSent));
            let ambiguous = before.state == Some(AttemptState::Ambiguous);
            assert!(certain || ambiguous && policy == DeliveryPolicy::AtLeastOnce, "{before:?} -> {after:?}");
        }
    }
}

/// What every status says, whatever led to it.
fn assert_coherent(object: &Object, now: Timestamp) {
    let status = &object.status;
    for type_ in [ConditionType::Ready, ConditionType::Accepted, ConditionType::Finished] {
        assert!(object.condition(type_).is_some(), "{type_:?} is always there");
    }
    let finished = object.condition(ConditionType::Finished) == Some(ConditionStatus::True);
    assert_eq!(finished, status.outcome.is_some());
    assert_eq!(finished, status.completion_time.is_some());
    let ready = object.condition(ConditionType::Ready);
    let well = matches!(status.outcome, Some(Outcome::Accepted | Outcome::Executed));
    assert_eq!(ready == Some(ConditionStatus::True), well);
    assert_eq!(object.condition(ConditionType::Stalled).is_some(), ready == Some(ConditionStatus::False));
    assert_eq!(status.observed_generation, Some(1));
    assert!(status.conditions.iter().all(|c| c.message.len() <= 2048));
    if finished {
        assert_eq!(status.next_attempt_time, None);
    }
    // While it is suspended there is no deadline.
    let running = object.condition(ConditionType::Suspended).is_none();
    if let Some(next) = status.next_attempt_time.filter(|_| running) {
        assert!(next <= object.view().deadline(now), "no attempt is planned beyond the deadline");
    }
}

/// One object on its way through a history, and what was done in its name.
struct Walk {
    object: Object,
    /// Which process it is by now.
    process: i32,
    /// Attempts that the service may have accepted, and that nobody has declared otherwise.
    possibly_accepted: u32,
}

impl Walk {
    fn write(&mut self, status: FunctionInvocationStatus, now: Timestamp) {
        assert_lawful(&self.object.status, &status, self.object.spec.delivery_policy);
        self.object.status = status;
        assert_coherent(&self.object, now);
    }

    /// Carries out one step as the shell would; `what` tells how things outside go.
    fn act(&mut self, what: &Event, now: Timestamp) {
        let holder = format!("process {}", self.process);
        let moment = Moment {
            now,
            holder: &holder,
            progress: Progress::Nothing,
            unchanged_for: TAKEOVER,
            looked_up: matches!(what, Event::Listed(0)),
        };
        let object = self.object.clone();
        let view = object.view();
        let status = match decide(&view, &moment) {
            Step::Invoke { number } => {
                self.write(record::claimed(&view, number, &holder, &target(), now), now);
                match what {
                    Event::Answer(reply, chance) => {
                        let maybe = matches!(**reply, Reply::Accepted(_))
                            || matches!(&**reply, Reply::Trouble(t) if t.class == ErrorClass::Ambiguous);
                        self.possibly_accepted += u32::from(maybe);
                        record::answered(&self.object.view(), reply, now, *chance)
                    }
                    Event::Crash(was_sent) => {
                        self.possibly_accepted += u32::from(*was_sent);
                        self.process += 1;
                        return;
                    }
                    _ => record::handed_back(&self.object.view(), now),
                }
            }
            Step::LookUp => match what {
                Event::Listed(count) => {
                    let request_ids = (0..*count).map(|n| n.to_string()).collect();
                    record::looked_up(&view, Evidence { request_ids, sentence: "seen".into() }, now)
                }
                _ => return,
            },
            Step::Follow => match what {
                Event::Executed(status) => {
                    let execution = Execution { status: Some(*status), ..Execution::default() };
                    record::executed(&view, &execution, now)
                }
                _ => return,
            },
            Step::Stop => record::stopping(&view, now),
            Step::Resolve(resolution) => {
                if resolution != Resolution::Fail {
                    self.possibly_accepted = 0;
                }
                record::resolved(&view, &resolution, now)
            }
            Step::RefuseResolution => record::resolution_refused(&view, None, now),
            Step::ForgetResolution => record::resolution_forgotten(&view, now),
            Step::CorrectTimes => record::corrected(&view, now),
            Step::Acknowledge => record::acknowledged(&view, now),
            Step::HandBack => record::handed_back(&view, now),
            Step::TakeOver => record::ambiguous(&view, "why", now, 7),
            Step::Conclude(conclusion) => record::concluded(&view, &conclusion, now),
            Step::Suspend => record::suspended(&view, now),
            Step::Resume => record::resumed(&view, now),
            Step::Save | Step::GiveUpOwn | Step::Observe(_) | Step::Wait(_) | Step::Delete | Step::Rest => {
                return;
            }
        };
        self.write(status, now);
    }
}

proptest! {
    #[test]
    fn no_history_leads_to_a_second_acceptance_or_a_stuck_object(
        at_least_once: bool, executed: bool, lookup: bool, restored: bool, limit in 0i64..4, events in events(),
    ) {
        let policy = if at_least_once { DeliveryPolicy::AtLeastOnce } else { DeliveryPolicy::AtMostOnce };
        let mut object = Object::new(spec(policy));
        (object.lookup, object.restored) = (lookup, restored);
        object.spec.retry_policy.backoff_limit = limit;
        if executed {
            object.spec.completion_policy = CompletionPolicy::Executed;
        }
        let (mut now, mut walk) = (0, Walk { object, process: 0, possibly_accepted: u32::from(restored) });
        let mut settled_by_hand = false;
        for event in &events {
            match event {
                Event::Pass(seconds) => now += seconds,
                Event::Suspend(suspend) => walk.object.spec.suspend = *suspend,
                Event::Cancel => walk.object.spec.cancel = true,
                Event::Resolve(word) => {
                    walk.object.resolve = word.map(Into::into);
                    settled_by_hand |= word.is_some();
                }
                Event::Answer(..) | Event::Crash(_) | Event::Executed(_) | Event::Listed(_) => {}
            }
            walk.act(event, at(now));
            if policy == DeliveryPolicy::AtMostOnce {
                prop_assert!(walk.possibly_accepted <= 1);
            }
        }
        // Left alone, with nobody suspending it and nothing more to learn, it ends by its deadline.
        walk.object.spec.suspend = false;
        for _ in 0..9 {
            walk.act(&Event::Listed(0), at(now));
            now += 4000;
        }
        now += i64::try_from(crate::lifecycle::decide::FOLLOW_LIMIT.as_secs()).unwrap();
        walk.act(&Event::Listed(0), at(now));
        walk.act(&Event::Listed(0), at(now));
        let outcome = walk.object.status.outcome;
        prop_assert!(outcome.is_some(), "stuck: {:?}", walk.object.status);
        if walk.possibly_accepted > 0 && !settled_by_hand && !executed {
            prop_assert!(matches!(outcome, Some(Outcome::Accepted | Outcome::Unknown)), "{outcome:?}");
        }
    }

    #[test]
    fn any_status_that_json_can_hold_is_read_and_acted_upon(text in "\\PC*", number: i64, seconds: i64) {
        let odd = serde_json::json!({
            "observedGeneration": text, "outcome": text, "startTime": seconds, "attempts": number,
            "failedAttempts": number, "nextAttemptTime": text, "conditions": [text, {"type": text}, null],
            "attempt": {"number": number, "holder": text, "state": text, "claimTime": text},
            "error": [text], "execution": {"status": text, "startTime": number}, "result": [number],
            "candidateRequestIDs": {"a": text}, "resolution": number, "instanceID": [text],
        });
        let mut object = Object::new(spec(DeliveryPolicy::AtMostOnce));
        object.status = serde_json::from_value(odd).unwrap();
        for progress in [Progress::Nothing, Progress::Returned, Progress::Sent, Progress::Answered, Progress::Saved] {
            let _ = object.decide(at(seconds.clamp(0, 9_999_999)), progress, Duration::from_secs(seconds.unsigned_abs()));
        }
        object.status = record::claimed(&object.view(), number, ME, &target(), at(1));
        object.status = record::answered(&object.view(), &accepted(), at(2), 3);
        prop_assert_eq!(object.status.outcome, Some(Outcome::Accepted));
    }
}
