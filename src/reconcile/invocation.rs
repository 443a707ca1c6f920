//! One run for one invocation, told in order: what is next, is it our turn, claim, send, record.

use super::exchange::{Exchange, send};
use super::prepare::{Hindrance, prepare};
use super::{Error, guarded};
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::{Outcome, ProviderKind, ProviderRef};
use crate::api::{FunctionInvocation, FunctionInvocationStatus};
use crate::clock;
use crate::context::Context;
use crate::context::providers::{self, Access, Key, Place, Standing};
use crate::gate::{Signal, Ticket};
use crate::kubernetes::status::{self, Claim, Claimed, Recorded, Written};
use crate::lifecycle::decide::wake;
use crate::lifecycle::{
    Conclusion, Memory, Moment, Reply, State, Step, View, decide, display, later, record, until,
};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::sync::Arc;
use std::time::Duration;

/// The watch brings every change; this is how long we trust it to, before looking again ourselves.
const SOON: Duration = Duration::from_secs(1);

/// What only a person or another controller can mend is looked at again this often.
const LATER: Duration = Duration::from_secs(15);

/// In line, an object is called when its turn comes. A call that came too late on a starved machine is made
/// good by asking again this often.
const LINE: Duration = Duration::from_secs(30);

/// An object younger than this does not complain that its provider is missing: the two are often applied
/// together, and a complaint costs a write.
const PATIENCE: Duration = Duration::from_secs(3);

/// One run for one object.
///
/// # Errors
/// When the API server could not be brought to do what was needed; the run is taken up again.
pub async fn reconcile(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    let action = guarded(&context, run(&object, &context)).await?;
    context.failures.clear(&uid(&object));
    Ok(action)
}

async fn run(object: &FunctionInvocation, context: &Arc<Context>) -> Result<Action, Error> {
    let view = View::of(object, context.since);
    let now = clock::now();
    let step = next_step(object, context);
    let provider = provider_of(object);
    if !matches!(step, Step::Invoke { .. }) {
        context.providers.forget(&provider, &uid(object));
    }
    let status = match step {
        Step::Invoke { number } => return invoke(object, context, &provider, number).await,
        Step::Save => {
            let State::Claimed { number, .. } = State::of(view.status) else {
                return Ok(Action::requeue(SOON));
            };
            let Some(reply) = context.journal.reply(&uid(object), number) else {
                return Ok(Action::requeue(SOON));
            };
            return Box::pin(save(context, &provider, object.clone(), number, reply)).await;
        }
        Step::Delete => {
            Box::pin(status::delete(&context.clients.calls, object)).await?;
            return Ok(Action::await_change());
        }
        Step::Wait(_) | Step::Observe(_) | Step::Rest => {
            return Ok(wake(&step, now).map_or_else(Action::await_change, Action::requeue));
        }
        Step::HandBack => {
            if let State::Claimed { number, .. } = State::of(view.status) {
                context.journal.returned(&uid(object), number);
            }
            record::handed_back(&view, now)
        }
        Step::GiveUpOwn => {
            let why = "the operator lost track of the request while it was being sent";
            record::in_doubt(&view, why, now, clock::chance())
        }
        Step::TakeOver => {
            let why = "the operator process that was sending it did not report back";
            record::in_doubt(&view, why, now, clock::chance())
        }
        Step::Conclude(conclusion) => record::concluded(&view, &conclusion, now),
        Step::Suspend => record::suspended(&view, now),
        Step::Resume => record::resumed(&view, now),
    };
    Box::pin(put(context, &provider, object, &status)).await
}

/// What is next for an object, with what this process remembers of it.
fn next_step(object: &FunctionInvocation, context: &Context) -> Step {
    let view = View::of(object, context.since);
    let (uid, mut memory, mut unchanged_for) = (uid(object), Memory::Nothing, Duration::ZERO);
    if let State::Claimed { number, holder } = State::of(view.status) {
        if holder == context.holder {
            memory = context.journal.memory(&uid, number);
        } else {
            unchanged_for = context.journal.unchanged_for(&uid, number, &holder, clock::monotonic());
        }
    }
    decide(&view, &Moment { now: clock::now(), holder: &context.holder, memory, unchanged_for })
}

/// Takes a place, or stands in line for one.
async fn invoke(
    object: &FunctionInvocation,
    context: &Arc<Context>,
    provider: &Key,
    number: i64,
) -> Result<Action, Error> {
    if context.draining.is_cancelled() {
        return Ok(Action::await_change());
    }
    let ticket = Ticket {
        uid: uid(object),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        lane: display(&object.spec),
    };
    if !provider_exists(object, context) {
        context.providers.gone(provider);
    }
    match context.providers.enter(provider, ticket) {
        // On the heap: ten thousand that only stand in line must not each hold room for an attempt.
        Some(place) => Box::pin(attempt(object, context, provider, number, place)).await,
        None => Box::pin(in_line(object, context, provider)).await,
    }
}

