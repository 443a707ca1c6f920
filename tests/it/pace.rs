//! What a tenant does to its own functions delays no other function and no other tenant.

use crate::cluster::{alone_with, cluster, create, invoke, says, share, tenant};
use functiongraph_emulator::Function;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{
    Condition, ConditionType, FunctionGraphProvider, FunctionInvocation, Reason,
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testkit::{KEY, Operator, World, message, provider_spec, secret};

/// Whether the provider `default` sends nothing at the moment.
async fn is_held(operator: &Operator) -> bool {
    operator.metric("functiongraph_operator_throttled", &["/default"]).await > 0.5
}

/// The reason of the condition `Ready` of the provider `default`, and its condition `Paused`.
async fn provider(world: &World) -> (Reason, Option<Condition>) {
    let provider = world.api::<FunctionGraphProvider>().get("default").await.unwrap();
    let conditions = provider.status.unwrap().conditions;
    let ready = Condition::find(&conditions, ConditionType::Ready).unwrap().reason;
    (ready, Condition::find(&conditions, ConditionType::Paused).cloned())
}

/// Invokes a function that does not answer well, six times, and waits until all of that has ended.
async fn fails_six_times(world: &World, spec: &Value) {
    for number in 0..6 {
        world.invoke(&format!("failing-{number}"), spec.clone()).await;
    }
    for number in 0..6 {
        let status = world.end(&format!("failing-{number}")).await;
        assert_eq!(status.outcome, Some(Outcome::Unknown), "{}", message(&status));
    }
}

#[tokio::test]
async fn t23_a_function_that_fails_or_does_not_answer_in_the_time_of_its_tenant_stops_no_other_function() {
    let hangs = json!({"hang": {}});
    let fails = json!({"status": {"status": 500}});
    for action in [hangs, fails] {
        let world = World::with(|config| config.functions.push(Function::named("slow"))).await;
        world.provider().await;
        let operator = world.operator().await;
        world.provider_says(Reason::ProviderReady).await;
        world.fault(json!({"when": "forever", "function": "slow", "action": action}));
        let spec = json!({
            "function": {"name": "slow"}, "payload": {"tag": "slow"}, "invocationType": "Sync",
            "requestTimeoutSeconds": 1,
        });
        fails_six_times(&world, &spec).await;

        assert!(!is_held(&operator).await, "after {action}");
        assert_eq!(provider(&world).await, (Reason::ProviderReady, None));
        world.invoke("neighbour", json!({"function": {"name": "hello"}})).await;
        assert_eq!(world.end("neighbour").await.outcome, Some(Outcome::Accepted));
        // The function itself is left alone for a while, and an invocation that waits for it says so.
        world.invoke("held", spec).await;
        let status = world.says("held", Reason::Queued).await;
        assert!(message(&status).contains("Function default:slow:latest failed several times"), "{status:?}");
        assert_eq!(status.attempts, None);
        assert!(operator.stop().await.success());
    }
}

#[tokio::test]
async fn t23_a_throttled_function_waits_alone_and_says_until_when() {
    let world = World::with(|config| config.functions.push(Function::named("busy"))).await;
    world.provider().await;
    let operator = world.operator().await;
    let throttled = json!({"status": {"status": 429, "errorCode": "FSS.0429", "retryAfter": "600"}});
    world.fault(json!({"when": "forever", "function": "busy", "action": throttled}));
    world.invoke("first", json!({"function": {"name": "busy"}})).await;
    world.scheduled("first").await;

    world.invoke("neighbour", json!({"function": {"name": "hello"}})).await;
    assert_eq!(world.end("neighbour").await.outcome, Some(Outcome::Accepted));
    assert!(!is_held(&operator).await);
    world.invoke("second", json!({"function": {"name": "busy"}})).await;
    let status = world.says("second", Reason::Queued).await;
    assert!(message(&status).contains("Function default:busy:latest is throttled until "), "{status:?}");
    assert_eq!((status.attempts, world.seen()), (None, 2));
    assert_eq!(provider(&world).await, (Reason::ProviderReady, None));
    assert!(operator.stop().await.success());
}

#[tokio::test]
async fn t23_the_service_asks_the_account_to_wait_and_no_object_can_allow_less() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    let throttled = json!({"status": {"status": 429, "errorCode": "APIG.0308", "retryAfter": "20"}});
    world.fault(json!({"when": {"next": 2}, "action": throttled}));
    let hasty = json!({"initialDelaySeconds": 1, "maxDelaySeconds": 1, "retryAfterMaxSeconds": 0});
    let spec = json!({"function": {"name": "hello"}, "retryPolicy": hasty});
    world.invoke("hasty", spec).await;

    world
        .provider_status(|status| Condition::find(&status.conditions, ConditionType::Paused).is_some())
        .await;
    assert!(is_held(&operator).await);
    let status = world.end("hasty").await;
    assert_eq!(status.outcome, Some(Outcome::Accepted));
    let pauses = status.accepted_time.unwrap().duration_since(status.start_time.unwrap());
    assert!(pauses.as_secs() >= 38, "{pauses}: two answers asked for 20 seconds each");
    assert_eq!(world.seen(), 3);
    assert!(operator.stop().await.success());
}

