//! The end of a process that has an answer in hand.

use functiongraph_operator::api::GROUP;
use functiongraph_operator::api::invocation::{FunctionInvocation, Outcome};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use testkit::{World, until, within};

const REFUSAL: &str = "no acceptance may be recorded";

/// A policy that refuses every acceptance in the test's namespace; returned is what makes it count.
async fn policy_against_acceptances(world: &World) -> Api<ValidatingAdmissionPolicyBinding> {
    let rule = json!({
        "apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["UPDATE"],
        "resources": ["functioninvocations/status"],
    });
    let policy = json!({
        "metadata": {"name": world.namespace},
        "spec": {
            "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
            "validations": [{
                "expression": "!has(object.status.attempt) || object.status.attempt.state != 'Accepted'",
                "message": REFUSAL,
            }],
        },
    });
    let binding = json!({
        "metadata": {"name": world.namespace},
        "spec": {
            "policyName": world.namespace, "validationActions": ["Deny"],
            "matchResources": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
            },
        },
    });
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client.clone());
    policies
        .create(&PostParams::default(), &serde_json::from_value(policy).unwrap())
        .await
        .expect("a policy");
    bindings
        .create(&PostParams::default(), &serde_json::from_value(binding).unwrap())
        .await
        .expect("a binding");
    within(until(async || is_refused(world).await)).await;
    bindings
}

/// Whether an acceptance is refused now.
async fn is_refused(world: &World) -> bool {
    let attempt = json!({"number": 1, "holder": "somebody", "state": "Accepted"});
    let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
    let patch = Patch::Merge(json!({"status": {"attempt": attempt}}));
    let api: Api<FunctionInvocation> = world.api();
    match api.patch_status("probe", &dry_run, &patch).await {
        Err(kube::Error::Api(said)) => said.message.contains(REFUSAL),
        _ => false,
    }
}

#[tokio::test]
async fn an_operator_that_is_told_to_end_writes_the_answer_in_its_hand_as_soon_as_it_may() {
    let world = World::new().await;
    world.provider().await;
    world.invoke("probe", json!({"function": {"name": "hello"}, "suspend": true})).await;
    let bindings = policy_against_acceptances(&world).await;
    let operator = world.operator().await;
    world.invoke("kept", json!({"function": {"name": "hello"}, "payload": {"tag": "kept"}})).await;
    world.logged(|line| line["level"] == "ERROR" && line["name"] == "kept").await;

    operator.signal("TERM");
    world.logged(|line| line["message"].as_str().is_some_and(|words| words.starts_with("stop"))).await;
    bindings.delete(&world.namespace, &DeleteParams::default()).await.expect("it is there");
    let ended = operator.ended().await;

    let status = world.get("kept").await.status.unwrap();
    let ledger = world.accepted("kept");
    assert_eq!(ledger.len(), 1);
    assert_eq!(status.outcome, Some(Outcome::Accepted), "the answer went down with the process");
    assert_eq!(status.request_id.as_ref(), Some(&ledger[0].request_id));
    assert!(ended.success(), "{ended}");
}
