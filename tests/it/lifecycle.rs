//! What users do to an invocation while it lives: suspend, resume, cancel, delete, wait, and restart us.

use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use functiongraph_operator::api::{ConditionStatus, ConditionType, FunctionInvocation, Reason};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::{Value, json};
use testkit::{World, condition, message, ready, within};

/// Makes the next request for `hello` end in a pause of so many seconds and up to a tenth more, for specs of
/// [`patient`].
fn pause_next(world: &World, seconds: u32) {
    let action = json!({"status": {"status": 404, "retryAfter": seconds.to_string()}});
    world.fault(json!({"when": {"next": 1}, "function": "hello", "action": action}));
}

/// A spec for `hello` that tries again after a 404. Unlike a 429, that does not slow down its neighbours.
fn patient(tag: &str) -> Value {
    let rules = json!([{"httpStatuses": [404], "action": "Retry"}]);
    json!({"function": {"name": "hello"}, "payload": {"tag": tag}, "retryPolicy": {"rules": rules}})
}

/// A spec for `hello`.
fn plain(tag: &str) -> Value {
    json!({"function": {"name": "hello"}, "payload": {"tag": tag}})
}

#[tokio::test]
async fn what_is_suspended_from_the_start_is_sent_when_it_is_resumed() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let mut spec = plain("held");
    spec["suspend"] = true.into();
    world.invoke("held", spec).await;

    let status = world.says("held", Reason::Suspended).await;
    assert_eq!(ready(&status).0, Some(ConditionStatus::Unknown));
    let suspended = condition(&status, ConditionType::Suspended);
    assert_eq!(suspended, (Some(ConditionStatus::True), Some(Reason::Suspended)));
    assert_eq!(condition(&status, ConditionType::Reconciling), (None, None));
    world.invoke("free", plain("free")).await;
    world.end("free").await;
    assert!(world.accepted("held").is_empty());

    world.change::<FunctionInvocation>("held", json!({"spec": {"suspend": false}})).await;
    let status = world.end("held").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    assert_eq!(condition(&status, ConditionType::Suspended), (None, None));
    assert_eq!(world.accepted("held").len(), 1);
}

/// An object that is created later says so after three seconds.
#[tokio::test]
async fn what_is_resumed_says_again_what_it_waits_for_before_others_do() {
    let world = World::new().await;
    let _operator = world.operator().await;
    world.invoke("resumed", plain("resumed")).await;
    world.says("resumed", Reason::WaitingForProvider).await;
    for suspend in [true, false] {
        world.change::<FunctionInvocation>("resumed", json!({"spec": {"suspend": suspend}})).await;
        let is_suspended = |status: &_| condition(status, ConditionType::Suspended).0.is_some();
        world.until_status("resumed", |status| is_suspended(status) == suspend).await;
    }
    world.invoke("later", plain("later")).await;
    world.says("later", Reason::WaitingForProvider).await;
    assert_eq!(ready(&world.get("resumed").await.status.unwrap()).1, Some(Reason::WaitingForProvider));
}

#[tokio::test]
async fn what_is_suspended_while_it_backs_off_stays_unsent_past_its_time() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    pause_next(&world, 3);
    world.invoke("held", patient("held")).await;
    let due = world.scheduled("held").await.next_attempt_time.unwrap();

    world.change::<FunctionInvocation>("held", json!({"spec": {"suspend": true}})).await;
    world.says("held", Reason::Suspended).await;
    pause_next(&world, 4);
    world.invoke("later", patient("later")).await;
    let later = world.end("later").await;
    assert!(later.accepted_time.unwrap() > due);
    assert_eq!(world.get("held").await.status.unwrap().attempts, Some(1));

    world.change::<FunctionInvocation>("held", json!({"spec": {"suspend": false}})).await;
    let status = world.end("held").await;
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(2)));
    assert_eq!((world.accepted("held").len(), world.seen()), (1, 4));
}

#[tokio::test]
async fn cancel_ends_what_was_not_sent_and_is_refused_afterwards() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let mut spec = plain("cancelled");
    spec["suspend"] = true.into();
    world.invoke("cancelled", spec).await;
    world.says("cancelled", Reason::Suspended).await;
    world.invoke("done", plain("done")).await;
    let done = world.finished("done").await;

    let cancel = json!({"spec": {"cancel": true}});
    world.change::<FunctionInvocation>("cancelled", cancel.clone()).await;
    let api = world.api::<FunctionInvocation>();
    let refused = api.patch("done", &PatchParams::default(), &Patch::Merge(cancel)).await.unwrap_err();
    assert!(refused.to_string().contains("it has finished: create a new FunctionInvocation"), "{refused}");

    let status = world.end("cancelled").await;
    assert_eq!(status.outcome, Some(Outcome::Cancelled));
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::Cancelled)));
    assert_eq!(condition(&status, ConditionType::Finished).0, Some(ConditionStatus::True));
    assert_eq!(status.attempts, None);
    assert!(world.accepted("cancelled").is_empty());
    assert_eq!(world.get("done").await.resource_version(), done.resource_version());
    assert_eq!(world.event("cancelled", "Cancelled").await.type_.as_deref(), Some("Normal"));
}

