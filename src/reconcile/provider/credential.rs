//! Gets a provider's credential ready: carries out what the core decides, until it can be used or must wait.

use super::identity::{CALL_TIMEOUT, NoLogin};
use super::source::{Material, Source};
use super::{ProviderCheck, check};
use crate::api::{Condition, ConditionType, Reason};
use crate::clock;
use crate::credential::{Call, Event, Failure, InUse, Login, Step, Told, Used};
use crate::lifecycle;
use crate::reconcile::answer::LONGEST_RETRY_AFTER;
use crate::reconcile::halt::Halt;
use functiongraph::login::{LoginError, renew_at};
use functiongraph::{Client, Credential};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When to renew a credential of which nobody said when it ends: the shortest that the service makes lives 15 minutes.
const RENEWAL_DEFAULT: SignedDuration = SignedDuration::from_mins(10);

/// A login, a project and a check, twice, because a credential that is refused the first time is renewed once; and as often
/// a decision that changed while the step waited for its turn.
const STEPS_MAX: usize = 12;

/// A provider whose turn did not come is reconciled again after this long, and up to two seconds more by chance.
const TURN_RETRY_DELAY: Duration = Duration::from_secs(1);

/// A provider whose credential has changed again and again meanwhile is reconciled again after this long.
const CHANGING_DELAY: Duration = Duration::from_secs(1);

/// A credential that can be used.
pub struct Ready {
    pub credential: Credential,
    /// The same by name.
    pub used: Used,
    pub in_use: InUse,
}

/// What a call needs.
struct Caller<'a> {
    check: &'a ProviderCheck<'a>,
    source: &'a Source<'a>,
    client: &'a Client,
}

impl ProviderCheck<'_> {
    /// Waits for a credential that FunctionGraph has accepted.
    pub(super) async fn ready(&self, source: &Source<'_>, client: &Client) -> Result<Ready, Halt> {
        let providers = &self.context.providers;
        providers.begin(self.key, &source.name, self.told(source));
        let caller = Caller { check: self, source, client };
        for _ in 0..=STEPS_MAX {
            if let Some(ready) = caller.step(providers.decide(self.key)).await? {
                return Ok(ready);
            }
        }
        Err(Halt::rest(CHANGING_DELAY))
    }

    /// What the provider's status says that another replica, or this one before a restart, was told of this very Secret.
    fn told(&self, source: &Source<'_>) -> Option<Told> {
        let status = self.provider.status()?;
        let refusal = status.credential_refusal.as_ref()?;
        let is_this = Some(&refusal.secret_resource_version) == source.name.resource_version.as_ref()
            && status.observed_generation == self.provider.meta().generation;
        let ready = Condition::find(&status.conditions, ConditionType::Ready)?;
        (is_this && ready.reason == Reason::CredentialsInvalid).then(|| Told {
            message: ready.message.clone(),
            time: refusal.time,
            delay: apart(&self.context.holder),
        })
    }
}

/// Replicas come back to a refused credential one after the other: the first to try says for all what came of it.
fn apart(holder: &str) -> Duration {
    let number = holder.get(..4).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default();
    Duration::from_secs(number % 60)
}

