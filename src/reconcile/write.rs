//! Writes what a reconcile came to: a status that the core composed, or the answer to an attempt.

use super::answer::class_of;
use super::{Error, RECHECK_INTERVAL, RETRY_DELAY, Reconcile};
use crate::api::condition::{ConditionType, Reason};
use crate::api::invocation::Outcome;
use crate::api::{FunctionInvocation, FunctionInvocationStatus};
use crate::clock;
use crate::context::{AttemptId, Owner};
use crate::kubernetes::status::{self, NotWritten, Recorded};
use crate::lifecycle::decide::wake;
use crate::lifecycle::shorten::{Length, shortened};
use crate::lifecycle::{Conclusion, Reply, State, record};
use crate::metrics::class_name;
use crate::traces::AttemptSpan;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

/// What became of a status.
enum Written {
    /// It is written; this is the object with it.
    Done(Box<FunctionInvocation>),
    /// It is not written; do this.
    Not(Action),
}

impl Reconcile<'_> {
    /// Ends an object that no attempt can help.
    pub(super) async fn conclude(&self, conclusion: &Conclusion) -> Result<Action, Error> {
        self.write(&record::concluded(&self.view, conclusion, self.now())).await
    }

    /// Writes a status that is no answer to an attempt, and says when to reconcile again.
    pub(super) async fn write(&self, status: &FunctionInvocationStatus) -> Result<Action, Error> {
        Ok(match self.try_write(status).await? {
            Written::Done(fresh) => self.after_write(&fresh),
            Written::Not(action) => action,
        })
    }

    /// Writes what the object waits for, as [`Self::write`] does. What is written is remembered as said.
    pub(super) async fn write_notice(
        &self,
        status: &FunctionInvocationStatus,
        reason: Reason,
        message: String,
    ) -> Result<(), Error> {
        if let Written::Done(fresh) = self.try_write(status).await? {
            self.after_write(&fresh);
            self.context.notices.say(self.view.uid, reason, message, clock::monotonic());
        }
        Ok(())
    }

    /// Writes a status, shortened if it is too large for the object.
    async fn try_write(&self, status: &FunctionInvocationStatus) -> Result<Written, Error> {
        let mut length = Length::Full;
        let why = loop {
            let fitted = shortened(status.clone(), length);
            match status::write(&self.context.clients.calls, self.object, &fitted).await {
                Ok(fresh) => {
                    if let State::Claimed { number, .. } = State::of(self.view.status) {
                        self.context.journal.saved(&self.attempt_id(number), clock::monotonic());
                    }
                    return Ok(Written::Done(fresh));
                }
                Err(NotWritten::Conflict) => {
                    self.context.metrics.conflict();
                    return Ok(Written::Not(Action::requeue(RETRY_DELAY)));
                }
                // Most likely it is. A write can also be answered 404 while the object exists.
                Err(NotWritten::Gone) => return Ok(Written::Not(Action::requeue(RECHECK_INTERVAL))),
                Err(NotWritten::Unknown(error)) => return Err(error.into()),
                Err(NotWritten::Refused(why)) => break why,
                Err(NotWritten::TooLarge(why)) => match length.shorter() {
                    Some(shorter) => length = shorter,
                    None => break why,
                },
            }
        };
        Ok(Written::Not(self.write_refused(&why)))
    }

    /// Deletes the object, whose time to live is over.
    pub(super) async fn delete(&self) -> Result<Action, Error> {
        if status::delete(&self.context.clients.calls, self.object).await? {
            let (namespace, name) = (self.object.namespace(), self.object.name_any());
            tracing::info!(namespace, name, "deleted after its time to live");
        }
        // The watch brings its end. If it does not, the delete is repeated.
        Ok(Action::requeue(RECHECK_INTERVAL))
    }

    /// Writes the answer that this process has in hand.
    pub(super) async fn record_known(&self) -> Result<Action, Error> {
        if let State::Claimed { number, .. } = State::of(self.view.status)
            && let Some(reply) = self.context.journal.reply(&self.attempt_id(number))
        {
            // The trace of the attempt has ended.
            return self.record(number, reply, AttemptSpan::default()).await;
        }
        Ok(Action::requeue(RETRY_DELAY))
    }

    /// Writes the answer to an attempt. It is logged first, so that no answer is lost without a trace.
    pub(super) async fn record(
        &self,
        number: i64,
        reply: Reply,
        mut span: AttemptSpan,
    ) -> Result<Action, Error> {
        let (context, attempt) = (self.context, self.attempt_id(number));
        log_answer(&attempt, &reply);
        let (now, chance) = (self.now(), clock::chance());
        let compose = |object: &FunctionInvocation, too_large: usize| {
            let length =
                std::iter::successors(Some(Length::Full), |length| length.shorter()).nth(too_large)?;
            Some(shortened(record::answered(&context.view(object), &reply, now, chance), length))
        };
        let Owner { namespace, name, uid } = &attempt.owner;
        match status::record(&context.clients.calls, self.object, compose).await {
            Recorded::Done(fresh) => {
                context.journal.saved(&attempt, clock::monotonic());
                span.step("recorded", clock::now());
                if let (Reply::Accepted(_), Some(created)) = (&reply, &fresh.metadata.creation_timestamp) {
                    context.metrics.accepted(&self.provider, now.duration_since(created.0).unsigned_abs());
                }
                Ok(self.after_write(&fresh))
            }
            // The answer is kept. If the object exists after all, it is written then.
            Recorded::Gone => {
                context.metrics.lost();
                tracing::warn!(namespace, name, uid, attempt = number, "the object of an answer is gone");
                Ok(Action::requeue(RETRY_DELAY))
            }
            Recorded::TooLate(why) => {
                context.journal.saved(&attempt, clock::monotonic());
                context.metrics.lost();
                tracing::warn!(
                    namespace,
                    name,
                    uid,
                    attempt = number,
                    why,
                    "the answer has no place in its object any more"
                );
                Ok(Action::requeue(RETRY_DELAY))
            }
            Recorded::Refused(why) => Ok(self.write_refused(&why)),
            Recorded::Unwritten(error) => Err(Error::Unwritten(error)),
        }
    }

    /// The API server refuses what the operator writes: says so, and tries again later.
    pub(super) fn write_refused(&self, why: &str) -> Action {
        let note = format!(
            "The operator cannot write the status. Check whether the CRDs are as new as the operator, and whether an admission policy or a webhook is in the way. The operator tries again. The API server says: {why}"
        );
        self.context.tell(|| self.object.object_ref(&()), Reason::StatusRefused, &note);
        let (namespace, name) = (self.object.namespace(), self.object.name_any());
        tracing::error!(namespace, name, why, "the API server refuses a status; the operator tries again");
        Action::requeue(RECHECK_INTERVAL)
    }

    /// Counts and tells what a write changed, and says when to reconcile again. The watch usually comes first.
    fn after_write(&self, fresh: &FunctionInvocation) -> Action {
        let context = self.context;
        // The API server takes writes, so that earlier failures are over.
        context.failures.clear(self.view.uid);
        context.notices.forget(self.view.uid);
        let ((before, earlier), (outcome, reason)) = (told(self.object), told(fresh));
        if let Some(outcome) = outcome.filter(|now| before != Some(*now)) {
            let known = context.providers.is_known(&self.provider).then_some(&**self.provider);
            context.metrics.ended(known, outcome);
        }
        if let Some(reason) = reason.filter(|now| earlier != Some(*now)) {
            let conditions = fresh.status.iter().flat_map(|status| &status.conditions);
            let message = conditions.map(|condition| condition.message.as_str()).next().unwrap_or_default();
            context.tell(|| fresh.object_ref(&()), reason, message);
        }
        let rest = wake(&self.with(fresh).next_step(), self.now());
        rest.map_or_else(Action::await_change, |rest| Action::requeue(rest.max(RETRY_DELAY)))
    }
}

/// What the status of an object says: its outcome, and the reason of its `Ready` condition.
fn told(object: &FunctionInvocation) -> (Option<Outcome>, Option<Reason>) {
    let Some(status) = &object.status else { return (None, None) };
    let ready = status.condition(ConditionType::Ready);
    (status.outcome, ready.map(|ready| ready.reason))
}

fn log_answer(AttemptId { owner, number }: &AttemptId, reply: &Reply) {
    let Owner { namespace, name, uid } = owner;
    let (request_id, instance_id) = match reply {
        Reply::Accepted(acceptance) => (acceptance.request_id.as_deref(), acceptance.instance_id.as_deref()),
        Reply::Trouble(_) => (None, None),
    };
    let class = class_name(class_of(reply));
    tracing::info!(namespace, name, uid, attempt = number, class, request_id, instance_id, "answer");
}
