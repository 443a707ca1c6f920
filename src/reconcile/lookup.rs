//! Asks the service what became of a request in doubt: two looks at its list, half a minute apart.

use super::Error;
use super::follow::{CALL, answered, query};
use super::object::{LATER, SOON, enter, in_line, put, uid, wait_for};
use super::prepare::{Hindrance, allowed};
use crate::api::FunctionInvocation;
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::DeliveryPolicy;
use crate::clock;
use crate::context::Context;
use crate::context::followed::Question;
use crate::context::lookups::BETWEEN;
use crate::context::providers::{Access, Key, Place, Standing};
use crate::gate::Signal;
use crate::kubernetes::recorded;
use crate::lifecycle::{display, later, settle, until};
use functiongraph::{Fetched, FunctionUrn, Listed};
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

/// A list with more pages than this tells nothing that a person could use.
const PAGES: usize = 50;

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
    let timeout = Duration::from_secs(object.spec.request_timeout_seconds.unsigned_abs());
    let sent_by = later(claimed, SEND_WINDOW + timeout);
    let first = context.lookups.first(&uid, number, now);
    let rest = match first {
        Some((at, _)) => BETWEEN.saturating_sub(now.duration_since(at)),
        // What is still being accepted cannot be in the list.
        None => until(sent_by, clock::now()).min(SEND_WINDOW + timeout),
    };
    if !rest.is_zero() {
        return say(object, context, provider, rest).await;
    }
    let Standing::Ready(access) = context.providers.standing(provider) else {
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
    };
    let Some(place) = enter(object, context, provider) else {
        return in_line(object, context, provider).await;
    };
    let Some(listed) = list(context, &access, &urn, window.clone(), (provider, place)).await else {
        return say(object, context, provider, LATER).await;
    };
    let others = if listed.is_empty() {
        recorded::Others::default()
    } else {
        let (client, served) = (&context.clients.calls, context.options.namespace.as_deref());
        recorded::of_others(client, served, object, &listed, window.begin..window.end).await?
    };
    let left: Vec<String> = listed.into_iter().filter(|id| !others.request_ids.contains(id)).collect();
    let Some((_, found_before)) = first else {
        context.lookups.looked(&uid, number, !left.is_empty(), clock::monotonic());
        return say(object, context, provider, BETWEEN).await;
    };
    conclude(object, context, provider, &access, &urn, (number, left, found_before, others.in_doubt)).await
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
    access: &Access,
    urn: &FunctionUrn,
    (number, left, found_before, others_in_doubt): (i64, Vec<String>, bool, bool),
) -> Result<Action, Error> {
    let (view, uid) = (context.view(object), uid(object));
    let (function, name) = (display(&object.spec), object.name_any());
    let status = match left.as_slice() {
        [] if !found_before && is_recorded(context, provider, access, urn).await => {
            tracing::info!(namespace = object.namespace(), name, function, "looked up: not accepted");
            settle::not_accepted(&view, clock::now(), clock::chance())
        }
        // Another of the same function in the same doubt has as good a claim to it.
        [only] if access.exclusive_invoker && !others_in_doubt => {
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
            let some = candidates.iter().take(CANDIDATES).cloned().collect();
            settle::unresolved(&view, some, clock::now())
        }
    };
    put(context, provider, object, &status).await
}

/// The ids of all requests in the window; `None` if they cannot be read now. All pages at one place: doubt is
/// rare.
async fn list(
    context: &Context,
    access: &Access,
    urn: &FunctionUrn,
    mut question: Question,
    (provider, mut place): (&Key, Place),
) -> Option<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    place.used();
    for _ in 0..PAGES {
        context.metrics.listed(provider);
        let (credential, query) = (&access.credential, query(question.clone()));
        let page = access.client.list_async_invocations(urn, &query, credential, clock::now(), CALL).await;
        match page {
            Ok(Listed::Page(page)) => {
                ids.extend(page.records.into_iter().map(|record| record.request_id));
                question.marker = page.next_marker;
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
            return Some(ids);
        }
    }
    place.leave(Signal::Clean);
    None
}

/// Whether the service keeps the status of every asynchronous invocation of the function: only then does an
/// empty list mean that there was none.
async fn is_recorded(context: &Context, provider: &Key, access: &Access, urn: &FunctionUrn) -> bool {
    let config = access.client.async_invoke_config(urn, &access.credential, clock::now(), CALL).await;
    match config {
        Ok(Fetched::Settings(config)) => config.status_log_enabled,
        Ok(Fetched::Answer(answer)) => {
            tracing::warn!(%provider, status = answer.status, "the settings of a function cannot be read");
            false
        }
        Err(error) => {
            context.providers.ask_to_inspect(provider);
            tracing::warn!(%provider, %error, "the settings of a function cannot be read");
            false
        }
    }
}
