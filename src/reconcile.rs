//! The shell: observe, decide, claim, send, record, requeue. It alone knows all the worlds.
//!
//! An [`Error`] in here means that the controller could not do its work. An invocation that fails is a
//! state, not an error.

mod answer;
mod attempt;
mod drain;
mod expiry;
mod follow;
mod halt;
mod invocation;
pub mod lists;
mod lookup;
mod prepare;
mod provider;
mod queue;
mod unusable;
mod write;

pub use drain::drain;
pub use expiry::{acknowledge, expire};
pub use invocation::{reconcile, resolve};
pub use provider::check_provider;

use crate::api::condition::{Condition, ConditionType};
use crate::api::{FunctionInvocation, ProviderKey, Reason};
use crate::clock;
use crate::context::providers::{Access, Standing};
use crate::context::{AttemptId, Context};
use crate::gate::{GateState, Phase};
use crate::kubernetes::{self, causes};
use crate::lifecycle::decide::wake;
use crate::lifecycle::{Moment, Progress, State, Step, View, decide};
use crate::members::{Duty, RENEW_INTERVAL};
use futures::FutureExt;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// No reconcile takes longer: the longest request (90 s), its record (300 s), and the calls around them.
const RECONCILE_TIMEOUT: Duration = Duration::from_mins(10);

/// The watch brings every change. In case it is late, the operator reconciles again after this.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What only you or another controller can fix is checked again this often.
const RECHECK_INTERVAL: Duration = Duration::from_secs(15);

/// The owner of an object may be cut off from FunctionGraph while it renews its Lease. So another member with nothing to do may
/// attempt an object that is due for this long. The claim decides who sends it.
const OVERDUE_DELAY: Duration = Duration::from_mins(2);

/// One reconcile of one invocation: what every step needs, made once. Its methods are the steps. They return
/// [`halt::Halt`] when the reconcile ends early. A write brings a fresh object, which gets a `Reconcile` of its own.
struct Reconcile<'a> {
    /// The object, as the watch or the latest write brought it.
    object: &'a FunctionInvocation,
    context: &'a Context,
    /// The provider that the object names.
    provider: ProviderKey,
    /// The same object as the core sees it.
    view: View<'a>,
}

impl<'a> Reconcile<'a> {
    fn new(object: &'a FunctionInvocation, context: &'a Context) -> Self {
        Self { object, context, provider: ProviderKey::of(object), view: context.view(object) }
    }

