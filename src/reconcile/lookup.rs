//! Reads the service's list for evidence about an ambiguous attempt. What it shows is said in status, and decides
//! nothing: an empty list proves nothing, and a request in it may be somebody else's.

use super::Error;
use super::follow::{CALL, answered, query};
use super::object::{LATER, SOON, access_of, enter, in_line, put, uid, wait_for};
use super::prepare::{Hindrance, allowed, sent_to};
use crate::api::FunctionInvocation;
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::api::invocation::ProviderKind;
use crate::clock;
use crate::context::Context;
use crate::context::followed::{PAGE, Question};
use crate::context::providers::{Access, Key, Place};
use crate::gate::Signal;
use crate::lifecycle::{Evidence, display, later, record};
use functiongraph::{FunctionUrn, Listed};
use jiff::Timestamp;
use kube::runtime::controller::Action;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// A request that was ambiguous for this long is not on its way any more: a gateway waits for an answer for 90 s at most.
const UNDERWAY: Duration = Duration::from_secs(100);

/// The process that sent the request reads the list first. Others do it when it has not in this time.
const LEAD: Duration = Duration::from_mins(1);

/// The window of the list begins this long before the claim, and ends this long after the request can have arrived.
const MARGIN: Duration = Duration::from_mins(1);

/// Clocks that differ by more than this are told of: then the window may be the wrong one.
const SKEW: Duration = Duration::from_secs(30);

/// Candidates that a status has room for.
const CANDIDATES: usize = 5;

/// A list with more pages than this is not read to its end.
const PAGES: usize = 50;

/// What the list has shown.
#[derive(Debug, Default)]
struct Seen {
    /// The ids of the requests in the window.
    ids: BTreeSet<String>,
    /// Whether every page was read.
    complete: bool,
    /// By how much the service's clock and ours differ, as far as that is known.
    skew: Duration,
}

/// Reads the list once, when the request can no longer be on its way.
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
    let ours = attempt.and_then(|attempt| attempt.holder.as_deref()) == Some(context.holder.as_str());
    let wait = if ours { UNDERWAY } else { UNDERWAY + LEAD };
    let rest = wait.saturating_sub(context.lookups.age(&uid, number, now));
    if !rest.is_zero() {
        return say(object, context, provider, rest).await;
    }
    let Some(access) = access_of(object, context, provider) else {
        return in_line(object, context, provider).await;
    };
    let urn = match sent_to(object, &access) {
        Ok(urn) => urn,
        Err(why) => return conclude(object, context, provider, not_read(&why)).await,
    };
    match allowed(object, context, &access).await? {
        Ok(_) => {}
        Err(Hindrance::Moment) => return Ok(Action::requeue(SOON)),
        Err(Hindrance::NotYet(_, why) | Hindrance::Never(_, why)) => {
            return conclude(object, context, provider, not_read(&why)).await;
        }
    }
    let Some(claimed) = attempt.and_then(|attempt| attempt.claim_time) else {
        let why = "The status does not say when the request was sent.";
        return conclude(object, context, provider, not_read(why)).await;
    };
    let Some(place) = enter(object, context, provider) else {
        return in_line(object, context, provider).await;
    };
    let window = claimed.saturating_sub(MARGIN).unwrap_or(Timestamp::MIN)..later(claimed, UNDERWAY + MARGIN);
    let question =
        Question { begin: window.start, end: Some(window.end), marker: None, request_id: None, limit: PAGE };
    let Some(seen) = list(context, &access, &urn, question, (provider, place)).await else {
        return say(object, context, provider, LATER).await;
    };
    let shared = object.spec.provider_ref.kind == ProviderKind::ClusterFunctionGraphProvider;
    let place = format!("FunctionGraph's list of {} at {}", display(&object.spec), access.client.endpoint());
    conclude(object, context, provider, evidence(seen, &place, window, context.now(), shared)).await
}

/// Says what the operator is doing, and takes the object up again after `rest`.
async fn say(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    rest: Duration,
) -> Result<Action, Error> {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = Condition::find(conditions, ConditionType::Ready);
    if ready.is_none_or(|ready| ready.reason != Reason::LookingUp) {
        let message = "FunctionGraph may have accepted the invocation. The operator reads FunctionGraph's list in about two minutes, and shows the result here.";
        wait_for(object, context, provider, Reason::LookingUp, message.into()).await?;
    }
    Ok(Action::requeue(rest.max(SOON)))
}

