//! Replicas divide the work: each object has one owner, also when a replica comes, goes, dies or is stopped.

use crate::judge::{
    PAST_TAKEOVER, accepted, at_most_once, holders, invoke, invoke_many, last, settled, sound,
};
use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::Outcome;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use std::time::Duration;
use testkit::{KEY, NOBODY, Operator, PATIENCE, World, plane, until, within};

/// The namespace of the Leases of operators outside of a cluster.
const HOME: &str = "default";

/// Objects of one test.
const OBJECTS: usize = 90;

/// One conflict in a hundred objects is too many.
const CONFLICTS: f64 = 0.9;

/// Waits until each of these operators knows of this number of members.
pub async fn members(operators: &[&Operator], count: f64) {
    for operator in operators {
        let knows =
            async || (operator.metric("functiongraph_operator_members", &[]).await - count).abs() < 0.1;
        within(until(knows)).await;
    }
}

async fn three(world: &World) -> [Operator; 3] {
    let (one, two, three) = tokio::join!(world.operator(), world.operator(), world.operator());
    members(&[&one, &two, &three], 3.0).await;
    [one, two, three]
}

/// The sum of a metric over the operators.
async fn sum(operators: &[Operator], name: &str) -> f64 {
    let values = operators.iter().map(async |operator| operator.metric(name, &[]).await);
    futures::future::join_all(values).await.into_iter().sum()
}

/// Objects with these names, when all of them have an outcome: none was sent twice, and none is unknown.
async fn all_are_accepted_once(world: &World, count: usize) {
    let objects = settled(world, PATIENCE).await;
    assert_eq!(objects.len(), count);
    assert_eq!(at_most_once(world, &objects), 0, "none is unknown");
    assert_eq!(world.emulator.ledger().len(), count);
}

