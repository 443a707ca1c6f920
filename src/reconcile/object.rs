//! What every run does with its object: judge it, find it a place, write it, wait with it.

use super::Error;
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::{Outcome, ProviderKind, ProviderRef};
use crate::api::{FunctionInvocation, FunctionInvocationStatus};
use crate::clock;
use crate::context::Context;
use crate::context::providers::{self, Access, Key, Place, Standing};
use crate::gate::Ticket;
use crate::kubernetes::status::{self, Written};
use crate::lifecycle::decide::wake;
use crate::lifecycle::{Memory, Moment, State, Step, decide, display, later, record, says_already, until};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::sync::Arc;
use std::time::Duration;

/// The watch brings every change; this is how long we trust it to, before looking again ourselves.
pub const SOON: Duration = Duration::from_secs(1);

/// What only a person or another controller can mend is looked at again this often.
pub const LATER: Duration = Duration::from_secs(15);

/// In line, an object is called when its turn comes. A call that came too late on a starved machine is made
/// good by asking again this often.
const LINE: Duration = Duration::from_secs(30);

/// An object younger than this does not complain that its provider is missing: the two are often applied
/// together, and a complaint costs a write.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is next for an object, with what this process remembers of it.
pub fn next_step(object: &FunctionInvocation, context: &Context) -> Step {
    let view = context.view(object);
    let (uid, mut memory, mut unchanged_for) = (uid(object), Memory::Nothing, Duration::ZERO);
    if let State::Claimed { number, holder } = State::of(view.status) {
        if holder == context.holder {
            memory = context.journal.memory(&uid, number);
        } else {
            unchanged_for = context.journal.unchanged_for(&uid, number, &holder, clock::monotonic());
        }
    }
    let doubtful = matches!(State::of(view.status), State::Doubtful { .. });
    let number = view.status.attempt.as_ref().and_then(|attempt| attempt.number).unwrap_or_default();
    let looked_up = doubtful && view.lookup && context.lookups.exhausted(&uid, number, clock::monotonic());
    decide(&view, &Moment { now: clock::now(), holder: &context.holder, memory, unchanged_for, looked_up })
}

/// Asks for a place for an object.
pub fn enter(object: &FunctionInvocation, context: &Context, provider: &Key) -> Option<Place> {
    let ticket = Ticket {
        uid: uid(object),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        lane: display(&object.spec),
    };
    if !context.knows_provider(object) {
        context.providers.gone(provider);
    }
    context.providers.enter(provider, ticket)
}

/// The credential is read again at once: perhaps its Secret has been changed already.
pub fn refuse_credential(context: &Context, provider: &Key, access: &Access, message: &str) {
    context.providers.refuse(provider, access, message);
    context.providers.ask_to_inspect(provider);
}

/// Writes a status that follows from no exchange.
pub async fn put(
    context: &Context,
    provider: &Key,
    object: &FunctionInvocation,
    status: &FunctionInvocationStatus,
) -> Result<Action, Error> {
    match status::write(&context.clients.calls, object, status).await? {
        Written::Done(fresh) => {
            if let State::Claimed { number, .. } = object.status.as_ref().map_or(State::Fresh, State::of) {
                context.journal.saved(&uid(object), number, clock::monotonic());
            }
            announce(context, provider, told(object), &fresh);
            Ok(after(&fresh, context))
        }
        Written::Conflict => {
            context.metrics.conflict();
            Ok(Action::requeue(SOON))
        }
        // Most likely; a write can also be answered 404 while the object is there.
        Written::Gone => Ok(Action::requeue(LATER)),
        Written::Refused(why) => {
            tracing::error!(
                namespace = object.namespace(),
                name = object.name_any(),
                why,
                "the API server refused a status"
            );
            Ok(Action::requeue(LATER))
        }
    }
}

/// What an object has told the world: its outcome and the reason of its `Ready` condition.
pub fn told(object: &FunctionInvocation) -> (Option<Outcome>, Option<Reason>) {
    let Some(status) = &object.status else { return (None, None) };
    (status.outcome, Condition::find(&status.conditions, ConditionType::Ready).map(|c| c.reason))
}

