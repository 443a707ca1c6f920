//! Several operators, and operators that are told to stop.

use crate::judge::{accepted, at_most_once, holders, invoke, invoke_many, settled, sound};
use functiongraph_emulator::{Config, Function};
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::clock;
use kube::api::ListParams;
use serde_json::json;
use std::time::Duration;
use testkit::{KEY, PATIENCE, World};

/// The function `hello` answers this late, after it accepted.
fn answers_after(latency: Duration) -> impl FnOnce(&mut Config) {
    move |config| config.functions = vec![Function { answer_latency: latency, ..Function::named("hello") }]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_share_the_work_and_nothing_is_sent_twice() {
    // One alone would need fifteen seconds, so that the slower one to start finds work too.
    let world = World::with(answers_after(Duration::from_millis(200))).await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"limits": {"maxInFlight": 4}})).await;
    invoke_many(&world, 300).await;
    let (one, other) = tokio::join!(world.operator(), world.operator());

    let objects = settled(&world, PATIENCE).await;

    assert_eq!(objects.len(), 300);
    assert_eq!(at_most_once(&world, &objects), 0, "none is unknown");
    assert_eq!(world.emulator.ledger().len(), 300);
    assert_eq!(holders(&objects).len(), 2, "both did some of the work");
    for process in [one, other] {
        sound(&process);
        assert!(process.stop().await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_in_the_middle_of_the_work_is_not_noticed() {
    let world = World::with(answers_after(Duration::from_millis(50))).await;
    world.provider().await;
    invoke_many(&world, 200).await;
    let old = world.operator().await;
    accepted(&world, 20).await;

    let new = world.operator().await;
    let status = old.stop().await;

    assert!(status.success(), "{status}");
    let objects = settled(&world, PATIENCE).await;
    assert_eq!(objects.len(), 200);
    assert_eq!(at_most_once(&world, &objects), 0, "none is unknown");
    assert_eq!(world.emulator.ledger().len(), 200);
    [old, new].iter().for_each(sound);
}

#[tokio::test]
async fn requests_on_their_way_are_recorded_before_a_stopped_operator_ends() {
    let world = World::with(answers_after(Duration::from_secs(3))).await;
    world.provider().await;
    let operator = world.operator().await;
    invoke_many(&world, 5).await;
    accepted(&world, 5).await;

    let status = operator.stop().await;

    assert!(status.success(), "{status}");
    // Nobody is left to write anything: what is not there now will never be.
    let objects = world.api().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(objects.len(), 5);
    assert_eq!(at_most_once(&world, &objects), 0);
    sound(&operator);
}

#[tokio::test]
async fn nothing_is_claimed_after_the_first_signal_and_the_second_ends_at_once() {
    let latency = Duration::from_secs(40);
    let world = World::with(answers_after(latency)).await;
    world.provider().await;
    let operator = world.operator().await;
    invoke(&world, "on-its-way").await;
    accepted(&world, 1).await;
    operator.signal("TERM");
    operator.logged("stopping: starting no new attempts, finishing requests in progress").await;
    invoke(&world, "too-late").await;

    let second = clock::monotonic();
    let status = operator.stop().await;

    assert_eq!(status.code(), Some(130));
    assert!(clock::monotonic() - second < latency / 2, "it waited for the answer");
    let late = world.api::<FunctionInvocation>().get("too-late").await.unwrap();
    assert!(late.status.is_none_or(|status| status.attempt.is_none()), "claimed while stopping");
    assert_eq!(world.emulator.ledger().len(), 1);
}
