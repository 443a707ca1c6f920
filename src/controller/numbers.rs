//! The values of a scrape: from the stores of the watches, the providers, and the followed executions.

use super::watches::Watches;
use crate::api::invocation::AttemptState;
use crate::api::{FunctionInvocation, ProviderKey};
use crate::clock;
use crate::context::Context;
use crate::members::Duty;
use crate::metrics::Reading;
use kube::runtime::reflector::Store;
use std::collections::HashMap;

/// The current metrics.
pub fn text(
    context: &Context,
    ready: bool,
    watches: &Watches,
    unfinished: &Store<FunctionInvocation>,
    unknown: &Store<FunctionInvocation>,
) -> String {
    let (providers, waiting_for_none) = context.providers.readings();
    let now = context.now();
    let mut oldest: HashMap<ProviderKey, f64> = HashMap::new();
    let mut owned = 0;
    for object in unfinished.state() {
        owned += usize::from(context.duty_of(&object) == Duty::Ours);
        // Accepted objects do not count as pending, because an execution may run for days. Suspended objects wait on
        // purpose.
        let attempt = object.status.as_ref().and_then(|status| status.attempt.as_ref());
        if object.spec.suspend || attempt.and_then(|attempt| attempt.state) == Some(AttemptState::Accepted) {
            continue;
        }
        let created = object.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
        let age = now.duration_since(created).as_secs_f64();
        let entry = oldest.entry(ProviderKey::of(&object)).or_insert(age);
        *entry = entry.max(age);
    }
    let mut unknown_counts: HashMap<ProviderKey, usize> = HashMap::new();
    for object in unknown.state() {
        *unknown_counts.entry(ProviderKey::of(&object)).or_default() += 1;
    }
    context.metrics.text(&Reading {
        ready,
        members: context.members.borrow().count(clock::monotonic()),
        owned,
        remembered: context.remembered(),
        providers,
        waiting_for_none,
        oldest: by_name(oldest),
        followed: by_name(context.followed.count()),
        unknown: by_name(unknown_counts),
        silences: watches.silences(),
        namespaces: watches.namespaces(),
    })
}

fn by_name<T>(values: HashMap<ProviderKey, T>) -> Vec<(String, T)> {
    values.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}
