//! Waiting: for a permit of the provider, or for something that somebody else must do. The status says for what.

use super::halt::Halt;
use super::{Error, RECHECK_INTERVAL, RETRY_DELAY, Reconcile};
use crate::api::condition::{Condition, ConditionType, Reason};
use crate::clock;
use crate::context::providers::Place;
use crate::gate::{GateState, Phase, Ticket};
use crate::lifecycle::{State, display, later, record, says_already, until};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::time::{Duration, Instant};

/// A queued object is called when its turn comes. In case a call is lost, it asks again this often.
const QUEUE_RECHECK_INTERVAL: Duration = Duration::from_secs(30);

/// An object that is due for this long says that it waits, and why. Most have had their turn by then.
const QUEUE_NOTICE_DELAY: Duration = Duration::from_secs(10);

/// An object younger than this does not say that its provider is missing: both are often applied together, and saying
/// so costs a write.
const MISSING_PROVIDER_GRACE: Duration = Duration::from_secs(3);

impl Reconcile<'_> {
    /// Asks the provider for a permit to send one request. Without one, the object is in its queue.
    pub(super) fn permit(&self) -> Option<Place> {
        let (context, object) = (self.context, self.object);
        let ticket = Ticket {
            uid: self.view.uid.to_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            function: display(&object.spec),
        };
        if !context.knows_provider(object) {
            context.providers.gone(&self.provider);
        }
        context.providers.enter(&self.provider, ticket)
    }

    /// The object needs no permit any more.
    pub(super) fn leave_queue(&self) {
        self.context.providers.forget(&self.provider, self.view.uid);
    }

    /// Waits for a permit. If the provider cannot be used, or it takes long, the status says so.
    pub(super) async fn wait_in_queue(&self) -> Result<Action, Halt> {
        if let Some(why) = self.unusable().await {
            return Err(Halt::Wait(Reason::WaitingForProvider, why));
        }
        let (view, now, monotonic) = (&self.view, self.now(), clock::monotonic());
        let ready = Condition::find(&view.status.conditions, ConditionType::Ready);
        let recheck = self.queue_recheck();
        let message = queued(&self.context.providers.state(&self.provider), now, monotonic);
        // An ambiguous attempt has more to say than that its list waits for a permit.
        let says_more = matches!(State::of(view.status), State::Ambiguous { .. } | State::Accepted);
        if says_more || ready.is_some_and(|ready| ready.reason == Reason::Queued && ready.message == message)
        {
            return Ok(Action::requeue(recheck));
        }
        let due = view.status.next_attempt_time.unwrap_or(view.start(now)).min(now);
        let rest = until(later(due, QUEUE_NOTICE_DELAY), now);
        if !rest.is_zero() {
            return Ok(Action::requeue(rest.min(recheck)));
        }
        if !self.context.queue_notices.take(monotonic) {
            return Ok(Action::requeue(recheck));
        }
        Err(Halt::Wait(Reason::Queued, message))
    }

    /// Says what the object waits for, and reconciles it again later.
    pub(super) async fn wait(&self, reason: Reason, message: String) -> Result<Action, Error> {
        let now = self.now();
        let grace_ends = later(self.view.created.min(now), MISSING_PROVIDER_GRACE);
        if grace_ends > now {
            return Ok(Action::requeue(until(grace_ends, now)));
        }
        self.say(reason, message).await?;
        Ok(Action::requeue(self.queue_recheck().min(RECHECK_INTERVAL)))
    }

    /// Writes why the object is not finished yet, unless its status says so already. What this process has just said it
    /// does not repeat either: another replica may find otherwise, and the two would overwrite each other's.
    pub(super) async fn say(&self, reason: Reason, message: String) -> Result<(), Error> {
        let view = &self.view;
        if says_already(view, reason, &message)
            || !self.context.notices.take(view.uid, reason, &message, clock::monotonic())
        {
            return Ok(());
        }
        let status = match State::of(view.status) {
            State::Accepted => record::following(view, reason, message, self.now()),
            State::Fresh
            | State::Claimed { .. }
            | State::Open { .. }
            | State::Ambiguous { .. }
            | State::Finished(_) => record::waiting(view, reason, message, self.now()),
        };
        self.write(&status).await.map(drop)
    }

    /// When to reconcile an object that waits: at its deadline at the latest. One that is past it waits for something
    /// else than an attempt.
    fn queue_recheck(&self) -> Duration {
        let now = self.now();
        let rest = until(self.view.deadline(now), now);
        if rest.is_zero() { QUEUE_RECHECK_INTERVAL } else { rest.clamp(RETRY_DELAY, QUEUE_RECHECK_INTERVAL) }
    }
}

/// Why the provider has no permit yet.
fn queued(state: &GateState, now: Timestamp, instant: Instant) -> String {
    let at = |time: Instant| later(now, time.saturating_duration_since(instant)).strftime("%H:%M:%S UTC");
    let why = match state.phase {
        Phase::Paused { until } => format!("FunctionGraph throttles the provider until {}.", at(until)),
        Phase::BreakerOpen { until } => {
            format!(
                "The endpoint failed several times in a row. The operator tries it again at {}.",
                at(until)
            )
        }
        Phase::Probing => "The operator tries the provider with one request at a time.".to_owned(),
        Phase::Open => "Other invocations are before it.".to_owned(),
        Phase::Shut => "The operator has not finished the check of the provider's credential.".to_owned(),
    };
    format!("Waiting for its turn at the provider. {why}")
}