    /// The same reconcile, with the object as it is after a write.
    fn with<'b>(&self, fresh: &'b FunctionInvocation) -> Reconcile<'b>
    where
        'a: 'b,
    {
        let (context, provider) = (self.context, self.provider.clone());
        Reconcile { object: fresh, context, provider, view: context.view(fresh) }
    }

    fn namespace(&self) -> &str {
        self.object.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The time by which statuses are written and judged.
    fn now(&self) -> Timestamp {
        self.context.now()
    }

    fn attempt_id(&self, number: i64) -> AttemptId {
        AttemptId::of(self.object, number)
    }

    /// What to do with an object that is left to its owner; `None` for one that this process owns, or attempts in the owner's
    /// place. What one process alone knows, the answer to its own claim, it always writes.
    fn left_to_owner(&self) -> Option<Action> {
        let (context, state) = (self.context, State::of(self.view.status));
        if matches!(&state, State::Claimed { holder, .. } if *holder == context.holder) {
            return None;
        }
        let action = match context.duty_of(self.object) {
            Duty::Ours => return None,
            Duty::Others if self.is_overdue() && self.is_idle() => return None,
            Duty::Others => self.overdue_in().map_or_else(Action::await_change, |rest| {
                // Apart from the other members, which wait for the same.
                let jitter = Duration::from_millis(clock::chance() % 30_000);
                Action::requeue(rest.max(OVERDUE_DELAY / 2) + jitter)
            }),
            Duty::NoMember => Action::requeue(RENEW_INTERVAL),
        };
        if let State::Claimed { number, holder } = state {
            // If its owner dies, this process knows already for how long the claim has not changed.
            context.journal.unchanged_for(&self.attempt_id(number), &holder, clock::monotonic());
        }
        Some(action)
    }

    /// How long the object is left to its owner; `None` if it waits for no attempt, or for its event, which no member has.
    fn overdue_in(&self) -> Option<Duration> {
        let (view, now) = (&self.view, self.now());
        let ready = Condition::find(&view.status.conditions, ConditionType::Ready);
        let waits = matches!(State::of(view.status), State::Fresh | State::Open { .. })
            && ready.is_none_or(|ready| ready.reason != Reason::WaitingForPayload)
            && !view.spec.suspend
            && !view.deleting;
        waits.then(|| view.until_due_for(OVERDUE_DELAY, now))
    }

    fn is_overdue(&self) -> bool {
        self.overdue_in().is_some_and(|rest| rest.is_zero())
    }

    /// Whether this process can use the provider, and nothing waits for a permit.
    fn is_idle(&self) -> bool {
        let GateState { phase, waiting, .. } = self.context.providers.state(&self.provider);
        phase == Phase::Open && waiting == 0 && self.access().is_some()
    }

    /// The next step, from the object and from what this process remembers of it.
    fn next_step(&self) -> Step {
        let (context, monotonic) = (self.context, clock::monotonic());
        let (mut progress, mut unchanged_for, mut looked_up) = (Progress::Nothing, Duration::ZERO, false);
        match State::of(self.view.status) {
            State::Claimed { number, holder } if holder == context.holder => {
                progress = context.journal.progress(&self.attempt_id(number));
            }
            State::Claimed { number, holder } => {
                unchanged_for = context.journal.unchanged_for(&self.attempt_id(number), &holder, monotonic);
            }
            State::Ambiguous { number } if self.view.lookup => {
                looked_up = context.lookups.exhausted(&self.attempt_id(number), monotonic);
            }
            State::Fresh
            | State::Open { .. }
            | State::Ambiguous { .. }
            | State::Accepted
            | State::Finished(_) => {}
        }
        let holder = &context.holder;
        decide(&self.view, &Moment { now: self.now(), holder, progress, unchanged_for, looked_up })
    }

    /// When to reconcile again, so that `step` is taken in time.
    fn until(&self, step: &Step) -> Action {
        wake(step, self.now()).map_or_else(Action::await_change, Action::requeue)
    }

    /// The access to the provider, if it can be used and the provider has not changed since. An edit counts at once,
    /// while the check of it still goes on. Another provider of the same name does not inherit the access of a deleted one.
    fn access(&self) -> Option<Arc<Access>> {
        let Standing::Ready(access) = self.context.providers.standing(&self.provider) else { return None };
        let current = self.context.provider_of(self.object)?;
        (current.edition() == access.edition()).then_some(access)
    }
}

/// Why the controller could not do its work. It reconciles the object again after a pause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the API server.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::Error),
    /// An answer is in hand and could not be written yet.
    #[error("the answer could not be written yet; the operator keeps it in memory and tries again")]
    Unwritten(#[source] kubernetes::Error),
    /// The reconcile took longer than any may.
    #[error("it took longer than {} s", RECONCILE_TIMEOUT.as_secs())]
    Stuck,
    /// A defect: the reconcile panicked. Other objects are not affected.
    #[error("a defect in the operator: the reconcile panicked. Report it with the log lines above")]
    Panicked,
}

/// Runs one reconcile within its bounds, so that neither a hang nor a panic in it reaches other objects.
async fn guarded(
    context: &Context,
    run: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    let started = clock::monotonic();
    let result = match tokio::time::timeout(RECONCILE_TIMEOUT, AssertUnwindSafe(run).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(Error::Panicked),
        Err(_elapsed) => Err(Error::Stuck),
    };
    context.metrics.reconciled(clock::monotonic().duration_since(started), result.is_err());
    result
}

/// Reconciles again after a failure, with a pause that grows.
pub fn retry_later<K: Resource>(object: &Arc<K>, error: &Error, context: &Context) -> Action {
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    let pause = context.failures.count(uid, clock::chance(), clock::monotonic());
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_default();
    let cause = causes(error);
    tracing::warn!(namespace, name, %error, cause, retry_in = ?pause, "could not work on an object");
    Action::requeue(pause)
}