async fn conclude(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    evidence: Evidence,
) -> Result<Action, Error> {
    let status = record::looked_up(&context.view(object), evidence, context.now());
    put(context, provider, object, &status).await
}

/// Why there is no evidence.
fn not_read(why: &str) -> Evidence {
    let sentence =
        format!("The operator did not read FunctionGraph's list. {why} Look in the function's logs.");
    Evidence { request_ids: Vec::new(), sentence }
}

/// What was seen, for people. Under a provider that several namespaces share, the ids may be another tenant's.
fn evidence(
    Seen { ids, complete, skew }: Seen,
    list: &str,
    window: std::ops::Range<Timestamp>,
    read: Timestamp,
    shared: bool,
) -> Evidence {
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let count = match ids.len() {
        0 => "no request".to_owned(),
        1 => "1 request".to_owned(),
        more => format!("{more} requests"),
    };
    let named = !shared && !ids.is_empty() && ids.len() <= CANDIDATES;
    let request_ids: Vec<String> = if named { ids.into_iter().collect() } else { Vec::new() };
    let listed = if named { format!(": {}", request_ids.join(", ")) } else { String::new() };
    let mut sentence = format!(
        "{list}, read at {}, shows {count} from {} to {}{listed}.",
        time(read),
        time(window.start),
        time(window.end)
    );
    if count == "no request" {
        sentence.push_str(" That does not prove that the request was not accepted.");
    }
    if !complete {
        sentence.push_str(" It was too long to be read to its end.");
    }
    if skew > SKEW {
        let skew = skew.as_secs();
        let _ = write!(
            sentence,
            " FunctionGraph's clock and the operator's differ by {skew} s, so the request may be outside of that time."
        );
    }
    Evidence { request_ids, sentence }
}

/// The requests in the window; `None` if they cannot be read now. All pages at one place: an ambiguous attempt is rare.
async fn list(
    context: &Context,
    access: &Access,
    urn: &FunctionUrn,
    mut question: Question,
    (provider, mut place): (&Key, Place),
) -> Option<Seen> {
    let mut seen = Seen::default();
    place.used(access);
    for _ in 0..PAGES {
        context.metrics.listed(provider);
        let (credential, query) = (&access.credential, query(question.clone()));
        let page = access.client.list_async_invocations(urn, &query, credential, clock::now(), CALL).await;
        match page {
            Ok(Listed::Page(page)) => {
                let now = context.now();
                // The service may leave out the marker: a full page without one may not be the last.
                seen.complete =
                    page.next_marker.is_none() && page.records.len() < usize::from(question.limit);
                seen.skew = page.date.map_or(seen.skew, |date| now.duration_since(date).unsigned_abs());
                seen.ids.extend(page.records.into_iter().map(|record| record.request_id));
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
            break;
        }
    }
    place.leave(Signal::Clean);
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ids: &[&str], complete: bool, skew: u64, shared: bool) -> Evidence {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let seen = Seen { ids, complete, skew: Duration::from_secs(skew) };
        let at = |second| Timestamp::from_second(second).unwrap();
        evidence(seen, "The list of f at https://there", at(0)..at(60), at(120), shared)
    }

    #[test]
    fn what_a_list_shows_is_said_and_never_more() {
        let none = told(&[], true, 0, false);
        assert_eq!(
            none.sentence,
            "The list of f at https://there, read at 1970-01-01T00:02:00Z, shows no request from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z. That does not prove that the request was not accepted."
        );
        let two = told(&["a", "b"], true, 0, false);
        assert_eq!(two.request_ids, ["a", "b"]);
        assert!(
            two.sentence
                .ends_with("shows 2 requests from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z: a, b.")
        );
        let shared = told(&["a"], true, 0, true);
        assert!(shared.request_ids.is_empty() && !shared.sentence.contains(": a"), "{shared:?}");
        let many = told(&["a", "b", "c", "d", "e", "f"], false, 31, false);
        assert!(many.request_ids.is_empty());
        assert!(many.sentence.contains("shows 6 requests"), "{many:?}");
        assert!(many.sentence.contains("too long to be read to its end"), "{many:?}");
        assert!(many.sentence.contains("differ by 31 s"), "{many:?}");
    }
}
