//! Load, and the judge: the ledger of FunctionGraph and the statuses, when all is over.

use crate::cloud::{Cloud, STEADY};
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::invocation::Outcome;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Longer than the two minutes after which a claim of a dead operator is taken over, on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(6);

/// Between two looks at what changes somewhere else.
pub const LOOK: Duration = Duration::from_millis(250);

/// Between two new objects.
const PACE: Duration = Duration::from_millis(60);

/// At least so many.
const LEAST: usize = 40;

/// Who has ended how.
#[derive(Default)]
pub struct Verdict {
    /// How many were accepted.
    pub accepted: usize,
    /// Names of those whose outcome is unknown, with the process that had claimed them.
    pub unknown: Vec<(String, String)>,
    /// The processes that have sent.
    pub holders: BTreeSet<String>,
}

/// The invocations of a namespace.
pub fn invocations(client: &Client, namespace: &str) -> Api<FunctionInvocation> {
    Api::namespaced(client.clone(), namespace)
}

/// Creates an invocation that the ledger knows by its name.
pub async fn invoke(client: &Client, namespace: &str, name: &str, function: &str) {
    let object = json!({
        "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation", "metadata": {"name": name},
        "spec": {"function": {"name": function}, "payload": {"tag": name}},
    });
    let object = serde_json::from_value(object).expect("an invocation");
    let created = invocations(client, namespace).create(&PostParams::default(), &object).await;
    created.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// Creates one object after another, `prefix-0` and on, while the work is done; then some more.
pub async fn under_load(client: &Client, namespace: &str, prefix: &str, work: impl Future<Output = ()>) {
    let mut work = pin!(work);
    let mut working = true;
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0;
    while working || count < LEAST {
        tokio::select! {
            () = &mut work, if working => working = false,
            _ = ticks.tick() => {
                invoke(client, namespace, &format!("{prefix}-{count}"), STEADY).await;
                count += 1;
            }
        }
    }
}

/// Waits until it holds.
///
/// # Panics
/// When it takes too long.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(LOOK).await; // polls a cluster: nothing to await
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain until {what}");
}

/// Waits until every object of the namespace has an outcome, and judges all that begin with `prefix`: each that says it
/// was accepted is in the ledger once, under the id that it says; none is there twice; none has failed.
pub async fn settled(client: &Client, cloud: &Cloud, namespace: &str, prefix: &str) -> Verdict {
    let api = invocations(client, namespace);
    let unfinished = ListParams::default().fields("status.outcome=").limit(3);
    until(&format!("all of {namespace} have ended"), async || {
        api.list(&unfinished).await.is_ok_and(|list| list.items.is_empty())
    })
    .await;
    let objects = api.list(&ListParams::default()).await.expect("a list").items;
    let ledger = cloud.ledger().await;
    let mut verdict = Verdict::default();
    for object in objects.iter().filter(|object| object.name_any().starts_with(prefix)) {
        let (name, status) = (object.name_any(), object.status.as_ref().expect("a status"));
        let holder = status.attempt.as_ref().and_then(|attempt| attempt.holder.clone()).unwrap_or_default();
        let entries: Vec<_> = ledger.iter().filter(|entry| entry.tag.as_ref() == Some(&name)).collect();
        assert!(entries.len() <= 1, "{name} was accepted {} times", entries.len());
        match status.outcome {
            Some(Outcome::Accepted) => {
                let entry =
                    entries.first().unwrap_or_else(|| panic!("{name} says it was accepted, and was not"));
                assert_eq!(status.request_id.as_ref(), Some(&entry.request_id), "{name}");
                verdict.accepted += 1;
                verdict.holders.insert(holder);
            }
            Some(Outcome::Unknown) => verdict.unknown.push((name, holder)),
            other => panic!("{name} ended as {other:?}: {status:#?}"),
        }
    }
    verdict
}
