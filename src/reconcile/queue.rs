//! Waiting: for a permit of the provider, or for something that somebody else must do. The status says for what.

use super::halt::Halt;
use super::{Error, RECHECK_INTERVAL, RETRY_DELAY, Reconcile};
use crate::api::condition::{ConditionType, Reason};
use crate::clock;
use crate::context::providers::Permit;
use crate::gate::{Caller, FunctionKey, Phase, Ticket, Wait};
use crate::lifecycle::{State, display, later, record, says_already, until};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::time::{Duration, Instant};

/// A queued object is called when its turn comes. In case a call is lost, it asks again this often.
const QUEUE_RECHECK_INTERVAL: Duration = Duration::from_secs(30);

/// An object says that it waits, and why, if the wait is longer than this. A write for a shorter one is not worth it.
const SHORT_WAIT: Duration = Duration::from_secs(10);

/// An object says that others are before it when it is due for this long. Most have had their turn by then.
const LONG_QUEUE: Duration = Duration::from_mins(1);

/// An object younger than this does not say that it waits: it is often applied together with its provider, and saying so
/// costs a write.
const WAIT_GRACE: Duration = Duration::from_secs(3);

impl Reconcile<'_> {
    /// Asks the provider for a permit to send the invocation. Without one, the object is in its queue.
    pub(super) fn permit(&self) -> Option<Permit> {
        self.permit_for(self.function())
    }

    /// Asks the provider for a permit for a call about an execution. What slows the function down does not concern it.
    pub(super) fn permit_for_call(&self) -> Option<Permit> {
        self.permit_for(FunctionKey { function: String::new(), ..self.function() })
    }

    fn permit_for(&self, function: FunctionKey) -> Option<Permit> {
        let context = self.context;
        if !context.knows_provider(self.object) {
            context.providers.gone(&self.provider);
        }
        context.providers.enter(&self.provider, Ticket { caller: self.caller(), function })
    }

    fn caller(&self) -> Caller {
        Caller::Object { uid: self.view.uid.to_owned(), name: self.object.name_any() }
    }

    fn function(&self) -> FunctionKey {
        FunctionKey { namespace: self.namespace().to_owned(), function: display(&self.object.spec) }
    }

    /// The object needs no permit any more.
    pub(super) fn leave_queue(&self) {
        self.context.providers.forget(&self.provider, &self.caller());
    }

    /// Waits for a permit. If the provider cannot be used, or it takes long, the status says so.
    pub(super) async fn wait_in_queue(&self) -> Result<Action, Halt> {
        if let Some(why) = self.unusable().await {
            return Err(Halt::Wait(Reason::WaitingForProvider, why));
        }
        let (view, now, monotonic) = (&self.view, self.now(), clock::monotonic());
        let function = self.function();
        let wait = self.context.providers.wait(&self.provider, &function);
        let message = queued(wait, &function, now, monotonic);
        let recheck = self.queue_recheck();
        let ready = view.status.condition(ConditionType::Ready);
        let says_so = ready.is_some_and(|ready| {
            let is_recent = self.context.notices.is_recent(view.uid, monotonic);
            ready.reason == Reason::Queued && (is_recent || ready.message == message) && !view.is_outdated()
        });
        // An ambiguous attempt has more to say than that its list waits for a permit.
        if says_so || matches!(State::of(view.status), State::Ambiguous { .. } | State::Accepted) {
            return Ok(Action::requeue(recheck));
        }
        let rest = match wait.until() {
            Some(end) if end.saturating_duration_since(monotonic) > SHORT_WAIT => Duration::ZERO,
            Some(_) => recheck,
            None => view.until_due_for(LONG_QUEUE, now),
        };
        // A notice that `wait` would hold back must not use up the turn of another.
        let rest = rest.max(self.grace());
        if !rest.is_zero() {
            return Ok(Action::requeue(rest.min(recheck)));
        }
        if !self.context.queue_notices.take(&function.namespace, monotonic) {
            return Ok(Action::requeue(recheck));
        }
        Err(Halt::Wait(Reason::Queued, message))
    }

    /// Says what the object waits for, and reconciles it again later.
    pub(super) async fn wait(&self, reason: Reason, message: String) -> Result<Action, Error> {
        let grace = self.grace();
        if !grace.is_zero() {
            return Ok(Action::requeue(grace));
        }
        self.say(reason, message).await?;
        Ok(Action::requeue(self.queue_recheck().min(RECHECK_INTERVAL)))
    }

    /// How long the object is too young to say that it waits.
    fn grace(&self) -> Duration {
        self.view.until_age(WAIT_GRACE, self.now())
    }

    /// Writes why the object is not finished yet, unless its status says so already. What this process has just said it
    /// does not repeat either: another replica may find otherwise, and the two would overwrite each other's.
    pub(super) async fn say(&self, reason: Reason, message: String) -> Result<(), Error> {
        let view = &self.view;
        let is_said = says_already(view, reason, &message)
            || self.context.notices.is_said(view.uid, reason, &message, clock::monotonic());
        // What is said again acknowledges an edit.
        if is_said && !view.is_outdated() {
            return Ok(());
        }
        let status = match State::of(view.status) {
            State::Accepted => record::following(view, reason, message.clone(), self.now()),
            State::Fresh
            | State::Claimed { .. }
            | State::Open { .. }
            | State::Ambiguous { .. }
            | State::Finished(_) => record::waiting(view, reason, message.clone(), self.now()),
        };
        self.write_notice(&status, reason, message).await
    }

    /// When to reconcile an object that waits: at its deadline at the latest. One that is past it waits for something
    /// else than an attempt.
    fn queue_recheck(&self) -> Duration {
        let now = self.now();
        let rest = until(self.view.deadline(now), now);
        if rest.is_zero() { QUEUE_RECHECK_INTERVAL } else { rest.clamp(RETRY_DELAY, QUEUE_RECHECK_INTERVAL) }
    }
}

