//! Writes what was found of a provider into its status.

use super::ProviderCheck;
use crate::api::condition::{Condition, ConditionStatus, ConditionType, fitting, see_ready};
use crate::api::provider::CredentialRefusal;
use crate::api::{FunctionGraphProviderStatus, Reason};
use crate::clock;
use crate::context::providers::{Access, News, Standing};
use crate::kubernetes::status;
use crate::lifecycle::{self, later};
use crate::members::Duty;
use crate::reconcile::Error;
use functiongraph::regions;
use std::time::Duration;

/// What the condition `Ready` says.
struct Readiness {
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

/// A pause that the status tells of.
struct Pause {
    message: String,
    /// Its end in tens of seconds: a pause that became longer is news, and a second more or less is not.
    end: i64,
}

impl ProviderCheck<'_> {
    /// Writes the status, if it is news. Each member checks each provider for itself, and one of them writes what it finds.
    /// Only a refused credential is written by the member that was told, so that the others do not try it too. Says when to
    /// look again, if another replica has written otherwise.
    pub(super) async fn report(&self) -> Result<Option<Duration>, Error> {
        let Self { provider, context, key, .. } = *self;
        let is_ours = context.duty(key) != Duty::Others;
        if !is_ours && context.providers.refused_at(key).is_none() {
            return Ok(None);
        }
        let standing = context.providers.standing(key);
        let Some(readiness) = self.readiness(&standing) else { return Ok(None) };
        let pause = self.pause();
        let next = self.next_status(&standing, &readiness, pause.as_ref());
        let Readiness { status, reason, message } = &readiness;
        let previous = provider.status().cloned().unwrap_or_default();
        let is_current = previous.observed_generation == next.observed_generation;
        let said = Condition::find(&previous.conditions, ConditionType::Ready)
            .map(|ready| (ready.status, ready.reason));
        let differs = is_current && said != Some((*status, *reason));
        // Asked first: what is found must be remembered even where another replica has written the same already.
        let refused_at = next.credential_refusal.as_ref().map(|refusal| refusal.time);
        let found = (
            next.observed_generation.unwrap_or_default(),
            *reason,
            format!("{message}{:?}", pause.map(|pause| pause.end)),
            next.credential_expiration_time.or(refused_at),
        );
        match context.providers.news(key, found, differs, is_ours) {
            _ if next == previous => return Ok(None),
            News::Known if is_current => return Ok(None),
            News::Disputed(rest) => return Ok(Some(rest)),
            News::Known | News::Fresh => {}
        }
        let written = status::write_provider(&context.clients.calls, provider, &next).await;
        if !matches!(written, Ok(true)) {
            context.providers.not_reported(key);
            // The watch brings what somebody else wrote, and the operator checks the provider again.
            return written.map(|_| None).map_err(Error::from);
        }
        if said.map(|(_, before)| before) != Some(*reason) {
            context.tell(|| provider.object_ref(), *reason, message);
            let reason = reason.as_str();
            if *status == ConditionStatus::True {
                tracing::info!(provider = %key, reason, why = message, "a provider is ready");
            } else {
                tracing::warn!(provider = %key, reason, why = message, "a provider is not ready");
            }
        }
        Ok(None)
    }

    /// Whether the provider can be used, and why. `None` if it was not checked.
    fn readiness(&self, standing: &Standing) -> Option<Readiness> {
        let providers = &self.context.providers;
        let (status, reason, message) = match standing {
            Standing::Ready(_) if providers.is_suspect(self.key) => {
                let trouble = providers.last_trouble(self.key);
                let trouble = trouble.trim_end_matches('.');
                let remedy = lifecycle::remedy(trouble);
                let message = format!(
                    "The endpoint did not answer several times in a row; the last time: {trouble}.{remedy} The operator pauses, and then tries it with one request."
                );
                (ConditionStatus::False, Reason::EndpointUnreachable, message)
            }
            Standing::Ready(access) => (ConditionStatus::True, Reason::ProviderReady, ready_message(access)),
            Standing::NotReady(reason, message) => (ConditionStatus::False, *reason, message.clone()),
            Standing::Unseen => return None,
        };
        // An Event and the log say it too.
        Some(Readiness { status, reason, message: fitting(&message) })
    }

