//! Doubt that is settled: by the service's list, or by a person.

use crate::looks::{message, ready};
use crate::world::{KEY, World};
use functiongraph_emulator::{Api as Emulated, AsyncInvokeConfig, Function};
use functiongraph_operator::api::invocation::{FunctionInvocation, Outcome, RequestIdSource};
use functiongraph_operator::api::{ConditionStatus, Reason};
use serde_json::{Value, json};

/// A world whose function keeps the status of its invocations, with a provider that may be asked about them.
async fn asking(lookup: Value) -> World {
    let world = World::with(|config| {
        config.functions.push(Function {
            async_invoke_config: Some(AsyncInvokeConfig {
                enable_async_status_log: Some(true),
                ..AsyncInvokeConfig::default()
            }),
            ..Function::named("logged")
        });
    })
    .await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"lookup": lookup})).await;
    world
}

fn spec(function: &str, tag: &str) -> Value {
    json!({"function": {"name": function}, "payload": {"tag": tag}, "requestTimeoutSeconds": 5})
}

#[tokio::test]
async fn the_only_request_in_the_list_is_adopted_where_nobody_else_invokes() {
    let world = asking(json!({"enabled": true, "exclusiveInvoker": true})).await;
    world.fault(json!({"when": {"next": 1}, "action": {"acceptThen": {"status": 504}}}));
    world.invoke("ours", spec("logged", "ours")).await;
    let _operator = world.operator().await;

    assert_eq!(world.says("ours", Reason::LookingUp).await.outcome, None);
    let status = world.end("ours").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    assert_eq!(status.request_id_source, Some(RequestIdSource::Lookup));
    let ledger = world.accepted("ours");
    assert_eq!(ledger.len(), 1);
    assert_eq!(status.request_id.as_ref(), Some(&ledger[0].request_id));
}

#[tokio::test]
async fn a_request_that_is_in_no_list_is_sent_again_where_lists_are_complete() {
    let world = asking(json!({"enabled": true})).await;
    world.fault(json!({"when": {"next": 2}, "action": {"status": {"status": 500}}}));
    world.invoke("logged", spec("logged", "logged")).await;
    world.invoke("silent", spec("hello", "silent")).await;
    let _operator = world.operator().await;

    let logged = world.end("logged").await;
    assert_eq!((logged.outcome, logged.attempts), (Some(Outcome::Accepted), Some(2)));
    assert_eq!(world.accepted("logged").len(), 1);
    let silent = world.end("silent").await;
    assert_eq!((silent.outcome, silent.attempts), (Some(Outcome::Unknown), Some(1)));
    assert_eq!(world.accepted("silent").len(), 0);
}

/// The sender may only have been stopped: what is not in the list yet may still come.
#[tokio::test]
async fn nobody_but_the_sender_concludes_that_a_request_was_not_accepted() {
    let world = asking(json!({"enabled": true})).await;
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    world.invoke("ours", spec("logged", "ours")).await;
    let sender = world.operator().await;
    world.says("ours", Reason::LookingUp).await;
    sender.kill().await;

    let _other = world.operator().await;
    let status = world.end("ours").await;
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Unknown), Some(1)));
    assert_eq!(world.accepted("ours").len(), 0);
}

/// Its id is recorded nowhere, though the invocation has one.
#[tokio::test]
async fn what_another_invocation_sent_twice_is_not_adopted() {
    let world = asking(json!({"enabled": true, "exclusiveInvoker": true})).await;
    let _operator = world.operator().await;
    world.fault(json!({"when": {"next": 1}, "action": {"acceptThen": {"status": 504}}}));
    // Without a look of its own: its provider asks nobody.
    let twice = json!({
        "function": {"name": "logged"}, "payload": {"tag": "twice"}, "requestTimeoutSeconds": 5,
        "deliveryPolicy": "AtLeastOnce", "retryPolicy": {"initialDelaySeconds": 1, "maxDelaySeconds": 1},
        "providerRef": {"name": "silent"},
    });
    world.provider_named("silent", json!({})).await;
    world.invoke("twice", twice).await;
    assert_eq!(world.end("twice").await.attempts, Some(2));
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    world.invoke("ours", spec("logged", "ours")).await;

    let status = world.end("ours").await;
    assert_eq!(status.outcome, Some(Outcome::Unknown));
    assert_eq!(world.accepted("twice").len(), 2);
    assert_eq!(status.request_id, None);
}

