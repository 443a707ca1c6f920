//! Ambiguous attempts: what FunctionGraph's list shows of them, and what the annotation does with them.

use functiongraph_emulator::{AccessKey, Api as Emulated, AsyncInvokeConfig, Config, Emulator, Function};
use functiongraph_operator::api::invocation::{
    AttemptState, FunctionInvocation, FunctionInvocationStatus, Outcome, RequestIdSource,
};
use functiongraph_operator::api::{ConditionStatus, ConditionType, FunctionGraphProvider, Reason};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{KEY, World, condition, message, ready};

/// An id that no emulator gives.
const ID: &str = "1167bf8c-87b0-43ab-8f5f-26b16c64f252";

/// A function that keeps the status of its invocations.
fn logged() -> Function {
    Function {
        async_invoke_config: Some(AsyncInvokeConfig {
            enable_async_status_log: Some(true),
            ..AsyncInvokeConfig::default()
        }),
        ..Function::named("logged")
    }
}

/// A world with such a function, and a provider whose list may be read.
async fn asking() -> World {
    let world = World::with(|config| config.functions.push(logged())).await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"lookup": {"enabled": true}})).await;
    world
}

fn spec(function: &str, tag: &str) -> Value {
    json!({"function": {"name": function}, "payload": {"tag": tag}, "requestTimeoutSeconds": 5})
}

/// An invocation whose only attempt is answered 500 and not accepted.
pub async fn unknown(world: &World, name: &str) {
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    world.invoke(name, spec("hello", name)).await;
    assert_eq!(world.end(name).await.outcome, Some(Outcome::Unknown), "{name}");
}

/// An invocation that is created with the annotation.
async fn annotated(world: &World, name: &str, value: &str) {
    let annotations = json!({"functiongraph.io/resolve": value});
    let object = json!({"metadata": {"annotations": annotations}, "spec": spec("hello", name)});
    world.create::<FunctionInvocation>(name, object).await.expect("the API server accepts it");
}

/// Sets the annotation.
pub async fn resolve(world: &World, name: &str, value: &str) {
    let annotations = json!({"metadata": {"annotations": {"functiongraph.io/resolve": value}}});
    world.change::<FunctionInvocation>(name, annotations).await;
}

/// The status once it says that the annotation changed nothing, for this reason.
pub async fn refuses(world: &World, name: &str, reason: Reason) -> FunctionInvocationStatus {
    let refused = |status: &_| condition(status, ConditionType::ResolutionRefused).1 == Some(reason);
    world.until_status(name, refused).await
}

/// The status once the list was read: that is after more than a minute and a half.
async fn looked_up(world: &World, name: &str) -> FunctionInvocationStatus {
    let ended = |object: Option<&FunctionInvocation>| {
        object.and_then(|o| o.status.as_ref()).is_some_and(|status| status.outcome.is_some())
    };
    let waiting = await_condition(world.api(), name, ended);
    let waited = tokio::time::timeout(Duration::from_mins(5), waiting).await;
    let object: Option<FunctionInvocation> = waited.expect("it ends").expect("the watch works");
    object.expect("the object is there").status.expect("a status")
}

/// Holds once the invocation has this outcome.
fn has(outcome: Outcome) -> impl Fn(Option<&FunctionInvocation>) -> bool {
    move |object| object.and_then(|o| o.status.as_ref()).and_then(|status| status.outcome) == Some(outcome)
}

/// Whatever the list shows: it was accepted, it was not, it may be another's.
#[tokio::test]
async fn the_list_is_evidence_and_nothing_is_sent_or_named_because_of_it() {
    let world = asking().await;
    world.call("logged", "invocations-async", &json!({"tag": "foreign"})).await;
    world.fault(json!({"when": {"next": 1}, "action": {"acceptThen": {"status": 504}}}));
    world.invoke("accepted", spec("logged", "accepted")).await;
    let _operator = world.operator().await;
    assert_eq!(world.says("accepted", Reason::LookingUp).await.outcome, None);
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    world.invoke("unlogged", spec("hello", "unlogged")).await;
    assert_eq!(world.says("unlogged", Reason::LookingUp).await.outcome, None);

    for (name, candidates) in [("accepted", 2), ("unlogged", 0)] {
        let status = looked_up(&world, name).await;
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Unknown), Some(1)), "{name}");
        assert_eq!(status.attempt.as_ref().unwrap().state, Some(AttemptState::Ambiguous), "{name}");
        assert_eq!((&status.request_id, status.request_id_source), (&None, None), "{name}");
        assert_eq!(status.candidate_request_ids.as_ref().map_or(0, Vec::len), candidates, "{name}");
        let told = message(&status);
        assert!(told.contains("FunctionGraph's list of default:"), "{told}");
        assert!(told.contains(&world.emulator.url()), "{told}");
        let proves_nothing = told.contains("That does not prove that the request was not accepted.");
        assert_eq!(proves_nothing, candidates == 0, "{told}");
    }
    let ledger = world.accepted("accepted");
    assert_eq!(ledger.len(), 1);
    let status = world.get("accepted").await.status.unwrap();
    assert!(status.candidate_request_ids.unwrap().contains(&ledger[0].request_id));
    assert_eq!(world.accepted("unlogged").len(), 0);
}