/// The holder of an operator's claims.
fn holder(operator: &Operator) -> String {
    let line = operator.log().lines().into_iter().find(|line| line["message"] == "starting");
    line.expect("it has started")["holder"].as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_object_is_attempted_by_one_of_three_members() {
    let world = World::new().await;
    world.provider().await;
    let operators = three(&world).await;

    invoke_many(&world, OBJECTS).await;
    all_are_accepted_once(&world, OBJECTS).await;

    let objects = settled(&world, PATIENCE).await;
    assert_eq!(holders(&objects).len(), 3, "each did some of the work");
    let conflicts = sum(&operators, "functiongraph_operator_status_write_conflicts_total").await;
    assert!(conflicts <= CONFLICTS, "{conflicts} conflicts");
    operators.iter().for_each(sound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_member_owned_goes_to_the_others() {
    let world = World::new().await;
    world.provider().await;
    let [killed, one, other] = three(&world).await;
    killed.kill().await;

    // A third of these are its own.
    invoke_many(&world, OBJECTS).await;
    all_are_accepted_once(&world, OBJECTS).await;

    members(&[&one, &other], 2.0).await;
    [one, other].iter().for_each(sound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_member_owned_goes_to_the_others_at_once() {
    let function = Function { answer_latency: Duration::from_millis(200), ..Function::named("hello") };
    let world = World::with(|config| config.functions = vec![function]).await;
    world.provider().await;
    let [stopped, one, other] = three(&world).await;
    invoke_many(&world, OBJECTS).await;
    accepted(&world, OBJECTS / 3).await;

    assert!(stopped.stop().await.success());

    // Nobody has to wait until its Lease expires: it is gone.
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), HOME);
    let left = leases.list(&ListParams::default()).await.unwrap().items;
    let of = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    let left: Vec<_> = left.iter().filter_map(of).collect();
    assert!(!left.contains(&holder(&stopped)), "{left:?}");
    assert!(left.contains(&holder(&one)) && left.contains(&holder(&other)), "{left:?}");
    all_are_accepted_once(&world, OBJECTS).await;
    members(&[&one, &other], 2.0).await;
    [one, other].iter().for_each(sound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stands_still_is_succeeded_and_nothing_is_sent_twice_when_it_goes_on() {
    let function = Function { answer_latency: Duration::from_secs(2), ..Function::named("hello") };
    let world = World::with(|config| config.functions = vec![function]).await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"limits": {"maxInFlight": 30}})).await;
    let [still, one, other] = three(&world).await;
    invoke_many(&world, OBJECTS).await;
    accepted(&world, 1).await;
    still.signal("STOP");
    members(&[&one, &other], 2.0).await;
    invoke(&world, "meanwhile").await;
    // The API server forgets old versions every five minutes.
    last(Duration::from_secs(620)).await;

    still.signal("CONT");
    members(&[&still, &one, &other], 3.0).await;

    let objects = settled(&world, PAST_TAKEOVER).await;
    at_most_once(&world, &objects);
    assert_eq!(world.accepted("meanwhile").len(), 1);
    [one, other].iter().for_each(sound);
    // One that stood still for minutes finds that its reconciles took longer than any may.
    assert!(!still.log().text().contains("a defect in the operator"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_may_not_use_leases_works_on_everything_and_nothing_is_sent_twice() {
    let world = World::new().await;
    world.provider().await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "everything-here", "namespace": world.namespace},
        "subjects": [{"kind": "User", "name": NOBODY, "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"},
    });
    plane().await.apply_yaml(&binding.to_string()).await.unwrap();
    let (alone, one, other) = tokio::join!(world.operator().user(NOBODY), world.operator(), world.operator());
    members(&[&alone], 1.0).await;
    members(&[&one, &other], 2.0).await;

    invoke_many(&world, OBJECTS).await;
    all_are_accepted_once(&world, OBJECTS).await;

    // It goes on when the others are gone.
    assert!(one.stop().await.success());
    assert!(other.stop().await.success());
    invoke(&world, "last").await;
    assert_eq!(world.end("last").await.outcome, Some(Outcome::Accepted));
    sound(&alone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_whose_leases_cannot_be_written_work_on_everything_and_nothing_is_sent_twice() {
    let world = World::new().await;
    world.provider().await;
    let own = ["--own-namespace", &*world.namespace];
    let (one, other) = tokio::join!(world.operator().flags(&own), world.operator().flags(&own));
    members(&[&one, &other], 2.0).await;
    let nobody_answers = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": format!("leases-{}", world.namespace)},
        "webhooks": [{
            "name": "leases.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Fail",
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
            "rules": [{
                "apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"], "resources": ["leases"],
                "operations": ["CREATE", "UPDATE"],
            }],
        }],
    });
    plane().await.apply_yaml(&nobody_answers.to_string()).await.unwrap();
    members(&[&one, &other], 1.0).await;

    // It could not create its Lease either.
    let third = world.operator().flags(&own).await;
    assert!(one.stop().await.success());
    assert!(other.stop().await.success());
    invoke_many(&world, OBJECTS).await;
    all_are_accepted_once(&world, OBJECTS).await;
    members(&[&third], 1.0).await;
    sound(&third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_cannot_send_is_sent_by_the_others() {
    let world = World::new().await;
    world.secret(KEY.1).await;
    // The operators are started with `localhost` on their list.
    let endpoint = world.emulator.url().replace("localhost", "127.0.0.1");
    world.provider_with(json!({"endpoint": endpoint})).await;
    let able = || world.operator().flags(&["--allowed-endpoint-hosts=127.0.0.1"]);
    let (one, other, unable) = tokio::join!(able(), able(), world.operator());
    members(&[&one, &other, &unable], 3.0).await;

    invoke_many(&world, OBJECTS).await;

    let objects = settled(&world, PAST_TAKEOVER).await;
    assert_eq!((objects.len(), at_most_once(&world, &objects)), (OBJECTS, 0));
    assert!(!holders(&objects).contains(&holder(&unable)));
    [one, other, unable].iter().for_each(sound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_starts_again_keeps_what_its_pod_owned() {
    let world = World::new().await;
    world.provider().await;
    let of_the_pod = || world.operator().environment("FUNCTIONGRAPH_OPERATOR_POD_NAME", &*world.namespace);
    let first = of_the_pod().await;
    members(&[&first], 1.0).await;
    first.kill().await;

    let second = of_the_pod().await;
    members(&[&second], 1.0).await;
    invoke_many(&world, 10).await;
    all_are_accepted_once(&world, 10).await;

    let changes = second.log().lines().into_iter().filter(|line| !line["members"].is_null());
    let counts: Vec<_> = changes.map(|line| line["members"].clone()).collect();
    assert_eq!(counts, [1], "it took its predecessor for another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_keep_the_pace_of_one() {
    const PER_SECOND: u32 = 20;
    const IN_FLIGHT: u32 = 6;
    let world = World::new().await;
    world.secret(KEY.1).await;
    let limits = json!({"maxRequestsPerSecond": PER_SECOND, "maxInFlight": IN_FLIGHT});
    world.provider_with(json!({"limits": limits})).await;
    let operators = three(&world).await;

    invoke_many(&world, 2 * OBJECTS).await;
    all_are_accepted_once(&world, 2 * OBJECTS).await;

    let mut times: Vec<_> = world.emulator.ledger().iter().map(|entry| entry.time).collect();
    times.sort_unstable();
    let took = times[times.len() - 1].duration_since(times[0]).as_secs_f64();
    // What a bucket holds at the start, and what is on its way, comes on top.
    let most = took * f64::from(PER_SECOND) + f64::from(PER_SECOND + IN_FLIGHT);
    let sent = f64::from(u32::try_from(times.len()).unwrap());
    assert!(sent <= most, "{sent} in {took} s");
    // A machine without time to spare may have let a Lease expire for a moment, and the others took that share.
    let divided =
        async || sum(&operators, "functiongraph_operator_rate").await <= f64::from(PER_SECOND) + 0.1;
    within(until(divided)).await;
}