/// What an object waits for that has no permit yet, with the level that makes it wait.
fn queued(wait: Wait, key: &FunctionKey, now: Timestamp, instant: Instant) -> String {
    let at = |time: Instant| later(now, time.saturating_duration_since(instant)).strftime("%H:%M:%S UTC");
    let FunctionKey { namespace, function } = key;
    let why = match wait {
        Wait::Account(Phase::Paused { until }) => {
            format!("FunctionGraph throttles the provider until {}.", at(until))
        }
        Wait::Account(Phase::BreakerOpen { until }) => {
            format!(
                "The endpoint failed several times in a row. The operator tries it again at {}.",
                at(until)
            )
        }
        Wait::Account(Phase::Probing) => {
            "The endpoint failed several times in a row. The operator tries it with one request at a time."
                .to_owned()
        }
        Wait::Account(Phase::Shut) => {
            "The operator has not finished the check of the provider's credential.".to_owned()
        }
        Wait::Function(Phase::Paused { until }) => {
            format!("Function {function} is throttled until {}.", at(until))
        }
        Wait::Function(Phase::BreakerOpen { until }) => {
            format!(
                "Function {function} failed several times in a row. The operator tries it again at {}.",
                at(until)
            )
        }
        Wait::Disabled { until } => {
            format!(
                "Function {function} is disabled. Enable it. The operator tries it again at {}.",
                at(until)
            )
        }
        Wait::Function(Phase::Probing) => {
            format!(
                "Function {function} failed several times in a row. The operator tries it with one request at a time."
            )
        }
        Wait::Namespace => {
            format!(
                "Namespace {namespace} waits for as many answers as it may. The next request leaves when one is answered."
            )
        }
        Wait::Account(Phase::Open) | Wait::Function(Phase::Open | Phase::Shut) | Wait::Turn => {
            "Other invocations are before it.".to_owned()
        }
    };
    format!("Waiting for its turn at the provider. {why}")
}
