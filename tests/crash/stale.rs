//! What the watch has not brought yet must not end an invocation.

use crate::judge::{invoke, sound};
use crate::proxy::{At, Fault, Kind, Proxy};
use functiongraph_operator::api::condition::{Condition, ConditionType};
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation, Reason};
use serde_json::json;
use testkit::{KEY, World, plane, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_allows_is_read_again_before_an_invocation_ends_for_it() {
    let world = World::new().await;
    world.secret(KEY.1).await;
    world.provider_with(json!({"allowedFunctions": ["default:another:latest"]})).await;
    let proxy = Proxy::start(&[]).await;
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    operator.ready().await;
    world.provider_says(Reason::ProviderReady).await;

    proxy.deafen_to_providers(true);
    let wider = json!({"spec": {"allowedFunctions": ["default:hello:latest"]}});
    world.change::<FunctionGraphProvider>("default", wider).await;
    invoke(&world, "next").await;
    let judged = async || {
        let has_ended =
            |object: FunctionInvocation| object.status.is_some_and(|status| status.outcome.is_some());
        proxy.provider_reads() > 0 || has_ended(world.api().get("next").await.unwrap())
    };
    within(until(judged)).await;
    proxy.deafen_to_providers(false);

    assert_eq!(world.finished("next").await.status.unwrap().outcome, Some(Outcome::Accepted));
    assert_eq!(world.emulator.ledger().len(), 1);
    sound(&operator);
    assert!(operator.stop().await.success());
}

/// A process does not repeat what it has just said. A notice that met a conflict is not said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_meets_a_conflict_is_written_with_the_next_change() {
    let world = World::new().await;
    let proxy = Proxy::with(plane().await, [(At::Call(Kind::Notice, 1), Fault::Refused(409))].into()).await;
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    operator.ready().await;
    let waits = |object: Option<&FunctionInvocation>| {
        let status = object.and_then(|object| object.status.as_ref());
        let ready = status.and_then(|status| Condition::find(&status.conditions, ConditionType::Ready));
        ready.is_some_and(|ready| ready.reason == Reason::WaitingForProvider)
    };

    // There is no provider. What is younger than three seconds does not say so yet.
    invoke(&world, "refused").await;
    within(until(async || proxy.met() == 1)).await;
    let note = json!({"metadata": {"annotations": {"note": "changed"}}});
    world.change::<FunctionInvocation>("refused", note).await;
    invoke(&world, "later").await;
    world.until("later", waits).await;
    assert!(waits(world.api().get_opt("refused").await.unwrap().as_ref()), "what was refused counts as said");
    sound(&operator);
    assert!(operator.stop().await.success());
}
