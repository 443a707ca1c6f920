//! What other invocations have recorded: which requests are theirs, and which of them are in doubt too.

use super::{Error, bounded};
use crate::api::FunctionInvocation;
use crate::api::invocation::{AttemptState, BEFORE_THE_RESTORE, DeliveryPolicy};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Objects in one page of the list.
const PAGE: u32 = 200;

/// One reads at a time: a page with large payloads is large, and doubts come in flocks.
static READER: Semaphore = Semaphore::const_new(1);

/// What other invocations have recorded.
#[derive(Debug, Default)]
pub struct Others {
    /// Those of the ids in question that are theirs.
    pub request_ids: BTreeSet<String>,
    /// Whether one of the same function may have been accepted in that time without anybody knowing its id.
    pub in_doubt: bool,
}

/// A request that was claimed this long before the window may have been accepted in it.
const LONGEST: Duration = Duration::from_mins(2);

/// Reads all invocations but `object`, for the ids in question, which were accepted in `window`.
///
/// # Errors
/// When the API server did not answer or had trouble of its own.
pub async fn of_others(
    client: &Client,
    namespace: Option<&str>,
    object: &FunctionInvocation,
    ids: &BTreeSet<String>,
    window: Range<Timestamp>,
) -> Result<Others, Error> {
    let api: Api<FunctionInvocation> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let _turn = READER.acquire().await;
    let function = object.status.as_ref().and_then(|status| name_of(status.function.as_ref()));
    let since = window.start.saturating_sub(LONGEST).unwrap_or(Timestamp::MIN);
    let (mut others, mut parameters) = (Others::default(), ListParams::default().limit(PAGE));
    loop {
        let page = bounded(api.list(&parameters)).await?;
        for other in page.items.iter().filter(|other| other.uid() != object.uid()) {
            let Some(status) = &other.status else { continue };
            if let Some(id) = status.request_id.as_ref().filter(|id| ids.contains(*id)) {
                others.request_ids.insert(id.clone());
            }
            let state = status.attempt.as_ref().and_then(|attempt| attempt.state);
            let nameless = state == Some(AttemptState::Accepted) && status.request_id.is_none();
            let open = matches!(state, Some(AttemptState::Claimed | AttemptState::Ambiguous)) || nameless;
            let claimed = status.attempt.as_ref().and_then(|attempt| attempt.claim_time);
            let meanwhile = match claimed {
                Some(claimed) => claimed >= since && claimed < window.end,
                // What was sent for the object that this one was restored from was sent before this one was made.
                None if status.attempt.as_ref().and_then(|attempt| attempt.holder.as_deref())
                    == Some(BEFORE_THE_RESTORE) =>
                {
                    other.creation_timestamp().is_none_or(|made| made.0 >= window.start)
                }
                None => true,
            };
            // An earlier attempt may have been accepted too, and its id is nowhere.
            let number = status.attempt.as_ref().and_then(|attempt| attempt.number).unwrap_or_default();
            let sent_again = other.spec.delivery_policy == DeliveryPolicy::AtLeastOnce
                || status.resolution.as_deref() == Some("Retry");
            let earlier = number > 1 && sent_again && claimed.is_none_or(|claimed| claimed >= since);
            let same = name_of(status.function.as_ref()) == function;
            others.in_doubt |= same && (open && meanwhile || earlier);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(others),
        }
    }
}

/// A function without its version or alias: no document says under which of them a request is listed.
fn name_of(function: Option<&String>) -> Option<&str> {
    let function = function?.as_str();
    Some(function.rsplit_once(':').map_or(function, |(name, _)| name))
}