/// A synchronous invocation of `slow` that waits for its answer for a minute and a half.
fn long_call(provider: &Value) -> Value {
    json!({"spec": {
        "function": {"name": "slow"}, "providerRef": provider, "invocationType": "Sync",
        "requestTimeoutSeconds": 90,
    }})
}

/// A cluster with the function `slow`, which never answers.
async fn alone_with_slow() -> (World, tokio::sync::MutexGuard<'static, ()>) {
    let (world, turn) = alone_with(|config| config.functions.push(Function::named("slow"))).await;
    world.secret(KEY.1).await;
    world.fault(json!({"when": "forever", "function": "slow", "action": {"hang": {}}}));
    (world, turn)
}

#[tokio::test]
async fn t23_calls_that_take_minutes_hold_half_of_a_shared_provider_and_a_neighbour_gets_through() {
    let (world, _turn) = alone_with_slow().await;
    let [hostile, neighbour] = ["hostile", "neighbour"].map(|name| tenant(&world, name, json!({})));
    let (hostile, neighbour) = (hostile.await, neighbour.await);
    share(&world, "shared", json!({"selector": {}})).await.unwrap();
    let limits = Patch::Merge(json!({"spec": {"limits": {"maxInFlight": 4}}}));
    cluster(&world).patch("shared", &PatchParams::default(), &limits).await.unwrap();
    let operator = world.operator().cluster_wide(&world.namespace).await;
    says(&world, "shared", Reason::ProviderReady).await;
    let reference = json!({"kind": "ClusterFunctionGraphProvider", "name": "shared"});
    for number in 0..6 {
        let mut object = long_call(&reference);
        object["metadata"] = json!({"name": format!("long-{number}")});
        create::<FunctionInvocation>(&world, &hostile, object).await;
    }
    testkit::until(async || world.seen() >= 2).await;

    let ended = invoke(&world, &neighbour, "shared", "quick").await;

    assert_eq!(ended.status.unwrap().outcome, Some(Outcome::Accepted));
    assert_eq!(world.seen(), 3, "two long calls and the neighbour's");
    operator.kill().await;
}

#[tokio::test]
async fn t23_calls_that_take_minutes_through_a_provider_of_ones_own_leave_half_of_the_process_to_the_others()
{
    let (world, _turn) = alone_with_slow().await;
    let [hostile, neighbour] = ["hostile", "neighbour"].map(|name| tenant(&world, name, json!({})));
    let (hostile, neighbour) = (hostile.await, neighbour.await);
    for namespace in [&hostile, &neighbour] {
        let api: kube::Api<k8s_openapi::api::core::v1::Secret> =
            kube::Api::namespaced(world.client.clone(), namespace);
        let parameters = PatchParams::apply("test").force();
        api.patch("key", &parameters, &Patch::Apply(secret(KEY.1))).await.unwrap();
        let object = json!({"metadata": {"name": "own"}, "spec": provider_spec(&world.emulator)});
        create::<FunctionGraphProvider>(&world, namespace, object).await;
    }
    let operator =
        world.operator().cluster_wide(&world.namespace).flags(&["--max-concurrent-reconciles=4"]).await;
    let reference = json!({"name": "own"});
    for number in 0..6 {
        let mut object = long_call(&reference);
        object["metadata"] = json!({"name": format!("long-{number}")});
        create::<FunctionInvocation>(&world, &hostile, object).await;
    }
    testkit::until(async || world.seen() >= 2).await;

    let mut quick = json!({"metadata": {"name": "quick"}, "spec": {"function": {"name": "hello"}}});
    quick["spec"]["providerRef"] = reference;
    create::<FunctionInvocation>(&world, &neighbour, quick).await;
    let api: kube::Api<FunctionInvocation> = kube::Api::namespaced(world.client.clone(), &neighbour);
    let is_accepted = async || {
        let status = api.get("quick").await.unwrap().status;
        status.and_then(|status| status.outcome) == Some(Outcome::Accepted)
    };
    testkit::until(is_accepted).await;
    assert_eq!(world.seen(), 3, "two long calls and the neighbour's");
    operator.kill().await;
}
