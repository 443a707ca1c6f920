//! What other invocations have recorded: which requests are theirs, and which of them are in doubt too.

use super::{Error, bounded};
use crate::api::FunctionInvocation;
use crate::api::invocation::AttemptState;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// Objects in one page of the list.
const PAGE: u32 = 500;

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
    let function = object.status.as_ref().and_then(|status| status.function.as_deref());
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
            let meanwhile = status
                .attempt
                .as_ref()
                .and_then(|attempt| attempt.claim_time)
                .is_none_or(|claimed| claimed >= since && claimed < window.end);
            others.in_doubt |= open && meanwhile && status.function.as_deref() == function;
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(others),
        }
    }
}