/// The list of another place says nothing about a request that never went there.
#[tokio::test]
async fn nothing_is_sent_again_after_the_provider_was_led_elsewhere() {
    let world = asking().await;
    let access_keys = vec![AccessKey { id: KEY.0.into(), secret: KEY.1.into(), security_token: None }];
    let config = Config { functions: vec![logged()], access_keys, ..Config::default() };
    let elsewhere = Emulator::start(config).await.expect("another emulator starts");
    world.fault(json!({"when": {"next": 1}, "action": {"acceptThen": {"status": 504}}}));
    world.invoke("ours", spec("logged", "ours")).await;
    let _operator = world.operator().await;
    world.says("ours", Reason::LookingUp).await;
    let there = json!({"spec": {"endpoint": elsewhere.url(), "caBundle": elsewhere.ca_pem()}});
    world.change::<FunctionGraphProvider>("default", there).await;

    let status = looked_up(&world, "ours").await;
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Unknown), Some(1)));
    let told = message(&status);
    assert!(told.contains("did not read FunctionGraph's list"), "{told}");
    assert!(told.contains(&world.emulator.url()), "{told}");
    assert_eq!((world.accepted("ours").len(), elsewhere.ledger().len()), (1, 0));
    assert!(!elsewhere.requests().calls.contains_key(&Emulated::ListAsync));
}

#[tokio::test]
async fn the_list_is_not_read_where_the_provider_does_not_say_so() {
    let world = World::with(|config| config.functions.push(logged())).await;
    world.provider().await;
    world.fault(json!({"when": {"next": 1}, "action": "dropAfter"}));
    world.invoke("ours", spec("logged", "ours")).await;
    let _operator = world.operator().await;
    assert_eq!(world.end("ours").await.outcome, Some(Outcome::Unknown));
    assert!(!world.emulator.requests().calls.contains_key(&Emulated::ListAsync));
}

#[tokio::test]
async fn at_least_once_sends_again_without_reading_the_list() {
    let world = asking().await;
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    let mut again = spec("logged", "again");
    again["deliveryPolicy"] = "AtLeastOnce".into();
    world.invoke("again", again).await;
    let _operator = world.operator().await;
    let status = world.end("again").await;
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(2)));
    assert!(!world.emulator.requests().calls.contains_key(&Emulated::ListAsync));
}

#[tokio::test]
async fn the_annotation_resolves_an_unknown_outcome() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    for name in ["retry", "fail", "found", "odd"] {
        unknown(&world, name).await;
    }
    let odd = "Accepted:3.14_x";
    for (name, value) in [("retry", "Retry"), ("fail", "Fail"), ("found", ID), ("odd", odd)] {
        resolve(&world, name, value).await;
    }

    let retried = world.until("retry", has(Outcome::Accepted)).await.status.unwrap();
    assert_eq!(retried.attempts, Some(2));
    assert_eq!(retried.resolution.as_deref(), Some("Retry"));
    assert_eq!(world.accepted("retry").len(), 1);
    let failed = world.until("fail", has(Outcome::Failed)).await.status.unwrap();
    assert_eq!(ready(&failed), (Some(ConditionStatus::False), Some(Reason::Resolved)));
    for (name, id) in [("found", ID), ("odd", "3.14_x")] {
        let found = world.until(name, has(Outcome::Accepted)).await.status.unwrap();
        assert_eq!(found.request_id.as_deref(), Some(id));
        assert_eq!(found.request_id_source, Some(RequestIdSource::User));
    }
    assert_eq!(world.event("fail", "Resolved").await.type_.as_deref(), Some("Normal"));
}

