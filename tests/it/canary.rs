//! The search at the end of each test finds what it is for: what an operator might leak is planted in each place.

use functiongraph_operator::api::FunctionGraphProvider;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use testkit::{KEY, World, text, within};
use tokio::process::Command;

/// Ends a world, and says what was found in it.
fn end(world: World) -> String {
    let ended = catch_unwind(AssertUnwindSafe(|| drop(world)));
    let told = ended.expect_err("it is found");
    told.downcast_ref::<String>().expect("a text").clone()
}

/// Has a process print something as an operator would.
async fn print(world: &World, words: &str) {
    let mut command = Command::new("sh");
    world.evidence.hear(&mut command);
    let status = command.args(["-c", r#"printf '%s\n' "$0""#, words]).status();
    assert!(within(status).await.unwrap().success());
}

#[tokio::test]
async fn t08_a_secret_in_a_log_is_found_however_it_looks() {
    let forms = [
        format!("it is {}", KEY.1),
        format!("cut: {}", &KEY.1[..32]),
        format!("{:?}", KEY.1.as_bytes()),
        // As kube's client would log the whole Secret.
        json!({"data": {"secretAccessKey": ByteString(KEY.1.into())}}).to_string(),
        "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln".to_owned(),
    ];
    for words in forms {
        let world = World::new().await;
        world.provider().await;
        print(&world, &words).await;
        let told = end(world);
        assert!(told.contains("operator-0.log:1:"), "{words}: {told}");
    }
}

#[tokio::test]
async fn t08_a_secret_that_was_replaced_or_deleted_is_searched_for_too() {
    let world = World::new().await;
    world.secret("the-first-of-all-keys").await;
    world.secret("quite \"another\" key").await;
    world.api::<Secret>().delete("key", &DeleteParams::default()).await.unwrap();
    print(&world, "it was the-first-of-all-keys").await;
    print(&world, &json!({"error": "not quite \"another\" key"}).to_string()).await;
    let told = end(world);
    assert!(told.contains("operator-0.log") && told.contains("operator-1.log"), "{told}");
}

#[tokio::test]
async fn t08_what_the_emulator_knows_and_what_the_api_server_made_is_searched_for() {
    let world = World::with(|config| config.tokens.push("some-long-lived-token".into())).await;
    print(&world, "some-long-lived-token").await;
    world.create::<ServiceAccount>("robot", json!({})).await.unwrap();
    let token = text(&world.kubectl(&["create", "token", "robot"]).await.stdout);
    // Its beginning gives away every JWT.
    let (_, signature) = token.rsplit_once('.').unwrap();
    print(&world, signature).await;
    let told = end(world);
    assert!(told.contains("operator-0.log") && told.contains("operator-1.log"), "{told}");
}

#[tokio::test]
async fn t08_a_payload_is_found_in_what_is_stored_also_when_it_is_gone_again() {
    let world = World::new().await;
    world.provider().await;
    world.invoke("told", json!({"function": {"name": "hello"}, "payload": {"tag": "told"}})).await;
    let marker = world.evidence.marker().to_owned();
    assert_eq!(world.evidence.findings(), Vec::<String>::new(), "it may stand where its owner wrote it");

    let condition = |message: &str| {
        json!([{
            "type": "Ready", "status": "Unknown", "reason": "Progressing", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }])
    };
    for message in [marker.as_str(), "all is well"] {
        world.force_status("told", json!({"conditions": condition(message)})).await.unwrap();
    }
    let status = Patch::Merge(json!({"status": {"conditions": condition(&marker)}}));
    let providers = world.api::<FunctionGraphProvider>();
    providers.patch_status("default", &PatchParams::default(), &status).await.unwrap();
    let event: Value = json!({
        "action": "Test", "reason": "Test", "type": "Normal", "note": format!("about {marker}"),
        "reportingController": "test", "reportingInstance": "test", "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "FunctionInvocation", "name": "told", "namespace": world.namespace},
    });
    world.create::<Event>("told", event).await.unwrap();
    let told = end(world);
    for place in ["functioninvocations/told status", "functiongraphproviders/default status", "events/told"] {
        assert!(told.contains(place), "{place}: {told}");
    }
}

#[tokio::test]
async fn t08_metrics_are_kept_of_operators_that_end_in_any_way() {
    let world = World::new().await;
    world.operator().await.stop().await;
    world.operator().await.kill().await;
    drop(world.operator().await);
    let kept = world.evidence.metrics();
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|text| text.contains("functiongraph_operator_")), "{kept:?}");
}
