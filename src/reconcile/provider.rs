//! Checks one provider: is its endpoint acceptable, is there a credential, can it be used?

mod check;
mod credential;
mod destination;
mod identity;
mod report;
mod source;

use super::halt::Halt;
use super::{Error, guarded};
use crate::api::provider::{FunctionGraphProviderSpec, ProtocolVersion};
use crate::api::{AnyProvider, ProviderKey, Reason};
use crate::clock;
use crate::context::Context;
use crate::context::grants::Grant;
use crate::context::providers::{Access, Standing};
use crate::credential::{Proof, Step};
use crate::gate::GateLimits;
use crate::kubernetes::{providers, secrets, with_causes};
use credential::Ready;
use destination::Destination;
use functiongraph::{Client, ClientOptions, LoadCaBundle, regions};
use kube::runtime::controller::Action;
use source::unsupported;
use std::sync::Arc;
use std::time::Duration;

/// A provider is not reconciled again sooner than this.
const RECONCILE_DELAY_MIN: Duration = Duration::from_millis(100);

/// How long the watch may lag behind a live read.
const WATCH_DELAY: Duration = Duration::from_secs(1);

/// Requests in flight while a credential could not be checked: few enough not to lock a key, and more than one, so that
/// a single slow function does not hold up the others.
const UNCHECKED_IN_FLIGHT_MAX: u32 = 2;

pub async fn check_provider(watched: AnyProvider, context: Arc<Context>) -> Result<Action, Error> {
    let key = watched.key();
    let checked = guarded(&context, run(&watched, &context, &key)).await;
    if checked.is_err() {
        outdated(&watched, &context, &key);
    }
    checked
}

async fn run(watched: &AnyProvider, context: &Context, key: &ProviderKey) -> Result<Action, Error> {
    let Some(provider) = whole(watched, context, key).await? else {
        // The watch will tell of the deletion, or of the change.
        return Ok(Action::requeue(WATCH_DELAY));
    };
    ProviderCheck { watched, provider: &provider, spec: provider.spec(), context, key }.run().await
}

/// The provider with its CA bundle, which the watch drops. `None` if the API server has it no more, or has a newer one than
/// the watch.
async fn whole(
    watched: &AnyProvider,
    context: &Context,
    key: &ProviderKey,
) -> Result<Option<AnyProvider>, Error> {
    if watched.spec().ca_bundle.is_none() {
        return Ok(Some(watched.clone()));
    }
    let found = providers::ca_bundle(&context.clients.calls, key).await?;
    let same = found.filter(|(edition, _)| *edition == watched.edition());
    Ok(same.map(|(_, ca_bundle)| watched.with_ca_bundle(ca_bundle)))
}

/// The check ended early for an unknown reason. The operator keeps using the credential while it is valid, unless this
/// is another provider or another spec, because an edit by the owner counts at once.
fn outdated(provider: &AnyProvider, context: &Context, key: &ProviderKey) {
    match context.providers.standing(key) {
        Standing::Ready(access) if access.edition() != provider.edition() => {
            let why =
                "The provider was changed, and the operator cannot check it now. It tries again.".into();
            context.providers.not_ready(key, Reason::CredentialsInvalid, why);
        }
        // Perhaps the credential has just expired. From now on the queue does not move.
        Standing::NotReady(reason, why) => context.providers.not_ready(key, reason, why),
        Standing::Ready(_) | Standing::Unseen => {}
    }
}

/// One check of one provider: what every step needs, made once. Its methods are the steps.
#[derive(Clone, Copy)]
struct ProviderCheck<'a> {
    /// The provider as the watch brought it, without its CA bundle.
    watched: &'a AnyProvider,
    provider: &'a AnyProvider,
    spec: &'a FunctionGraphProviderSpec,
    context: &'a Context,
    key: &'a ProviderKey,
}

impl<'a> ProviderCheck<'a> {
    async fn run(&self) -> Result<Action, Error> {
        let Self { provider, context, key, .. } = *self;
        let found = self.access().await;
        // That may take half a minute: a provider that was deleted meanwhile must not come back.
        if context.provider(key).is_none_or(|now| now.meta().uid != provider.meta().uid) {
            context.providers.gone(key);
            return Ok(Action::await_change());
        }
        let check_again = match found {
            Ok(access) => {
                let again = access.in_use.decide_again_in;
                let limits = limits(provider, &access.in_use.proof);
                if !context.providers.ready(key, access, limits) {
                    return Ok(Action::requeue(RECONCILE_DELAY_MIN));
                }
                let try_again = match context.providers.standing(key) {
                    Standing::Ready(access) => check::try_again(context, key, &access).await,
                    Standing::NotReady(..) | Standing::Unseen => None,
                };
                [again, try_again].into_iter().flatten().min()
            }
            Err(Halt::Rest(action)) => return Ok(action),
            Err(Halt::Error(error)) => return Err(error),
            Err(Halt::Wait(reason, message) | Halt::Fail(reason, message)) => {
                context.providers.not_ready(key, reason, message);
                Some(self.retry_in())
            }
        };
        let disputed = self.report().await?;
        context.failures.clear(provider.meta().uid.as_deref().unwrap_or_default());
        let paused = context.providers.paused(key, true);
        let again = [check_again, disputed, paused].into_iter().flatten().min();
        Ok(again.map_or_else(Action::await_change, |rest| Action::requeue(rest.max(RECONCILE_DELAY_MIN))))
    }