/// Prepare, claim, send, record.
async fn attempt(
    object: &FunctionInvocation,
    context: &Arc<Context>,
    provider: &Key,
    number: i64,
    mut place: Place,
) -> Result<Action, Error> {
    let prepared = match prepare(object, context, provider).await? {
        Ok(prepared) => prepared,
        Err(Hindrance::Moment) => return Ok(Action::requeue(SOON)),
        Err(Hindrance::NotYet(reason, message)) => {
            return wait_for(object, context, provider, reason, message).await;
        }
        Err(Hindrance::Never(reason, message)) => {
            let conclusion = Conclusion::Failed(reason, message);
            let status = record::concluded(&View::of(object, context.since), &conclusion, clock::now());
            return put(context, provider, object, &status).await;
        }
    };
    let claim = match claim(object, context, number).await? {
        Ok(claim) => claim,
        Err(look_again) => return Ok(Action::requeue(look_again)),
    };
    if must_not_send(&claim, context, provider, &prepared.access) {
        context.journal.returned(&uid(object), claim.number());
        let object = claim.spend();
        let status = record::handed_back(&View::of(&object, context.since), clock::now());
        return put(context, provider, &object, &status).await;
    }
    place.used();
    let Exchange { object, number, reply, signal, unauthenticated } =
        send(context, provider, &prepared, claim).await;
    if unauthenticated {
        refuse_credential(context, provider, &prepared.access, &reply);
    }
    if let (Signal::Trouble, Reply::Trouble(trouble)) = (signal, &reply) {
        place.complain(&trouble.message);
    }
    place.leave(signal);
    save(context, provider, object, number, reply).await
}

/// Writes the claim; if the attempt is not ours, says when to look again.
async fn claim(
    object: &FunctionInvocation,
    context: &Context,
    number: i64,
) -> Result<Result<Claim, Duration>, Error> {
    let wanted = record::claimed(&View::of(object, context.since), number, &context.holder, clock::now());
    let unsent = || context.journal.memory(&uid(object), number) == Memory::Nothing;
    match status::claim(&context.clients.calls, object, &wanted, number, &context.holder, unsent).await? {
        Claimed::Ours(claim) => Ok(Ok(*claim)),
        Claimed::Lost(fresh) => {
            context.metrics.conflict();
            let step = next_step(&fresh, context);
            Ok(Err(wake(&step, clock::now()).unwrap_or(LATER).max(SOON)))
        }
        Claimed::Gone => Ok(Err(LATER)),
        Claimed::Refused(why) => {
            context.tell(|| object.object_ref(&()), Reason::StatusRefused, &why);
            tracing::error!(
                namespace = object.namespace(),
                name = object.name_any(),
                why,
                "the API server refused a claim; nothing was sent"
            );
            Ok(Err(LATER))
        }
    }
}

/// The claim's answer is the freshest view there is: what it says now counts.
fn must_not_send(claim: &Claim, context: &Context, provider: &Key, access: &Access) -> bool {
    let object = claim.object();
    // A credential that was refused meanwhile must not be tried by everybody who was about to.
    let usable = matches!(context.providers.standing(provider),
        Standing::Ready(now) if now.secret_version == access.secret_version);
    context.draining.is_cancelled()
        || object.spec.suspend
        || object.spec.cancel
        || object.meta().deletion_timestamp.is_some()
        || claim.has_expired(clock::monotonic())
        || !usable
}

/// The credential is read again at once: perhaps its Secret has been changed already.
fn refuse_credential(context: &Context, provider: &Key, access: &Access, reply: &Reply) {
    let message = match reply {
        Reply::Trouble(trouble) => trouble.message.clone(),
        Reply::Accepted { .. } => String::new(),
    };
    context.providers.refuse(provider, access, message);
    context.providers.ask_to_inspect(provider);
}

/// Writes what an attempt ended with; it is logged first, so that an answer is never lost without a trace.
async fn save(
    context: &Context,
    provider: &Key,
    object: FunctionInvocation,
    number: i64,
    reply: Reply,
) -> Result<Action, Error> {
    let (uid, name) = (uid(&object), object.name_any());
    let namespace = object.namespace().unwrap_or_default();
    let (class, request_id) = match &reply {
        Reply::Accepted { request_id } => ("Accepted", request_id.clone()),
        Reply::Trouble(trouble) => (trouble.class.as_str(), None),
    };
    tracing::info!(namespace, name, uid, attempt = number, class, request_id, "answer");
    let (now, chance) = (clock::now(), clock::chance());
    let compose =
        |object: &FunctionInvocation| record::answered(&View::of(object, context.since), &reply, now, chance);
    let (before, object_ref) = (told(&object), object.object_ref(&()));
    let recorded = status::record(&context.clients.calls, object, compose).await;
    match recorded {
        Recorded::Done(fresh) => {
            context.journal.saved(&uid, number, clock::monotonic());
            announce(context, provider, before, &fresh);
            Ok(after(&fresh, context))
        }
        // The answer is kept: should the object turn out to be there after all, it is written then.
        Recorded::Gone => {
            context.metrics.lost();
            tracing::warn!(namespace, name, uid, attempt = number, "the object of an answer is gone");
            Ok(Action::requeue(SOON))
        }
        Recorded::TooLate(why) => {
            context.journal.saved(&uid, number, clock::monotonic());
            context.metrics.lost();
            tracing::warn!(
                namespace,
                name,
                uid,
                attempt = number,
                why,
                "the answer has no place in its object any more"
            );
            Ok(Action::requeue(SOON))
        }
        Recorded::Refused(why) => {
            context.tell(|| object_ref, Reason::StatusRefused, &why);
            tracing::error!(
                namespace,
                name,
                uid,
                attempt = number,
                why,
                "the API server refuses the answer; tried again"
            );
            Ok(Action::requeue(LATER))
        }
        Recorded::Unwritten(error) => Err(Error::Unwritten(error)),
    }
}