/// Counts and tells what a write changed.
pub fn announce(
    context: &Context,
    provider: &Key,
    before: (Option<Outcome>, Option<Reason>),
    object: &FunctionInvocation,
) {
    let (outcome, reason) = told(object);
    if let Some(outcome) = outcome.filter(|now| before.0 != Some(*now)) {
        context.metrics.ended(context.providers.is_known(provider).then_some(provider), outcome);
    }
    if let Some(reason) = reason.filter(|now| before.1 != Some(*now)) {
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        let message = conditions.map(|condition| condition.message.as_str()).next().unwrap_or_default();
        context.tell(|| object.object_ref(&()), reason, message);
    }
}

/// When to look again at an object as it was just written. The watch usually comes first.
pub fn after(fresh: &FunctionInvocation, context: &Context) -> Action {
    let step = next_step(fresh, context);
    wake(&step, clock::now()).map_or_else(Action::await_change, |wait| Action::requeue(wait.max(SOON)))
}

/// Stands in line. If the provider cannot be used, the object says so.
pub async fn in_line(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
) -> Result<Action, Error> {
    match unusable(object, context, provider) {
        Some(message) => wait_for(object, context, provider, Reason::WaitingForProvider, message).await,
        None => Ok(Action::requeue(look_again(object, context))),
    }
}

/// Why the provider cannot be used, if that is known.
pub fn unusable(object: &FunctionInvocation, context: &Context, provider: &Key) -> Option<String> {
    let namespace = object.namespace().unwrap_or_default();
    let ProviderRef { kind, name } = &object.spec.provider_ref;
    let of_the_cluster = *kind == ProviderKind::ClusterFunctionGraphProvider;
    let message = match context.providers.standing(provider) {
        _ if of_the_cluster && context.cluster_provider_store.is_none() => {
            "This operator serves a single namespace and uses no ClusterFunctionGraphProvider: use a FunctionGraphProvider.".to_owned()
        }
        _ if !context.knows_provider(object) && of_the_cluster => {
            format!("ClusterFunctionGraphProvider {name} does not exist: create it.")
        }
        _ if !context.knows_provider(object) => {
            format!("FunctionGraphProvider {name} does not exist in namespace {namespace}: create it.")
        }
        // The provider's own message may differ from replica to replica; here it would be written in turns.
        Standing::NotReady(reason, _) if of_the_cluster => format!(
            "ClusterFunctionGraphProvider {name} is not ready ({}): kubectl describe cfgp {name} says why.",
            reason.as_str()
        ),
        Standing::NotReady(reason, _) => format!(
            "FunctionGraphProvider {name} is not ready ({}): kubectl describe fgp {name} -n {namespace} says why.",
            reason.as_str()
        ),
        Standing::Unseen | Standing::Ready(_) => return None,
    };
    Some(message)
}

/// Says what is waited for, once, and looks again later.
pub async fn wait_for(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    reason: Reason,
    message: String,
) -> Result<Action, Error> {
    let (view, now) = (context.view(object), clock::now());
    let patience_ends = later(view.noticed, PATIENCE);
    if patience_ends > now {
        return Ok(Action::requeue(until(patience_ends, now)));
    }
    if !says_already(&view, reason, &message) {
        let status = record::waiting(&view, reason, message, now);
        put(context, provider, object, &status).await?;
    }
    Ok(Action::requeue(look_again(object, context).min(LATER)))
}

/// When to look again at an object that waits: it keeps its deadline itself. One that is past it waits for
/// something else than an attempt.
fn look_again(object: &FunctionInvocation, context: &Context) -> Duration {
    let now = clock::now();
    let rest = until(context.view(object).deadline(now), now);
    if rest.is_zero() { LINE } else { rest.clamp(SOON, LINE) }
}

/// The provider's access, if it can be used as it stands. What the owner has changed counts at once, also while the
/// look at it still takes its time; and a namesake of a deleted provider does not inherit its credential.
pub fn access_of(object: &FunctionInvocation, context: &Context, provider: &Key) -> Option<Arc<Access>> {
    let Standing::Ready(access) = context.providers.standing(provider) else { return None };
    context.provider_of(object).is_some_and(|now| now.edition() == access.edition).then_some(access)
}

pub fn provider_of(object: &FunctionInvocation) -> Key {
    let ProviderRef { kind, name } = &object.spec.provider_ref;
    providers::key(*kind, &object.namespace().unwrap_or_default(), name)
}

pub fn uid(object: &FunctionInvocation) -> String {
    object.uid().unwrap_or_default()
}
