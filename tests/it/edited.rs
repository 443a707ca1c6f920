//! Edits of finished objects: `observedGeneration` follows. Otherwise `kubectl wait`, `helm upgrade --wait` and Flux hang.

use functiongraph_operator::api::invocation::{FunctionInvocation, Outcome};
use kube::ResourceExt;
use serde_json::{Value, json};
use testkit::{World, text};

/// Changes the spec, and waits until the status is about what was changed.
async fn edit(world: &World, name: &str, spec: Value) {
    let generation =
        world.change::<FunctionInvocation>(name, json!({"spec": spec})).await.metadata.generation;
    let status = world.until_status(name, |status| status.observed_generation == generation).await;
    // kubectl ignores a condition of an older generation.
    let ready = json!(status.conditions.iter().find(|one| json!(one)["type"] == "Ready"));
    let condition = format!("--for=condition=Ready={}", ready["status"].as_str().unwrap());
    let waited = world.kubectl(&["wait", &format!("fninv/{name}"), &condition, "--timeout=20s"]).await;
    assert!(waited.status.success(), "{spec}: {}", text(&waited.stderr));
}

#[tokio::test]
async fn a_time_to_live_that_is_given_to_a_finished_object_and_changed_is_observed() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.invoke("kept", json!({"function": {"name": "hello"}, "payload": {"tag": "kept"}})).await;
    let ended = world.end("kept").await;
    for ttl in [3600, 7200] {
        edit(&world, "kept", json!({"ttlSecondsAfterFinished": ttl})).await;
    }
    let status = world.get("kept").await.status.unwrap();
    assert_eq!((status.outcome, status.completion_time), (Some(Outcome::Accepted), ended.completion_time));
    assert_eq!(world.accepted("kept").len(), 1);
}

#[tokio::test]
async fn a_time_to_live_that_is_taken_from_a_finished_object_is_observed_and_it_stays() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let spec = json!({"function": {"name": "hello"}, "ttlSecondsAfterFinished": 10});
    let uid = world.invoke("kept", spec).await.uid();
    world.end("kept").await;
    edit(&world, "kept", json!({"ttlSecondsAfterFinished": null})).await;
    // One that ends later, and lives as long, is gone.
    world.invoke("gone", json!({"function": {"name": "hello"}, "ttlSecondsAfterFinished": 10})).await;
    world.end("gone").await;
    world.disappears("gone").await;
    assert_eq!(world.get("kept").await.uid(), uid);
}

#[tokio::test]
async fn an_edit_of_an_object_whose_outcome_is_unknown_is_observed() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    world.invoke("unknown", json!({"function": {"name": "hello"}, "payload": {"tag": "unknown"}})).await;
    assert_eq!(world.end("unknown").await.outcome, Some(Outcome::Unknown));
    for spec in [json!({"activeDeadlineSeconds": 7200}), json!({"ttlSecondsAfterFinished": 7200})] {
        edit(&world, "unknown", spec).await;
    }
    let status = world.get("unknown").await.status.unwrap();
    assert_eq!((status.outcome, world.seen()), (Some(Outcome::Unknown), 1));
}