    /// When to reconcile a provider that is not ready: a call that is made again does not wait for the Secret's turn.
    fn retry_in(&self) -> Duration {
        let until = match self.context.providers.decide(self.key) {
            Step::Stop(stop) => stop.until,
            Step::LogIn | Step::FindProject(_) | Step::Check(..) | Step::Use(_) => None,
        };
        let rest = until.map(|until| until.saturating_duration_since(clock::monotonic()));
        rest.unwrap_or(Duration::MAX).min(self.context.options.secret_poll()).max(RECONCILE_DELAY_MIN)
    }

    /// The client and a credential that FunctionGraph has accepted.
    async fn access(&self) -> Result<Access, Halt> {
        let spec = self.spec;
        let destination = self.destination("endpoint", spec.endpoint.as_deref(), regions::endpoint)?;
        if spec.protocol_version == ProtocolVersion::Other {
            return Err(unsupported("the protocolVersion in spec"));
        }
        let grant = Grant::of(self.provider).map_err(|error| {
            let why = format!("spec.allowedNamespaces.selector cannot be used: {error}.");
            Halt::Wait(Reason::Unsupported, why)
        })?;
        let client = self.client(destination)?;
        let read_at = clock::monotonic();
        let source = self.source(client.endpoint()).await?;
        let Ready { credential, used, in_use } = self.ready(&source, &client).await?;
        let (provider, ca_bundle) = (self.watched.clone(), name_of_bundle(spec));
        Ok(Access { provider, client, credential, used, in_use, read_at, ca_bundle, grant })
    }

    /// The client for an endpoint, the authorities trusted there and the proxy on the way: the one in use, if it has
    /// the same destination.
    fn client(&self, destination: Destination) -> Result<Client, Halt> {
        let spec = self.spec;
        if let Standing::Ready(old) = self.context.providers.standing(self.key)
            && *old.client.endpoint() == destination.endpoint
            && old.ca_bundle == name_of_bundle(spec)
            && old.spec().proxy == spec.proxy
        {
            return Ok(old.client.clone());
        }
        let options = ClientOptions {
            load_ca_bundle: self.load_ca_bundle(),
            ..destination.options(spec.ca_bundle.as_deref())
        };
        Client::new(destination.endpoint, options).map_err(|error| unusable("endpoint", &error))
    }

    /// Reads the CA bundle again that a client was made with.
    fn load_ca_bundle(&self) -> Option<LoadCaBundle> {
        let made_with = name_of_bundle(self.spec)?;
        let (client, key) = (self.context.clients.calls.clone(), self.key.clone());
        let load = move || {
            let (client, key, made_with) = (client.clone(), key.clone(), made_with.clone());
            async move {
                let found = providers::ca_bundle(&client, &key).await.map_err(|error| with_causes(&error))?;
                let ca_bundle = found.and_then(|(_, ca_bundle)| ca_bundle);
                let same = ca_bundle.filter(|ca_bundle| secrets::name_of(&[ca_bundle]) == made_with);
                same.ok_or_else(|| "the provider has changed".to_owned())
            }
        };
        Some(LoadCaBundle::new(load))
    }

    /// The namespace in which its Secrets are.
    fn home(&self) -> &'a str {
        match self.provider {
            AnyProvider::Namespaced(_) => self.provider.namespace(),
            AnyProvider::Cluster(_) => &self.context.options.own_namespace,
        }
    }
}

/// No client can be made for the endpoint of this field.
fn unusable(field: &str, error: &dyn std::error::Error) -> Halt {
    let why = format!("spec.{field} or spec.caBundle cannot be used: {error}.");
    Halt::Wait(Reason::EndpointRefused, why)
}

fn name_of_bundle(spec: &FunctionGraphProviderSpec) -> Option<String> {
    spec.ca_bundle.as_deref().map(|ca_bundle| secrets::name_of(&[ca_bundle]))
}

fn limits(provider: &AnyProvider, proof: &Proof) -> GateLimits {
    let number = |n: i64| u32::try_from(n).unwrap_or(1);
    let limits = &provider.spec().limits;
    let max_in_flight = number(limits.max_in_flight);
    GateLimits {
        max_requests_per_second: number(limits.max_requests_per_second),
        max_in_flight: match proof {
            Proof::Unchecked { used: false, .. } => max_in_flight.min(UNCHECKED_IN_FLIGHT_MAX),
            Proof::Unchecked { used: true, .. } | Proof::Accepted | Proof::Restricted(_) => max_in_flight,
        },
        shared: matches!(provider, AnyProvider::Cluster(_)),
    }
}
