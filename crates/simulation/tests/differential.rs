//! The API server in memory answers as a real one: the same random calls to both.

#![cfg(test)]

use fastrand::Rng;
use functiongraph_operator::clock;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, json};
use simulation::api_server::requests::{Answer, Request};
use simulation::api_server::store::Store;
use std::collections::HashMap;
use testkit::plane;

/// How many objects go through a random life.
const SEQUENCES: u64 = 200;

const NAMESPACE: &str = "differential";

/// One of the two, and what it has said so far.
struct Side {
    server: Server,
    /// The versions of the current object, the last one at the end.
    versions: Vec<String>,
    /// Uids by the order in which they were seen.
    uids: HashMap<String, usize>,
}

enum Server {
    Real(Client),
    InMemory(Box<Store>),
}

/// A call; both sides fill in their own versions.
#[derive(Debug)]
struct Call {
    method: &'static str,
    path: String,
    body: Value,
    /// How many versions ago the caller read the object; `None` if it names no version.
    version: Option<usize>,
}

// === impl Side ===

impl Side {
    fn new(server: Server) -> Self {
        Self { server, versions: Vec::new(), uids: HashMap::new() }
    }

    /// Status code and body of an answer, without what each server chooses for itself.
    async fn answer(&mut self, call: &Call) -> (u16, Value) {
        let mut body = call.body.clone();
        let version = call.version.and_then(|ago| self.versions.iter().rev().nth(ago));
        if let Some(version) = version {
            let place = if call.method == "DELETE" { "preconditions" } else { "metadata" };
            body[place]["resourceVersion"] = version.as_str().into();
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let content =
            if call.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request =
            http::Request::builder().method(call.method).uri(&call.path).header("Content-Type", content);
        let (code, mut answer) = match &self.server {
            Server::Real(client) => {
                let answer = client.send(request.body(Body::from(text.into_bytes())).unwrap()).await.unwrap();
                let code = answer.status().as_u16();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                (code, serde_json::from_slice::<Value>(&body).unwrap_or_default())
            }
            Server::InMemory(store) => {
                let (head, ()) = request.body(()).unwrap().into_parts();
                match Request::of(&head, text.as_bytes()).answer(store) {
                    Answer::Object(code, object) => (code.as_u16(), object),
                    Answer::Watch(_) => unreachable!("it was not asked for"),
                }
            }
        };
        if let Some(version) = answer.pointer("/metadata/resourceVersion").and_then(Value::as_str)
            && answer["kind"] == "FunctionInvocation"
            && self.versions.last().map(String::as_str) != Some(version)
        {
            self.versions.push(version.to_owned());
        }
        self.normalise(&mut answer);
        (code, answer)
    }

    fn normalise(&mut self, answer: &mut Value) {
        if answer["kind"] == "Status" {
            // Servers word messages as they like.
            *answer = json!({"status": answer["status"], "reason": answer["reason"]});
            return;
        }
        if let Some(items) = answer.get_mut("items").and_then(Value::as_array_mut) {
            for item in items {
                self.normalise(item);
            }
            let is_more = answer["metadata"]["continue"].as_str().is_some_and(|token| !token.is_empty());
            answer["metadata"] = json!({"more": is_more});
            return;
        }
        let Some(metadata) = answer.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        for own in ["managedFields", "creationTimestamp", "resourceVersion"] {
            metadata.remove(own);
        }
        if let Some(uid) = metadata.get("uid").and_then(Value::as_str) {
            let next = self.uids.len();
            let number = *self.uids.entry(uid.to_owned()).or_insert(next);
            metadata.insert("uid".into(), number.into());
        }
    }

    /// The events of all that has happened, under a field selector.
    async fn events(&mut self, since: &str, selector: &str) -> Vec<Value> {
        let path = collection(&format!(
            "?watch=true&resourceVersion={since}&timeoutSeconds=1&fieldSelector={selector}"
        ));
        let request = http::Request::get(path);
        let text = match &self.server {
            Server::Real(client) => {
                let answer = client.send(request.body(Body::empty()).unwrap()).await.unwrap();
                let bytes = answer.into_body().collect().await.unwrap().to_bytes();
                String::from_utf8(bytes.to_vec()).unwrap()
            }
            Server::InMemory(store) => {
                let (head, ()) = request.body(()).unwrap().into_parts();
                match Request::of(&head, b"").answer(store) {
                    Answer::Watch(mut watch) => watch.events(store).unwrap().concat(),
                    Answer::Object(code, object) => panic!("{code}: {object}"),
                }
            }
        };
        let mut events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        events.retain(|event| event["type"] != "BOOKMARK");
        for event in &mut events {
            self.normalise(&mut event["object"]);
        }
        events
    }
}

fn collection(more: &str) -> String {
    format!("/apis/functiongraph.io/v1alpha1/namespaces/{NAMESPACE}/functioninvocations{more}")
}

/// A random call about an object.
fn call(rng: &mut Rng, name: &str) -> Call {
    let version = [None, Some(0), Some(0), Some(0), Some(1), Some(2)][rng.usize(..6)];
    let to = |method, path: String, body| Call { method, path, body, version };
    let object = || collection(&format!("/{name}"));
    match rng.u8(..20) {
        0..=3 => Call { version: None, ..to("POST", collection(""), created(rng, name)) },
        4..=6 => to("PATCH", object(), json!({"spec": spec(rng)})),
        7 => {
            let value = [json!("Retry"), json!("Fail"), Value::Null][rng.usize(..3)].clone();
            to("PATCH", object(), json!({"metadata": {"annotations": {"example.com/note": value}}}))
        }
        8..=14 => {
            to("PATCH", object() + "/status", json!({"spec": {"suspend": true}, "status": status(rng)}))
        }
        15 => Call { version: None, ..to("GET", object(), Value::Null) },
        16 => to("DELETE", object(), json!({"apiVersion": "v1", "kind": "DeleteOptions"})),
        17 => Call {
            version: None,
            ..to("GET", collection("?limit=1&fieldSelector=status.outcome%3D"), Value::Null)
        },
        18 => {
            let selectors = [
                "status.outcome!%3D",
                "status.outcome%3DUnknown",
                "spec.ttlSecondsAfterFinished!%3D",
                "status.requestID%3Dr1",
                "status.nothing%3D1",
                "spec.providerRef.name%3Ddefault,status.outcome%3DFailed",
            ];
            let path = collection(&format!("?fieldSelector={}", selectors[rng.usize(..selectors.len())]));
            Call { version: None, ..to("GET", path, Value::Null) }
        }
        _ => to("PATCH", object(), json!({"status": status(rng), "metadata": {"labels": {"a": "b"}}})),
    }
}

fn created(rng: &mut Rng, name: &str) -> Value {
    let mut spec = spec(rng);
    if rng.u8(..5) > 0 {
        spec["function"] = json!({"name": "hello"});
    }
    json!({
        "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
        "metadata": {"name": name, "labels": {"l": "1"}}, "spec": spec, "status": {"outcome": "Accepted"},
    })
}

/// One of these values.
fn one(rng: &mut Rng, values: &[Value]) -> Value {
    values[rng.usize(..values.len())].clone()
}

/// Some fields of a spec, right and wrong.
fn spec(rng: &mut Rng) -> Value {
    let mut spec = json!({});
    for (field, values) in [
        ("suspend", vec![json!(true), json!(false), json!("yes")]),
        ("cancel", vec![json!(true), json!(false)]),
        ("deliveryPolicy", vec![json!("AtMostOnce"), json!("AtLeastOnce"), json!("Never")]),
        ("requestTimeoutSeconds", vec![json!(5), json!(30), json!(0), json!(90), json!(4000)]),
        ("activeDeadlineSeconds", vec![json!(60), json!(600), json!(1)]),
        ("ttlSecondsAfterFinished", vec![json!(0), json!(60), Value::Null]),
        (
            "retryPolicy",
            vec![
                json!({"backoffLimit": 3}),
                json!({"initialDelaySeconds": 60, "maxDelaySeconds": 5}),
                json!({}),
            ],
        ),
        ("completionPolicy", vec![json!("Executed"), json!("Accepted")]),
        ("invocationType", vec![json!("Sync"), json!("Async")]),
        (
            "function",
            vec![json!({"name": "other"}), json!({"name": "hello"}), json!({}), json!({"name": ""})],
        ),
        ("unknown", vec![json!({"a": 1})]),
    ] {
        if rng.u8(..8) == 0 {
            spec[field] = one(rng, &values);
        }
    }
    spec
}

/// A status as the operator may write it, and as others may.
fn status(rng: &mut Rng) -> Value {
    let mut status = json!({"observedGeneration": rng.u8(1..3)});
    let numbers = [json!(1), json!(1), json!(1), json!(2), json!(2), json!(3), json!(0)];
    let ends = ["Claimed", "Accepted", "Rejected", "NotSent", "Ambiguous", "Lost"].map(Value::from);
    if rng.u8(..6) > 0 {
        status["attempt"] = json!({
            "number": one(rng, &numbers),
            "holder": one(rng, &[json!("a"), json!("a"), json!("a"), json!("b")]),
            "state": one(rng, &ends),
        });
    } else if rng.bool() {
        status["attempt"] = Value::Null;
    }
    for (field, values) in [
        (
            "outcome",
            vec![
                json!("Accepted"),
                json!("Unknown"),
                json!("Unknown"),
                json!("Failed"),
                json!("Odd"),
                Value::Null,
            ],
        ),
        ("requestID", vec![json!("r1"), json!("r2"), Value::Null]),
        ("nextAttemptTime", vec![json!("2026-01-01T00:00:00Z"), json!("tomorrow")]),
        ("candidateRequestIDs", vec![json!(["a"]), json!(["a", "b", "c", "d", "e", "f"])]),
        ("unknown", vec![json!(1)]),
    ] {
        if rng.u8(..4) == 0 {
            status[field] = one(rng, &values);
        }
    }
    if rng.u8(..20) == 0 { Value::Null } else { status }
}

#[tokio::test]
async fn the_api_server_in_memory_answers_as_a_real_one() {
    let client = plane().await.client().expect("a client");
    let namespace = json!({"metadata": {"name": NAMESPACE}});
    let namespace: Namespace = serde_json::from_value(namespace).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace");
    let store = Store::new(clock::now);
    let mut memory = Side::new(Server::InMemory(Box::new(store)));
    let mut real = Side::new(Server::Real(client));
    let list = Call { method: "GET", path: collection(""), body: Value::Null, version: None };
    let mut since = [const { String::new() }; 2];
    for (side, since) in [&mut real, &mut memory].into_iter().zip(&mut since) {
        *since = match &side.server {
            Server::Real(client) => {
                let request = http::Request::get(&list.path).body(Vec::new()).unwrap();
                let list: Value = client.request(request).await.unwrap();
                list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
            }
            Server::InMemory(store) => store.version().to_string(),
        };
    }
    let mut differences = Vec::new();
    let mut codes: HashMap<u16, usize> = HashMap::new();
    for seed in 0..SEQUENCES {
        let mut rng = Rng::with_seed(seed);
        let name = format!("object-{seed}");
        (real.versions, memory.versions) = (Vec::new(), Vec::new());
        let mut calls = vec![Call {
            method: "POST",
            path: collection(""),
            body: created(&mut rng, &name),
            version: None,
        }];
        calls.extend((0..14).map(|_| call(&mut rng, &name)));
        let path = collection(&format!("/{name}"));
        calls.push(Call { method: "DELETE", path, body: Value::Null, version: None });
        for (number, call) in calls.iter().enumerate() {
            let theirs = real.answer(call).await;
            // The admission policy, which the API server in memory does not have.
            if theirs.0 == 403 {
                continue;
            }
            let ours = memory.answer(call).await;
            *codes.entry(theirs.0).or_default() += 1;
            if theirs != ours {
                let Call { method, path, body, version } = call;
                differences.push(format!(
                    "seed {seed}, call {number}: {method} {path} {body} {version:?}\n  real {} {}\n  ours {} {}",
                    theirs.0, theirs.1, ours.0, ours.1
                ));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{}: {}",
        differences.len(),
        differences[..20.min(differences.len())].join("\n")
    );
    eprintln!("answers by status: {codes:?}");
    for code in [200, 201, 400, 404, 409, 422] {
        assert!(codes.get(&code).is_some_and(|count| *count >= 10), "too few answers with {code}: {codes:?}");
    }
    for selector in [
        "",
        "status.outcome%3D",
        "status.outcome%3DUnknown",
        "status.outcome!%3D,spec.ttlSecondsAfterFinished!%3D",
    ] {
        let theirs = real.events(&since[0], selector).await;
        let ours = memory.events(&since[1], selector).await;
        assert!(!theirs.is_empty(), "{selector}");
        for (number, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
            assert_eq!(theirs, ours, "event {number} under {selector:?}");
        }
        assert_eq!(theirs.len(), ours.len(), "{selector}");
    }
}
