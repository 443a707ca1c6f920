//! Asks the service what became of a request in doubt: two looks at its list, half a minute apart.

use super::Error;
use super::follow::{CALL, answered, query};
use super::object::{LATER, SOON, access_of, enter, in_line, put, uid, wait_for};
use super::prepare::{Hindrance, allowed};
use crate::api::FunctionInvocation;
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::DeliveryPolicy;
use crate::clock;
use crate::context::Context;
use crate::context::followed::{PAGE, Question};
use crate::context::lookups::BETWEEN;
use crate::context::providers::{Access, Key, Place};
use crate::gate::Signal;
use crate::kubernetes::recorded;
use crate::lifecycle::{display, later, settle, until};
use functiongraph::{Fetched, FunctionUrn, Listed, Qualifier, Verdict};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The window of the list begins this long before the claim, and ends this long after the last moment in
/// which the request can have been accepted: clocks differ.
const MARGIN: Duration = Duration::from_mins(1);

/// Between the claim and the first byte of the request.
const SEND_WINDOW: Duration = Duration::from_secs(10);

/// Candidates that a status has room for.
const CANDIDATES: usize = 5;

/// A list with more pages than this is not read to its end: it tells nothing that a person could use.
const PAGES: usize = 50;

/// The process that sent the request looks first: it alone can learn that the request was not accepted. Others
/// look when it has not settled the doubt in this time.
const LEAD: Duration = Duration::from_mins(1);

/// The service's clock and ours may differ by so much: half of what the window has to spare.
const SKEW: Duration = Duration::from_secs(30);

/// What a look at the list has shown.
struct Look {
    /// The ids of the requests in the window.
    ids: BTreeSet<String>,
    /// Whether these are certainly all: every page was read, and the clocks agree on the window.
    complete: bool,
}

/// What both looks have shown.
struct Findings {
    /// The attempt's number.
    number: i64,
    /// Requests that no other invocation has recorded.
    left: Vec<String>,
    /// Whether both show for certain that the request was not accepted.
    not_accepted: bool,
    /// Whether a single request that is left can only be this one.
    exclusive: bool,
}

/// One look.
///
/// # Errors
/// When the API server did not do what was needed.
pub async fn look_up(
    object: &FunctionInvocation,
    context: &Arc<Context>,
    provider: &Key,
) -> Result<Action, Error> {
    let (uid, now) = (uid(object), clock::monotonic());
    let attempt = object.status.as_ref().and_then(|status| status.attempt.as_ref());
    let number = attempt.and_then(|attempt| attempt.number).unwrap_or_default();
    let Some(claimed) = attempt.and_then(|attempt| attempt.claim_time) else {
        // Without a time there is nothing to look for.
        context.lookups.done(&uid, number, now);
        return Ok(Action::requeue(Duration::ZERO));
    };
    let ours = attempt.and_then(|attempt| attempt.holder.as_deref()) == Some(context.holder.as_str());
    let timeout = Duration::from_secs(object.spec.request_timeout_seconds.unsigned_abs());
    let sent_by = later(claimed, SEND_WINDOW + timeout);
    let first = context.lookups.first(&uid, number, now);
    let rest = if let Some((at, _)) = first {
        BETWEEN.saturating_sub(now.duration_since(at))
    } else {
        // What is still being accepted cannot be in the list.
        let accepting = until(sent_by, clock::now()).min(SEND_WINDOW + timeout);
        let lead = LEAD.saturating_sub(context.lookups.age(&uid, number, now));
        if ours { accepting } else { accepting.max(lead) }
    };
    if !rest.is_zero() {
        return say(object, context, provider, rest).await;
    }
    let Some(access) = access_of(object, context, provider) else {
        return in_line(object, context, provider).await;
    };
    let urn = match allowed(object, context, &access).await? {
        Ok(urn) => urn,
        Err(Hindrance::Moment) => return Ok(Action::requeue(SOON)),
        Err(Hindrance::NotYet(..) | Hindrance::Never(..)) => {
            context.lookups.done(&uid, number, now);
            return Ok(Action::requeue(Duration::ZERO));
        }
    };
    let window = Question {
        begin: claimed.saturating_sub(MARGIN).unwrap_or(Timestamp::MIN),
        end: later(sent_by, MARGIN),
        marker: None,
        limit: PAGE,
    };
    let Some(place) = enter(object, context, provider) else {
        return in_line(object, context, provider).await;
    };
    let Some(Look { ids, complete }) = list(context, &access, &urn, window.clone(), (provider, place)).await
    else {
        return say(object, context, provider, LATER).await;
    };
    let others = if ids.is_empty() {
        recorded::Others::default()
    } else {
        let (client, served) = (&context.clients.calls, context.options.namespace.as_deref());
        recorded::of_others(client, served, object, &ids, window.begin..window.end).await?
    };
    let left: Vec<String> = ids.into_iter().filter(|id| !others.request_ids.contains(id)).collect();
    let Some((_, nothing_before)) = first else {
        context.lookups.looked(&uid, number, complete && left.is_empty(), clock::monotonic());
        return say(object, context, provider, BETWEEN).await;
    };
    // Of a request that another process sent nobody knows that nothing of it is still on its way: a process that
    // was stopped may go on. And no document says under which name a call through an alias is listed.
    let no_alias = !matches!(urn.qualifier(), Qualifier::Alias(_));
    let mut not_accepted = left.is_empty() && complete && nothing_before && ours && no_alias;
    if not_accepted {
        let Some(recorded) = is_recorded(context, provider, &access, &urn).await else {
            return say(object, context, provider, LATER).await;
        };
        not_accepted = recorded;
    }
    // Another of the same function in the same doubt has as good a claim to it.
    let exclusive = access.exclusive_invoker && complete && !others.in_doubt;
    conclude(object, context, provider, Findings { number, left, not_accepted, exclusive }).await
}

