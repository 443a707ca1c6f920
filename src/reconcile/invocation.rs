//! One reconcile of one invocation, told in order: what is next, is it our turn, claim, send, record.

use super::exchange::{Exchange, class_of, send};
use super::object::{
    LATER, SOON, after, announce, enter, in_line, next_step, provider_of, put, refuse_credential, refused,
    told, uid, wait_for,
};
use super::prepare::{EMPTY, Hindrance, prepare};
use super::{Error, follow, guarded, lookup};
use crate::api::FunctionInvocation;
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::event_version;
use crate::clock;
use crate::context::providers::{Access, Key, Place, Standing};
use crate::context::{Context, IN_FLIGHT_KIB, Owner};
use crate::gate::Signal;
use crate::kubernetes::payload::Event;
use crate::kubernetes::requests;
use crate::kubernetes::status::{self, Claim, Claimed, Recorded, Written};
use crate::lifecycle::decide::{changed_event, wake};
use crate::lifecycle::room::{self, Room};
use crate::lifecycle::{self, Conclusion, Memory, Reply, Resolution, State, Step, Target, record, resolve};
use crate::metrics::class_name;
use crate::traces::{About, Attempt};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit};

/// How long an object waits for room among the events in flight before it leaves its place to another.
const ROOM: Duration = Duration::from_secs(1);

/// One reconcile of one object.
///
/// # Errors
/// When the API server could not be brought to do what was needed; the object is taken up again.
pub async fn reconcile(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    // Its turn in line, or an edit, may come before the pause after a failure is over.
    if let Some(rest) = context.failures.rest(&uid(&object), clock::monotonic()) {
        context.providers.forget(&provider_of(&object), &uid(&object));
        return Ok(Action::requeue(rest));
    }
    guarded(&context, run(&object, &context)).await
}

/// One reconcile of an object whose outcome is unknown: only you can change that, or a new spec is to be acknowledged.
///
/// # Errors
/// When the API server did not take a write.
pub async fn resolve(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    match next_step(&object, &context) {
        Step::Resolve(_)
        | Step::RefuseResolution
        | Step::ForgetResolution
        | Step::CorrectTimes
        | Step::Acknowledge
        | Step::Conclude(_) => reconcile(object, context).await,
        _ => Ok(Action::await_change()),
    }
}

async fn run(object: &FunctionInvocation, context: &Arc<Context>) -> Result<Action, Error> {
    let view = context.view(object);
    let now = context.now();
    let step = next_step(object, context);
    let provider = provider_of(object);
    if !matches!(step, Step::Invoke { .. } | Step::LookUp | Step::Stop) {
        context.providers.forget(&provider, &uid(object));
    }
    let status = match step {
        Step::Invoke { number } => return invoke(object, context, &provider, number).await,
        Step::Save => return Box::pin(save_known(object, context, &provider)).await,
        Step::Delete => {
            Box::pin(status::delete(&context.clients.calls, object)).await?;
            return Ok(Action::await_change());
        }
        Step::Wait(_) | Step::Observe(_) | Step::Rest => {
            return Ok(wake(&step, now).map_or_else(Action::await_change, Action::requeue));
        }
        Step::HandBack => {
            if let State::Claimed { number, .. } = State::of(view.status) {
                context.journal.returned(&Owner::of(object), number);
            }
            record::handed_back(&view, now)
        }
        Step::GiveUpOwn => {
            let why = "the operator lost track of the request while it was being sent";
            record::ambiguous(&view, why, now, clock::chance())
        }
        Step::TakeOver => {
            let why = "the operator process that was sending it did not report back";
            record::ambiguous(&view, why, now, clock::chance())
        }
        Step::Conclude(conclusion) => record::concluded(&view, &conclusion, now),
        Step::LookUp => return Box::pin(lookup::look_up(object, context, &provider)).await,
        Step::Follow => return Box::pin(follow::follow(object, context, &provider)).await,
        Step::Stop => return Box::pin(follow::stop(object, context, &provider)).await,
        Step::Resolve(resolution) => {
            return Box::pin(act(object, context, &provider, &resolution)).await;
        }
        Step::RefuseResolution => return Box::pin(refuse(object, context, &provider, None)).await,
        Step::ForgetResolution => resolve::forgotten(&view, now),
        Step::CorrectTimes => {
            let ahead = view.written_ahead(now);
            tracing::warn!(
                namespace = object.namespace(),
                name = object.name_any(),
                ?ahead,
                "a status was written by a clock that ran ahead; its times are corrected"
            );
            record::corrected(&view, now)
        }
        Step::Acknowledge => record::acknowledged(&view, now),
        Step::Suspend => record::suspended(&view, now),
        Step::Resume => record::resumed(&view, now),
    };
    Box::pin(put(context, &provider, object, &status)).await
}

