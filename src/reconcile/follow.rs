//! Follows executions to their end: one loop reads the service's list for all, each object writes its own.

use super::Error;
use super::exchange::{self, signal};
use super::object::{LATER, access_of, enter, is_news, put, refuse_credential, uid, unusable};
use super::prepare::{Hindrance, allowed, sent_to};
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::{self, Execution, FunctionInvocation, RESOLVE};
use crate::clock;
use crate::context::followed::{Line, News, Question, Request, Topic};
use crate::context::providers::{Access, Key, Place, Standing};
use crate::context::{Context, Owner};
use crate::gate::{Signal, Ticket};
use crate::lifecycle::{Conclusion, record};
use functiongraph::{Answer, CancelType, ExecutionStatus, ListQuery, Listed, Record, Verdict};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// One call about an execution takes no longer.
pub const CALL: Duration = Duration::from_secs(30);

/// An object that is followed is looked at again this often, should a call to it be lost.
const AGAIN: Duration = Duration::from_mins(10);

/// Between the claim and the acceptance that is seen in its answer: the send window and the longest request.
const LONGEST: Duration = Duration::from_secs(100);

/// Marks the places in line that are for a list, not for an object: no namespace is called so.
const NO_NAMESPACE: &str = "";

/// The same in place of a uid.
const LIST: &str = "list ";

// === One object ===

/// Writes what is known of the execution, or has it followed.
///
/// # Errors
/// When the API server did not take a write.
pub async fn follow(object: &FunctionInvocation, context: &Context, provider: &Key) -> Result<Action, Error> {
    let (topic, _) = match topic(object, context, provider) {
        Ok(topic) => topic,
        Err(why) => return unreachable(object, context, provider, why).await,
    };
    let news = request(object, context)
        .and_then(|request| context.followed.follow(&topic, request, clock::monotonic()));
    let (view, now) = (context.view(object), context.now());
    let status = match news {
        Some(News::Ended(mut execution)) => {
            // The function's words may repeat the event.
            execution.error_message.take_if(|_| object.spec.has_secret_event());
            record::executed(&view, &execution, now)
        }
        Some(News::Vanished) => {
            let why =
                "FunctionGraph accepted the invocation, but does not know the request by its id any more.";
            record::concluded(&view, &Conclusion::Unfollowed(why.into()), now)
        }
        None => return tell(object, context, provider, context.followed.trouble(&topic)).await,
    };
    put(context, provider, object, &status).await
}

/// Says why FunctionGraph cannot be asked about the execution.
async fn unreachable(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    why: Unreachable,
) -> Result<Action, Error> {
    let (reason, message) = match why {
        Unreachable::Moment => return Ok(Action::requeue(LATER)),
        Unreachable::Provider(why) => (
            Reason::WaitingForProvider,
            format!("FunctionGraph accepted the invocation. Its end is not known yet: {why}"),
        ),
        Unreachable::Elsewhere(why) => (
            Reason::DestinationChanged,
            format!(
                "FunctionGraph accepted the invocation. The operator cannot see its end. {why} Set the provider back, or set the annotation {RESOLVE} to Fail or Accepted:<request id>."
            ),
        ),
    };
    if is_news(object, context, reason, &message) {
        let status = record::following(&context.view(object), reason, message, context.now());
        put(context, provider, object, &status).await?;
    }
    Ok(Action::requeue(LATER))
}

/// Why FunctionGraph cannot be asked about an execution.
enum Unreachable {
    /// That will show in a moment.
    Moment,
    /// The provider cannot be used.
    Provider(String),
    /// The provider no longer leads to where the request went.
    Elsewhere(String),
}

/// Says what is wrong with reading the list, or that nothing is any more.
async fn tell(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    trouble: Option<String>,
) -> Result<Action, Error> {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let complains = Condition::find(conditions, ConditionType::Ready).is_some_and(|ready| {
        let complaints = [Reason::ListUnreadable, Reason::WaitingForProvider, Reason::DestinationChanged];
        complaints.contains(&ready.reason)
    });
    let (reason, message) = match trouble {
        Some(trouble) => (
            Reason::ListUnreadable,
            format!(
                "FunctionGraph accepted the invocation. Its end is not known yet, because the operator cannot read the list of invocations: {trouble}"
            ),
        ),
        None if complains => (
            Reason::Running,
            "FunctionGraph accepted the invocation. The operator follows its execution.".to_owned(),
        ),
        None => return Ok(Action::requeue(AGAIN)),
    };
    if is_news(object, context, reason, &message) {
        let status = record::following(&context.view(object), reason, message, context.now());
        put(context, provider, object, &status).await?;
    }
    Ok(Action::requeue(AGAIN))
}

