//! Events that stand in a ConfigMap: waited for while missing, refused when they can never be sent.

use crate::looks::{condition, message, ready};
use crate::world::World;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{ConditionStatus, ConditionType, Reason};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

/// A spec for `hello` with the event from a ConfigMap.
fn from(name: &str, key: &str) -> Value {
    json!({
        "function": {"name": "hello"},
        "payloadFrom": {"configMapKeyRef": {"name": name, "key": key}},
    })
}

#[tokio::test]
async fn an_event_that_is_not_there_yet_is_waited_for() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.config_map("half", "other", "{}").await;
    world.invoke("no-map", from("later", "event")).await;
    world.invoke("no-key", from("half", "event")).await;

    let expected = format!("ConfigMap later does not exist in namespace {}: create it.", world.namespace);
    for (name, words) in
        [("no-map", expected.as_str()), ("no-key", "ConfigMap half has no key event: add it.")]
    {
        let status = world.says(name, Reason::WaitingForPayload).await;
        assert_eq!(message(&status), words);
        assert_eq!(ready(&status).0, Some(ConditionStatus::Unknown));
        let reconciling = condition(&status, ConditionType::Reconciling);
        assert_eq!(reconciling, (Some(ConditionStatus::True), Some(Reason::WaitingForPayload)));
        assert_eq!((status.attempts, status.outcome), (None, None));
        world.event(name, "WaitingForPayload").await;
    }
    assert_eq!(world.seen(), 0);

    world.config_map("later", "event", r#"{"tag": "no-map"}"#).await;
    world.change::<ConfigMap>("half", json!({"data": {"event": r#"{"tag": "no-key"}"#}})).await;
    for name in ["no-map", "no-key"] {
        let status = world.end(name).await;
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(1)), "{name}");
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
    assert_eq!(world.seen(), 2);
}

#[tokio::test]
async fn an_event_that_can_never_be_sent_fails_without_a_request_and_is_not_quoted() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    let canary = "canary-3c9f51";
    let just_right = format!(r#"{{"a":"{}"}}"#, "x".repeat(262_144 - 8));
    let too_large = format!(r#"{{"a":"{canary}{}"}}"#, "x".repeat(262_144));
    let unfit = [
        ("too-large", too_large, "262144"),
        ("not-json", format!("{{\"{canary}\": {canary}}}"), "is not valid JSON (line 1, column"),
        ("a-list", format!("[\"{canary}\"]"), "is not a JSON object"),
        ("a-string", format!("\"{canary}\""), "is not a JSON object"),
        ("empty", String::new(), "is not valid JSON"),
        ("two", format!("{{}} {{\"{canary}\": 1}}"), "is not valid JSON"),
    ];
    for (name, text, _) in &unfit {
        world.config_map(name, "event", text).await;
        world.invoke(name, from(name, "event")).await;
    }
    world.config_map("just-right", "event", &just_right).await;
    world.invoke("just-right", from("just-right", "event")).await;

    for (name, _, words) in &unfit {
        let status = world.end(name).await;
        assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::InvalidPayload)), "{name}");
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Failed), None), "{name}");
        let told = message(&status);
        assert!(told.contains(words) && told.contains(&format!("ConfigMap {name}")), "{name}: {told}");
        let event = world.event(name, "InvalidPayload").await;
        assert!(!serde_json::to_string(&event).unwrap().contains(canary), "{name}");
        assert!(!serde_json::to_string(&status).unwrap().contains(canary), "{name}");
    }
    assert_eq!(world.end("just-right").await.outcome, Some(Outcome::Accepted));
    assert_eq!(world.emulator.ledger()[0].body_bytes, 262_144);
    assert_eq!(world.seen(), 1);
    operator.stop().await;
    assert!(!world.logs().contains(canary));
}