/// The annotation resolves the attempt, unless it names the request of another object.
async fn act(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    resolution: &Resolution,
) -> Result<Action, Error> {
    // One after the other, so that two objects do not get the same id at the same moment.
    static RESOLVING: Mutex<()> = Mutex::const_new(());
    let mut _one = None;
    if let Resolution::Accepted(id) = resolution {
        _one = Some(RESOLVING.lock().await);
        let scope = &context.options.scope;
        if requests::is_of_another(&context.clients.calls, scope, id, &uid(object)).await? {
            let message = "The annotation functiongraph.io/resolve changes nothing, because another FunctionInvocation has this request id.";
            let because = (Reason::RequestIdInUse, message.to_owned());
            return refuse(object, context, provider, Some(because)).await;
        }
    }
    tracing::info!(
        namespace = object.namespace(),
        name = object.name_any(),
        resolution = resolution.as_str(),
        "the annotation functiongraph.io/resolve resolves an ambiguous attempt"
    );
    let status = resolve::resolved(&context.view(object), resolution, context.now());
    put(context, provider, object, &status).await
}

/// The annotation changes nothing: the status says why, and an Event.
async fn refuse(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    because: Option<(Reason, String)>,
) -> Result<Action, Error> {
    let status = resolve::refused(&context.view(object), because, context.now());
    if let Some(refused) = Condition::find(&status.conditions, ConditionType::ResolutionRefused) {
        context.tell(|| object.object_ref(&()), refused.reason, &refused.message);
    }
    put(context, provider, object, &status).await
}

/// Takes a place, or waits in line for one.
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
        // On the heap: ten thousand that only wait in line must not each hold room for an attempt.
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
    let mut prepared = match prepare(object, context, provider).await? {
        Ok(prepared) => prepared,
        Err(Hindrance::Moment) => return Ok(Action::requeue(SOON)),
        Err(Hindrance::NotYet(reason, message)) => {
            return wait_for(object, context, provider, reason, message).await;
        }
        Err(Hindrance::Never(reason, message)) => {
            return conclude(object, context, provider, &Conclusion::Failed(reason, message)).await;
        }
    };
    if let Some(conclusion) = changed_event(&context.view(object), &prepared.target.event_version) {
        return conclude(object, context, provider, &conclusion).await;
    }
    let Some(_room) = room(context, prepared.event_bytes).await else {
        return Ok(Action::requeue(SOON));
    };
    let prepared_at = clock::now();
    let marked = match mark(object, context).await? {
        Ok(marked) => marked,
        Err(look_again) => return Ok(Action::requeue(look_again)),
    };
    let claimable = marked.as_deref().unwrap_or(object);
    let mut claim = match claim(claimable, context, provider, number, &prepared.target).await? {
        Ok(claim) => claim,
        Err(action) => return Ok(action),
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
        context.journal.returned(&Owner::of(object), claim.number());
        let object = claim.spend();
        let status = record::handed_back(&context.view(&object), context.now());
        return put(context, provider, &object, &status).await;
    }
    let event = match event(&mut claim, context, prepared.event.take()) {
        Ok(event) => event,
        Err(conclusion) => {
            trace.step("handed back", clock::now());
            context.journal.returned(&Owner::of(object), claim.number());
            let object = claim.spend();
            let status = record::not_as_claimed(&context.view(&object), &conclusion, context.now());
            return put(context, provider, &object, &status).await;
        }
    };
    place.used(&prepared.access);
    let Exchange { object, number, reply, signal, unauthenticated } =
        send(context, provider, &prepared, event, claim, &mut trace).await;
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