/// Asks the service to stop the execution, if that is allowed, and goes on following it.
///
/// # Errors
/// When the API server did not take a write.
pub async fn stop(
    object: &FunctionInvocation,
    context: &Arc<Context>,
    provider: &Key,
) -> Result<Action, Error> {
    let (topic, access) = match topic(object, context, provider) {
        Ok(found) => found,
        Err(why) => return unreachable(object, context, provider, why).await,
    };
    let Some(request) = request(object, context) else { return Ok(Action::requeue(LATER)) };
    let (uid, id) = (uid(object), request.id.clone());
    if context.followed.follow(&topic, request, clock::monotonic()).is_some() {
        return follow(object, context, provider).await;
    }
    if !access.spec().allow_cancel {
        let why = "The execution goes on: the provider does not say allowCancel. Its owner can set it; stopping one request may stop others on the same instance.";
        return refused(object, context, provider, why.into()).await;
    }
    if let Some(why) = context.followed.stop_refused(&topic, &uid, clock::monotonic()) {
        return refused(object, context, provider, why).await;
    }
    if let Err(Hindrance::Never(_, message) | Hindrance::NotYet(_, message)) =
        allowed(object, context, &access).await?
    {
        return refused(object, context, provider, format!("The execution goes on. {message}")).await;
    }
    let Some(mut place) = enter(object, context, provider) else {
        return Ok(Action::requeue(LATER));
    };
    place.used(&access);
    let asked =
        access.client.cancel(&topic.urn, &id, CancelType::Force, &access.credential, clock::now(), CALL);
    let why = match asked.await {
        Ok(answer) if answer.is_success() => {
            place.leave(Signal::Clean);
            tracing::info!(namespace = object.namespace(), name = object.name_any(), id, "asked to stop it");
            let status = record::stopping(&context.view(object), context.now());
            return put(context, provider, object, &status).await;
        }
        Ok(answer) => answered(context, provider, &access, place, &answer),
        Err(error) => {
            place.complain(&error.to_string());
            place.leave(Signal::Trouble);
            format!("{error}.")
        }
    };
    let why = format!(
        "The execution goes on: FunctionGraph was asked to stop it and did not. {why} It is asked again every minute."
    );
    context.followed.stop_tried(&topic, &uid, why.clone(), clock::monotonic());
    refused(object, context, provider, why).await
}

/// Says why the execution is not stopped.
async fn refused(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    why: String,
) -> Result<Action, Error> {
    if is_news(object, context, Reason::StopRefused, &why) {
        let status = record::following(&context.view(object), Reason::StopRefused, why, context.now());
        put(context, provider, object, &status).await?;
    }
    Ok(Action::requeue(LATER))
}

/// What to follow: the function, where the request went.
fn topic(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
) -> Result<(Topic, Arc<Access>), Unreachable> {
    let Some(access) = access_of(object, context, provider) else {
        let why = unusable(object, context, provider);
        return Err(why.map_or(Unreachable::Moment, Unreachable::Provider));
    };
    let urn = sent_to(object, &access).map_err(Unreachable::Elsewhere)?;
    let endpoint = access.client.endpoint().to_string();
    Ok((Topic { provider: Arc::clone(provider), endpoint, urn }, access))
}

fn request(object: &FunctionInvocation, context: &Context) -> Option<Request> {
    let status = object.status.as_ref()?;
    let attempt = status.attempt.as_ref();
    let holder = attempt.and_then(|attempt| attempt.holder.as_deref());
    let accepted = status.accepted_time.unwrap_or_else(|| context.now());
    let claimed = attempt.and_then(|attempt| attempt.claim_time);
    let claimed = claimed.or_else(|| accepted.checked_sub(LONGEST).ok());
    Some(Request {
        owner: Owner::of(object),
        id: status.request_id.clone()?,
        claimed: claimed.map_or(accepted, |time| time.min(accepted)),
        accepted,
        ours: holder == Some(context.holder.as_str()),
    })
}

// === The loop ===

/// Whether a place in line is for a list, not for an object.
#[must_use]
pub fn is_for_a_list(ticket: &Ticket) -> bool {
    ticket.namespace == NO_NAMESPACE
}

/// Whether a uid in line is that of a list.
#[must_use]
pub fn is_list(uid: &str) -> bool {
    uid.starts_with(LIST)
}

/// Reads the lists for ever. `called` are the places in line whose turn has come; `tell` wakes the object of
/// which there is news, and `wanted` knows which objects are still there.
pub async fn run(
    context: Arc<Context>,
    mut called: mpsc::UnboundedReceiver<(Key, Ticket)>,
    wanted: impl Fn(&Owner) -> bool,
    tell: impl Fn(Owner),
) {
    let mut questions = FuturesUnordered::new();
    let mut in_line: Vec<(Ticket, Topic)> = Vec::new();
    loop {
        let (due, next) = context.followed.due(&wanted, clock::monotonic());
        for topic in due {
            let ticket = ticket(&topic);
            match context.providers.enter(&topic.provider, ticket.clone()) {
                Some(place) => questions.push(ask_guarded(&context, topic, place)),
                None => in_line.push((ticket, topic)),
            }
        }
        tokio::select! {
            Some(owners) = questions.next() => owners.into_iter().for_each(&tell),
            Some((_, ticket)) = called.recv() => {
                let Some(index) = in_line.iter().position(|(waiting, _)| waiting.uid == ticket.uid) else { continue };
                let topic = &in_line[index].1;
                if let Some(place) = context.providers.enter(&topic.provider, ticket) {
                    questions.push(ask_guarded(&context, in_line.swap_remove(index).1, place));
                }
            }
            () = until(next) => {}
            () = context.followed.changed() => {}
        }
    }
}

