//! What every reconcile does with its object: judge it, find it a place, write it, wait with it.

use super::Error;
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::{Outcome, ProviderKind, ProviderRef};
use crate::api::{FunctionInvocation, FunctionInvocationStatus};
use crate::clock;
use crate::context::providers::{self, Access, Key, Place, Standing};
use crate::context::{Context, Owner};
use crate::gate::{GateState, Phase, Ticket};
use crate::kubernetes::status::{self, Written};
use crate::lifecycle::decide::wake;
use crate::lifecycle::room::{self, Room};
use crate::lifecycle::{Moment, Progress, State, Step, decide, display, later, record, says_already, until};
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The watch brings every change; this is how long we trust it to, before looking again ourselves.
pub const SOON: Duration = Duration::from_secs(1);

/// What only you or another controller can fix is checked again this often.
pub const LATER: Duration = Duration::from_secs(15);

/// In line, an object is called when its turn comes. In case a call is lost, it asks again this often.
const LINE: Duration = Duration::from_secs(30);

/// An object that is due for this long says that it waits, and why: until then, most have had their turn.
const QUEUED: Duration = Duration::from_secs(10);

/// An object younger than this does not complain that its provider is missing: the two are often applied
/// together, and a complaint costs a write.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is next for an object, with what this process remembers of it.
pub fn next_step(object: &FunctionInvocation, context: &Context) -> Step {
    let view = context.view(object);
    let (uid, mut progress, mut unchanged_for) = (uid(object), Progress::Nothing, Duration::ZERO);
    if let State::Claimed { number, holder } = State::of(view.status) {
        if holder == context.holder {
            progress = context.journal.progress(&uid, number);
        } else {
            unchanged_for = context.journal.unchanged_for(&uid, number, &holder, clock::monotonic());
        }
    }
    let ambiguous = matches!(State::of(view.status), State::Ambiguous { .. });
    let number = view.status.attempt.as_ref().and_then(|attempt| attempt.number).unwrap_or_default();
    let looked_up = ambiguous && view.lookup && context.lookups.exhausted(&uid, number, clock::monotonic());
    decide(&view, &Moment { now: context.now(), holder: &context.holder, progress, unchanged_for, looked_up })
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

/// Writes a status that follows from no exchange, or as much of it as the object has room for.
pub async fn put(
    context: &Context,
    provider: &Key,
    object: &FunctionInvocation,
    status: &FunctionInvocationStatus,
) -> Result<Action, Error> {
    let mut room = Room::Enough;
    let why = loop {
        let fitted = room::fitted(status.clone(), room);
        match status::write(&context.clients.calls, object, &fitted).await? {
            Written::Done(fresh) => {
                if let State::Claimed { number, .. } = object.status.as_ref().map_or(State::Fresh, State::of)
                {
                    context.journal.saved(&Owner::of(object), number, clock::monotonic());
                }
                announce(context, provider, told(object), &fresh);
                return Ok(after(&fresh, context));
            }
            Written::Conflict => {
                context.metrics.conflict();
                return Ok(Action::requeue(SOON));
            }
            // Most likely; a write can also be answered 404 while the object is there.
            Written::Gone => return Ok(Action::requeue(LATER)),
            Written::Refused(why) => break why,
            Written::TooLarge(why) => match room.less() {
                Some(less) => room = less,
                None => break why,
            },
        }
    };
    Ok(Action::requeue(refused(object, context, &why)))
}

/// Tells that the API server refuses what the operator writes, and when to try again.
pub fn refused(object: &FunctionInvocation, context: &Context, why: &str) -> Duration {
    context.tell(|| object.object_ref(&()), Reason::StatusRefused, why);
    tracing::error!(
        namespace = object.namespace(),
        name = object.name_any(),
        why,
        "the API server refuses a status; nothing is sent, and the operator tries again"
    );
    LATER
}

/// What an object has told the world: its outcome and the reason of its `Ready` condition.
pub fn told(object: &FunctionInvocation) -> (Option<Outcome>, Option<Reason>) {
    let Some(status) = &object.status else { return (None, None) };
    (status.outcome, Condition::find(&status.conditions, ConditionType::Ready).map(|c| c.reason))
}

/// Counts and tells what a write changed. The API server takes writes: earlier failures are over.
pub fn announce(
    context: &Context,
    provider: &Key,
    before: (Option<Outcome>, Option<Reason>),
    object: &FunctionInvocation,
) {
    context.failures.clear(&uid(object));
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
    wake(&step, context.now()).map_or_else(Action::await_change, |wait| Action::requeue(wait.max(SOON)))
}

/// Waits in line. If the provider cannot be used, or it takes long, the object says so.
pub async fn in_line(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
) -> Result<Action, Error> {
    if let Some(message) = unusable(object, context, provider) {
        return wait_for(object, context, provider, Reason::WaitingForProvider, message).await;
    }
    let (view, now) = (context.view(object), context.now());
    let ready = Condition::find(&view.status.conditions, ConditionType::Ready);
    let again = look_again(object, context);
    // An ambiguous attempt has more to say than that its list waits for its turn.
    let says_more = matches!(State::of(view.status), State::Ambiguous { .. } | State::Accepted);
    let message = queued(&context.providers.state(provider), now, clock::monotonic());
    if says_more || ready.is_some_and(|ready| ready.reason == Reason::Queued && ready.message == message) {
        return Ok(Action::requeue(again));
    }
    let due = view.status.next_attempt_time.unwrap_or(view.start(now)).min(now);
    let rest = until(later(due, QUEUED), now);
    if !rest.is_zero() {
        return Ok(Action::requeue(rest.min(again)));
    }
    if !context.queue_notices.take(clock::monotonic()) {
        return Ok(Action::requeue(again));
    }
    wait_for(object, context, provider, Reason::Queued, message).await
}

/// Why an object waits for its turn.
fn queued(state: &GateState, now: Timestamp, instant: Instant) -> String {
    let at = |time: Instant| later(now, time.saturating_duration_since(instant)).strftime("%H:%M:%S UTC");
    let why = match state.phase {
        Phase::Paused { until } => format!("FunctionGraph throttles the provider until {}.", at(until)),
        Phase::BreakerOpen { until } => {
            format!(
                "The endpoint failed several times in a row. The operator tries it again at {}.",
                at(until)
            )
        }
        Phase::Probing => "The operator tries the provider with one request at a time.".to_owned(),
        Phase::Open | Phase::Shut => "Other invocations are before it.".to_owned(),
    };
    format!("Waiting for its turn at the provider. {why}")
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
    let (view, now) = (context.view(object), context.now());
    let patience_ends = later(view.created.min(now), PATIENCE);
    if patience_ends > now {
        return Ok(Action::requeue(until(patience_ends, now)));
    }
    if is_news(object, context, reason, &message) {
        let status = record::waiting(&view, reason, message, now);
        put(context, provider, object, &status).await?;
    }
    Ok(Action::requeue(look_again(object, context).min(LATER)))
}

/// Whether to write this: the status does not say it, and this process has not just said it. Another replica that finds
/// otherwise must not make the two write in turns.
pub fn is_news(object: &FunctionInvocation, context: &Context, reason: Reason, message: &str) -> bool {
    !says_already(&context.view(object), reason, message)
        && context.notices.take(&uid(object), reason, message, clock::monotonic())
}

/// When to look again at an object that waits: it keeps its deadline itself. One that is past it waits for
/// something else than an attempt.
fn look_again(object: &FunctionInvocation, context: &Context) -> Duration {
    let now = context.now();
    let rest = until(context.view(object).deadline(now), now);
    if rest.is_zero() { LINE } else { rest.clamp(SOON, LINE) }
}

/// The provider's access, if it can be used as it stands. What the owner has changed counts at once, also while the
/// check of it still takes its time. Another provider of the same name does not inherit the credential of a deleted one.
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
