//! The main job: an object is applied, its event arrives, and the answer stands in its status.

use functiongraph_emulator::{Function, RateLimit};
use functiongraph_operator::api::invocation::{Outcome, RequestIdSource};
use functiongraph_operator::api::{ConditionStatus, ConditionType, Reason};
use serde_json::json;
use std::collections::BTreeSet;
use testkit::{World, condition, message, ready};

/// SHA-256 of `{}`.
const EMPTY_OBJECT: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

#[tokio::test]
async fn an_invocation_is_accepted_once_and_its_status_holds_the_request_id() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    world.invoke("first", json!({"function": {"name": "hello"}, "payload": {"tag": "first"}})).await;

    let object = world.finished("first").await;

    let status = object.status.unwrap();
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    let ledger = world.accepted("first");
    assert_eq!(ledger.len(), 1);
    assert_eq!(status.request_id.as_ref(), Some(&ledger[0].request_id));
    assert_eq!(status.request_id_source, Some(RequestIdSource::Response));
    assert_eq!(status.function.as_deref(), Some("default:hello:latest"));
    assert_eq!(status.observed_generation, object.metadata.generation);
    assert_eq!(status.attempts, Some(1));
    assert_eq!((status.throttled_attempts, status.failed_attempts), (None, None));
    assert_eq!((status.error.as_ref(), status.next_attempt_time), (None, None));
    let (start, accepted) = (status.start_time.unwrap(), status.accepted_time.unwrap());
    assert!(start <= accepted && Some(accepted) == status.completion_time);
    for type_ in [ConditionType::Accepted, ConditionType::Finished, ConditionType::Ready] {
        let well = (Some(ConditionStatus::True), Some(Reason::Accepted));
        assert_eq!(condition(&status, type_), well, "{type_:?}");
    }
    assert_eq!(status.conditions.len(), 3);
    assert!(message(&status).contains(&ledger[0].request_id));
    assert_eq!(world.seen(), 1);
    assert!(operator.stop().await.success());
}

#[tokio::test]
async fn a_function_is_found_by_name_package_version_alias_and_urn() {
    let world = World::with(|config| {
        let prod = ("prod".to_owned(), "v1".to_owned());
        config.functions.push(Function {
            package: "tools".into(),
            versions: vec!["v1".into()],
            aliases: [prod].into(),
            ..Function::named("resize")
        });
    })
    .await;
    world.provider().await;
    let _operator = world.operator().await;
    let urn = |rest: &str| format!("urn:fss:eu-de:7aad83af3e8d42e99ac194e8419e2c9b:function:{rest}");
    let forms = [
        ("name", json!({"name": "hello"}), "default:hello:latest"),
        ("package", json!({"name": "resize", "package": "tools"}), "tools:resize:latest"),
        ("version", json!({"name": "resize", "package": "tools", "qualifier": "v1"}), "tools:resize:v1"),
        ("alias", json!({"name": "resize", "package": "tools", "qualifier": "!prod"}), "tools:resize:!prod"),
        ("urn", json!({"urn": urn("default:hello:latest")}), "default:hello:latest"),
        ("short-urn", json!({"urn": urn("tools:resize")}), "tools:resize:latest"),
        ("alias-urn", json!({"urn": urn("tools:resize:!prod")}), "tools:resize:!prod"),
    ];
    for (name, function, _) in &forms {
        world.invoke(name, json!({"function": function, "payload": {"tag": name}})).await;
    }
    for (name, _, called) in &forms {
        let status = world.end(name).await;
        assert_eq!(status.outcome, Some(Outcome::Accepted), "{name}: {}", message(&status));
        assert_eq!(status.function.as_deref(), Some(*called), "{name}");
        let ledger = world.accepted(name);
        assert_eq!(ledger.len(), 1, "{name}");
        assert_eq!(ledger[0].function, urn(called), "{name}");
    }
}

#[tokio::test]
async fn an_inline_event_arrives_as_the_api_server_stores_it_and_one_from_a_config_map_byte_for_byte() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    let verbatim = "{ \"z\": 1e3,\n  \"a\": 12345678901234567890123, \"tag\": \"verbatim\" }";
    world.config_map("event", "event.json", verbatim).await;
    let source = json!({"configMapKeyRef": {"name": "event", "key": "event.json"}});
    world.invoke("verbatim", json!({"function": {"name": "hello"}, "payloadFrom": source})).await;
    world.end("verbatim").await;
    // Keys in an order of their own, and an integer that no float can hold.
    let inline = r#"{"z": {"k": [1, 2]}, "b": 18446744073709551616, "a": "cat"}"#;
    let manifest = format!(
        r#"{{"apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
            "metadata": {{"name": "inline"}},
            "spec": {{"function": {{"name": "hello"}}, "payload": {inline}}}}}"#
    );
    let applied = world.kubectl_with(&["create", "--filename", "-"], &manifest).await;
    assert!(applied.status.success(), "{applied:?}");
    world.end("inline").await;
    world.invoke("nothing", json!({"function": {"name": "hello"}})).await;
    world.end("nothing").await;

    let sent: Vec<_> = world.emulator.ledger().into_iter().map(|e| (e.body_bytes, e.body_sha256)).collect();

    let expected = [
        (verbatim.len(), "d73e4f019b94de254b76297882561d29b7f6c77693b62e992c4115c79b4320b8"),
        (
            r#"{"a":"cat","b":18446744073709552000,"z":{"k":[1,2]}}"#.len(),
            "41faee6fa71e980b3943a34f527823bf38f783d13c8f017dee82f7b17c7381a0",
        ),
        (2, EMPTY_OBJECT),
    ];
    let expected: Vec<_> = expected.map(|(bytes, digest)| (bytes, digest.to_owned())).into();
    assert_eq!(sent, expected);
    operator.stop().await;
}

#[tokio::test]
async fn fifty_at_once_through_a_narrow_gate_are_each_accepted_once_with_few_refusals_on_the_way() {
    const MANY: u64 = 50;
    let world = World::new().await;
    world.provider().await;
    let eight = 8.try_into().unwrap();
    world.emulator.set_rate_limit(Some(RateLimit {
        requests_per_second: eight,
        burst: None,
        retry_after: None,
    }));
    let names: Vec<String> = (0..MANY).map(|n| format!("one-of-many-{n}")).collect();
    for name in &names {
        world.invoke(name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
    }
    let _operator = world.operator().await;

    let mut throttled = 0;
    for name in &names {
        let status = world.end(name).await;
        assert_eq!(ready(&status), (Some(ConditionStatus::True), Some(Reason::Accepted)), "{name}");
        assert_eq!(status.failed_attempts, None, "{name}");
        throttled += status.throttled_attempts.unwrap_or_default();
    }

    let tags: BTreeSet<_> = world.emulator.ledger().into_iter().filter_map(|entry| entry.tag).collect();
    assert_eq!(tags, names.into_iter().collect());
    assert_eq!(world.emulator.ledger().len(), 50);
    let extra = world.seen() - MANY;
    assert_eq!(i64::try_from(extra).unwrap(), throttled);
    assert!(extra < MANY / 2, "{extra} requests were refused");
}