#[tokio::test]
async fn what_is_deleted_while_it_backs_off_is_gone_at_once_and_never_sent_again() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    pause_next(&world, 3);
    world.invoke("deleted", patient("deleted")).await;
    let object = world.scheduled("deleted").await;
    let uid = world.get("deleted").await.uid().unwrap();

    let api = world.api::<FunctionInvocation>();
    api.delete("deleted", &DeleteParams::default()).await.unwrap();
    within(await_condition(api.clone(), "deleted", conditions::is_deleted(&uid))).await.unwrap();

    pause_next(&world, 4);
    world.invoke("later", patient("later")).await;
    let later = world.end("later").await;
    assert!(later.accepted_time.unwrap() > object.next_attempt_time.unwrap());
    assert_eq!(world.seen(), 3);
    assert!(world.accepted("deleted").is_empty());
}

#[tokio::test]
async fn an_operator_that_was_killed_while_backing_off_is_replaced_by_one_that_keeps_the_time() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    pause_next(&world, 3);
    world.invoke("kept", patient("kept")).await;
    let before = world.scheduled("kept").await;

    operator.kill().await;
    let _operator = world.operator().await;

    let status = world.end("kept").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    assert!(status.attempt.as_ref().unwrap().claim_time >= before.next_attempt_time);
    assert_eq!((status.attempts, status.failed_attempts), (Some(2), Some(1)));
    assert_eq!(status.start_time, before.start_time);
    let holder = |status: &functiongraph_operator::api::FunctionInvocationStatus| {
        status.attempt.as_ref().and_then(|attempt| attempt.holder.clone()).unwrap()
    };
    assert_ne!(holder(&status), holder(&before));
    assert_eq!(status.attempt.unwrap().state, Some(AttemptState::Accepted));
    assert_eq!((world.accepted("kept").len(), world.seen()), (1, 2));
}

#[tokio::test]
async fn finished_objects_are_deleted_when_their_time_to_live_is_over_and_others_stay() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.invoke("stays", plain("stays")).await;
    let mut long = plain("long");
    long["ttlSecondsAfterFinished"] = 3600.into();
    world.invoke("long", long).await;
    let stays = (world.finished("stays").await, world.finished("long").await);
    let api = world.api::<FunctionInvocation>();
    for (name, function) in [("good", "hello"), ("bad", "nowhere")] {
        let spec = json!({"function": {"name": function}, "ttlSecondsAfterFinished": 1});
        let uid = world.invoke(name, spec).await.uid().unwrap();
        within(await_condition(api.clone(), name, conditions::is_deleted(&uid))).await.unwrap();
    }

    let now = (world.get("stays").await, world.get("long").await);
    assert_eq!(now.0.resource_version(), stays.0.resource_version());
    assert_eq!(now.1.resource_version(), stays.1.resource_version());
    assert_eq!(world.emulator.ledger().len(), 3);
}

#[tokio::test]
async fn settled_objects_are_left_alone_by_the_next_operator() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    world.invoke("good", plain("good")).await;
    world.invoke("bad", json!({"function": {"name": "nowhere"}})).await;
    let (good, bad) = (world.finished("good").await, world.finished("bad").await);
    assert!(operator.stop().await.success());

    let operator = world.operator().await;
    world.invoke("next", plain("next")).await;
    world.end("next").await;

    assert_eq!(world.get("good").await.resource_version(), good.resource_version());
    assert_eq!(world.get("bad").await.resource_version(), bad.resource_version());
    assert_eq!(world.seen(), 3);
    let ended = operator.metric("functiongraph_operator_invocations_total", &[]).await;
    assert!((0.9..1.1).contains(&ended), "{ended} invocations ended");
}

#[tokio::test]
async fn failures_have_an_event_and_successes_none_unless_asked_for() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    world.invoke("good", plain("good")).await;
    world.end("good").await;
    world.invoke("bad", json!({"function": {"name": "nowhere"}})).await;
    let status = world.end("bad").await;

    let event = world.event("bad", "Rejected").await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.note.as_deref(), Some(message(&status)));
    assert_eq!(event.reporting_controller.as_deref(), Some("functiongraph-operator"));
    assert_eq!(event.regarding.unwrap().kind.as_deref(), Some("FunctionInvocation"));
    assert_eq!((world.count_events("bad").await, world.count_events("good").await), (1, 0));
    operator.stop().await;

    let _operator = world.operator().flags(&["--events-on-success"]).await;
    world.invoke("told", plain("told")).await;
    assert_eq!(world.event("told", "Accepted").await.type_.as_deref(), Some("Normal"));
}
