//! What the watch has not brought yet must not end an invocation.

use crate::judge::{invoke, sound};
use crate::proxy::Proxy;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation, Reason};
use serde_json::json;
use testkit::{KEY, World, until, within};

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
