//! What the admission policy refuses, in which words, and what it lets through.

use crate::cel::{any, assert_said, words};
use crate::rights::installed;
use functiongraph_operator::api::{self, FunctionInvocation};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::{World, enforced, text, until, until_some, within};

const EVENT: &str = "denied request: spec.payload is immutable: create a new FunctionInvocation";
const FINISHED: &str = "denied request: it has finished: create a new FunctionInvocation. Only \
                        spec.ttlSecondsAfterFinished can still be changed";
const RESOLVED: &str = "denied request: nothing to resolve: status.outcome says how it ended. To run the function \
                        again, create a new FunctionInvocation";
const ODD: &str = "denied request: the annotation functiongraph.io/resolve is not understood: write Retry, Fail, \
                   Accepted:<request id>, or the request id alone if it is a UUID";
const ACCEPTED: &str =
    "denied request: the attempt was accepted: create a new FunctionInvocation to run the function again";

/// A request with exactly this body, and what the API server says against it. The clients of Kubernetes would write
/// `10.0` as `10`.
pub async fn send(world: &World, method: &str, path: &str, media_type: &str, body: String) -> Option<String> {
    let url =
        format!("/apis/functiongraph.io/v1alpha1/namespaces/{}/functioninvocations{path}", world.namespace);
    let request = http::Request::builder().method(method).uri(url).header("Content-Type", media_type);
    match world.client.request_text(request.body(body.into_bytes()).unwrap()).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message),
        Err(other) => panic!("the API server did not answer: {other}"),
    }
}

/// The manifest of an invocation with this text as its event; no event if it is empty.
pub fn manifest(name: &str, event: &str, metadata: &str) -> String {
    let event = if event.is_empty() { String::new() } else { format!(r#", "payload": {event}"#) };
    format!(
        r#"{{"apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
            "metadata": {{"name": "{name}"{metadata}}},
            "spec": {{"function": {{"name": "hello"}}{event}}}}}"#
    )
}

/// Creates an invocation with this event.
async fn create(world: &World, name: &str, event: &str) {
    let said = send(world, "POST", "", "application/json", manifest(name, event, "")).await;
    assert_said(&format!("{name} {event}"), said, None);
}

