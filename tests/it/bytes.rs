//! What kubectl, kustomize and Helm make of an event, and how large a one each of them takes: docs/payloads.md.

use crate::chart::helm;
use serde_json::{Value, json};
use std::fs;
use std::process::Output;
use testkit::control_plane::tool;
use testkit::{World, output, plane, text};
use tokio::process::Command;

/// Ways to make an object with kubectl.
const CREATE: &[&str] = &["create", "-f", "-"];
const APPLY: &[&str] = &["apply", "-f", "-"];
const SERVER_SIDE: &[&str] = &["apply", "--server-side", "-f", "-"];

/// A manifest with this event, written as it is.
fn manifest(name: &str, kind: &str, payload: &str) -> String {
    format!(
        "apiVersion: functiongraph.io/v1alpha1\nkind: FunctionInvocation\nmetadata: {{name: {name}}}\n\
         spec:\n  invocationType: {kind}\n  function: {{name: hello}}\n  payload: {payload}\n"
    )
}

async fn stored(world: &World, name: &str) -> Value {
    let said = world.kubectl(&["get", "fninv", name, "-o", "jsonpath={.spec.payload}"]).await;
    serde_json::from_slice(&said.stdout).unwrap()
}

fn well(said: &Output) {
    assert!(said.status.success(), "{}", text(&said.stderr));
}

/// What a chart of ours with this template and these values installs.
async fn installed(world: &World, release: &str, template: &str, values: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("templates")).unwrap();
    fs::write(folder.path().join("Chart.yaml"), "{apiVersion: v2, name: shop, version: 0.1.0}").unwrap();
    fs::write(folder.path().join("values.yaml"), values).unwrap();
    fs::write(folder.path().join("templates/invocation.yaml"), template).unwrap();
    let chart = folder.path().to_str().unwrap();
    helm(plane().await, &["install", release, chart, "--namespace", &world.namespace]).await
}

#[tokio::test]
async fn yaml_is_read_by_each_tool_in_its_own_way() {
    let world = World::new().await;
    // Words of YAML 1.1, a date, octal digits, the largest exact integer of a double and one more.
    let event = "{yes: 1, n: 2, day: 2024-01-01, mode: 017, big: 9007199254740993, none: null}";
    let kubectl = json!({"true": 1, "false": 2, "day": "2024-01-01", "mode": 15, "big": 9_007_199_254_740_993_i64, "none": null});
    for (name, how) in [("created", CREATE), ("server-side", SERVER_SIDE)] {
        well(&world.kubectl_with(how, &manifest(name, "Async", event)).await);
        assert_eq!(stored(&world, name).await, kubectl, "{name}");
    }
    let mut applied = kubectl.clone();
    applied.as_object_mut().unwrap().remove("none");
    well(&world.kubectl_with(APPLY, &manifest("applied", "Async", event)).await);
    assert_eq!(stored(&world, "applied").await, applied);

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), manifest("kustomized", "Async", event)).unwrap();
    fs::write(folder.path().join("kustomization.yaml"), "resources: [a.yaml]").unwrap();
    let mut kustomize = Command::new(tool("kubectl").unwrap());
    kustomize.arg("kustomize").arg(folder.path());
    let built = text(&output(kustomize, "").await.stdout);
    well(&world.kubectl_with(SERVER_SIDE, &built).await);
    let kustomized = json!({"yes": 1, "n": 2, "day": "2024-01-01T00:00:00Z", "mode": 15, "big": 9_007_199_254_740_993_i64, "none": null});
    assert_eq!(stored(&world, "kustomized").await, kustomized);

    installed(&world, "template", &manifest("template", "Async", event), "").await.unwrap();
    assert_eq!(stored(&world, "template").await, kubectl);
    let from_values = manifest("values", "Async", "{{ toJson .Values.event }}");
    installed(&world, "values", &from_values, &format!("event: {event}")).await.unwrap();
    applied["big"] = 9_007_199_254_740_992_i64.into();
    assert_eq!(stored(&world, "values").await, applied);
}

#[tokio::test]
async fn a_quoted_event_is_the_same_with_every_tool() {
    let world = World::new().await;
    let event = r#"{"yes": 1, "n": 2, "day": "2024-01-01", "mode": "017", "big": "9007199254740993"}"#;
    let expected: Value = serde_json::from_str(event).unwrap();
    for (name, how) in [("created", CREATE), ("applied", APPLY), ("server-side", SERVER_SIDE)] {
        well(&world.kubectl_with(how, &manifest(name, "Async", event)).await);
        assert_eq!(stored(&world, name).await, expected, "{name}");
    }
    let from_values = manifest("values", "Async", "{{ toJson .Values.event }}");
    installed(&world, "values", &from_values, &format!("event: {event}")).await.unwrap();
    assert_eq!(stored(&world, "values").await, expected);
}

#[tokio::test]
async fn kubectl_apply_takes_no_large_event_and_other_ways_do() {
    let world = World::new().await;
    let event = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
    // With the rest of the object, what `kubectl apply` remembers in an annotation has this room.
    well(&world.kubectl_with(APPLY, &manifest("small", "Async", &event(261_000))).await);
    for (name, kind, bytes) in [("async", "Async", 262_144), ("sync", "Sync", 1_400_000)] {
        let refused = world.kubectl_with(APPLY, &manifest(name, kind, &event(bytes))).await;
        let said = text(&refused.stderr);
        assert!(said.contains("metadata.annotations: Too long: may not be more than 262144 bytes"), "{said}");
        well(&world.kubectl_with(SERVER_SIDE, &manifest(name, kind, &event(bytes))).await);
        let other = format!("{name}-created");
        well(&world.kubectl_with(CREATE, &manifest(&other, kind, &event(bytes))).await);
    }
}
