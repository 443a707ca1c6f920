//! One run for one invocation, told in order: what is next, is it our turn, claim, send, record.

use super::exchange::{Exchange, class_of, send};
use super::object::{
    LATER, SOON, after, announce, enter, in_line, next_step, provider_of, put, refuse_credential, told, uid,
    wait_for,
};
use super::prepare::{Hindrance, prepare};
use super::{Error, follow, guarded, lookup};
use crate::api::FunctionInvocation;
use crate::api::condition::Reason;
use crate::api::invocation::RESOLVE;
use crate::clock;
use crate::context::Context;
use crate::context::providers::{Access, Key, Place, Standing};
use crate::gate::Signal;
use crate::kubernetes::status::{self, Claim, Claimed, Recorded, Written};
use crate::lifecycle::decide::wake;
use crate::lifecycle::{self, Conclusion, Memory, Reply, Resolution, State, Step, record};
use crate::metrics::class_name;
use crate::traces::{About, Attempt};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::sync::Arc;
use std::time::Duration;

/// One run for one object.
///
/// # Errors
/// When the API server could not be brought to do what was needed; the run is taken up again.
pub async fn reconcile(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    let action = guarded(&context, run(&object, &context)).await?;
    context.failures.clear(&uid(&object));
    Ok(action)
}

/// One look at an object whose outcome is unknown: has a person said something about it?
///
/// # Errors
/// When the API server did not take a write.
pub async fn settle(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    match next_step(&object, &context) {
        Step::Resolve(_) | Step::Unresolve | Step::Conclude(_) => reconcile(object, context).await,
        _ => {
            if context.view(&object).resolve.is_some_and(|word| Resolution::read(word).is_none()) {
                let help = format!(
                    "The annotation {RESOLVE} is not understood: say Retry, Fail, or the id of the request."
                );
                context.tell(|| object.object_ref(&()), Reason::NotUnderstood, &help);
            }
            Ok(Action::await_change())
        }
    }
}

