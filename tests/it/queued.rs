//! Objects that wait for their turn say so, and why.

use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{
    Condition, ConditionStatus, ConditionType, FunctionGraphProviderStatus, Reason,
};
use serde_json::json;
use testkit::{World, message, ready};

#[tokio::test]
async fn an_invocation_that_waits_for_a_throttled_provider_says_until_when() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    let throttled = json!({"status": {"status": 429, "errorCode": "APIG.0308", "retryAfter": "20"}});
    world.fault(json!({"when": {"next": 1}, "action": throttled}));
    world.invoke("first", json!({"function": {"name": "hello"}, "payload": {"tag": "first"}})).await;
    world.scheduled("first").await;
    let pauses = |status: &FunctionGraphProviderStatus| {
        let paused = Condition::find(&status.conditions, ConditionType::Paused);
        paused.is_some_and(|paused| paused.message.contains("sends nothing through it until "))
    };
    world.provider_status(pauses).await;
    world.invoke("second", json!({"function": {"name": "hello"}, "payload": {"tag": "second"}})).await;

    let status = world.says("second", Reason::Queued).await;
    assert_eq!((status.outcome, status.attempts), (None, None));
    assert_eq!(ready(&status).0, Some(ConditionStatus::Unknown));
    let told = message(&status);
    assert!(told.contains("FunctionGraph throttles the provider until ") && told.contains(" UTC."), "{told}");
    world.provider_status(|status| !pauses(status)).await;
    for name in ["first", "second"] {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
    assert!(operator.stop().await.success());
}
