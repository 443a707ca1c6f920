//! T22: nobody's edits lock an IAM user. IAM does so after five failed logins within 15 minutes, whoever makes them.

use crate::logins::{PASSWORD, calls, password, user, world};
use functiongraph_emulator::IdentityApi;
use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{Condition, ConditionType, FunctionGraphProvider, Reason};
use kube::api::DeleteParams;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::World;

const PROVIDERS: [&str; 10] = ["p-0", "p-1", "p-2", "p-3", "p-4", "p-5", "p-6", "p-7", "p-8", "p-9"];

/// A provider's spec. `edit` changes nothing but its text.
fn spec(world: &World, edit: &str) -> Value {
    let bundle = format!("{}\n# {edit}\n", world.emulator.ca_pem());
    json!({"credentials": password(), "iamEndpoint": world.emulator.url(), "caBundle": bundle})
}

/// Waits until a provider's current spec was found to have a credential that is refused.
async fn refused(world: &World, name: &str) {
    let refused = |object: Option<&FunctionGraphProvider>| {
        object.is_some_and(|provider| {
            let conditions = provider.status.iter().flat_map(|status| &status.conditions).cloned();
            let conditions: Vec<_> = conditions.collect();
            Condition::find(&conditions, ConditionType::Ready).is_some_and(|ready| {
                ready.reason == Reason::CredentialsInvalid
                    && Some(ready.observed_generation) == provider.metadata.generation
            })
        })
    };
    testkit::within(await_condition(world.api(), name, refused)).await.expect("it is refused");
}

#[tokio::test]
async fn t22_ten_providers_ten_edits_six_re_creations_and_three_replicas_do_not_lock_a_user() {
    let world = world(Duration::from_hours(24), |_| {}).await;
    user(&world, "wrong-canary").await;
    for name in PROVIDERS {
        world.provider_named(name, spec(&world, name)).await;
    }
    let operators = [world.operator().await, world.operator().await, world.operator().await];
    for name in PROVIDERS {
        refused(&world, name).await;
    }
    for edit in 0..10 {
        let changed = json!({"spec": spec(&world, &format!("edit {edit}"))});
        world.change::<FunctionGraphProvider>("p-0", changed).await;
        refused(&world, "p-0").await;
    }
    for number in 0..6 {
        world
            .api::<FunctionGraphProvider>()
            .delete("p-1", &DeleteParams::default())
            .await
            .expect("a deletion");
        world.provider_named("p-1", spec(&world, &format!("re-created {number}"))).await;
        refused(&world, "p-1").await;
    }
    let logins = calls(&world, IdentityApi::Password);
    assert!((1..=3).contains(&logins), "{logins}: one for each replica at most");

    // The correction counts at once, for all of them.
    user(&world, PASSWORD).await;
    for name in ["p-0", "p-1", "p-9"] {
        world.invoke(name, json!({"function": {"name": "hello"}, "providerRef": {"name": name}})).await;
        assert_eq!(world.end(name).await.outcome, Some(Outcome::Accepted), "{name}");
    }
    for operator in operators {
        operator.stop().await;
    }
    assert!(!world.logs().contains("wrong-canary"));
}
