//! Two operators whose wall clocks differ: no final result may follow from that.

use crate::wrong_clock::{Clock, operator_with_clock};
use functiongraph_operator::api::Reason;
use functiongraph_operator::api::invocation::{FunctionInvocation, Outcome};
use functiongraph_operator::clock;
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::{Operator, PATIENCE, World, message};

/// Both take up about half of them, so that many have a time that one operator wrote and the other reads.
const MANY: usize = 12;

/// How long an object lives before its clock starts again: as long as it may take after that.
const DEADLINE: SignedDuration = SignedDuration::from_secs(20);

const TENTHS: SignedDuration = SignedDuration::from_millis(300);
const SECONDS: SignedDuration = SignedDuration::from_secs(3);

/// The API server tells its time to the second, so that it may be estimated by as much too early.
const CUT: SignedDuration = SignedDuration::from_secs(2);

fn names() -> Vec<String> {
    (0..MANY).map(|number| format!("o-{number}")).collect()
}

fn spec(tag: &str) -> Value {
    json!({
        "function": {"name": "hello"}, "payload": {"tag": tag},
        "activeDeadlineSeconds": DEADLINE.as_secs(), "requestTimeoutSeconds": 5,
    })
}

/// One operator with a right clock, and one that is ahead.
async fn operators(world: &World, ahead: SignedDuration) -> (Operator, Operator, Clock) {
    let right = world.operator().await;
    let (fast, clock) = operator_with_clock(world, ahead, &[]).await;
    (right, fast, clock)
}

/// Asserts that each was sent once, and that its deadline counts from a time since `restart`.
async fn assert_sent_once(world: &World, restart: Timestamp) {
    let mut wrong = BTreeMap::new();
    for name in names() {
        let status = world.until(&name, accepted_or_failed).await.status.unwrap();
        let start = status.start_time.unwrap();
        if status.outcome != Some(Outcome::Accepted) {
            wrong.insert(name, message(&status).to_owned());
        } else if start < restart.saturating_sub(CUT).unwrap() {
            wrong.insert(name, format!("startTime is {start}, before {restart}"));
        } else {
            assert_eq!(world.accepted(&name).len(), 1, "{name}");
        }
    }
    assert!(wrong.is_empty(), "{} of {MANY}: {wrong:#?}", wrong.len());
}

fn accepted_or_failed(object: Option<&FunctionInvocation>) -> bool {
    let outcome = object.and_then(|object| object.status.as_ref()?.outcome);
    outcome.is_some_and(Outcome::is_final)
}

async fn resume(ahead: SignedDuration) {
    let world = World::new().await;
    world.provider().await;
    let _operators = operators(&world, ahead).await;
    for name in names() {
        let mut spec = spec(&name);
        spec["suspend"] = true.into();
        world.invoke(&name, spec).await;
    }
    for name in names() {
        world.says(&name, Reason::Suspended).await;
    }
    world.is_older_than(&names()[MANY - 1], DEADLINE).await;

    let restart = clock::now();
    for name in names() {
        world.change::<FunctionInvocation>(&name, json!({"spec": {"suspend": false}})).await;
    }
    assert_sent_once(&world, restart).await;
}

#[tokio::test]
async fn what_is_resumed_is_sent_though_clocks_differ_by_tenths_of_a_second() {
    resume(TENTHS).await;
}

#[tokio::test]
async fn what_is_resumed_is_sent_though_clocks_differ_by_seconds() {
    resume(SECONDS).await;
}

async fn retry(ahead: SignedDuration) {
    let world = World::new().await;
    world.provider().await;
    let before = world.operator().await;
    for name in names() {
        world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
        world.invoke(&name, spec(&name)).await;
        assert_eq!(world.end(&name).await.outcome, Some(Outcome::Unknown), "{name}");
        // Several errors in a row would stop the provider for a while.
        let fine = format!("fine-{name}");
        world.invoke(&fine, spec(&fine)).await;
        world.end(&fine).await;
    }
    assert!(before.stop().await.success());
    let _operators = operators(&world, ahead).await;
    // Both operators have been running for longer than the deadline.
    world.invoke("since", json!({"function": {"name": "hello"}, "suspend": true})).await;
    world.is_older_than("since", DEADLINE).await;

    let restart = clock::now();
    let retry = json!({"metadata": {"annotations": {"functiongraph.io/resolve": "Retry"}}});
    for name in names() {
        world.change::<FunctionInvocation>(&name, retry.clone()).await;
    }
    assert_sent_once(&world, restart).await;
}

#[tokio::test]
async fn what_is_sent_again_by_hand_is_sent_though_clocks_differ_by_tenths_of_a_second() {
    retry(TENTHS).await;
}

#[tokio::test]
async fn what_is_sent_again_by_hand_is_sent_though_clocks_differ_by_seconds() {
    retry(SECONDS).await;
}

async fn expire(ahead: SignedDuration) {
    const TTL: SignedDuration = SignedDuration::from_secs(10);
    let world = World::new().await;
    world.provider().await;
    let _operators = operators(&world, ahead).await;
    for name in names() {
        let mut spec = spec(&name);
        spec["ttlSecondsAfterFinished"] = TTL.as_secs().into();
        spec["suspend"] = true.into();
        world.invoke(&name, spec).await;
    }
    world.is_older_than(&names()[MANY - 1], TTL).await;

    let mut events = Box::pin(watcher(world.api::<FunctionInvocation>(), watcher::Config::default()));
    while !matches!(events.next().await, Some(Ok(Event::InitDone))) {}
    for name in names() {
        world.change::<FunctionInvocation>(&name, json!({"spec": {"suspend": false}})).await;
    }
    let lifetimes = tokio::time::timeout(PATIENCE, lifetimes(events)).await.expect("all are deleted");
    // A clock that is ahead may say earlier that the time is over, by as much as it is ahead.
    let least = TTL - ahead - SignedDuration::from_millis(100);
    let short: Vec<_> = lifetimes.iter().filter(|(_, lifetime)| **lifetime < least).collect();
    assert!(short.is_empty(), "{} of {MANY} lived for less than {TTL:#}: {short:#?}", short.len());
}

/// How long each object was there after it had ended, by the clock of the operator that ended it.
async fn lifetimes(
    mut events: impl Stream<Item = watcher::Result<Event<FunctionInvocation>>> + Unpin,
) -> BTreeMap<String, SignedDuration> {
    let mut lifetimes = BTreeMap::new();
    while lifetimes.len() < MANY {
        if let Some(Ok(Event::Delete(object))) = events.next().await {
            let completion = object.status.as_ref().and_then(|status| status.completion_time);
            let lifetime = clock::now().duration_since(completion.expect("it has ended"));
            lifetimes.insert(object.name_any(), lifetime);
        }
    }
    lifetimes
}

#[tokio::test]
async fn what_has_ended_lives_for_its_time_though_clocks_differ_by_tenths_of_a_second() {
    expire(TENTHS).await;
}

#[tokio::test]
async fn what_has_ended_lives_for_its_time_though_clocks_differ_by_seconds() {
    expire(SECONDS).await;
}