impl Caller<'_> {
    async fn step(&self, step: Step) -> Result<Option<Ready>, Halt> {
        let step = match step {
            Step::Stop(why) => return Err(Halt::Wait(why.reason, why.message)),
            Step::Use(in_use) => {
                let (credential, used) = self.credential(in_use.login)?;
                return Ok(Some(Ready { credential, used, in_use }));
            }
            step @ (Step::LogIn | Step::FindProject(_) | Step::Check(..)) => step,
        };
        let principal = match step {
            Step::FindProject(_) => &self.source.name.project_principal,
            Step::LogIn | Step::Check(..) | Step::Use(_) | Step::Stop(_) => &self.source.name.principal,
        };
        let ProviderCheck { provider, context, key, spec, .. } = *self.check;
        let Some(_turn) = context.providers.turn(&principal.id, provider.namespace()).await else {
            let jitter = Duration::from_millis(clock::chance() % 2000);
            return Err(Halt::rest(TURN_RETRY_DELAY + jitter));
        };
        // Another provider may have found it out meanwhile.
        if context.providers.decide(key) != step {
            return Ok(None);
        }
        let sent = clock::monotonic();
        match step {
            Step::LogIn => self.log_in(sent).await?,
            Step::FindProject(login) => {
                let (credential, used) = self.credential(login)?;
                self.record(&used, sent, self.find_project(&credential).await?);
            }
            Step::Check(login, project) => {
                let (credential, used) = self.credential(login)?;
                let answer = check::ask(self.client, spec.protocol_version, &project, &credential).await;
                self.record(&used, sent, check::event(answer, credential.kind()));
            }
            Step::Stop(_) | Step::Use(_) => {}
        }
        Ok(None)
    }

    async fn log_in(&self, sent: Instant) -> Result<(), Halt> {
        let ProviderCheck { context, key, .. } = *self.check;
        let used = Used { source: Arc::clone(&self.source.name), login: 0 };
        match self.check.log_in(&self.source.material).await {
            Ok(functiongraph::login::Login { credential, expires_at, project_id: project }) => {
                let now = clock::now();
                let default = || now.checked_add(RENEWAL_DEFAULT).unwrap_or(Timestamp::MAX);
                let renew_at = expires_at.map_or_else(default, |end| renew_at(now, end));
                let expires = expires_at.map(tracing::field::display);
                tracing::info!(provider = %key, expires, "logged in");
                let login = Login { credential, expires_at, renew_at, project };
                context.providers.logged_in(key, &used, sent, login);
            }
            Err(NoLogin::Error(error)) => {
                self.record(&used, sent, failed(Call::LogIn, &error));
            }
            Err(NoLogin::Halt(Halt::Wait(reason, message))) => {
                let failure = Failure::Obstacle(reason, message, context.options.secret_poll());
                self.record(&used, sent, Event::Failed(Call::LogIn, failure));
            }
            Err(NoLogin::Halt(halt)) => return Err(halt),
        }
        Ok(())
    }

    /// The id of the project that has the name of the provider's region.
    async fn find_project(&self, credential: &Credential) -> Result<Event, Halt> {
        let iam = self.check.iam()?;
        Ok(match iam.project_id(&self.check.spec.region, credential, clock::now(), CALL_TIMEOUT).await {
            Ok(project) => Event::ProjectFound(project),
            Err(error) => failed(Call::FindProject, &error),
        })
    }

    /// The credential that a login brought, or the one that the source is; and its name.
    fn credential(&self, login: u64) -> Result<(Credential, Used), Halt> {
        let credential = match &self.source.material {
            Material::Credential(credential) => Some(credential.clone()),
            Material::Password { .. }
            | Material::Oidc(_)
            | Material::PodIdentity
            | Material::InstanceMetadata => self.check.context.providers.credential(self.check.key, login),
        };
        // There is none if the provider was deleted meanwhile.
        let rest = || Halt::rest(CHANGING_DELAY);
        let used = Used { source: Arc::clone(&self.source.name), login };
        Ok((credential.ok_or_else(rest)?, used))
    }

    /// Remembers what came of a call, and logs one that did not work.
    fn record(&self, used: &Used, sent: Instant, event: Event) {
        let key = self.check.key;
        match &event {
            Event::ProjectFound(_) | Event::Checked(_) => {}
            Event::Refused(call, why) => {
                tracing::warn!(provider = %key, ?call, why, "a service refused a credential");
            }
            Event::Failed(call, failure) => {
                tracing::warn!(provider = %key, ?call, why = failure.why(), "a call for a credential failed");
            }
        }
        self.check.context.providers.record(key, used, sent, event);
    }
}

/// What a failed call to an identity service means.
fn failed(call: Call, error: &LoginError) -> Event {
    let remedy = match error {
        LoginError::Send(error) => lifecycle::remedy(error.cause()),
        LoginError::Refused { .. }
        | LoginError::NoProject(_)
        | LoginError::SeveralProjects { .. }
        | LoginError::Malformed(_) => "",
    };
    let why = if remedy.is_empty() { error.to_string() } else { format!("{error}.{remedy}") };
    if error.is_of_credential() {
        return Event::Refused(call, why);
    }
    if error.is_refusal() {
        return Event::Failed(call, Failure::Denied(why));
    }
    let asked = match error {
        LoginError::Refused { retry_after, .. } => *retry_after,
        LoginError::NoProject(_)
        | LoginError::SeveralProjects { .. }
        | LoginError::Malformed(_)
        | LoginError::Send(_) => None,
    };
    Event::Failed(call, Failure::Passing(why, asked.map(|asked| asked.min(LONGEST_RETRY_AFTER))))
}
