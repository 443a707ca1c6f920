//! Reads FunctionGraph's list for evidence about an ambiguous attempt. The status says what the list shows, and that
//! decides nothing: an empty list proves nothing, and a request in it may be another object's.

use super::answer::refused_call;
use super::halt::Halt;
use super::lists::CALL_TIMEOUT;
use super::{Error, RECHECK_INTERVAL, RETRY_DELAY, Reconcile};
use crate::api::condition::{ConditionType, Reason};
use crate::api::invocation::ProviderKind;
use crate::clock;
use crate::context::providers::{Access, Permit};
use crate::gate::Signal;
use crate::lifecycle::{Evidence, display, later, record};
use functiongraph::{FunctionUrn, ListQuery, Listed};
use jiff::Timestamp;
use kube::runtime::controller::Action;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

/// A request that was ambiguous for this long is not on its way any more: a gateway waits for an answer for 90 s at most.
const LONGEST_ON_ITS_WAY: Duration = Duration::from_secs(100);

/// The window of the list begins this long before the claim, and ends this long after the request can have arrived.
const WINDOW_MARGIN: Duration = Duration::from_mins(1);

/// If the clocks differ by more than this, the evidence says so, because the window may be the wrong one.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);

/// A status names no more candidates than this.
const MAX_CANDIDATES: usize = 5;

/// A list with more pages than this is not read to its end.
const MAX_PAGES: usize = 50;

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

impl Reconcile<'_> {
    /// Reads the list once, when the request can no longer be on its way.
    pub(super) async fn look_up(&self) -> Result<Action, Halt> {
        let attempt = self.view.status.attempt.as_ref();
        let number = attempt.and_then(|attempt| attempt.number).unwrap_or_default();
        let age = self.context.lookups.age(&self.attempt_id(number), clock::monotonic());
        let rest = LONGEST_ON_ITS_WAY.saturating_sub(age);
        if !rest.is_zero() {
            return Ok(self.say_looking_up(rest).await?);
        }
        let Some(access) = self.access() else { return self.wait_in_queue().await };
        let urn = match self.sent_to(&access) {
            Ok(urn) => urn,
            Err(why) => return self.write_evidence(not_read(&why)).await,
        };
        match self.allowed(&access).await {
            Ok(_) => {}
            Err(Halt::Wait(_, why) | Halt::Fail(_, why)) => return self.write_evidence(not_read(&why)).await,
            Err(halt) => return Err(halt),
        }
        let Some(claimed) = attempt.and_then(|attempt| attempt.claim_time) else {
            let why = "The status does not say when the request was sent.";
            return self.write_evidence(not_read(why)).await;
        };
        let Some(permit) = self.permit_for_call() else { return self.wait_in_queue().await };
        let begin = claimed.saturating_sub(WINDOW_MARGIN).unwrap_or(Timestamp::MIN);
        let window = begin..later(claimed, LONGEST_ON_ITS_WAY + WINDOW_MARGIN);
        let Some(seen) = self.read_list(&access, &urn, &window, permit).await else {
            return Ok(self.say_looking_up(RECHECK_INTERVAL).await?);
        };
        let shared = self.object.spec.provider_ref.kind == ProviderKind::ClusterFunctionGraphProvider;
        let function = display(&self.object.spec);
        let list = format!("FunctionGraph's list of {function} at {}", access.client.endpoint());
        self.write_evidence(evidence(seen, &list, window, self.now(), shared)).await
    }

    /// Says that the operator will read the list, and reconciles the object again after `rest`.
    async fn say_looking_up(&self, rest: Duration) -> Result<Action, Error> {
        let ready = self.view.status.condition(ConditionType::Ready);
        if ready.is_none_or(|ready| ready.reason != Reason::LookingUp) {
            let message = "FunctionGraph may have accepted the invocation. The operator reads FunctionGraph's list in about two minutes, and shows the result here.";
            self.wait(Reason::LookingUp, message.into()).await?;
        }
        Ok(Action::requeue(rest.max(RETRY_DELAY)))
    }

    async fn write_evidence(&self, evidence: Evidence) -> Result<Action, Halt> {
        Ok(self.write(&record::looked_up(&self.view, evidence, self.now())).await?)
    }

    /// The requests in the window; `None` if they cannot be read now. One permit is for all pages, because an ambiguous
    /// attempt is rare.
    async fn read_list(
        &self,
        access: &Access,
        urn: &FunctionUrn,
        window: &Range<Timestamp>,
        mut permit: Permit,
    ) -> Option<Seen> {
        let mut seen = Seen::default();
        let mut query = ListQuery { end: Some(window.end), ..ListQuery::since(window.start) };
        let _kept = access.client.keep().await.ok()?;
        permit.used(access);
        for _ in 0..MAX_PAGES {
            self.context.metrics.listed(&self.provider);
            let (client, credential) = (&access.client, &access.credential);
            match client.list_async_invocations(urn, &query, credential, clock::now(), CALL_TIMEOUT).await {
                Ok(Listed::Page(page)) => {
                    let now = self.now();
                    // The service may leave out the marker: a full page without one may not be the last.
                    seen.complete =
                        page.next_marker.is_none() && page.records.len() < usize::from(query.limit);
                    seen.skew = page.date.map_or(seen.skew, |date| now.duration_since(date).unsigned_abs());
                    seen.ids.extend(page.records.into_iter().map(|record| record.request_id));
                    query.marker = page.next_marker;
                }
                Ok(Listed::Answer(answer)) if answer.is_success() && query.limit > 1 => {
                    // The page is too long to be read.
                    query.limit /= 2;
                    continue;
                }
                Ok(Listed::Answer(answer)) => {
                    let why = refused_call(self.context, &self.provider, access, permit, &answer);
                    tracing::warn!(provider = %self.provider, why, "the list of invocations cannot be read");
                    return None;
                }
                Err(error) => {
                    permit.complain(&error.to_string());
                    permit.leave(Signal::Unreachable);
                    return None;
                }
            }
            if query.marker.is_none() {
                break;
            }
        }
        permit.leave(Signal::Answered);
        Some(seen)
    }
}

fn not_read(why: &str) -> Evidence {
    let sentence =
        format!("The operator did not read FunctionGraph's list. {why} Look in the function's logs.");
    Evidence { request_ids: Vec::new(), sentence }
}

/// What was seen, for people. Under a provider that several namespaces share, the ids may be another tenant's.
fn evidence(
    Seen { ids, complete, skew }: Seen,
    list: &str,
    window: Range<Timestamp>,
    read: Timestamp,
    shared: bool,
) -> Evidence {
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let count = match ids.len() {
        0 => "no request".to_owned(),
        1 => "1 request".to_owned(),
        more => format!("{more} requests"),
    };
    let named = !shared && !ids.is_empty() && ids.len() <= MAX_CANDIDATES;
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
    if skew > MAX_CLOCK_SKEW {
        let skew = skew.as_secs();
        let _ = write!(
            sentence,
            " FunctionGraph's clock and the operator's differ by {skew} s, so the request may be outside of that time."
        );
    }
    Evidence { request_ids, sentence }
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
