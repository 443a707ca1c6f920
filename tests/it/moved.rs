//! A provider that leads elsewhere than when an execution was accepted: nothing there can tell about it.

use functiongraph_emulator::{Api as Emulated, Config, Emulator, Function};
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation, Reason};
use serde_json::json;
use std::time::Duration;
use testkit::{KEY, World, access_keys, message, until_some, within};

/// A world with an execution that runs for ever, and another FunctionGraph that has the same function.
async fn running() -> (World, Emulator) {
    let config = |config: &mut Config| {
        let latency = Duration::from_hours(1);
        config.functions = vec![Function { latency, ..Function::named("endless") }];
        config.access_keys = access_keys(&[KEY]);
    };
    let world = World::with(config).await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"allowCancel": true})).await;
    let mut other = Config::default();
    config(&mut other);
    let other = Emulator::start(other).await.expect("another emulator");
    world.evidence.plant(other.secrets());
    let spec = json!({
        "function": {"name": "endless"}, "payload": {"tag": "ours"}, "completionPolicy": "Executed",
    });
    world.invoke("ours", spec).await;
    (world, other)
}

/// Lets the provider lead to an emulator.
async fn lead(world: &World, emulator: &Emulator) {
    let spec = json!({"endpoint": emulator.url(), "caBundle": emulator.ca_pem()});
    world.change::<FunctionGraphProvider>("default", json!({"spec": spec})).await;
}

/// Waits until the object says something else than before, and asserts that the other service was not asked.
async fn assert_says_so(world: &World, other: &Emulator, asked: Emulated) {
    const FOLLOWED: &str = "Its execution is followed.";
    let told = until_some(async || {
        let status = world.get("ours").await.status.unwrap();
        let was_asked = other.requests().calls.contains_key(&asked);
        (was_asked || !message(&status).ends_with(FOLLOWED)).then_some((was_asked, status))
    });
    let (was_asked, status) = within(told).await;
    assert!(!was_asked, "{asked:?}: a service that never had the request was asked about it");
    assert_eq!(status.outcome, None, "{}", message(&status));
}

#[tokio::test]
async fn an_execution_is_followed_where_it_was_accepted_and_nowhere_else() {
    let (world, other) = running().await;
    let _operator = world.operator().await;
    let request_id = world.says("ours", Reason::Running).await.request_id.unwrap();
    lead(&world, &other).await;
    assert_says_so(&world, &other, Emulated::ListAsync).await;

    lead(&world, &world.emulator).await;
    world.call("endless", "cancel", &json!({"request_id": request_id, "type": "force"})).await;
    let status = world.end("ours").await;
    assert_eq!(status.outcome, Some(Outcome::Failed), "nobody here asked for its end");
    assert_eq!(status.execution.unwrap().error_code.as_deref(), Some("4208"));
    assert_eq!((world.accepted("ours").len(), other.ledger().len()), (1, 0));
}

#[tokio::test]
async fn an_execution_is_stopped_where_it_was_accepted_and_nowhere_else() {
    let (world, other) = running().await;
    let _operator = world.operator().await;
    world.says("ours", Reason::Running).await;
    lead(&world, &other).await;
    world.change::<FunctionInvocation>("ours", json!({"spec": {"cancel": true}})).await;
    assert_says_so(&world, &other, Emulated::Cancel).await;

    lead(&world, &world.emulator).await;
    assert_eq!(world.end("ours").await.outcome, Some(Outcome::Cancelled));
}
