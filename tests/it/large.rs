//! Objects near the largest size that the API server stores: they end too, and hold nothing up.

use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{ConditionStatus, FunctionInvocation, Reason};
use serde_json::{Value, json};
use testkit::{World, message, ready, text};

/// What etcd takes in one request.
const LIMIT: usize = 3 * 512 * 1024;

/// A synchronous invocation that fills its object up to this number of bytes less than the API server takes. The event
/// is as large as it may be, annotations are the rest.
async fn filled(world: &World, name: &str, room: usize) {
    let event = "e".repeat(1_399_000);
    let spec = json!({
        "function": {"name": "wordy"}, "payload": {"tag": name, "event": event}, "invocationType": "Sync",
        "sync": {"captureResult": true, "logTail": true}, "activeDeadlineSeconds": 120,
    });
    let sized = |filler: usize| {
        let annotations = json!({"example.com/filler": "f".repeat(filler)});
        json!({"metadata": {"annotations": annotations}, "spec": spec})
    };
    // How much its metadata, its defaults and the request around it take is found out, not assumed.
    let refused = |filler: usize| {
        let object = sized(filler);
        async move {
            let error = world.create::<FunctionInvocation>(name, object).await.err()?;
            Some(error.to_string())
        }
    };
    let (mut fits, mut too_large) = (0, LIMIT - 1_399_000);
    while too_large - fits > 1 {
        let filler = fits.midpoint(too_large);
        if refused(filler)
            .await
            .is_some_and(|why| why.contains("too large") || why.contains("larger than max"))
        {
            too_large = filler;
        } else {
            fits = filler;
            let deleted = world.kubectl(&["delete", "fninv", name]).await;
            assert!(deleted.status.success(), "{}", text(&deleted.stderr));
        }
    }
    world.create::<FunctionInvocation>(name, sized(fits - room)).await.expect("it fits");
}

async fn world() -> World {
    let wordy = Function {
        result: Some(Value::from("r".repeat(8000))),
        log: "l".repeat(4000),
        ..Function::named("wordy")
    };
    let world = World::with(|config| config.functions.push(wordy)).await;
    world.provider().await;
    world
}

#[tokio::test]
async fn a_status_that_does_not_fit_is_written_without_what_the_function_said() {
    let world = world().await;
    filled(&world, "tight", 9000).await;
    let _operator = world.operator().await;
    let status = world.end("tight").await;
    assert_eq!(status.outcome, Some(Outcome::Executed));
    assert_eq!(ready(&status), (Some(ConditionStatus::True), Some(Reason::Executed)));
    let result = status.result.as_ref().expect("a result");
    assert_eq!((&result.body, &result.log_tail, result.truncated), (&None, &None, Some(true)));
    assert!(message(&status).contains("Shortened"), "{}", message(&status));
    assert_eq!(world.seen(), 1);
}

#[tokio::test]
async fn an_object_without_room_for_a_claim_is_not_sent_and_holds_nothing_up() {
    let world = world().await;
    filled(&world, "full", 100).await;
    let operator = world.operator().await;
    world.event("full", "StatusRefused").await;
    world.invoke("small", json!({"function": {"name": "hello"}, "payload": {"tag": "small"}})).await;
    assert_eq!(world.end("small").await.outcome, Some(Outcome::Accepted));
    assert_eq!((world.accepted("full").len(), world.seen()), (0, 1));
    assert!(operator.stop().await.success());
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_before_anything_is_sent() {
    let world = world().await;
    let _operator = world.operator().await;
    let event = |bytes: usize| json!({"a": "e".repeat(bytes - 8)});
    let sync = json!({"function": {"name": "wordy"}, "invocationType": "Sync", "payload": event(1_400_001)});
    // Stored with six bytes for each, sent with one.
    let escaped = json!({"function": {"name": "hello"}, "payload": {"a": "<".repeat(200_000)}});
    for (name, spec, outcome) in [
        ("most", json!({"function": {"name": "hello"}, "payload": event(262_144)}), Outcome::Accepted),
        ("more", json!({"function": {"name": "hello"}, "payload": event(262_145)}), Outcome::Failed),
        ("sync", sync, Outcome::Failed),
        ("escaped", escaped, Outcome::Accepted),
    ] {
        world.create::<FunctionInvocation>(name, json!({"spec": spec})).await.expect("it is stored");
        let status = world.end(name).await;
        assert_eq!(status.outcome, Some(outcome), "{name}");
        if outcome == Outcome::Failed {
            assert_eq!(ready(&status).1, Some(Reason::InvalidPayload), "{name}");
            assert!(message(&status).contains("bytes, and may have"), "{}", message(&status));
            assert_eq!(status.attempts, None, "{name}");
        }
    }
    assert_eq!(world.seen(), 2);
}
