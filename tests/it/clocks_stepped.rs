//! An operator whose wall clock is wrong and then corrected, or right and then stepped: the times in statuses are the API
//! server's, and no wrong one that is stored holds up or ends an object.

use crate::wrong_clock::{Clock, operator_with_clock};
use functiongraph_emulator::{Api as Emulated, AsyncInvokeConfig, AuthMode, Function};
use functiongraph_operator::api::Reason;
use functiongraph_operator::api::invocation::{AttemptState, FunctionInvocation, Outcome};
use functiongraph_operator::clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{KEY, World, message, ready, until};

const AHEAD: SignedDuration = SignedDuration::from_mins(10);
const RIGHT: SignedDuration = SignedDuration::ZERO;

/// Asserts that a time in a status is by the right clock, give or take a pause.
fn assert_right(time: Timestamp) {
    let off = time.duration_since(clock::now());
    assert!(off.abs() < SignedDuration::from_mins(1), "{time} is by the wrong clock");
}

/// A retry policy that never pauses for more than half a minute.
fn brisk(tag: &str) -> Value {
    json!({
        "function": {"name": "hello"}, "payload": {"tag": tag},
        "retryPolicy": {"initialDelaySeconds": 1, "maxDelaySeconds": 10, "retryAfterMaxSeconds": 20},
    })
}

/// A world in which an attempt was answered 429 while the operator's clock was ahead.
async fn backing_off(ahead: SignedDuration) -> (World, testkit::Operator, Clock) {
    // The gateway refuses signatures that are a quarter of an hour off: not what is tested here.
    let world = World::with(|config| config.auth = AuthMode::None).await;
    world.provider().await;
    let (operator, clock) = operator_with_clock(&world, ahead, &[]).await;
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 429, "retryAfter": "10"}}}));
    let mut spec = brisk("throttled");
    spec["activeDeadlineSeconds"] = 604_800.into(); // further away than any clock in here is off
    world.invoke("throttled", spec).await;
    let next = world.scheduled("throttled").await.next_attempt_time.unwrap();
    assert_right(next);
    (world, operator, clock)
}

/// It must not have waited for a time ahead: no test has that much patience.
async fn assert_tried_again(world: &World) {
    let status = world.end("throttled").await;
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(2)));
    assert_eq!(world.accepted("throttled").len(), 1);
}

#[tokio::test]
async fn a_backoff_ends_in_its_time_though_the_clock_was_ten_minutes_ahead_when_it_began() {
    let (world, _operator, clock) = backing_off(AHEAD).await;
    clock.step(RIGHT);
    assert_tried_again(&world).await;
}

#[tokio::test]
async fn a_backoff_ends_in_its_time_though_the_clock_was_two_days_ahead_when_it_began() {
    let (world, _operator, clock) = backing_off(SignedDuration::from_hours(48)).await;
    clock.step(RIGHT);
    assert_tried_again(&world).await;
}

#[tokio::test]
async fn a_backoff_that_an_operator_with_a_wrong_clock_stored_is_not_believed_by_the_next() {
    let (world, operator, _clock) = backing_off(AHEAD).await;
    operator.kill().await;
    let _operator = world.operator().await;
    assert_tried_again(&world).await;
}

#[tokio::test]
async fn the_deadline_after_a_resume_passes_though_the_clock_was_ahead_when_it_was_resumed() {
    let world = World::new().await;
    world.provider().await;
    let (_operator, clock) = operator_with_clock(&world, AHEAD, &[]).await;
    let throttled = json!({"status": {"status": 429, "retryAfter": "5"}});
    world.fault(json!({"when": "forever", "action": throttled}));
    let mut spec = brisk("resumed");
    (spec["activeDeadlineSeconds"], spec["requestTimeoutSeconds"]) = (20.into(), 5.into());
    spec["suspend"] = true.into();
    world.invoke("resumed", spec).await;
    world.says("resumed", Reason::Suspended).await;
    world.change::<FunctionInvocation>("resumed", json!({"spec": {"suspend": false}})).await;
    let start = world.scheduled("resumed").await.start_time.unwrap();
    assert_right(start);
    clock.step(RIGHT);

    let status = world.end("resumed").await;
    assert_eq!(ready(&status).1, Some(Reason::DeadlineExceeded), "{}", message(&status));
    assert_eq!(status.outcome, Some(Outcome::Failed));
}

#[tokio::test]
async fn a_finished_object_is_deleted_in_its_time_though_the_clock_was_ahead_when_it_ended() {
    let world = World::new().await;
    world.provider().await;
    let (_operator, clock) = operator_with_clock(&world, AHEAD, &[]).await;
    let mut spec = brisk("finished");
    spec["ttlSecondsAfterFinished"] = 20.into();
    world.invoke("finished", spec).await;
    let completion = world.end("finished").await.completion_time.unwrap();
    assert_right(completion);
    clock.step(RIGHT);
    world.disappears("finished").await;
}

