//! One reconcile of one invocation: finds the next step and takes it.

use super::halt::Halt;
use super::{Error, Reconcile, guarded};
use crate::api::FunctionInvocation;
use crate::api::condition::{ConditionType, Reason};
use crate::clock;
use crate::context::Context;
use crate::kubernetes::requests;
use crate::lifecycle::{Conclusion, Resolution, State, Step, record};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::MutexGuard;

/// While another object takes a request id, an object waits this long for its turn, and up to as long again by chance.
const RESOLVE_RETRY_DELAY: Duration = Duration::from_secs(1);

pub async fn reconcile(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    let reconcile = Reconcile::new(&object, &context);
    if let Some(action) = reconcile.left_to_owner() {
        reconcile.leave_queue();
        return Ok(action);
    }
    // A permit, or an edit, may call the object before the pause after a failure is over.
    if let Some(rest) = context.failures.rest(reconcile.view.uid, clock::monotonic()) {
        reconcile.leave_queue();
        return Ok(Action::requeue(rest));
    }
    guarded(&context, reconcile.run()).await
}

/// One reconcile of an object whose outcome is unknown. Only an annotation, or an edit of the spec, changes it.
pub async fn resolve(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    match Reconcile::new(&object, &context).next_step() {
        Step::Resolve(_)
        | Step::RefuseResolution
        | Step::ForgetResolution
        | Step::CorrectTimes
        | Step::Acknowledge
        | Step::Conclude(_) => reconcile(object, context).await,
        _ => Ok(Action::await_change()),
    }
}

impl Reconcile<'_> {
    /// Takes the next step. Where that ends early, writes why.
    async fn run(&self) -> Result<Action, Error> {
        match self.take_next_step().await {
            Ok(action) | Err(Halt::Rest(action)) => Ok(action),
            Err(Halt::Wait(reason, message)) => Box::pin(self.wait(reason, message)).await,
            Err(Halt::Fail(reason, message)) => {
                Box::pin(self.conclude(&Conclusion::Failed(reason, message))).await
            }
            Err(Halt::Error(error)) => Err(error),
        }
    }

    // The steps are on the heap: ten thousand objects that only wait for a permit must not each hold memory for an attempt.
    async fn take_next_step(&self) -> Result<Action, Halt> {
        let (view, now, step) = (&self.view, self.now(), self.next_step());
        if !matches!(step, Step::Invoke { .. } | Step::LookUp | Step::Stop) {
            self.leave_queue();
        }
        let status = match step {
            Step::Invoke { number } => return self.invoke(number).await,
            Step::Save => return Ok(Box::pin(self.record_known()).await?),
            Step::LookUp => return Box::pin(self.look_up()).await,
            Step::Follow => return Box::pin(self.follow()).await,
            Step::Stop => return Box::pin(self.stop()).await,
            Step::Resolve(resolution) => return Box::pin(self.resolve(&resolution)).await,
            Step::RefuseResolution => return Ok(Box::pin(self.refuse_resolution(None)).await?),
            Step::Delete => return Ok(Box::pin(self.delete()).await?),
            Step::Wait(_) | Step::Observe(_) | Step::Rest => return Ok(self.until(&step)),
            Step::HandBack => {
                if let State::Claimed { number, .. } = State::of(view.status) {
                    self.context.journal.returned(&self.attempt_id(number));
                }
                record::handed_back(view, now)
            }
            Step::GiveUpOwn => {
                let why = "the operator lost track of the request while it was being sent";
                record::ambiguous(view, why, now, clock::chance())
            }
            Step::TakeOver => {
                let why = "the operator process that was sending it did not report back";
                record::ambiguous(view, why, now, clock::chance())
            }
            Step::Conclude(conclusion) => record::concluded(view, &conclusion, now),
            Step::ForgetResolution => record::resolution_forgotten(view, now),
            Step::CorrectTimes => {
                let (namespace, name) = (self.object.namespace(), self.object.name_any());
                let ahead = view.written_ahead(now);
                tracing::warn!(
                    namespace,
                    name,
                    ?ahead,
                    "a status was written by a clock that ran ahead; its times are corrected"
                );
                record::corrected(view, now)
            }
            Step::Acknowledge => record::acknowledged(view, now),
            Step::Suspend => record::suspended(view, now),
            Step::Resume => record::resumed(view, now),
        };
        Ok(Box::pin(self.write(&status)).await?)
    }

    /// Makes the attempt, if the provider has a permit for it. Waits in the queue if not.
    async fn invoke(&self, number: i64) -> Result<Action, Halt> {
        if self.context.draining.is_cancelled() {
            return Ok(Action::await_change());
        }
        match self.permit() {
            Some(permit) => Box::pin(self.attempt(number, permit)).await,
            None => Box::pin(self.wait_in_queue()).await,
        }
    }

    /// Resolves the ambiguous attempt as the annotation says, unless it names the request of another object.
    async fn resolve(&self, resolution: &Resolution) -> Result<Action, Halt> {
        let _lock = match resolution {
            Resolution::Accepted(id) => Some(self.take_request_id(id).await?),
            Resolution::Retry | Resolution::Fail => None,
        };
        let (namespace, name) = (self.object.namespace(), self.object.name_any());
        tracing::info!(
            namespace,
            name,
            resolution = resolution.as_str(),
            "the annotation functiongraph.io/resolve resolves an ambiguous attempt"
        );
        Ok(self.write(&record::resolved(&self.view, resolution, self.now())).await?)
    }

    /// Makes sure that no other object has a request id, nor gets it while the lock is held.
    async fn take_request_id(&self, id: &str) -> Result<MutexGuard<'_, ()>, Halt> {
        // Nobody waits for the lock: many objects that did would keep all others from being reconciled.
        let Ok(lock) = self.context.resolving.try_lock() else {
            let jitter = Duration::from_millis(clock::chance() % 1000);
            return Err(Halt::rest(RESOLVE_RETRY_DELAY + jitter));
        };
        let scope = &self.context.options.scope;
        if requests::is_of_another(&self.context.clients.calls, scope, id, self.view.uid).await? {
            let message = "The annotation functiongraph.io/resolve changes nothing, because another FunctionInvocation has this request id. Correct the id.";
            let why = (Reason::RequestIdInUse, message.to_owned());
            return Err(Halt::Rest(self.refuse_resolution(Some(why)).await?));
        }
        Ok(lock)
    }

    /// Says in the status and in an Event that the annotation changes nothing, and why.
    async fn refuse_resolution(&self, why: Option<(Reason, String)>) -> Result<Action, Error> {
        let status = record::resolution_refused(&self.view, why, self.now());
        if let Some(refused) = status.condition(ConditionType::ResolutionRefused) {
            self.context.tell(|| self.object.object_ref(&()), refused.reason, &refused.message);
        }
        self.write(&status).await
    }
}