#[tokio::test]
async fn several_requests_that_may_be_it_are_named_and_the_outcome_stays_unknown() {
    let world = asking(json!({"enabled": true, "exclusiveInvoker": true})).await;
    world.call("logged", "invocations-async", &json!({"tag": "foreign"})).await;
    world.fault(json!({"when": {"next": 1}, "action": "dropAfter"}));
    world.invoke("ours", spec("logged", "ours")).await;
    let _operator = world.operator().await;

    let status = world.end("ours").await;
    assert_eq!(status.outcome, Some(Outcome::Unknown));
    let candidates = status.candidate_request_ids.clone().unwrap();
    assert_eq!(candidates.len(), 2);
    assert!(candidates.contains(&world.accepted("ours")[0].request_id));
    assert!(candidates.iter().all(|id| message(&status).contains(id)), "{}", message(&status));
}

#[tokio::test]
async fn requests_of_other_invocations_are_not_taken_for_ours() {
    let world = asking(json!({"enabled": true, "exclusiveInvoker": true})).await;
    let operator = world.operator().await;
    world.invoke("other", spec("logged", "other")).await;
    world.end("other").await;
    world.fault(json!({"when": {"next": 1}, "action": {"acceptThen": {"status": 502}}}));
    world.invoke("ours", spec("logged", "ours")).await;

    let status = world.end("ours").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    assert_eq!(status.request_id.as_ref(), Some(&world.accepted("ours")[0].request_id));
    drop(operator);
}

#[tokio::test]
async fn nothing_is_asked_where_the_provider_does_not_say_so() {
    let world = asking(json!({})).await;
    world.fault(json!({"when": {"next": 1}, "action": "dropAfter"}));
    world.invoke("ours", spec("logged", "ours")).await;
    let _operator = world.operator().await;
    assert_eq!(world.end("ours").await.outcome, Some(Outcome::Unknown));
    assert!(!world.emulator.requests().calls.contains_key(&Emulated::ListAsync));
}

#[tokio::test]
async fn a_person_settles_what_is_unknown_with_an_annotation() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let unknown = async |name: &str| {
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Unknown), "{name}");
    };
    let fault = || world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    for name in ["retry", "fail", "found"] {
        fault();
        world.invoke(name, spec("hello", name)).await;
        unknown(name).await;
    }
    // Only a new object can still carry it: the API server refuses such a change.
    fault();
    let annotations = json!({"functiongraph.io/resolve": "retry!"});
    let object = json!({"metadata": {"annotations": annotations}, "spec": spec("hello", "nonsense")});
    world.create::<FunctionInvocation>("nonsense", object).await.unwrap();
    unknown("nonsense").await;
    let id = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";
    for (name, word) in [("retry", "Retry"), ("fail", "Fail"), ("found", id)] {
        let annotations = json!({"metadata": {"annotations": {"functiongraph.io/resolve": word}}});
        world.change::<FunctionInvocation>(name, annotations).await;
    }

    let retried = world.until("retry", has(Outcome::Accepted)).await.status.unwrap();
    assert_eq!(retried.attempts, Some(2));
    assert_eq!(retried.resolution.as_deref(), Some("Retry"));
    assert_eq!(world.accepted("retry").len(), 1);
    let failed = world.until("fail", has(Outcome::Failed)).await.status.unwrap();
    assert_eq!(ready(&failed), (Some(ConditionStatus::False), Some(Reason::Resolved)));
    let found = world.until("found", has(Outcome::Accepted)).await.status.unwrap();
    assert_eq!(found.request_id.as_deref(), Some(id));
    assert_eq!(found.request_id_source, Some(RequestIdSource::User));
    assert_eq!(world.get("nonsense").await.status.unwrap().outcome, Some(Outcome::Unknown));
    assert_eq!(world.event("fail", "Resolved").await.type_.as_deref(), Some("Normal"));
    let help = world.event("nonsense", "NotUnderstood").await.note.unwrap();
    assert!(help.contains("say Retry, Fail, or the id"), "{help}");
}

/// Holds once the invocation has this outcome.
fn has(outcome: Outcome) -> impl Fn(Option<&FunctionInvocation>) -> bool {
    move |object| object.and_then(|o| o.status.as_ref()).and_then(|status| status.outcome) == Some(outcome)
}
