//! Names of other objects in specs, and errors of libraries: neither reaches a path, and neither silences a status.

use crate::cel::{any, words};
use functiongraph_operator::api::{ConditionStatus, FunctionGraphProvider, FunctionInvocation, Reason};
use kube::Resource;
use kube::api::{ApiResource, DynamicObject, PostParams};
use serde_json::{Value, json};
use testkit::World;

/// What is no name of an object.
const NO_NAMES: [&str; 12] =
    ["../../x/secrets/y", "x?y", ".", "..", "a b", "a/b", "A", "-a", "a-", "a..b", "a%2fb", "ä"];

/// What the API server says to a new object with this spec: nothing if it takes it.
async fn on_creation<K: Resource<DynamicType = ()>>(world: &World, spec: &Value) -> Option<String> {
    let resource = ApiResource::erase::<K>(&());
    let object = DynamicObject::new("candidate", &resource).data(json!({"spec": spec}));
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    words(any::<K>(world).create(&parameters, &object).await)
}

#[tokio::test]
async fn t21_what_is_no_name_is_refused_at_creation_in_a_sentence() {
    let world = World::new().await;
    let payload = |kind: &str, name: &str, key: &str| json!({"function": {"name": "hello"}, "payloadFrom": {kind: {"name": name, "key": key}}});
    let provider = |credentials: Value| json!({"region": "eu-de", "credentials": credentials});
    let account =
        |name: &str| provider(json!({"oidc": {"serviceAccountRef": {"name": name}, "idpID": "idp"}}));
    for name in NO_NAMES {
        let to_an_invocation = [
            payload("configMapKeyRef", name, "event"),
            payload("secretKeyRef", name, "event"),
            json!({"function": {"name": "hello"}, "providerRef": {"name": name}}),
        ];
        for spec in &to_an_invocation {
            let said = on_creation::<FunctionInvocation>(&world, spec).await.unwrap_or_default();
            assert!(said.contains("is not a valid object name"), "{name}: {said:?}");
        }
        let to_a_provider = ["accessKey", "token", "password"]
            .map(|kind| provider(json!({kind: {"secretRef": {"name": name}}})));
        for spec in to_a_provider.into_iter().chain([account(name)]) {
            let said = on_creation::<FunctionGraphProvider>(&world, &spec).await.unwrap_or_default();
            assert!(said.contains("is not a valid object name"), "{name}: {said:?}");
        }
    }
    for key in ["a/b", "a b", "ä", "a?b"] {
        let said = on_creation::<FunctionInvocation>(&world, &payload("configMapKeyRef", "map", key)).await;
        assert!(said.unwrap_or_default().contains("is not a key"), "{key}");
    }
    let fine = payload("configMapKeyRef", "my-map.v1", "Event_1.json");
    assert_eq!(on_creation::<FunctionInvocation>(&world, &fine).await, None);
    assert_eq!(on_creation::<FunctionGraphProvider>(&world, &account("robot-1.x")).await, None);
}

#[tokio::test]
async fn t21_an_error_of_a_library_that_is_too_long_for_the_schema_is_told_all_the_same() {
    let world = World::new().await;
    let line = format!("-----BEGIN {}\u{1b}[31m\u{202e}-----\n", "C".repeat(5_000));
    world.provider_with(json!({"caBundle": line.clone() + &line})).await;
    let _operator = world.operator().await;
    let told = world.provider_ready("default", |_| true).await;
    assert_eq!((told.status, told.reason), (ConditionStatus::False, Reason::EndpointRefused));
    assert!(told.message.starts_with("spec.endpoint or spec.caBundle cannot be used"), "{}", told.message);
    assert!(told.message.chars().count() <= 1500, "{}", told.message.len());
    assert!(!told.message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{}", told.message);
}
