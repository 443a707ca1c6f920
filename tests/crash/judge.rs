//! The judge: what the ledger and the statuses say when all is over.

use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::invocation::Outcome;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testkit::{Operator, World, until};

/// Longer than the takeover time and what goes before it and after it on a busy machine.
pub const PAST_TAKEOVER: Duration = Duration::from_mins(4);

/// Creates an invocation that is known to the ledger by its name.
pub async fn invoke(world: &World, name: &str) {
    world.invoke(name, json!({"function": {"name": "hello"}, "payload": {"tag": name}})).await;
}

/// Creates so many of them, `o-0` and on, a few at a time.
pub async fn invoke_many(world: &World, count: usize) {
    use futures::StreamExt;
    let names = futures::stream::iter(0..count).map(async |n| invoke(world, &format!("o-{n}")).await);
    names.buffer_unordered(16).collect::<()>().await;
}

/// Lets a fault last, if `LONG` is set as `make faults` does. Its length is the fault, so there is no condition to wait for.
pub async fn last(time: Duration) {
    if std::env::var_os("LONG").is_some() {
        tokio::time::sleep(time).await;
    }
}

/// Waits until the ledger holds so many entries.
pub async fn accepted(world: &World, count: usize) {
    let reached = until(async || world.emulator.ledger().len() >= count);
    let waited = tokio::time::timeout(PAST_TAKEOVER, reached).await;
    assert!(waited.is_ok(), "{} of {count} were accepted", world.emulator.ledger().len());
}

/// Waits until every object has an outcome, and returns all of them.
pub async fn settled(world: &World, patience: Duration) -> Vec<FunctionInvocation> {
    let api = world.api::<FunctionInvocation>();
    let unfinished = ListParams::default().fields("status.outcome=").limit(3);
    let all_settled = until(async || api.list(&unfinished).await.is_ok_and(|list| list.items.is_empty()));
    let waited = tokio::time::timeout(patience, all_settled).await;
    let left = api.list(&unfinished).await.expect("a list").items;
    assert!(waited.is_ok(), "no outcome: {left:#?}");
    api.list(&ListParams::default()).await.expect("a list").items
}

/// How often each tag was accepted.
pub fn acceptances(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in world.emulator.ledger() {
        *counts.entry(entry.tag.expect("every event has a tag")).or_default() += 1;
    }
    counts
}

/// Nothing was accepted twice, and what is said to be accepted was, under the id that is said. Returns how many
/// objects ended as `Unknown`; all others are accepted.
pub fn at_most_once(world: &World, objects: &[FunctionInvocation]) -> usize {
    let counts = acceptances(world);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "accepted more than once: {twice:?}");
    let ledger = world.emulator.ledger();
    let mut unknown = 0;
    for object in objects {
        let (name, status) = (object.name_any(), object.status.as_ref().expect("a status"));
        match status.outcome {
            Some(Outcome::Accepted) => {
                let entry = ledger.iter().find(|entry| entry.tag.as_ref() == Some(&name));
                let entry = entry.unwrap_or_else(|| panic!("{name} says it was accepted, and was not"));
                assert_eq!(status.request_id.as_ref(), Some(&entry.request_id), "{name}");
            }
            Some(Outcome::Unknown) => unknown += 1,
            other => panic!("{name} ended as {other:?}: {status:#?}"),
        }
    }
    unknown
}

/// The processes that the objects say have sent them.
pub fn holders(objects: &[FunctionInvocation]) -> BTreeSet<String> {
    let attempts = objects.iter().filter_map(|object| object.status.as_ref()?.attempt.as_ref());
    attempts.filter_map(|attempt| attempt.holder.clone()).collect()
}

/// No defect showed in the log.
pub fn sound(process: &Operator) {
    let log = process.log().text();
    for sign in ["panicked", "a defect in the operator", "it took longer than"] {
        assert!(!log.contains(sign), "{sign}:\n{log}");
    }
}