#[tokio::test]
async fn a_typo_changes_nothing_and_is_told_in_status_and_by_an_event() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    for (name, value) in [("a", "Failed"), ("b", "done"), ("c", "true"), ("d", "retry")] {
        world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
        annotated(&world, name, value).await;
        let status = world.end(name).await;
        assert_eq!((status.outcome, &status.request_id), (Some(Outcome::Unknown), &None), "{value}");
        let refused = condition(&status, ConditionType::ResolutionRefused);
        assert_eq!(refused, (Some(ConditionStatus::True), Some(Reason::NotUnderstood)), "{value}");
        let event = world.event(name, "NotUnderstood").await;
        assert!(event.note.unwrap().contains("Set it to Retry, Fail,"), "{value}");
    }
    resolve(&world, "a", "Retry").await;
    world.until("a", has(Outcome::Accepted)).await;
    assert_eq!(world.accepted("a").len(), 1);
}

/// As `kubectl get -o yaml | kubectl create` makes it.
#[tokio::test]
async fn the_annotation_of_a_copy_does_not_resolve_the_copy() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    for (name, value) in [("retry", "Retry"), ("id", ID)] {
        world.fault(json!({"when": {"next": 1}, "action": {"acceptThen": {"status": 504}}}));
        annotated(&world, name, value).await;
        let status = refuses(&world, name, Reason::ResolvedTooEarly).await;
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Unknown), Some(1)), "{name}");
        assert_eq!(status.request_id, None, "{name}");
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
}

/// As `kubectl annotate --all` does.
#[tokio::test]
async fn an_annotation_on_what_waits_does_not_resolve_what_becomes_ambiguous_later() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let mut suspended = spec("hello", "suspended");
    suspended["suspend"] = true.into();
    world.invoke("suspended", suspended).await;
    world.says("suspended", Reason::Suspended).await;
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 429}}}));
    let mut throttled = spec("hello", "throttled");
    throttled["retryPolicy"] = json!({"initialDelaySeconds": 60, "maxDelaySeconds": 60});
    world.invoke("throttled", throttled).await;
    world.scheduled("throttled").await;
    for name in ["suspended", "throttled"] {
        resolve(&world, name, "Retry").await;
        let status = refuses(&world, name, Reason::NothingToResolve).await;
        assert_eq!(status.outcome, None, "{name}");
        world.event(name, "NothingToResolve").await;
    }
    world.fault(json!({"when": {"next": 1}, "action": {"acceptThen": {"status": 504}}}));
    world.change::<FunctionInvocation>("suspended", json!({"spec": {"suspend": false}})).await;
    let status = refuses(&world, "suspended", Reason::ResolvedTooEarly).await;
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Unknown), Some(1)));
    assert_eq!(world.accepted("suspended").len(), 1);
}

/// What somebody types about another's request must not reach it.
#[tokio::test]
async fn t16_the_request_id_of_another_object_is_refused() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.invoke("theirs", spec("hello", "theirs")).await;
    let theirs = world.end("theirs").await.request_id.unwrap();
    unknown(&world, "ours").await;
    resolve(&world, "ours", &theirs.to_uppercase()).await;
    let status = refuses(&world, "ours", Reason::RequestIdInUse).await;
    assert_eq!((status.outcome, status.request_id), (Some(Outcome::Unknown), None));
    world.event("ours", "RequestIdInUse").await;
}

#[tokio::test]
async fn t16_an_id_that_was_typed_is_neither_followed_nor_stopped() {
    let world = World::with(|config| {
        config.functions.push(Function { latency: Duration::from_mins(10), ..logged() });
    })
    .await;
    world.provider().await;
    world.allow_cancel().await;
    let _operator = world.operator().await;
    world.call("logged", "invocations-async", &json!({"tag": "theirs"})).await;
    let theirs = world.accepted("theirs")[0].request_id.clone();
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    let mut ours = spec("logged", "ours");
    ours["completionPolicy"] = "Executed".into();
    world.invoke("ours", ours).await;
    assert_eq!(world.end("ours").await.outcome, Some(Outcome::Unknown));

    resolve(&world, "ours", &theirs).await;
    let status = world.until("ours", has(Outcome::Accepted)).await.status.unwrap();
    assert_eq!(status.request_id.as_deref(), Some(theirs.as_str()));
    assert_eq!(status.execution, None);
    let calls = world.emulator.requests().calls;
    assert!(!calls.contains_key(&Emulated::ListAsync) && !calls.contains_key(&Emulated::Cancel), "{calls:?}");
}