/// Says what is being done, and looks again after `rest`.
async fn say(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    rest: Duration,
) -> Result<Action, Error> {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = Condition::find(conditions, ConditionType::Ready);
    if ready.is_none_or(|ready| ready.reason != Reason::LookingUp) {
        let message = "It is not known whether FunctionGraph accepted the request. Its list of invocations is read to find out.";
        wait_for(object, context, provider, Reason::LookingUp, message.into()).await?;
    }
    Ok(Action::requeue(rest.max(SOON)))
}

/// The second look has been made.
async fn conclude(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    Findings { number, left, not_accepted, exclusive }: Findings,
) -> Result<Action, Error> {
    let (view, uid) = (context.view(object), uid(object));
    let (function, name) = (display(&object.spec), object.name_any());
    let status = match left.as_slice() {
        [] if not_accepted => {
            tracing::info!(namespace = object.namespace(), name, function, "looked up: not accepted");
            settle::not_accepted(&view, clock::now(), clock::chance())
        }
        [only] if exclusive => {
            tracing::info!(
                namespace = object.namespace(),
                name,
                function,
                request_id = only,
                "looked up: found"
            );
            settle::found(&view, only.clone(), clock::now())
        }
        candidates => {
            context.lookups.done(&uid, number, clock::monotonic());
            if view.spec.delivery_policy == DeliveryPolicy::AtLeastOnce {
                return Ok(Action::requeue(Duration::ZERO));
            }
            // Some of many would be read as all there are.
            let named = if candidates.len() > CANDIDATES { Vec::new() } else { candidates.to_vec() };
            settle::unresolved(&view, named, clock::now())
        }
    };
    put(context, provider, object, &status).await
}

/// The requests in the window; `None` if they cannot be read now. All pages at one place: doubt is rare.
async fn list(
    context: &Context,
    access: &Access,
    urn: &FunctionUrn,
    mut question: Question,
    (provider, mut place): (&Key, Place),
) -> Option<Look> {
    let mut look = Look { ids: BTreeSet::new(), complete: true };
    place.used(access);
    for _ in 0..PAGES {
        context.metrics.listed(provider);
        let (credential, query) = (&access.credential, query(question.clone()));
        let page = access.client.list_async_invocations(urn, &query, credential, clock::now(), CALL).await;
        match page {
            Ok(Listed::Page(page)) => {
                let now = clock::now();
                // The service may leave out the marker: a full page without one may not be the last.
                let cut = page.next_marker.is_none() && page.records.len() >= usize::from(question.limit);
                let agrees = page.date.is_some_and(|date| now.duration_since(date).unsigned_abs() <= SKEW);
                look.complete &= agrees && !cut;
                look.ids.extend(page.records.into_iter().map(|record| record.request_id));
                question.marker = page.next_marker;
            }
            Ok(Listed::Answer(answer)) if answer.is_success() && question.limit > 1 => {
                // Too long to be read.
                question.limit /= 2;
                continue;
            }
            Ok(Listed::Answer(answer)) => {
                let why = answered(context, provider, access, place, &answer);
                tracing::warn!(%provider, why, "the list of invocations cannot be read");
                return None;
            }
            Err(error) => {
                place.complain(&error.to_string());
                place.leave(Signal::Trouble);
                return None;
            }
        }
        if question.marker.is_none() {
            place.leave(Signal::Clean);
            return Some(look);
        }
    }
    place.leave(Signal::Clean);
    Some(Look { complete: false, ..look })
}

/// Whether the service keeps the status of every asynchronous invocation of the function: only then does an
/// empty list mean that there was none. `None` if it cannot be asked now.
async fn is_recorded(context: &Context, provider: &Key, access: &Access, urn: &FunctionUrn) -> Option<bool> {
    let config = access.client.async_invoke_config(urn, &access.credential, clock::now(), CALL).await;
    match config {
        Ok(Fetched::Settings(config)) => Some(config.status_log_enabled),
        Ok(Fetched::Answer(answer)) => {
            tracing::warn!(%provider, status = answer.status, "the settings of a function cannot be read");
            let refused = answer.verdict_of_call(access.credential.kind()) == Verdict::Refused;
            (refused || answer.is_success()).then_some(false)
        }
        Err(error) => {
            context.providers.ask_to_inspect(provider);
            tracing::warn!(%provider, %error, "the settings of a function cannot be read");
            None
        }
    }
}