    fn previous_conditions(&self) -> &[Condition] {
        self.provider.status().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    /// The pause of a throttled provider, if it is long enough to be told.
    fn pause(&self) -> Option<Pause> {
        let told = Condition::find(self.previous_conditions(), ConditionType::Paused).is_some();
        let until = later(self.context.now(), self.context.providers.paused(self.key, told)?);
        let message = format!(
            "FunctionGraph throttles this provider. The operator sends nothing through it until {}.",
            until.strftime("%H:%M:%S UTC")
        );
        Some(Pause { message, end: until.as_second() / 10 })
    }

    fn next_status(
        &self,
        standing: &Standing,
        readiness: &Readiness,
        pause: Option<&Pause>,
    ) -> FunctionGraphProviderStatus {
        let spec = self.spec;
        let generation = self.provider.meta().generation.unwrap_or_default();
        let (project_id, credential_expiration_time) = match standing {
            Standing::Ready(access) => (Some(access.in_use.project.clone()), access.in_use.expires_at),
            Standing::NotReady(..) | Standing::Unseen => (spec.project_id.clone(), None),
        };
        let conditions = conditions(readiness, pause);
        FunctionGraphProviderStatus {
            observed_generation: Some(generation),
            endpoint: Some(spec.endpoint.clone().unwrap_or_else(|| regions::endpoint(&spec.region))),
            project_id,
            credential_expiration_time,
            credential_refusal: self.refusal_to_tell(standing),
            conditions: Condition::put(self.previous_conditions(), conditions, generation, clock::now()),
        }
    }

    /// What other replicas must know of a refused credential: the later of what this one was told, and what the status
    /// says.
    fn refusal_to_tell(&self, standing: &Standing) -> Option<CredentialRefusal> {
        if !matches!(standing, Standing::NotReady(Reason::CredentialsInvalid, _)) {
            return None;
        }
        let own = self.context.providers.refused_at(self.key);
        let own =
            own.map(|(secret_resource_version, time)| CredentialRefusal { secret_resource_version, time });
        // What was said of an older state of the Secret does not count any more.
        let said = self.provider.status().and_then(|status| status.credential_refusal.clone());
        let said = said.filter(|said| {
            own.as_ref().is_none_or(|own| own.secret_resource_version == said.secret_resource_version)
        });
        [said, own].into_iter().flatten().max_by_key(|refusal| refusal.time)
    }
}

fn ready_message(access: &Access) -> String {
    match (&access.in_use.not_renewed, access.in_use.expires_at) {
        (None, _) => access.in_use.proof.message(access.project_id()),
        (Some(why), Some(end)) => format!(
            "The credential could not be renewed: {why}. The one in use ends at {end}. The operator tries again until then."
        ),
        (Some(why), None) => {
            format!("The credential could not be renewed: {why}. The operator tries again.")
        }
    }
}

/// `Ready`, and what follows from it for tools that read conditions in the manner of kstatus.
fn conditions(readiness: &Readiness, pause: Option<&Pause>) -> Vec<Condition> {
    let Readiness { status, reason, message } = readiness;
    let also = |type_| Condition::new(type_, ConditionStatus::True, *reason, see_ready(type_));
    let mut conditions = vec![Condition::new(ConditionType::Ready, *status, *reason, message)];
    match reason {
        Reason::ProviderReady => {}
        // What may come by itself, or with the next manifest, is work in progress.
        Reason::SecretNotFound | Reason::EndpointUnreachable | Reason::Throttled => {
            conditions.push(also(ConditionType::Reconciling));
        }
        _ => conditions.push(also(ConditionType::Stalled)),
    }
    conditions.extend(pause.map(|pause| {
        Condition::new(ConditionType::Paused, ConditionStatus::True, Reason::Throttled, &pause.message)
    }));
    conditions
}