async fn run(object: &FunctionInvocation, context: &Arc<Context>) -> Result<Action, Error> {
    let view = context.view(object);
    let now = clock::now();
    let step = next_step(object, context);
    let provider = provider_of(object);
    if !matches!(step, Step::Invoke { .. } | Step::LookUp | Step::Stop) {
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
            let trace = Attempt::default(); // the one of its attempt is over
            return Box::pin(save(context, &provider, object.clone(), number, reply, trace)).await;
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
        Step::LookUp => return Box::pin(lookup::look_up(object, context, &provider)).await,
        Step::Follow => return Box::pin(follow::follow(object, context, &provider)).await,
        Step::Stop => return Box::pin(follow::stop(object, context, &provider)).await,
        Step::Resolve(resolution) => {
            tracing::info!(
                namespace = object.namespace(),
                name = object.name_any(),
                resolution = resolution.as_str(),
                "a doubt was settled by hand"
            );
            lifecycle::settle::resolved(&view, &resolution, now)
        }
        Step::Unresolve => lifecycle::settle::withdrawn(&view),
        Step::Suspend => record::suspended(&view, now),
        Step::Resume => record::resumed(&view, now),
    };
    Box::pin(put(context, &provider, object, &status)).await
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
    match enter(object, context, provider) {
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
    let began = clock::now();
    let prepared = match prepare(object, context, provider).await? {
        Ok(prepared) => prepared,
        Err(Hindrance::Moment) => return Ok(Action::requeue(SOON)),
        Err(Hindrance::NotYet(reason, message)) => {
            return wait_for(object, context, provider, reason, message).await;
        }
        Err(Hindrance::Never(reason, message)) => {
            let conclusion = Conclusion::Failed(reason, message);
            let status = record::concluded(&context.view(object), &conclusion, clock::now());
            return put(context, provider, object, &status).await;
        }
    };
    let prepared_at = clock::now();
    let marked = match mark(object, context).await? {
        Ok(marked) => marked,
        Err(look_again) => return Ok(Action::requeue(look_again)),
    };
    let claim = match claim(marked.as_deref().unwrap_or(object), context, number).await? {
        Ok(claim) => claim,
        Err(look_again) => return Ok(Action::requeue(look_again)),
    };
    let about = About {
        provider,
        namespace: object.metadata.namespace.as_deref().unwrap_or_default(),
        name: object.metadata.name.as_deref().unwrap_or_default(),
        number: claim.number(),
    };
    let mut trace = context.traces.attempt(&about, began);
    trace.step("prepared", prepared_at);
    trace.step("claimed", clock::now());
    if must_not_send(&claim, context, provider, &prepared.access) {
        trace.step("handed back", clock::now());
        context.journal.returned(&uid(object), claim.number());
        let object = claim.spend();
        let status = record::handed_back(&context.view(&object), clock::now());
        return put(context, provider, &object, &status).await;
    }
    place.used(&prepared.access);
    let Exchange { object, number, reply, signal, unauthenticated } =
        send(context, provider, &prepared, claim, &mut trace).await;
    if unauthenticated {
        let message = match &reply {
            Reply::Trouble(trouble) => trouble.message.clone(),
            Reply::Accepted(_) => String::new(),
        };
        refuse_credential(context, provider, &prepared.access, &message);
    }
    if let (Signal::Trouble, Reply::Trouble(trouble)) = (signal, &reply) {
        place.complain(&trouble.message);
    }
    place.leave(signal);
    save(context, provider, object, number, reply, trace).await
}

/// Marks an object that was never claimed, where that is asked for: what it is then; if it could not be marked, when to
/// look again.
async fn mark(
    object: &FunctionInvocation,
    context: &Context,
) -> Result<Result<Option<Box<FunctionInvocation>>, Duration>, Error> {
    if !context.options.restore_guard || !lifecycle::origin::is_unmarked(object) {
        return Ok(Ok(None));
    }
    match status::mark(&context.clients.calls, object).await? {
        Written::Done(fresh) => Ok(Ok(Some(fresh))),
        Written::Conflict => {
            context.metrics.conflict();
            Ok(Err(SOON))
        }
        Written::Gone => Ok(Err(LATER)),
        Written::Refused(why) => Ok(Err(refused(object, context, &why))),
    }
}

/// Tells that the API server refuses what must be written before an attempt, and when to look again.
fn refused(object: &FunctionInvocation, context: &Context, why: &str) -> Duration {
    context.tell(|| object.object_ref(&()), Reason::StatusRefused, why);
    tracing::error!(
        namespace = object.namespace(),
        name = object.name_any(),
        why,
        "the API server refused a claim; nothing was sent"
    );
    LATER
}

/// Writes the claim; if the attempt is not ours, says when to look again.
async fn claim(
    object: &FunctionInvocation,
    context: &Context,
    number: i64,
) -> Result<Result<Claim, Duration>, Error> {
    let wanted = record::claimed(&context.view(object), number, &context.holder, clock::now());
    let unsent = || context.journal.memory(&uid(object), number) == Memory::Nothing;
    match status::claim(&context.clients.calls, object, &wanted, number, &context.holder, unsent).await? {
        Claimed::Ours(claim) => Ok(Ok(*claim)),
        Claimed::Lost(fresh) => {
            context.metrics.conflict();
            let step = next_step(&fresh, context);
            Ok(Err(wake(&step, clock::now()).unwrap_or(LATER).max(SOON)))
        }
        Claimed::Gone => Ok(Err(LATER)),
        Claimed::Refused(why) => Ok(Err(refused(object, context, &why))),
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

/// Writes what an attempt ended with; it is logged first, so that an answer is never lost without a trace.
async fn save(
    context: &Context,
    provider: &Key,
    object: FunctionInvocation,
    number: i64,
    reply: Reply,
    mut trace: Attempt,
) -> Result<Action, Error> {
    let (uid, name) = (uid(&object), object.name_any());
    let namespace = object.namespace().unwrap_or_default();
    let (request_id, instance_id) = match &reply {
        Reply::Accepted(acceptance) => (acceptance.request_id.as_deref(), acceptance.instance_id.as_deref()),
        Reply::Trouble(_) => (None, None),
    };
    let class = class_name(class_of(&reply));
    tracing::info!(namespace, name, uid, attempt = number, class, request_id, instance_id, "answer");
    let (now, chance) = (clock::now(), clock::chance());
    let compose = |object: &FunctionInvocation| record::answered(&context.view(object), &reply, now, chance);
    let (before, object_ref) = (told(&object), object.object_ref(&()));
    let recorded = status::record(&context.clients.calls, object, compose).await;
    match recorded {
        Recorded::Done(fresh) => {
            context.journal.saved(&uid, number, clock::monotonic());
            announce(context, provider, before, &fresh);
            trace.step("recorded", clock::now());
            if let (Reply::Accepted(_), Some(created)) = (&reply, &fresh.metadata.creation_timestamp) {
                context.metrics.accepted(provider, now.duration_since(created.0).unsigned_abs());
            }
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
