//! Objects that come back: from a backup, or as a copy of themselves. None is sent again by itself.

use functiongraph_operator::api::invocation::{
    AttemptState, Outcome, RESOLVE, RequestIdSource, SUBMITTED_AS, VELERO_RESTORE,
};
use functiongraph_operator::api::{ConditionStatus, ConditionType, FunctionInvocation, Reason};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use testkit::{World, condition, message, ready, text};

const GUARD: &[&str] = &["--restore-guard"];

fn plain(tag: &str) -> Value {
    json!({"function": {"name": "hello"}, "payload": {"tag": tag}})
}

/// What a backup holds of an object, as Velero and `kubectl get -o yaml` both have it.
fn backup(object: &FunctionInvocation) -> Value {
    json!({
        "metadata": {"labels": object.labels(), "annotations": object.annotations()},
        "spec": object.spec,
    })
}

/// Deletes the object and creates it again from a backup, as Velero does: without its status, with a label more.
async fn restore(world: &World, name: &str) {
    let object = world.get(name).await;
    let mut backup = backup(&object);
    backup["metadata"]["labels"][VELERO_RESTORE] = "nightly-20261121".into();
    backup["metadata"]["labels"]["velero.io/backup-name"] = "nightly".into();
    world.api::<FunctionInvocation>().delete(name, &DeleteParams::default()).await.unwrap();
    world.disappears(name).await;
    world.create::<FunctionInvocation>(name, backup).await.unwrap();
}

async fn annotate(world: &World, name: &str, annotations: Value) {
    world.change::<FunctionInvocation>(name, json!({"metadata": {"annotations": annotations}})).await;
}

fn has(outcome: Outcome) -> impl Fn(Option<&FunctionInvocation>) -> bool {
    move |object| object.and_then(|o| o.status.as_ref()).and_then(|status| status.outcome) == Some(outcome)
}

#[tokio::test]
async fn what_velero_restores_without_its_status_is_not_sent_until_you_resolve_it() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.invoke("paid", plain("paid")).await;
    world.end("paid").await;

    restore(&world, "paid").await;
    let status = world.end("paid").await;
    assert_eq!(status.outcome, Some(Outcome::Unknown));
    assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::Restored)));
    assert!(message(&status).contains("Velero restored this object (restore nightly-20261121)"));
    assert_eq!(world.event("paid", "Restored").await.type_.as_deref(), Some("Warning"));
    assert_eq!((world.accepted("paid").len(), status.attempts), (1, None));

    annotate(&world, "paid", json!({RESOLVE: "Retry"})).await;
    let status = world.until("paid", has(Outcome::Accepted)).await.status.unwrap();
    assert_eq!((world.accepted("paid").len(), status.attempts), (2, Some(1)));

    // The annotation is in the backup too, and was set for another object.
    restore(&world, "paid").await;
    let status = world.end("paid").await;
    assert_eq!((status.outcome, status.resolution.as_deref()), (Some(Outcome::Unknown), Some("Retry")));
    let refused = condition(&status, ConditionType::ResolutionRefused);
    assert_eq!(refused, (Some(ConditionStatus::True), Some(Reason::ResolvedTooEarly)));
    // As docs/backup.md has it.
    let annotating = async |arguments: &[&str]| {
        let said = world.kubectl(&[&["annotate", "fninv"], arguments].concat()).await;
        assert!(said.status.success(), "{}", text(&said.stderr));
    };
    annotating(&["paid", "functiongraph.io/resolve-"]).await;
    world.until_status("paid", |status| status.resolution.is_none()).await;
    annotating(&["-l", "velero.io/restore-name=nightly-20261121", "functiongraph.io/resolve=Fail"]).await;
    world.until("paid", has(Outcome::Failed)).await;
    assert_eq!((world.accepted("paid").len(), world.seen()), (2, 2));
}

#[tokio::test]
async fn a_restored_invocation_can_be_given_its_request_id_which_is_recorded_and_no_more() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let mut spec = plain("followed");
    spec["completionPolicy"] = "Executed".into();
    spec["deliveryPolicy"] = "AtLeastOnce".into();
    world.invoke("followed", spec).await;
    let id = world.end("followed").await.request_id.unwrap();

    restore(&world, "followed").await;
    assert_eq!(world.end("followed").await.outcome, Some(Outcome::Unknown));
    annotate(&world, "followed", json!({RESOLVE: id})).await;
    let status = world.until("followed", has(Outcome::Accepted)).await.status.unwrap();
    assert_eq!((status.request_id_source, status.execution), (Some(RequestIdSource::User), None));
    assert_eq!(world.accepted("followed").len(), 1);
}

