//! One attempt, from the preparation to the record: the only file from which an invocation is sent.

use super::answer::{class_of, judge, refuse_credential, unanswered, without_texts};
use super::halt::Halt;
use super::prepare::{EMPTY_EVENT, Prepared};
use super::{RECHECK_INTERVAL, RETRY_DELAY, Reconcile};
use crate::api::FunctionInvocation;
use crate::api::condition::Reason;
use crate::api::invocation::{ErrorClass, event_version};
use crate::clock;
use crate::context::memory::Reserved;
use crate::context::providers::{Access, Permit, Standing};
use crate::gate::Signal;
use crate::kubernetes::payload::Event;
use crate::kubernetes::status::{self, Claim, Claimed, NotWritten};
use crate::lifecycle::decide::{changed_event, wake};
use crate::lifecycle::{Conclusion, Progress, Reply, Target, origin, record};
use crate::members::Duty;
use crate::metrics::class_name;
use crate::traces::{About, AttemptSpan};
use functiongraph::Invocation;
use jiff::Timestamp;
use kube::Resource;
use kube::runtime::controller::Action;
use std::time::Duration;

/// An object gives its permit to another when it gets no memory for its event within this time.
const EVENT_MEMORY_TIMEOUT: Duration = Duration::from_secs(1);

impl Reconcile<'_> {
    pub(super) async fn attempt(&self, number: i64, mut permit: Permit) -> Result<Action, Halt> {
        let began = clock::now();
        // Kubernetes, reads only: what can fail without a trace fails here.
        let mut prepared = self.prepare().await?;
        // No world: memory for the event.
        let _memory = self.reserve_memory(prepared.event_bytes).await?;
        let prepared_at = clock::now();
        // Kubernetes: writes the mark of the restore guard, where the guard is on.
        let marked = self.mark().await?;
        let current = self.with(marked.as_deref().unwrap_or(self.object));
        // Kubernetes: writes the claim. The attempt is ours from here on.
        let claim = current.claim(number, &prepared.target).await?;
        let mut span = self.span(number, began, prepared_at);
        // Kubernetes, if the claim must not be sent: writes that it is given back.
        let (claim, event) = self.check(claim, &mut prepared, &mut span).await?;
        // FunctionGraph: sends the invocation, once.
        permit.used(&prepared.access);
        let (object, reply, signal) = self.send(claim, event, &prepared, &mut span).await;
        // No world: the provider learns from the answer.
        self.learn(permit, signal, &reply, &prepared.access);
        // Kubernetes: writes the answer.
        Ok(self.with(&object).record(number, reply, span).await?)
    }

    /// Memory for an event, among those in flight.
    async fn reserve_memory(&self, bytes: usize) -> Result<Reserved<'_>, Halt> {
        let memory = self.context.event_memory.reserve(self.namespace(), bytes);
        let reserved = tokio::time::timeout(EVENT_MEMORY_TIMEOUT, memory).await;
        reserved.map_err(|_elapsed| Halt::rest(RETRY_DELAY))
    }

    /// Marks an object that was never claimed, where the restore guard is on. Returns the object with the mark.
    async fn mark(&self) -> Result<Option<Box<FunctionInvocation>>, Halt> {
        if !self.context.options.flags.restore_guard || !origin::is_unmarked(self.object) {
            return Ok(None);
        }
        match status::mark(&self.context.clients.calls, self.object).await {
            Ok(fresh) => Ok(Some(fresh)),
            Err(NotWritten::Conflict) => {
                self.context.metrics.conflict();
                Err(Halt::rest(RETRY_DELAY))
            }
            Err(NotWritten::Gone) => Err(Halt::rest(RECHECK_INTERVAL)),
            Err(NotWritten::Refused(why) | NotWritten::TooLarge(why)) => {
                Err(Halt::Rest(self.write_refused(&why)))
            }
            Err(NotWritten::Unknown(error)) => Err(error.into()),
        }
    }

    async fn claim(&self, number: i64, target: &Target) -> Result<Claim, Halt> {
        let context = self.context;
        // The members may have changed while it waited for its turn. Whether others wait does not matter any more.
        let left = match context.duty_of(self.object) {
            Duty::Others if self.is_overdue() => None,
            Duty::Ours | Duty::Others | Duty::NoMember => self.left_to_owner(),
        };
        if let Some(action) = left {
            return Err(Halt::Rest(action));
        }
        let wanted = record::claimed(&self.view, number, &context.holder, target, self.now());
        let attempt = self.attempt_id(number);
        let unsent = || context.journal.progress(&attempt) == Progress::Nothing;
        match status::claim(&context.clients.calls, self.object, &wanted, number, unsent).await? {
            Claimed::Ours(claim) => {
                context.failures.clear(self.view.uid);
                Ok(*claim)
            }
            Claimed::Lost(fresh) => {
                context.metrics.conflict();
                let rest = wake(&self.with(&fresh).next_step(), self.now()).unwrap_or(RECHECK_INTERVAL);
                Err(Halt::rest(rest.max(RETRY_DELAY)))
            }
            Claimed::Gone => Err(Halt::rest(RECHECK_INTERVAL)),
            Claimed::Refused(why) => Err(Halt::Rest(self.write_refused(&why))),
            Claimed::TooLarge => {
                let message = "The object is too large: it has no room for the status that the operator must write before it sends anything. Create a new FunctionInvocation with a smaller event, or with payloadFrom.";
                let conclusion = Conclusion::Failed(Reason::InvalidPayload, message.into());
                Err(Halt::Rest(self.conclude(&conclusion).await?))
            }
        }
    }

    /// The trace of an attempt that was just claimed.
    fn span(&self, number: i64, began: Timestamp, prepared_at: Timestamp) -> AttemptSpan {
        let about = About {
            provider: &self.provider,
            namespace: self.namespace(),
            name: self.object.metadata.name.as_deref().unwrap_or_default(),
            number,
        };
        let mut span = self.context.traces.attempt(&about, began);
        span.step("prepared", prepared_at);
        span.step("claimed", clock::now());
        span
    }

    /// Checks the object as it was claimed, and gives the claim back if it must not be sent.
    async fn check(
        &self,
        mut claim: Claim,
        prepared: &mut Prepared,
        span: &mut AttemptSpan,
    ) -> Result<(Claim, Event), Halt> {
        let conclusion = if self.must_not_send(&claim, &prepared.access) {
            None
        } else {
            match self.event(&mut claim, prepared.event.take()) {
                Ok(event) => return Ok((claim, event)),
                Err(conclusion) => Some(conclusion),
            }
        };
        span.step("handed back", clock::now());
        self.context.journal.returned(&self.attempt_id(claim.number()));
        let object = claim.spend();
        let (fresh, now) = (self.with(&object), self.now());
        let status = match conclusion {
            None => record::handed_back(&fresh.view, now),
            Some(conclusion) => record::not_as_claimed(&fresh.view, &conclusion, now),
        };
        Err(Halt::Rest(fresh.write(&status).await?))
    }

    /// The claim's answer is the newest copy of the object, and what it says counts.
    fn must_not_send(&self, claim: &Claim, access: &Access) -> bool {
        let object = claim.object();
        // If the credential was refused meanwhile, others who were about to use it must not.
        let usable = matches!(self.context.providers.standing(&self.provider),
            Standing::Ready(now) if now.used.source.version == access.used.source.version);
        self.context.draining.is_cancelled()
            || object.spec.suspend
            || object.spec.cancel
            || object.meta().deletion_timestamp.is_some()
            || claim.has_expired(clock::monotonic())
            || !usable
    }

    /// The event to send: the one that was fetched, or the one that came with the claim's answer. The object keeps only
    /// its digest.
    fn event(&self, claim: &mut Claim, fetched: Option<Event>) -> Result<Event, Conclusion> {
        let inline = claim.take_event().unwrap_or_else(|| EMPTY_EVENT.to_vec());
        if let Some(event) = fetched {
            return Ok(event);
        }
        let kept = claim.object().spec.payload.as_ref();
        let version = kept.map_or_else(|| event_version(EMPTY_EVENT), |payload| payload.digest().version);
        match changed_event(&self.with(claim.object()).view, &version) {
            None => Ok(Event::inline(inline)),
            Some(conclusion) => Err(conclusion),
        }
    }

    /// Sends the attempt that `claim` proves to be ours: once, whatever happens.
    async fn send(
        &self,
        claim: Claim,
        event: Event,
        prepared: &Prepared,
        span: &mut AttemptSpan,
    ) -> (FunctionInvocation, Reply, Signal) {
        let context = self.context;
        let attempt = self.attempt_id(claim.number());
        let object = claim.spend();
        let timeout = Duration::from_secs(object.spec.request_timeout_seconds.unsigned_abs());
        let Access { client, credential, .. } = &*prepared.access;
        let &Prepared { kind, protocol, instance_memory_mb, .. } = prepared;
        let event = event.into_bytes();
        let invocation = Invocation { urn: &prepared.urn, kind, protocol, event, instance_memory_mb };

        let started = clock::monotonic();
        // From this line on a byte may have been written, and this attempt is never sent again.
        context.journal.sent(&attempt);
        span.step("sent", clock::now());
        let result = client.invoke(invocation, credential, clock::now(), timeout).await;
        let took = clock::monotonic().duration_since(started);

        span.step("answered", clock::now());
        let http_status = result.as_ref().ok().map(|answer| answer.status);
        context.metrics.requested(&self.provider, http_status, took, span.trace_id());
        let strict_503 = context.options.flags.strict_503;
        let (reply, signal) = match result {
            Ok(answer) => judge(&answer, &object.spec, kind, credential.kind(), strict_503),
            Err(error) => unanswered(&error),
        };
        let reply = if object.spec.has_secret_event() { without_texts(reply) } else { reply };
        context.journal.answered(&attempt, reply.clone());
        let class = class_of(&reply);
        span.came_to(http_status, class_name(class));
        context.metrics.attempted(&self.provider, class);
        (object, reply, signal)
    }

    /// Ends the permit with what the answer says of the endpoint and of the credential.
    fn learn(&self, permit: Permit, signal: Signal, reply: &Reply, access: &Access) {
        if let Reply::Trouble(trouble) = reply {
            if trouble.class == ErrorClass::Unauthenticated {
                refuse_credential(self.context, &self.provider, access, &trouble.message);
            }
            if signal == Signal::Unreachable {
                permit.complain(&trouble.message);
            }
        }
        permit.leave(signal);
    }
}
