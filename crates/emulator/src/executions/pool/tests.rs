//! Queues, instances, retries and cancellations, second by second.

use jiff::SignedDuration;

use super::*;
use crate::config::Function;

const URN: &str = "urn:f";

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn pool(instances: Option<u64>, events_each: u32) -> Pool {
    Pool::new(at(0), Limits { instances, events_each }, None)
}

/// An event that is queued for one second and runs for ten.
fn event(id: &str, accepted: i64) -> Event {
    let mut function = Function::named("f");
    function.queue_latency = Duration::from_secs(1);
    function.latency = Duration::from_secs(10);
    Event::of(&function, URN.into(), id.into(), at(accepted))
}

fn failing(id: &str, times: Option<u32>, retries: u32) -> Event {
    let failure = Failure { times, system: true, ..Failure::new(500, "broken") };
    Event { failure: Some(failure), retries, ..event(id, 0) }
}

/// The statuses in the order of acceptance.
fn statuses(pool: &mut Pool, second: i64) -> Vec<&'static str> {
    pool.advance(at(second));
    pool.remembered().map(Execution::status).collect()
}

fn cancel(pool: &mut Pool, id: &str, force: bool) {
    let number = pool.alive(URN, id).unwrap();
    pool.cancel(number, force);
}

fn ended(pool: &Pool, position: usize) -> (Option<Timestamp>, Timestamp, Outcome) {
    match pool.remembered().nth(position).unwrap().progress.clone() {
        Progress::Ended { start, end, outcome } => (start, end, outcome),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_waits_runs_and_ends_as_declared() {
    let mut pool = pool(None, 1);
    pool.queue(event("a", 0));
    assert_eq!(statuses(&mut pool, 0), ["WAIT"]);
    assert_eq!(statuses(&mut pool, 1), ["RUNNING"]);
    assert_eq!(statuses(&mut pool, 10), ["RUNNING"]);
    assert_eq!(statuses(&mut pool, 11), ["SUCCESS"]);
    assert_eq!(ended(&pool, 0), (Some(at(1)), at(11), Outcome::Success));
}

#[test]
fn a_failure_of_the_users_code_is_not_retried() {
    let mut pool = pool(None, 1);
    let failure = Failure::new(4002, "raised");
    pool.queue(Event { failure: Some(failure.clone()), retries: 3, ..event("a", 0) });
    assert_eq!(statuses(&mut pool, 11), ["FAIL"]);
    assert_eq!(ended(&pool, 0), (Some(at(1)), at(11), Outcome::Fail(failure)));
}

#[test]
fn without_a_limit_everything_runs_at_once() {
    let mut pool = pool(None, 1);
    for id in ["a", "b", "c"] {
        pool.queue(event(id, 0));
    }
    assert_eq!(statuses(&mut pool, 1), ["RUNNING"; 3]);
}

#[test]
fn events_wait_for_an_instance_and_run_in_their_order() {
    let mut pool = pool(Some(1), 2);
    for id in ["a", "b", "c", "d", "e"] {
        pool.queue(event(id, 0));
    }
    assert_eq!(statuses(&mut pool, 1), ["RUNNING", "RUNNING", "WAIT", "WAIT", "WAIT"]);
    assert_eq!(statuses(&mut pool, 11), ["SUCCESS", "SUCCESS", "RUNNING", "RUNNING", "WAIT"]);
    assert_eq!(statuses(&mut pool, 21), ["SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS", "RUNNING"]);
    pool.advance(at(100));
    assert_eq!(ended(&pool, 4), (Some(at(21)), at(31), Outcome::Success));
}

#[test]
fn one_long_advance_equals_many_short_ones() {
    let run = |steps: &[i64]| {
        let mut pool = pool(Some(2), 2);
        for id in ["a", "b", "c", "d", "e", "f", "g"] {
            pool.queue(event(id, 0));
        }
        pool.queue(failing("h", Some(1), 1));
        for second in steps {
            pool.advance(at(*second));
        }
        (0..8).map(|position| ended(&pool, position)).collect::<Vec<_>>()
    };
    assert_eq!(run(&(0..100).collect::<Vec<_>>()), run(&[100]));
}

#[test]
fn an_event_that_waits_too_long_is_discarded() {
    let mut pool = pool(Some(1), 1);
    pool.queue(event("a", 0));
    pool.queue(Event { deadline: at(5), ..event("b", 0) });
    assert_eq!(statuses(&mut pool, 4), ["RUNNING", "WAIT"]);
    assert_eq!(statuses(&mut pool, 5), ["RUNNING", "DISCARD"]);
    assert_eq!(ended(&pool, 1), (None, at(5), Outcome::Discard));
}

#[test]
fn an_error_of_the_service_is_retried_as_often_as_configured() {
    for (times, retries, end, good) in
        [(None, 0, 11, false), (None, 2, 33, false), (Some(1), 2, 22, true), (Some(3), 3, 44, true)]
    {
        let mut pool = pool(None, 1);
        pool.queue(failing("a", times, retries));
        assert_eq!(statuses(&mut pool, end - 1), ["RUNNING"], "{times:?} {retries}");
        assert_eq!(statuses(&mut pool, end), [if good { "SUCCESS" } else { "FAIL" }], "{times:?} {retries}");
        assert_eq!(ended(&pool, 0).1, at(end));
    }
}

#[test]
fn between_two_runs_an_event_is_queued_and_may_become_too_old() {
    let mut pool = pool(Some(1), 1);
    pool.queue(Event { deadline: at(15), ..failing("a", None, 3) });
    pool.queue(event("b", 0));
    assert_eq!(statuses(&mut pool, 11), ["WAIT", "RUNNING"]);
    assert_eq!(statuses(&mut pool, 15), ["FAIL", "RUNNING"]);
    assert!(matches!(ended(&pool, 0), (None, end, Outcome::Fail(_)) if end == at(15)));
}

#[test]
fn a_queued_event_is_cancelled_alone() {
    let mut pool = pool(Some(1), 1);
    pool.queue(event("a", 0));
    pool.queue(event("b", 0));
    pool.advance(at(2));
    cancel(&mut pool, "b", true);
    assert_eq!(statuses(&mut pool, 2), ["RUNNING", "FAIL"]);
    let failure = Failure { system: true, ..Failure::new(4208, "function invocation canceled") };
    assert_eq!(ended(&pool, 1), (None, at(2), Outcome::Fail(failure)));
}

#[test]
fn force_ends_all_events_of_the_instance_and_queued_ones_start() {
    let mut pool = pool(Some(2), 2);
    for id in ["a", "b", "c", "d", "e"] {
        pool.queue(event(id, 0));
    }
    pool.advance(at(2));
    cancel(&mut pool, "a", true);
    assert_eq!(statuses(&mut pool, 2), ["FAIL", "FAIL", "RUNNING", "RUNNING", "RUNNING"]);
    assert_eq!(ended(&pool, 1).2, ended(&pool, 0).2, "all events of the instance end like the cancelled one");
}

#[test]
fn without_force_the_others_continue() {
    let mut pool = pool(Some(1), 3);
    for id in ["a", "b", "c"] {
        pool.queue(event(id, 0));
    }
    pool.advance(at(2));
    cancel(&mut pool, "b", false);
    assert_eq!(statuses(&mut pool, 2), ["RUNNING", "FAIL", "RUNNING"]);
}

#[test]
fn an_ended_event_cannot_be_cancelled() {
    let mut pool = pool(None, 1);
    pool.queue(event("a", 0));
    assert!(pool.alive(URN, "a").is_some());
    assert_eq!(pool.alive("urn:g", "a"), None);
    pool.advance(at(11));
    assert_eq!(pool.alive(URN, "a"), None);
}

#[test]
fn a_reserved_instance_is_outside_the_pool() {
    let mut pool = pool(Some(1), 5);
    pool.queue(event("a", 0));
    pool.advance(at(1));
    pool.run_reserved(event("b", 1));
    assert_eq!(statuses(&mut pool, 1), ["RUNNING", "RUNNING"]);
    cancel(&mut pool, "a", true);
    assert_eq!(statuses(&mut pool, 1), ["FAIL", "RUNNING"], "no other event is on its instance");
    assert_eq!(statuses(&mut pool, 11), ["FAIL", "SUCCESS"]);
}

#[test]
fn a_waiting_caller_gets_an_instance_or_a_refusal() {
    let mut pool = pool(Some(1), 1);
    let number = pool.run(Event { listed: false, ..event("a", 0) }).unwrap();
    assert!(matches!(pool.observe(number), Observation::Until(end) if end == at(10)));
    assert!(!pool.has_capacity());
    assert_eq!(pool.run(event("b", 0)), None);
    pool.advance(at(10));
    assert!(matches!(pool.observe(number), Observation::Ended(..)));
    assert!(pool.has_capacity());
}

#[test]
fn an_abandoned_execution_continues_and_is_forgotten_like_others() {
    let limits = Limits { instances: Some(1), events_each: 1 };
    let mut pool = Pool::new(at(0), limits, Some(Duration::ZERO));
    let number = pool.run(event("a", 0)).unwrap();
    pool.abandon(number);
    pool.advance(at(9));
    assert!(!pool.has_capacity());
    pool.advance(at(10));
    assert!(pool.has_capacity());
    assert_eq!(pool.remembered().count(), 0);
}

#[test]
fn an_ended_event_is_listed_for_the_retention() {
    let limits = Limits { instances: None, events_each: 1 };
    let mut pool = Pool::new(at(0), limits, Some(Duration::from_mins(1)));
    pool.queue(event("a", 0));
    assert_eq!(statuses(&mut pool, 70), ["SUCCESS"]);
    assert_eq!(statuses(&mut pool, 71), [] as [&str; 0]);
    pool.queue(event("b", 71));
    assert_eq!(pool.all.len(), 1, "it is removed from memory, too");
}

#[test]
fn an_absurd_latency_never_ends_instead_of_failing() {
    let mut pool = pool(None, 1);
    pool.queue(Event { latency: Some(Duration::MAX), ..event("a", 0) });
    pool.advance(Timestamp::MAX - SignedDuration::from_secs(1));
    assert_eq!(pool.remembered().map(Execution::status).collect::<Vec<_>>(), ["RUNNING"]);
}