/// The exported manifest, applied again: there is no label of any tool in it.
#[tokio::test]
async fn under_the_restore_guard_an_exported_object_is_not_sent_again_by_any_operator() {
    let world = World::new().await;
    world.provider().await;
    let mut operator = world.operator().flags(GUARD).await;
    let uid = world.invoke("exported", plain("exported")).await.uid().unwrap();
    let object = world.finished("exported").await;
    assert_eq!(object.status.as_ref().unwrap().outcome, Some(Outcome::Accepted));
    assert_eq!(object.annotations().get(SUBMITTED_AS), Some(&uid));
    let exported = world.kubectl(&["get", "fninv", "exported", "-o", "yaml"]).await;
    assert!(exported.status.success(), "{}", text(&exported.stderr));

    for _ in 0..2 {
        let deleted = world.kubectl(&["delete", "fninv", "exported"]).await;
        assert!(deleted.status.success(), "{}", text(&deleted.stderr));
        let applied = world.kubectl_with(&["create", "-f", "-"], &manifest(&exported.stdout)).await;
        assert!(applied.status.success(), "{}", text(&applied.stderr));
        let status = world.end("exported").await;
        assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::Restored)));
        assert!(message(&status).contains(&uid), "{}", message(&status));
        // Next comes one that marks nothing itself.
        operator.stop().await;
        operator = world.operator().await;
    }
    assert_eq!((world.accepted("exported").len(), world.seen()), (1, 1));
    annotate(&world, "exported", json!({RESOLVE: "Retry"})).await;
    world.until("exported", has(Outcome::Accepted)).await;
    assert_eq!((world.accepted("exported").len(), world.seen()), (2, 2));
}

/// kubectl refuses to create an object that has a resource version; everybody who copies one takes it out.
fn manifest(yaml: &[u8]) -> String {
    text(yaml).lines().filter(|line| !line.starts_with("  resourceVersion:")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_status_that_was_restored_with_its_object_is_believed_only_where_it_is_final() {
    let world = World::new().await;
    world.provider().await;
    let attempt = |state: &str| json!({"number": 1, "holder": "0123456789abcdef", "state": state});
    let labels = json!({VELERO_RESTORE: "nightly"});
    for (name, state, outcome) in [
        ("claimed", "Claimed", Value::Null),
        ("backing-off", "Rejected", Value::Null),
        ("accepted", "Accepted", "Accepted".into()),
    ] {
        let object = json!({"metadata": {"labels": labels}, "spec": plain(name)});
        world.create::<FunctionInvocation>(name, object).await.unwrap();
        let status = json!({"attempt": attempt(state), "outcome": outcome, "submittedAs": "of-another-life"});
        world.force_status(name, status).await.unwrap();
    }
    let settled = world.get("accepted").await;

    let _operator = world.operator().await;
    for name in ["claimed", "backing-off"] {
        let status = world.end(name).await;
        assert_eq!(ready(&status).1, Some(Reason::Restored), "{name}");
        assert_eq!(status.attempt.unwrap().state, Some(AttemptState::Ambiguous), "{name}");
    }
    world.invoke("new", plain("new")).await;
    world.end("new").await;
    assert_eq!(world.get("accepted").await.resource_version(), settled.resource_version());
    assert_eq!(world.seen(), 1);
}

/// Velero writes it right after it has made the object.
#[tokio::test]
async fn velero_can_restore_the_status_while_the_operator_looks_on() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let labels = json!({VELERO_RESTORE: "nightly"});
    for name in ["with", "without"] {
        let object = json!({"metadata": {"labels": labels}, "spec": plain(name)});
        world.create::<FunctionInvocation>(name, object).await.unwrap();
    }
    let attempt = json!({"number": 1, "holder": "0123456789abcdef", "state": "Accepted"});
    let status = json!({"attempt": attempt, "outcome": "Accepted", "submittedAs": "of-another-life"});
    let restored = world.force_status("with", status).await.unwrap();

    assert_eq!(world.end("without").await.outcome, Some(Outcome::Unknown));
    assert_eq!(world.get("with").await.resource_version(), restored.resource_version());
    assert_eq!(world.seen(), 0);
}

#[tokio::test]
async fn an_object_that_was_marked_and_not_claimed_before_a_crash_is_sent_once() {
    let world = World::new().await;
    world.provider().await;
    let uid = world.invoke("marked", plain("marked")).await.uid().unwrap();
    annotate(&world, "marked", json!({SUBMITTED_AS: uid})).await;
    let marked = world.get("marked").await;

    let _operator = world.operator().flags(GUARD).await;
    assert_eq!(world.end("marked").await.outcome, Some(Outcome::Accepted));
    assert_eq!(world.accepted("marked").len(), 1);
    assert_eq!(world.get("marked").await.annotations(), marked.annotations());
}

/// Were it otherwise, the mark would cost no write of its own.
#[tokio::test]
async fn the_api_server_takes_no_annotation_from_a_write_to_the_status() {
    let world = World::new().await;
    world.invoke("claimed", plain("claimed")).await;
    let attempt = json!({"number": 1, "holder": "me", "state": "Claimed"});
    let both = json!({"metadata": {"annotations": {SUBMITTED_AS: "x"}}, "status": {"attempt": attempt}});
    let api = world.api::<FunctionInvocation>();
    let written = api.patch_status("claimed", &PatchParams::default(), &Patch::Merge(both)).await.unwrap();
    assert!(written.status.as_ref().unwrap().attempt.is_some());
    assert_eq!(written.annotations().get(SUBMITTED_AS), None);
}
