//! The ways to invoke: synchronous and reserved, in both versions of the API, and with memory of one's own.

use crate::cel::{any, assert_said, words};
use functiongraph_emulator::{Api as Emulated, Failure, Function};
use functiongraph_operator::api::invocation::{ExecutionStatus, Outcome};
use functiongraph_operator::api::{ConditionStatus, FunctionInvocation, Reason};
use kube::api::PostParams;
use serde_json::{Value, json};
use testkit::{World, message, ready};

/// A world with functions that return something, that fail, and that run on reserved instances.
async fn world() -> World {
    let failure = Failure::new(4002, "division by zero");
    World::with(|config| {
        config.functions.extend([
            Function {
                result: Some(json!({"message": "Hello World"})),
                log: "one line\nand another\n".into(),
                memory_used: 41.5,
                ..Function::named("answering")
            },
            Function { result: Some("x".repeat(20_000).into()), ..Function::named("wordy") },
            Function { failure: Some(failure), ..Function::named("failing") },
            Function { reserved: true, ..Function::named("reserved") },
            Function { dynamic_memory: true, ..Function::named("elastic") },
        ]);
    })
    .await
}

fn sync(function: &str, keep: &Value) -> Value {
    json!({
        "function": {"name": function}, "payload": {"tag": function}, "invocationType": "Sync", "sync": keep,
    })
}

#[tokio::test]
async fn a_synchronous_invocation_ends_with_its_execution_and_keeps_what_was_asked_for() {
    let world = world().await;
    world.provider().await;
    world.invoke("full", sync("answering", &json!({"logTail": true, "captureResult": true}))).await;
    world.invoke("plain", sync("answering", &json!({}))).await;
    world.invoke("cut", sync("wordy", &json!({"captureResult": true}))).await;
    let _operator = world.operator().await;

    let full = world.end("full").await;
    assert_eq!(full.outcome, Some(Outcome::Executed));
    assert_eq!(ready(&full), (Some(ConditionStatus::True), Some(Reason::Executed)));
    let ids: Vec<_> = world.accepted("answering").into_iter().map(|entry| entry.request_id).collect();
    assert!(ids.contains(full.request_id.as_ref().unwrap()), "{ids:?}");
    assert_eq!(full.execution.unwrap().status, Some(ExecutionStatus::Success));
    let result = full.result.unwrap();
    assert_eq!(result.body.as_deref(), Some(r#"{"message":"Hello World"}"#));
    assert_eq!(result.truncated, Some(false));
    assert!(result.log_tail.unwrap().contains("one line\nand another\n"));
    let summary = result.summary.unwrap();
    assert_eq!((summary.memory_size, summary.memory_used), (Some(128.0), Some(41.5)));

    let plain = world.end("plain").await.result.unwrap();
    assert_eq!((plain.body, plain.log_tail, plain.truncated), (None, None, None), "nobody asked for them");
    let cut = world.end("cut").await.result.unwrap();
    assert_eq!((cut.body.unwrap().len(), cut.truncated), (8192, Some(true)));
}

#[tokio::test]
async fn a_function_that_fails_is_a_failed_execution_of_an_accepted_invocation() {
    let world = world().await;
    world.provider().await;
    world.invoke("failing", sync("failing", &json!({"captureResult": true}))).await;
    let _operator = world.operator().await;

    let status = world.end("failing").await;

    assert_eq!(status.outcome, Some(Outcome::Failed));
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::ExecutionFailed)));
    assert_eq!(status.execution.as_ref().unwrap().error_code.as_deref(), Some("4002"));
    assert!(message(&status).contains("4002"), "{}", message(&status));
    assert!(status.result.unwrap().body.unwrap().contains("division by zero"));
    assert_eq!((status.attempts, world.accepted("failing").len()), (Some(1), 1), "it is not sent again");
}

#[tokio::test]
async fn a_synchronous_answer_that_does_not_come_in_time_leaves_doubt() {
    let world = world().await;
    world.provider().await;
    world.fault(json!({"when": {"next": 1}, "function": "answering", "action": {"hang": {"accept": true}}}));
    world.fault(json!({"when": {"next": 1}, "function": "wordy", "action": {"acceptThen": {"status": 504}}}));
    let mut spec = sync("answering", &json!({}));
    spec["requestTimeoutSeconds"] = 1.into();
    world.invoke("silent", spec).await;
    world.invoke("gateway", sync("wordy", &json!({}))).await;
    let _operator = world.operator().await;

    for name in ["silent", "gateway"] {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Unknown), "{name}");
    }
}