/// As an operator that went by its own clock left it, or one whose API server's clock was set back.
#[tokio::test]
async fn times_that_were_stored_ahead_are_corrected_and_pauses_keep_their_length() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 429, "retryAfter": "30"}}}));
    world.invoke("throttled", brisk("throttled")).await;
    world.scheduled("throttled").await;
    operator.kill().await;
    let ahead = |seconds| {
        let time = clock::now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let times =
        json!({"startTime": ahead(600), "error": {"time": ahead(600)}, "nextAttemptTime": ahead(603)});
    world.force_status("throttled", times).await.unwrap();
    let two_days = 2 * 24 * 3600;
    world.invoke("finished", brisk("finished")).await;
    let attempt = json!({"number": 1, "holder": "0123456789abcdef", "state": "Accepted"});
    let status = json!({"attempt": attempt, "outcome": "Accepted", "completionTime": ahead(two_days)});
    world.force_status("finished", status).await.unwrap();
    let ttl = json!({"spec": {"ttlSecondsAfterFinished": 1}});
    world.change::<FunctionInvocation>("finished", ttl).await;

    let _operator = world.operator().await;
    assert_tried_again(&world).await;
    assert_right(world.get("throttled").await.status.unwrap().start_time.unwrap());
    world.disappears("finished").await;
}

/// What is sent and followed while the operator's clock is `off` from the service's is seen to end.
async fn followed(off: SignedDuration) {
    let world = World::with(|config| {
        let latency = Duration::from_secs(1);
        config.functions.push(Function { latency, ..Function::named("good") });
    })
    .await;
    world.provider().await;
    let (_operator, clock) = operator_with_clock(&world, RIGHT, &[]).await;
    let spec = |tag: &str| json!({"function": {"name": "good"}, "payload": {"tag": tag}, "completionPolicy": "Executed"});
    world.invoke("before", spec("before")).await;
    assert_eq!(world.end("before").await.outcome, Some(Outcome::Executed));
    clock.step(off);
    world.invoke("after", spec("after")).await;
    let status = world.end("after").await;
    assert_eq!(status.outcome, Some(Outcome::Executed), "{}", message(&status));
    assert_eq!(world.accepted("after").len(), 1);
}

#[tokio::test]
async fn an_execution_is_followed_to_its_end_by_a_clock_that_was_stepped_forward() {
    followed(SignedDuration::from_secs(130)).await;
}

#[tokio::test]
async fn an_execution_is_followed_to_its_end_by_a_clock_that_was_stepped_back() {
    followed(SignedDuration::from_secs(-130)).await;
}

/// A clock that was behind at the claim makes the list of the wrong minutes look empty.
#[tokio::test]
async fn an_ambiguous_attempt_is_not_sent_again_though_the_clock_was_behind_at_its_claim() {
    let world = World::with(|config| {
        let logged =
            AsyncInvokeConfig { enable_async_status_log: Some(true), ..AsyncInvokeConfig::default() };
        config.functions.push(Function { async_invoke_config: Some(logged), ..Function::named("logged") });
    })
    .await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"lookup": {"enabled": true}})).await;
    let (_operator, clock) = operator_with_clock(&world, SignedDuration::from_mins(-5), &[]).await;
    world.fault(json!({"when": {"next": 1}, "action": {"acceptThen": {"status": 504}}}));
    let spec = json!({
        "function": {"name": "logged"}, "payload": {"tag": "ours"}, "requestTimeoutSeconds": 5,
    });
    world.invoke("ours", spec).await;
    world
        .until("ours", |object: Option<&FunctionInvocation>| {
            let attempt = object.and_then(|object| object.status.as_ref()?.attempt.as_ref());
            attempt.is_some_and(|attempt| attempt.state == Some(AttemptState::Ambiguous))
        })
        .await;
    clock.step(RIGHT);

    // The list is read a minute and a half after the claim, and may be read again half a minute later.
    let looked = until(async || {
        let listed = world.emulator.requests().calls.contains_key(&Emulated::ListAsync);
        let ended = world.get("ours").await.status.unwrap().outcome.is_some();
        world.accepted("ours").len() > 1 || (listed && ended)
    });
    tokio::time::timeout(Duration::from_mins(4), looked).await.expect("the list is read");
    assert_eq!(world.accepted("ours").len(), 1, "accepted twice");
    let status = world.get("ours").await.status.unwrap();
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Unknown), Some(1)));
}