/// The place of a list in its provider's line: a turn of its own among the namespaces, so that neither waits
/// for the other for long.
fn ticket(Topic { provider, endpoint, urn }: &Topic) -> Ticket {
    let name = urn.to_string();
    Ticket {
        uid: format!("{LIST}{provider} {endpoint} {name}"),
        namespace: NO_NAMESPACE.into(),
        lane: name.clone(),
        name,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Asks for one page. A panic in it ends one round, not the following of everything.
async fn ask_guarded(context: &Context, topic: Topic, place: Place) -> Vec<Owner> {
    match AssertUnwindSafe(ask(context, topic.clone(), place)).catch_unwind().await {
        Ok(owners) => owners,
        Err(_panic) => {
            tracing::error!(provider = %topic.provider, "a defect in the operator: reading a list panicked; please report it");
            context.followed.failed(&topic, None, clock::monotonic())
        }
    }
}

/// Asks for one page, and says whose objects there is news for.
async fn ask(context: &Context, topic: Topic, mut place: Place) -> Vec<Owner> {
    let followed = &context.followed;
    // A provider that leads elsewhere by now knows nothing of these requests: their objects say so themselves.
    let leads_there = |access: &Access| {
        access.client.endpoint().to_string() == topic.endpoint
            && access.spec().region == topic.urn.region()
            && access.project_id() == topic.urn.project_id()
    };
    let access = match context.providers.standing(&topic.provider) {
        Standing::Ready(access) if leads_there(&access) => access,
        Standing::Ready(_) | Standing::NotReady(..) | Standing::Unseen => {
            return followed.failed(&topic, None, clock::monotonic());
        }
    };
    let Some(question) = followed.question(&topic, clock::monotonic()) else { return Vec::new() };
    place.used(&access);
    context.metrics.listed(&topic.provider);
    let (query, credential) = (query(question), &access.credential);
    let listed = access.client.list_async_invocations(&topic.urn, &query, credential, clock::now(), CALL);
    let trouble = match listed.await {
        Ok(Listed::Page(page)) => {
            place.leave(Signal::Clean);
            let lines = page.records.into_iter().map(line).collect();
            let now = (context.now(), clock::monotonic());
            return followed.told(&topic, lines, page.next_marker, page.date, now);
        }
        Ok(Listed::Answer(answer)) if answer.is_success() && followed.shorten(&topic, clock::monotonic()) => {
            place.leave(Signal::Clean);
            return Vec::new();
        }
        Ok(Listed::Answer(answer)) => {
            let passing = matches!(
                answer.verdict_of_call(access.credential.kind()),
                Verdict::Throttled | Verdict::Unavailable { .. } | Verdict::Unauthenticated
            );
            let why = answered(context, &topic.provider, &access, place, &answer);
            (!passing).then_some(why)
        }
        Err(error) => {
            place.complain(&error.to_string());
            place.leave(Signal::Trouble);
            None
        }
    };
    followed.failed(&topic, trouble, clock::monotonic())
}

/// Ends a place with an answer that is no success, and says in a sentence what it was.
pub fn answered(context: &Context, provider: &Key, access: &Access, place: Place, answer: &Answer) -> String {
    let verdict = answer.verdict_of_call(access.credential.kind());
    let parts = [Some(answer.status.to_string()), answer.error_code.clone()];
    let label = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let message = exchange::message(answer);
    let why = match message.trim_end_matches('.') {
        _ if answer.is_success() => {
            format!("FunctionGraph answered {label} with something else than was asked for.")
        }
        "" => format!("FunctionGraph answered {label}."),
        text => format!("FunctionGraph answered {label}: {text}."),
    };
    if verdict == Verdict::Unauthenticated {
        refuse_credential(context, provider, access, &message);
    }
    let signal = signal(verdict, answer.retry_after);
    if signal == Signal::Trouble {
        place.complain(&why);
    }
    place.leave(signal);
    why
}

/// The query for a question.
#[must_use]
pub fn query(Question { begin, end, marker, request_id, limit }: Question) -> ListQuery {
    ListQuery { begin, end, request_id, status: None, limit, marker }
}

fn line(record: Record) -> Line {
    let Record { request_id, status, error_code, error_message, start_time, end_time } = record;
    let status = match status {
        ExecutionStatus::Success => invocation::ExecutionStatus::Success,
        ExecutionStatus::Fail => invocation::ExecutionStatus::Fail,
        ExecutionStatus::Discard => invocation::ExecutionStatus::Discard,
        ExecutionStatus::Wait | ExecutionStatus::Running | ExecutionStatus::Other => {
            return (request_id, None);
        }
    };
    let error_message = error_message.map(String::from);
    let execution = Execution { status: Some(status), start_time, end_time, error_code, error_message };
    (request_id, Some(execution))
}