/// Writes a status that follows from no exchange.
async fn put(
    context: &Context,
    provider: &Key,
    object: &FunctionInvocation,
    status: &FunctionInvocationStatus,
) -> Result<Action, Error> {
    match status::write(&context.clients.calls, object, status).await? {
        Written::Done(fresh) => {
            if let State::Claimed { number, .. } = State::of(View::of(object, context.since).status) {
                context.journal.saved(&uid(object), number, clock::monotonic());
            }
            announce(context, provider, told(object), &fresh);
            Ok(after(&fresh, context))
        }
        Written::Conflict => {
            context.metrics.conflict();
            Ok(Action::requeue(SOON))
        }
        Written::Gone => Ok(Action::await_change()),
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
fn told(object: &FunctionInvocation) -> (Option<Outcome>, Option<Reason>) {
    let Some(status) = &object.status else { return (None, None) };
    (status.outcome, Condition::find(&status.conditions, ConditionType::Ready).map(|c| c.reason))
}

/// Counts and tells what a write changed.
fn announce(
    context: &Context,
    provider: &Key,
    before: (Option<Outcome>, Option<Reason>),
    object: &FunctionInvocation,
) {
    let (outcome, reason) = told(object);
    if let Some(outcome) = outcome.filter(|now| before.0 != Some(*now)) {
        context.metrics.ended(provider, outcome.as_str());
    }
    if let Some(reason) = reason.filter(|now| before.1 != Some(*now)) {
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        let message = conditions.map(|condition| condition.message.as_str()).next().unwrap_or_default();
        context.tell(|| object.object_ref(&()), reason, message);
    }
}

/// When to look again at an object as it was just written. The watch usually comes first.
fn after(fresh: &FunctionInvocation, context: &Context) -> Action {
    let step = next_step(fresh, context);
    wake(&step, clock::now()).map_or_else(Action::await_change, |wait| Action::requeue(wait.max(SOON)))
}

/// Stands in line. If the provider cannot be used, the object says so.
async fn in_line(object: &FunctionInvocation, context: &Context, provider: &Key) -> Result<Action, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let ProviderRef { kind, name } = &object.spec.provider_ref;
    let of_the_cluster = *kind == ProviderKind::ClusterFunctionGraphProvider;
    let message = match context.providers.standing(provider) {
        _ if of_the_cluster && context.cluster_provider_store.is_none() => {
            "This operator serves a single namespace and uses no ClusterFunctionGraphProvider: use a FunctionGraphProvider.".to_owned()
        }
        _ if !provider_exists(object, context) && of_the_cluster => {
            format!("ClusterFunctionGraphProvider {name} does not exist: create it.")
        }
        _ if !provider_exists(object, context) => {
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
        Standing::Unseen | Standing::Ready(_) => return Ok(Action::requeue(look_again(object, context))),
    };
    wait_for(object, context, provider, Reason::WaitingForProvider, message).await
}

/// Says what is waited for, once, and looks again later.
async fn wait_for(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    reason: Reason,
    message: String,
) -> Result<Action, Error> {
    let (view, now) = (View::of(object, context.since), clock::now());
    let patience_ends = later(view.noticed, PATIENCE);
    if patience_ends > now {
        return Ok(Action::requeue(until(patience_ends, now)));
    }
    if !record::says_already(&view, reason, &message) {
        let status = record::waiting(&view, reason, message, now);
        put(context, provider, object, &status).await?;
    }
    Ok(Action::requeue(look_again(object, context).min(LATER)))
}

/// When to look again at an object that waits: it keeps its deadline itself.
fn look_again(object: &FunctionInvocation, context: &Context) -> Duration {
    let now = clock::now();
    until(View::of(object, context.since).deadline(now), now).clamp(SOON, LINE)
}

fn provider_exists(object: &FunctionInvocation, context: &Context) -> bool {
    let namespace = object.namespace().unwrap_or_default();
    let ProviderRef { kind, name } = &object.spec.provider_ref;
    context.knows_provider(*kind, &namespace, name)
}

fn provider_of(object: &FunctionInvocation) -> Key {
    let ProviderRef { kind, name } = &object.spec.provider_ref;
    providers::key(*kind, &object.namespace().unwrap_or_default(), name)
}

fn uid(object: &FunctionInvocation) -> String {
    object.uid().unwrap_or_default()
}