#[tokio::test]
async fn version_1_of_the_api_is_spoken_where_the_provider_says_so() {
    let world = world().await;
    world.secret(testkit::KEY.1).await;
    world.provider_with(json!({"protocolVersion": "v1.0"})).await;
    world.invoke("async", json!({"function": {"name": "hello"}, "payload": {"tag": "async"}})).await;
    world.invoke("sync", sync("answering", &json!({"captureResult": true, "logTail": true}))).await;
    world.invoke("gone", json!({"function": {"name": "nowhere"}})).await;
    world.invoke("off", json!({"function": {"name": "disabled"}})).await;
    let _operator = world.operator().await;

    let accepted = world.end("async").await;
    assert_eq!(accepted.outcome, Some(Outcome::Accepted));
    let ledger = world.accepted("async");
    assert_eq!(ledger.iter().map(|entry| entry.api).collect::<Vec<_>>(), [Emulated::InvokeAsyncV1]);
    assert_eq!(accepted.request_id.as_ref(), Some(&ledger[0].request_id));
    let executed = world.end("sync").await;
    assert_eq!(executed.outcome, Some(Outcome::Executed));
    assert_eq!(executed.result.unwrap().body.as_deref(), Some(r#"{"message":"Hello World"}"#));
    assert_eq!(world.accepted("answering")[0].api, Emulated::InvokeV1);
    assert_eq!(world.end("gone").await.error.unwrap().code.as_deref(), Some("FSS.0404"));
    world.says("off", Reason::FunctionDisabled).await;
}

#[tokio::test]
async fn what_version_1_does_not_know_is_refused_before_anything_is_sent() {
    let world = world().await;
    world.secret(testkit::KEY.1).await;
    world.provider_with(json!({"protocolVersion": "v1.0"})).await;
    let cases = [
        ("reserved", json!({"function": {"name": "reserved"}, "invocationType": "Reserved"})),
        ("followed", json!({"function": {"name": "hello"}, "completionPolicy": "Executed"})),
        ("memory", json!({"function": {"name": "elastic"}, "instanceMemoryMB": 512})),
    ];
    for (name, spec) in &cases {
        world.invoke(name, spec.clone()).await;
    }
    let _operator = world.operator().await;

    for (name, _) in &cases {
        let status = world.end(name).await;
        assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::Unsupported)), "{name}");
        assert!(message(&status).contains("v1.0"), "{}", message(&status));
    }
    assert_eq!(world.seen(), 0);
}

#[tokio::test]
async fn a_reserved_invocation_keeps_the_id_of_its_instance() {
    let world = world().await;
    world.provider().await;
    for (name, function) in [("reserved", "reserved"), ("ordinary", "hello")] {
        let spec = json!({
            "function": {"name": function}, "payload": {"tag": name}, "invocationType": "Reserved",
        });
        world.invoke(name, spec).await;
    }
    let _operator = world.operator().await;

    let status = world.end("reserved").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    assert_eq!(status.instance_id, world.accepted("reserved")[0].instance_id);
    assert!(message(&status).contains(status.instance_id.as_deref().unwrap()), "{}", message(&status));
    let refused = world.end("ordinary").await;
    assert_eq!(refused.error.unwrap().code.as_deref(), Some("FSS.1051"));
}

#[tokio::test]
async fn the_memory_of_the_instance_is_sent_along() {
    let world = world().await;
    world.provider().await;
    for (name, memory) in [("sized", json!(512)), ("own", Value::Null)] {
        let spec = json!({
            "function": {"name": "elastic"}, "payload": {"tag": name}, "instanceMemoryMB": memory,
        });
        world.invoke(name, spec).await;
    }
    let _operator = world.operator().await;

    for (name, memory) in [("sized", Some("512")), ("own", None)] {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
        assert_eq!(world.accepted(name)[0].instance_memory.as_deref(), memory, "{name}");
    }
}

#[tokio::test]
async fn combinations_that_make_no_sense_are_refused_by_the_api_server() {
    let world = World::new().await;
    let secret = json!({"secretKeyRef": {"name": "secret", "key": "event"}});
    let ends = Some("completionPolicy Executed needs invocationType Async");
    let cases = [
        (json!({"invocationType": "Sync", "completionPolicy": "Executed"}), ends),
        (json!({"invocationType": "Reserved", "completionPolicy": "Executed"}), ends),
        (json!({"sync": {"logTail": true}}), Some("sync needs invocationType Sync")),
        (json!({"invocationType": "Sync", "sync": {"captureResult": true}}), None),
        (
            json!({"invocationType": "Sync", "payloadFrom": secret, "sync": {"logTail": true}}),
            Some("may repeat the Secret"),
        ),
        (json!({"invocationType": "Sync", "payloadFrom": secret, "sync": {}}), None),
        (json!({"completionPolicy": "Executed"}), None),
        (json!({"instanceMemoryMB": 300}), Some("no instances with this much memory")),
        (json!({"instanceMemoryMB": 10_240}), None),
        (json!({"requestTimeoutSeconds": 91}), Some("less than or equal to 90")),
        (json!({"invocationType": "Later"}), Some("Unsupported value")),
    ];
    for (index, (more, expected)) in cases.into_iter().enumerate() {
        let mut spec = json!({"function": {"name": "hello"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
            "metadata": {"name": format!("combination-{index}")}, "spec": spec,
        });
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let object = serde_json::from_value(object).unwrap();
        let said = words(any::<FunctionInvocation>(&world).create(&parameters, &object).await);
        assert_said(&more, said, expected);
    }
}
