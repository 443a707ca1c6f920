//! One accepted object: has its execution followed, writes how it ended, and has it stopped where that is asked for.

use super::answer::refused_call;
use super::halt::Halt;
use super::lists::{CALL_TIMEOUT, leads_to};
use super::prepare::urn_of;
use super::{Error, RECHECK_INTERVAL, Reconcile};
use crate::api::condition::{ConditionType, Reason};
use crate::api::invocation::RESOLVE;
use crate::clock;
use crate::context::Owner;
use crate::context::followed::{News, Request, Topic};
use crate::context::providers::{Access, Permit};
use crate::gate::Signal;
use crate::lifecycle::{Conclusion, record};
use functiongraph::{CancelType, FunctionUrn};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::sync::Arc;
use std::time::Duration;

/// A followed object is reconciled this often, in case the call that brings it news is lost.
const FOLLOW_RECHECK_INTERVAL: Duration = Duration::from_mins(10);

/// Between the claim and the acceptance that is seen in its answer: the send window and the longest request.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(100);

impl Reconcile<'_> {
    /// Writes what is known of the execution, or has it followed.
    pub(super) async fn follow(&self) -> Result<Action, Halt> {
        let (topic, _) = self.topic().await?;
        let followed = &self.context.followed;
        let news = self.request().and_then(|request| followed.follow(&topic, request, clock::monotonic()));
        match news {
            Some(news) => Ok(self.write_news(news).await?),
            None => Ok(self.say_trouble(followed.trouble(&topic)).await?),
        }
    }

    /// Asks FunctionGraph to stop the execution, if that is allowed, and goes on following it.
    pub(super) async fn stop(&self) -> Result<Action, Halt> {
        let (topic, access) = self.topic().await?;
        let Some(request) = self.request() else { return Ok(Action::requeue(RECHECK_INTERVAL)) };
        let (uid, id, followed) = (self.view.uid, request.id.clone(), &self.context.followed);
        if let Some(news) = followed.follow(&topic, request, clock::monotonic()) {
            return Ok(self.write_news(news).await?);
        }
        if !access.spec().allow_cancel {
            let why = "The execution goes on: the provider does not say allowCancel. Its owner can set it; stopping one request may stop others on the same instance.";
            return self.stop_refused(why.into()).await;
        }
        if let Some(why) = followed.stop_refused(&topic, uid, clock::monotonic()) {
            return self.stop_refused(why).await;
        }
        match self.allowed(&access).await {
            Ok(_) => {}
            Err(Halt::Fail(_, message) | Halt::Wait(_, message)) => {
                return self.stop_refused(format!("The execution goes on. {message}")).await;
            }
            Err(halt) => return Err(halt),
        }
        let Some(permit) = self.permit_for_call() else { return Ok(Action::requeue(RECHECK_INTERVAL)) };
        let Some(why) = self.cancel(&topic.urn, &id, &access, permit).await else {
            return Ok(self.write(&record::stopping(&self.view, self.now())).await?);
        };
        let why = format!(
            "The execution goes on: FunctionGraph was asked to stop it and did not. {why} The operator asks again every minute."
        );
        followed.stop_tried(&topic, uid, why.clone(), clock::monotonic());
        self.stop_refused(why).await
    }

    /// Asks FunctionGraph to stop a request. Returns why it did not; `None` if it did.
    async fn cancel(
        &self,
        urn: &FunctionUrn,
        id: &str,
        access: &Access,
        mut permit: Permit,
    ) -> Option<String> {
        let _kept = match access.client.keep().await {
            Ok(kept) => kept,
            Err(error) => return Some(format!("{error}.")),
        };
        permit.used(access);
        let (client, credential) = (&access.client, &access.credential);
        match client.cancel(urn, id, CancelType::Force, credential, clock::now(), CALL_TIMEOUT).await {
            Ok(answer) if answer.is_success() => {
                permit.leave(Signal::Answered);
                let (namespace, name) = (self.object.namespace(), self.object.name_any());
                tracing::info!(namespace, name, id, "asked FunctionGraph to stop the execution");
                None
            }
            Ok(answer) => Some(refused_call(self.context, &self.provider, access, permit, &answer)),
            Err(error) => {
                permit.complain(&error.to_string());
                permit.leave(Signal::Unreachable);
                Some(format!("{error}."))
            }
        }
    }

    async fn stop_refused(&self, why: String) -> Result<Action, Halt> {
        self.say(Reason::StopRefused, why).await?;
        Ok(Action::requeue(RECHECK_INTERVAL))
    }

    async fn write_news(&self, news: News) -> Result<Action, Error> {
        let status = match news {
            News::Ended(mut execution) => {
                // The function's words may repeat the event.
                execution.error_message.take_if(|_| self.object.spec.has_secret_event());
                record::executed(&self.view, &execution, self.now())
            }
            News::Vanished => {
                let why = "FunctionGraph accepted the invocation, but does not know the request by its id any more.";
                record::concluded(&self.view, &Conclusion::Unfollowed(why.into()), self.now())
            }
        };
        self.write(&status).await
    }

    /// Says what keeps the operator from reading the list, or that nothing does any more.
    async fn say_trouble(&self, trouble: Option<String>) -> Result<Action, Error> {
        let complains = self.view.status.condition(ConditionType::Ready).is_some_and(|ready| {
            let complaints = [Reason::ListUnreadable, Reason::WaitingForProvider, Reason::DestinationChanged];
            complaints.contains(&ready.reason)
        });
        if let Some(trouble) = trouble {
            let message = format!(
                "FunctionGraph accepted the invocation. Its end is not known yet, because the operator cannot read the list of invocations: {trouble} If this lasts, check that the provider's credential may list asynchronous invocations."
            );
            self.say(Reason::ListUnreadable, message).await?;
        } else if complains {
            let message = "FunctionGraph accepted the invocation. The operator follows its execution.";
            self.say(Reason::Running, message.into()).await?;
        }
        Ok(Action::requeue(FOLLOW_RECHECK_INTERVAL))
    }

    /// What to follow: the function, where the request went.
    async fn topic(&self) -> Result<(Topic, Arc<Access>), Halt> {
        let Some(access) = self.access() else {
            let Some(why) = self.unusable().await else { return Err(Halt::rest(RECHECK_INTERVAL)) };
            let message = format!("FunctionGraph accepted the invocation. Its end is not known yet: {why}");
            return Err(Halt::Wait(Reason::WaitingForProvider, message));
        };
        let urn = self.sent_to(&access).map_err(|why| {
            let message = format!(
                "FunctionGraph accepted the invocation. The operator cannot see its end. {why} Set the provider back, or set the annotation {RESOLVE} to Fail or Accepted:<request id>."
            );
            Halt::Wait(Reason::DestinationChanged, message)
        })?;
        let endpoint = access.client.endpoint().to_string();
        Ok((Topic { provider: self.provider.clone(), endpoint, urn }, access))
    }

    fn request(&self) -> Option<Request> {
        let status = self.view.status;
        let attempt = status.attempt.as_ref();
        let accepted = status.accepted_time.unwrap_or_else(|| self.now());
        let claimed = attempt.and_then(|attempt| attempt.claim_time);
        let claimed = claimed.or_else(|| accepted.checked_sub(LONGEST_ATTEMPT).ok());
        Some(Request {
            owner: Owner::of(self.object),
            id: status.request_id.clone()?,
            claimed: claimed.map_or(accepted, |time| time.min(accepted)),
            accepted,
        })
    }

    /// The function that the latest attempt invoked, if the provider still leads to where that went. What an older
    /// version of the operator claimed does not say where it went, and is taken to have gone to where the provider leads.
    ///
    /// # Errors
    /// A sentence on where it went.
    pub(super) fn sent_to(&self, access: &Access) -> Result<FunctionUrn, String> {
        let attempt = self.view.status.attempt.as_ref();
        let endpoint = attempt.and_then(|attempt| attempt.endpoint.clone());
        let urn = match attempt.and_then(|attempt| attempt.urn.as_deref()).map(str::parse::<FunctionUrn>) {
            Some(Ok(urn)) => urn,
            Some(Err(_)) | None => urn_of(&self.object.spec.function, access)?,
        };
        if leads_to(access, endpoint.as_deref(), &urn) {
            return Ok(urn);
        }
        Err(format!(
            "The request went to {} in region {} and project {}, where provider {} no longer leads.",
            endpoint.as_deref().unwrap_or("the service"),
            urn.region(),
            urn.project_id(),
            self.object.spec.provider_ref.name
        ))
    }
}