/// Ends an object that no attempt can help.
async fn conclude(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    conclusion: &Conclusion,
) -> Result<Action, Error> {
    let status = record::concluded(&context.view(object), conclusion, context.now());
    put(context, provider, object, &status).await
}

/// Room for an event among those in flight, if there is some soon.
async fn room(context: &Context, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let kib = bytes.div_ceil(1024).clamp(1, IN_FLIGHT_KIB);
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    let waiting = Arc::clone(&context.in_flight).acquire_many_owned(kib);
    tokio::time::timeout(ROOM, waiting).await.ok()?.ok()
}

/// The event to send: the one that was fetched, or the one in the object as it was claimed. The object does not keep it.
fn event(claim: &mut Claim, context: &Context, fetched: Option<Event>) -> Result<Event, Conclusion> {
    let inline = claim.take_event().unwrap_or_else(|| EMPTY.to_vec());
    if let Some(event) = fetched {
        return Ok(event);
    }
    let kept = claim.object().spec.payload.as_ref();
    let version = kept.map_or_else(|| event_version(EMPTY), |payload| payload.digest().version);
    match changed_event(&context.view(claim.object()), &version) {
        None => Ok(Event::inline(inline)),
        Some(conclusion) => Err(conclusion),
    }
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
        Written::Refused(why) | Written::TooLarge(why) => Ok(Err(refused(object, context, &why))),
    }
}

/// Writes the claim; if the attempt is not ours, says what comes next.
async fn claim(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    number: i64,
    target: &Target,
) -> Result<Result<Claim, Action>, Error> {
    let wanted = record::claimed(&context.view(object), number, &context.holder, target, context.now());
    let unsent = || context.journal.memory(&uid(object), number) == Memory::Nothing;
    match status::claim(&context.clients.calls, object, &wanted, number, unsent).await? {
        Claimed::Ours(claim) => {
            context.failures.clear(&uid(object));
            Ok(Ok(*claim))
        }
        Claimed::Lost(fresh) => {
            context.metrics.conflict();
            let step = next_step(&fresh, context);
            let rest = wake(&step, context.now()).unwrap_or(LATER).max(SOON);
            Ok(Err(Action::requeue(rest)))
        }
        Claimed::Gone => Ok(Err(Action::requeue(LATER))),
        Claimed::Refused(why) => Ok(Err(Action::requeue(refused(object, context, &why)))),
        Claimed::TooLarge(_) => {
            let message = "The object is too large: it has no room for the status that must be written before anything is sent. Create a new FunctionInvocation with a smaller event, or with payloadFrom.";
            let conclusion = Conclusion::Failed(Reason::InvalidPayload, message.into());
            conclude(object, context, provider, &conclusion).await.map(Err)
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

/// Writes the answer that this process has in hand.
pub(super) async fn save_known(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
) -> Result<Action, Error> {
    let state = object.status.as_ref().map_or(State::Fresh, State::of);
    let State::Claimed { number, .. } = state else { return Ok(Action::requeue(SOON)) };
    let Some(reply) = context.journal.reply(&uid(object), number) else {
        return Ok(Action::requeue(SOON));
    };
    let trace = Attempt::default(); // the one of its attempt is over
    save(context, provider, object.clone(), number, reply, trace).await
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
    let owner = Owner::of(&object);
    let Owner { namespace, name, uid } = &owner;
    let (request_id, instance_id) = match &reply {
        Reply::Accepted(acceptance) => (acceptance.request_id.as_deref(), acceptance.instance_id.as_deref()),
        Reply::Trouble(_) => (None, None),
    };
    let class = class_name(class_of(&reply));
    tracing::info!(namespace, name, uid, attempt = number, class, request_id, instance_id, "answer");
    let (now, chance) = (context.now(), clock::chance());
    let compose = |object: &FunctionInvocation, too_large: usize| {
        let room = std::iter::successors(Some(Room::Enough), |room| room.less()).nth(too_large)?;
        Some(room::fitted(record::answered(&context.view(object), &reply, now, chance), room))
    };
    let (before, object_ref) = (told(&object), object.object_ref(&()));
    let recorded = status::record(&context.clients.calls, object, compose).await;
    match recorded {
        Recorded::Done(fresh) => {
            context.journal.saved(&owner, number, clock::monotonic());
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
            context.journal.saved(&owner, number, clock::monotonic());
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