/// What the API server says when the whole object is replaced by one with this event.
async fn put(world: &World, name: &str, event: &str) -> Option<String> {
    let version = world.get(name).await.metadata.resource_version.unwrap();
    let metadata = format!(r#", "resourceVersion": "{version}""#);
    send(world, "PUT", &format!("/{name}"), "application/json", manifest(name, event, &metadata)).await
}

/// What it says to a patch of this kind.
async fn patch(world: &World, name: &str, kind: &str, body: String) -> Option<String> {
    let path = format!("/{name}?fieldManager=test{}", if kind == "apply-patch" { "&force=true" } else { "" });
    let format = if kind == "apply-patch" { "yaml" } else { "json" };
    send(world, "PATCH", &path, &format!("application/{kind}+{format}"), body).await
}

/// What it says to a merge patch.
async fn merge(world: &World, name: &str, body: &Value) -> Option<String> {
    words(any::<FunctionInvocation>(world).patch(name, &PatchParams::default(), &Patch::Merge(body)).await)
}

#[tokio::test]
async fn an_event_cannot_be_edited_at_any_depth_and_the_same_event_is_taken_again() {
    let world = World::new().await;
    let refused = [
        (r#"{"amount": 100}"#, r#"{"amount_eur": 5}"#),
        (r#"{"amount": 100}"#, r#"{"amount": 101}"#),
        (r#"{"amount": 100}"#, r#"{"amount": 100, "currency": "EUR"}"#),
        (r#"{"amount": 100, "currency": "EUR"}"#, r#"{"amount": 100}"#),
        (r#"{"a": {"b": [{"c": 1}]}}"#, r#"{"a": {"b": [{"d": 1}]}}"#),
        (r#"{"a": {"b": [{"c": 1}]}}"#, r#"{"a": {"b": [{"c": 2}]}}"#),
        (r#"{"a": [1, 2]}"#, r#"{"a": [2, 1]}"#),
        (r#"{"a": [1, 2]}"#, r#"{"a": [1, 2, 3]}"#),
        (r#"{"a": 1}"#, r#"{"a": 1.5}"#),
        (r#"{"a": 1}"#, r#"{"a": "1"}"#),
        (r#"{"a": 1}"#, r#"{"a": true}"#),
        (r#"{"a": 0}"#, r#"{"a": null}"#),
        (r#"{"a": {}}"#, r#"{"a": []}"#),
        (r#"{"a": "x", "b": null}"#, r#"{"a": "x", "c": null}"#),
        (r#"{"a": "x", "b": null}"#, r#"{"a": "x"}"#),
        (r#"{"a": 1}"#, ""),
        ("", r#"{"a": 1}"#),
        ("", "{}"),
    ];
    let taken = [
        (r#"{"a": {"b": [{"c": 1}, "x", true]}}"#, r#"{"a": {"b": [{"c": 1}, "x", true]}}"#),
        (r#"{"b": 1, "a": 2}"#, r#"{"a": 2, "b": 1}"#),
        (r#"{"a": 10}"#, r#"{"a": 10.0}"#),
        (r#"{"a": 10.0}"#, r#"{"a": 10.0}"#),
        (r#"{"a": -0.0}"#, r#"{"a": -0.0}"#),
        (r#"{"a": 1e3}"#, r#"{"a": 1e3}"#),
        (r#"{"a": 1e-400}"#, r#"{"a": 1e-400}"#),
        (r#"{"a": 0.1234567890123456789}"#, r#"{"a": 0.1234567890123456789}"#),
        (r#"{"a": 123456789012345678901234567890}"#, r#"{"a": 123456789012345678901234567890}"#),
        (r#"{"a": "x", "b": null}"#, r#"{"a": "x", "b": null}"#),
        ("", ""),
        // As far as it sees: an integer that has no double is compared with one.
        (r#"{"a": 9007199254740993}"#, r#"{"a": 9007199254740992.0}"#),
    ];
    let cases = refused.map(|(from, to)| (from, to, Some(EVENT))).into_iter();
    let cases = cases.chain(taken.map(|(from, to)| (from, to, None)));
    for (number, (from, to, expected)) in cases.enumerate() {
        let name = format!("case-{number}");
        create(&world, &name, from).await;
        let what = |how: &str| format!("{how}: {from} -> {to}");
        assert_said(&what("PUT"), put(&world, &name, to).await, expected);
        let operation = match (from, to) {
            ("", "") => "[]".into(),
            (_, "") => r#"[{"op": "remove", "path": "/spec/payload"}]"#.into(),
            (_, to) => format!(r#"[{{"op": "add", "path": "/spec/payload", "value": {to}}}]"#),
        };
        assert_said(&what("JSON patch"), patch(&world, &name, "json-patch", operation).await, expected);
        // What this manager never owned, it does not remove.
        if !to.is_empty() {
            let said = patch(&world, &name, "apply-patch", manifest(&name, to, "")).await;
            assert_said(&what("server-side apply"), said, expected);
        }
        // A null in a merge patch removes a key.
        if !to.is_empty() && !to.contains("null") {
            let removed =
                |key: &&str| from.contains(&format!("\"{key}\"")) && !to.contains(&format!("\"{key}\""));
            let removed = ["amount", "b", "currency"].into_iter().filter(removed);
            let removed: Vec<_> = removed.map(|key| format!(r#", "{key}": null"#)).collect();
            let event = to.strip_suffix('}').unwrap();
            let event = if event == "{" { "{}".into() } else { format!("{event}{}}}", removed.concat()) };
            let said =
                patch(&world, &name, "merge-patch", format!(r#"{{"spec": {{"payload": {event}}}}}"#)).await;
            assert_said(&what("merge patch"), said, expected);
        }
    }
}

#[tokio::test]
async fn a_large_event_costs_too_little_to_be_refused_for_it() {
    let world = World::new().await;
    let keys: Vec<_> = (0..15_000).map(|number| format!(r#""key-{number:05}": {number}"#)).collect();
    let event = format!("{{{}}}", keys.join(", "));
    assert!(event.len() > 262_144, "{}", event.len());
    create(&world, "large", &event).await;
    world.force_status("large", json!({"outcome": "Accepted"})).await.unwrap();

    assert_said(&"a label", merge(&world, "large", &json!({"metadata": {"labels": {"a": "b"}}})).await, None);
    assert_said(&"the same again", put(&world, "large", &event).await, None);
    let edited = event.replace("key-14999", "yek-14999");
    assert_said(&"another key", put(&world, "large", &edited).await, Some(EVENT));
}

#[tokio::test]
async fn every_tool_may_apply_the_same_manifest_again() {
    let world = World::new().await;
    let event = r#"{"a": {"b": [{"c": 1}, 2.5]}, "ten": 10.0, "minus": -0.0, "text": "<&>"}"#;
    let manifest = manifest("again", event, "");
    let ways: [&[&str]; 6] = [
        &["apply", "-f", "-"],
        &["apply", "-f", "-"],
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        &["apply", "--server-side", "-f", "-"],
        &["replace", "-f", "-"],
        &["apply", "-f", "-"],
    ];
    for finished in [false, true] {
        if finished {
            world.force_status("again", json!({"outcome": "Accepted"})).await.unwrap();
        }
        for way in ways {
            let said = world.kubectl_with(way, &manifest).await;
            assert!(said.status.success(), "{way:?}: {}", text(&said.stderr));
            assert_eq!(world.get("again").await.metadata.generation, Some(1), "{way:?}");
        }
    }
}

#[tokio::test]
async fn force_does_not_delete_what_cannot_be_edited_and_send_it_again() {
    let world = World::new().await;
    let manifest = |event: &str| manifest("forced", event, "");
    let apply = async |text: &str| world.kubectl_with(&["apply", "--force", "-f", "-"], text).await;
    assert!(apply(&manifest(r#"{"a": 1}"#)).await.status.success());
    let uid = world.get("forced").await.metadata.uid;

    let said = apply(&manifest(r#"{"b": 1}"#)).await;
    assert!(!said.status.success());
    assert!(text(&said.stderr).contains(EVENT), "{}", text(&said.stderr));
    world.force_status("forced", json!({"outcome": "Accepted"})).await.unwrap();
    let said = apply(&manifest(r#"{"a": 1}"#).replace(r#""spec": {"#, r#""spec": {"suspend": true, "#)).await;
    assert!(text(&said.stderr).contains(FINISHED), "{}", text(&said.stderr));
    assert_eq!(world.get("forced").await.metadata.uid, uid);
}

/// A change of each field of the spec, all of which the API server takes before the end; none for what it never takes.
fn changes() -> Vec<(&'static str, Option<Value>)> {
    vec![
        ("function", None),
        ("payload", None),
        ("payloadFrom", None),
        ("providerRef", None),
        ("invocationType", None),
        ("completionPolicy", None),
        ("deliveryPolicy", None),
        ("retryPolicy", Some(json!({"backoffLimit": 5}))),
        ("retryPolicy", Some(json!({"rules": [{"httpStatuses": [404], "action": "Retry"}]}))),
        ("requestTimeoutSeconds", Some(29.into())),
        ("activeDeadlineSeconds", Some(3601.into())),
        ("suspend", Some(true.into())),
        ("cancel", Some(true.into())),
        ("instanceMemoryMB", Some(256.into())),
        ("instanceMemoryMB", Some(Value::Null)),
        ("sync", Some(json!({"logTail": true}))),
        ("sync", Some(Value::Null)),
        ("ttlSecondsAfterFinished", None),
    ]
}

#[tokio::test]
async fn what_has_finished_is_not_edited_any_more() {
    let world = World::new().await;
    let spec = json!({
        "function": {"name": "hello"}, "invocationType": "Sync", "sync": {"captureResult": true},
        "instanceMemoryMB": 128,
    });
    world.invoke("ended", spec.clone()).await;
    world.invoke("not-yet", spec).await;
    world.force_status("ended", json!({"outcome": "Executed"})).await.unwrap();
    let crd = serde_json::to_value(&api::crds()[0]).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];

    let fields: BTreeSet<_> = changes().iter().map(|(field, _)| (*field).to_owned()).collect();
    assert_eq!(fields, schema["spec"]["properties"].as_object().unwrap().keys().cloned().collect());
    for (field, value) in changes().into_iter().filter_map(|(field, value)| Some((field, value?))) {
        let change = json!({"spec": {field: value}});
        assert_said(&change, merge(&world, "not-yet", &change).await, None);
        assert_said(&change, merge(&world, "ended", &change).await, Some(FINISHED));
    }
    assert_eq!(world.get("ended").await.metadata.generation, Some(1));

    for outcome in schema["status"]["properties"]["outcome"]["enum"].as_array().unwrap() {
        let Some(outcome) = outcome.as_str() else { continue };
        let name = outcome.to_lowercase();
        world.invoke(&name, json!({"function": {"name": "hello"}})).await;
        world.force_status(&name, json!({"outcome": outcome})).await.unwrap();
        let expected = Some(FINISHED).filter(|_| outcome != "Unknown");
        assert_said(&outcome, merge(&world, &name, &json!({"spec": {"suspend": true}})).await, expected);
    }
}

#[tokio::test]
async fn what_has_finished_keeps_its_time_to_live_and_its_metadata_open() {
    let world = World::new().await;
    world.invoke("ended", json!({"function": {"name": "hello"}, "payload": {"tag": "ended"}})).await;
    world.force_status("ended", json!({"outcome": "Failed"})).await.unwrap();
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none"}]);
    for change in [
        json!({"spec": {"ttlSecondsAfterFinished": 5}}),
        json!({"spec": {"ttlSecondsAfterFinished": 6}}),
        json!({"spec": {"ttlSecondsAfterFinished": null}}),
        json!({"metadata": {"labels": {"team": "images"}}}),
        json!({"metadata": {"annotations": {"note": "done"}}}),
        json!({"metadata": {"ownerReferences": owner}}),
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        json!({"metadata": {"finalizers": null}}),
    ] {
        assert_said(&change, merge(&world, "ended", &change).await, None);
    }
    let change = json!({"spec": {"ttlSecondsAfterFinished": 5, "suspend": true}});
    assert_said(&change, merge(&world, "ended", &change).await, Some(FINISHED));

    // What a manifest leaves out is filled in with its default before it is judged.
    let name = "applied";
    let full =
        r#""spec": {"suspend": false, "activeDeadlineSeconds": 3600, "retryPolicy": {"backoffLimit": 6}, "#;
    let (short, full) = (manifest(name, "", ""), manifest(name, "", "").replace(r#""spec": {"#, full));
    assert_said(&"all fields", patch(&world, name, "apply-patch", full).await, None);
    world.force_status(name, json!({"outcome": "Cancelled"})).await.unwrap();
    assert_said(&"fewer fields", patch(&world, name, "apply-patch", short).await, None);
    assert_eq!(world.get(name).await.metadata.generation, Some(1));
}

#[tokio::test]
async fn an_annotation_must_be_understood_and_have_something_to_resolve() {
    let world = World::new().await;
    let id = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";
    let long = |length: usize| format!("Accepted:{}", "x".repeat(length));
    let understood = [id.to_uppercase(), long(64)].into_iter();
    let understood = understood
        .chain(["Retry", "Fail", id, "Accepted:1167bf8c", "Accepted:a_B-c.9"].map(ToOwned::to_owned));
    let odd =
        [long(65), id.replace('-', ""), id[1..].into(), format!("{id}0"), format!("x\n{id}")].into_iter();
    let words = ["", "retry", "FAIL", "Failed", "done", "true", "Accepted", "Accepted:", "Accepted:a b"];
    let odd = odd.chain(words.map(ToOwned::to_owned));
    let odd = odd.chain(["Accepted:a:b", "1167bf8c", "Retry ", " Retry", "Retry\n"].map(ToOwned::to_owned));
    let attempt = |state: &str| json!({"number": 1, "holder": "a", "state": state});
    let unknown = json!({"outcome": "Unknown", "attempt": attempt("Ambiguous")});
    let cases = understood.map(|word| (unknown.clone(), word, None));
    let mut cases: Vec<_> = cases.chain(odd.map(|word| (unknown.clone(), word, Some(ODD)))).collect();
    for outcome in ["Accepted", "Executed", "Failed", "Cancelled"] {
        for word in ["Retry", "Fail", id] {
            cases.push((json!({"outcome": outcome}), word.to_owned(), Some(RESOLVED)));
        }
    }
    for state in ["Claimed", "Rejected", "NotSent", "Ambiguous"] {
        cases.push((json!({"attempt": attempt(state)}), "Retry".into(), None));
    }
    cases.push((json!({}), "Retry".into(), None));
    for status in [
        json!({"attempt": attempt("Accepted")}),
        json!({"attempt": attempt("Accepted"), "outcome": "Unknown"}),
    ] {
        cases.push((status.clone(), "Retry".into(), Some(ACCEPTED)));
        cases.push((status.clone(), "Fail".into(), None));
        cases.push((status, id.into(), None));
    }
    for (number, (status, word, expected)) in cases.into_iter().enumerate() {
        let name = format!("case-{number}");
        world.invoke(&name, json!({"function": {"name": "hello"}})).await;
        world.force_status(&name, status.clone()).await.unwrap();
        let change = json!({"metadata": {"annotations": {"functiongraph.io/resolve": word}}});
        assert_said(&format!("{status}: {word:?}"), merge(&world, &name, &change).await, expected);
    }
}

#[tokio::test]
async fn only_a_change_of_the_annotation_counts() {
    let world = World::new().await;
    let odd = json!({"functiongraph.io/resolve": "Failed", "other": "a"});
    let object = json!({"metadata": {"annotations": odd}, "spec": {"function": {"name": "hello"}}});
    // A copy may carry anything: the operator notes it as handled.
    world.create::<FunctionInvocation>("copy", object).await.unwrap();
    for status in [json!({}), json!({"outcome": "Unknown"}), json!({"outcome": "Failed"})] {
        world.force_status("copy", status.clone()).await.unwrap();
        for (number, annotations) in
            [json!({"other": "b"}), json!({"functiongraph.io/resolve": "Failed", "other": null})]
                .iter()
                .enumerate()
        {
            let change =
                json!({"metadata": {"annotations": annotations, "labels": {"a": number.to_string()}}});
            assert_said(&format!("{status} {change}"), merge(&world, "copy", &change).await, None);
        }
    }
    let said =
        world.kubectl(&["annotate", "fninv", "copy", "--overwrite", "functiongraph.io/resolve=Fail"]).await;
    assert!(text(&said.stderr).contains(RESOLVED), "{}", text(&said.stderr));
    let said = world.kubectl(&["annotate", "fninv", "copy", "functiongraph.io/resolve-"]).await;
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert_eq!(world.get("copy").await.metadata.annotations, None);
}

/// What a controller of Kubernetes, which compiles a policy against the schema, finds wrong with this one.
async fn warnings(
    policies: &Api<ValidatingAdmissionPolicy>,
    spec: &ValidatingAdmissionPolicySpec,
) -> Vec<String> {
    let metadata = ObjectMeta { generate_name: Some("checked-".into()), ..ObjectMeta::default() };
    let policy = ValidatingAdmissionPolicy { metadata, spec: Some(spec.clone()), ..Default::default() };
    let name = policies.create(&PostParams::default(), &policy).await.unwrap().name_any();
    let checked = until_some(async || policies.get(&name).await.unwrap().status?.type_checking).await;
    let warnings = checked.expression_warnings.unwrap_or_default();
    warnings.into_iter().map(|warning| warning.warning).collect()
}

#[tokio::test]
async fn the_policy_of_the_chart_is_enforced_and_fits_the_schema() {
    let plane = installed().await;
    enforced(plane).await;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(plane.client().unwrap());
    let ours = policies.get("functioninvocations.functiongraph.io").await.unwrap().spec.unwrap();
    let mut broken = ours.clone();
    broken.validations.as_mut().unwrap()[0].expression = "object.spec.nowhere == 1".into();
    // The controller finds nothing wrong with what is about a kind that it does not know yet.
    within(until(async || !warnings(&policies, &broken).await.is_empty())).await;

    assert_eq!(within(warnings(&policies, &ours)).await, Vec::<String>::new());
}
