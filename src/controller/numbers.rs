//! What a scrape reads: the stores of the watches, the providers, and what is followed.

use super::watches::Watches;
use crate::api::FunctionInvocation;
use crate::api::invocation::AttemptState;
use crate::context::providers::Key;
use crate::context::{Context, provider_key};
use crate::metrics::Reading;
use kube::runtime::reflector::Store;
use std::collections::HashMap;

/// The metrics as of now.
pub fn text(
    context: &Context,
    ready: bool,
    watches: &Watches,
    unfinished: &Store<FunctionInvocation>,
    unknown: &Store<FunctionInvocation>,
) -> String {
    let (providers, waiting_for_none) = context.providers.readings();
    let now = context.now();
    let mut oldest: HashMap<Key, f64> = HashMap::new();
    for object in unfinished.state() {
        // What was accepted is not pending any more: it may run for days. What is suspended waits as it should.
        let attempt = object.status.as_ref().and_then(|status| status.attempt.as_ref());
        if object.spec.suspend || attempt.and_then(|attempt| attempt.state) == Some(AttemptState::Accepted) {
            continue;
        }
        let created = object.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
        let age = now.duration_since(created).as_secs_f64();
        let entry = oldest.entry(provider_key(&object)).or_insert(age);
        *entry = entry.max(age);
    }
    let mut doubts: HashMap<Key, usize> = HashMap::new();
    for object in unknown.state() {
        *doubts.entry(provider_key(&object)).or_default() += 1;
    }
    context.metrics.text(&Reading {
        ready,
        providers,
        waiting_for_none,
        oldest: by_name(oldest),
        followed: by_name(context.followed.count()),
        unknown: by_name(doubts),
        silences: watches.silences(),
        namespaces: watches.namespaces(),
    })
}

fn by_name<T>(values: HashMap<Key, T>) -> Vec<(String, T)> {
    values.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}
