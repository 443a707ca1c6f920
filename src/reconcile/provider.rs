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
use crate::api::{AnyProvider, Reason};
use crate::clock;
use crate::context::Context;
use crate::context::grants::Grant;

use crate::context::providers::{Access, ProviderKey, Standing};
use crate::credential::{Proof, Step};
use crate::gate::GateLimits;
use crate::kubernetes::{providers, secrets, with_causes};
use credential::Ready;
use destination::{Destination, destination};
use functiongraph::{Client, ClientOptions, LoadCaBundle, regions};
use kube::runtime::controller::Action;
use report::report;
use source::{source, unsupported};
use std::sync::Arc;
use std::time::Duration;

/// A provider is not reconciled again sooner than this.
const RECONCILE_DELAY_MIN: Duration = Duration::from_millis(100);

/// How long the watch may lag behind a live read.
const WATCH_DELAY: Duration = Duration::from_secs(1);

/// Requests in flight while a credential could not be checked: few enough not to lock a key, and more than one, so that
/// a single slow function does not hold up the others.
const UNCHECKED_IN_FLIGHT_MAX: u32 = 2;

/// One check of a provider.
pub async fn check_provider(provider: AnyProvider, context: Arc<Context>) -> Result<Action, Error> {
    let checked = guarded(&context, run(&provider, &context)).await;
    if checked.is_err() {
        outdated(&provider, &context, &key_of(&provider));
    }
    checked
}

/// The name of a provider as this process uses it.
pub fn key_of(provider: &AnyProvider) -> ProviderKey {
    let meta = provider.meta();
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    ProviderKey::new(provider.kind(), &text(&meta.namespace), &text(&meta.name))
}

/// The namespace in which its Secrets are.
fn home<'a>(provider: &'a AnyProvider, context: &'a Context) -> &'a str {
    match provider {
        AnyProvider::Namespaced(own) => own.metadata.namespace.as_deref().unwrap_or_default(),
        AnyProvider::Cluster(_) => &context.options.own_namespace,
    }
}

async fn run(provider: &AnyProvider, context: &Context) -> Result<Action, Error> {
    let key = key_of(provider);
    let Some(whole) = whole(provider, context).await? else {
        // The watch will tell of the deletion, or of the change.
        return Ok(Action::requeue(WATCH_DELAY));
    };
    let found = access(provider, &whole, context, &key).await;
    // That may take half a minute: a provider that was deleted meanwhile must not come back.
    if !is_there(provider, context) {
        context.providers.gone(&key);
        return Ok(Action::await_change());
    }
    let check_again = match found {
        Ok(access) => {
            let again = access.in_use.decide_again_in;
            let limits = limits(provider, &access.in_use.proof);
            if !context.providers.ready(&key, access, limits) {
                return Ok(Action::requeue(RECONCILE_DELAY_MIN));
            }
            let try_again = match context.providers.standing(&key) {
                Standing::Ready(access) => check::try_again(context, &key, &access).await,
                Standing::NotReady(..) | Standing::Unseen => None,
            };
            [again, try_again].into_iter().flatten().min()
        }
        Err(Halt::Rest(action)) => return Ok(action),
        Err(Halt::Error(error)) => return Err(error),
        Err(Halt::Wait(reason, message) | Halt::Fail(reason, message)) => {
            context.providers.not_ready(&key, reason, message);
            Some(retry_in(context, &key))
        }
    };
    report(provider, context, &key).await?;
    context.failures.clear(provider.meta().uid.as_deref().unwrap_or_default());
    let paused = context.providers.paused(&key, true);
    let check_again = [check_again, context.providers.disagreement(&key), paused].into_iter().flatten().min();
    Ok(check_again.map_or_else(Action::await_change, Action::requeue))
}

/// The provider with its CA bundle, which the watch drops. `None` if the API server has it no more, or has a newer one than
/// the watch.
async fn whole(provider: &AnyProvider, context: &Context) -> Result<Option<AnyProvider>, Error> {
    if provider.spec().ca_bundle.is_none() {
        return Ok(Some(provider.clone()));
    }
    let meta = provider.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let found = providers::ca_bundle(&context.clients.calls, provider.kind(), namespace, name).await?;
    let same = found.filter(|(edition, _)| *edition == provider.edition());
    Ok(same.map(|(_, ca_bundle)| provider.with_ca_bundle(ca_bundle)))
}

/// When to reconcile a provider that is not ready: a call that is made again does not wait for the Secret's turn.
fn retry_in(context: &Context, key: &ProviderKey) -> Duration {
    let until = match context.providers.decide(key) {
        Step::Stop(stop) => stop.until,
        Step::LogIn | Step::FindProject(_) | Step::Check(..) | Step::Use(_) => None,
    };
    let rest = until.map(|until| until.saturating_duration_since(clock::monotonic()));
    rest.unwrap_or(Duration::MAX).min(context.options.secret_poll).max(RECONCILE_DELAY_MIN)
}

/// Whether the API server still has this very provider, as far as the watch knows.
fn is_there(provider: &AnyProvider, context: &Context) -> bool {
    let meta = provider.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let now = context.provider(provider.kind(), namespace, meta.name.as_deref().unwrap_or_default());
    now.is_some_and(|now| now.meta().uid == meta.uid)
}

/// The check ended early for an unknown reason. The operator keeps using the credential while it is valid, unless this
/// is another provider or another spec, because an edit by the owner counts at once.
fn outdated(provider: &AnyProvider, context: &Context, key: &ProviderKey) {
    match context.providers.standing(key) {
        Standing::Ready(access) if access.edition() != provider.edition() => {
            let why =
                "The provider was changed, and the operator cannot check it at the moment. Retrying.".into();
            context.providers.not_ready(key, Reason::CredentialsInvalid, why);
        }
        // Perhaps the credential has just expired. From now on the queue does not move.
        Standing::NotReady(reason, why) => context.providers.not_ready(key, reason, why),
        Standing::Ready(_) | Standing::Unseen => {}
    }
}

/// The client and a credential that FunctionGraph has accepted. `watched` is the same provider without its CA bundle, which
/// the client reads again when it needs it.
async fn access(
    watched: &AnyProvider,
    provider: &AnyProvider,
    context: &Context,
    key: &ProviderKey,
) -> Result<Access, Halt> {
    let spec = provider.spec();
    let derived = || regions::endpoint(&spec.region);
    let reach = &context.options.reach;
    let place = destination("endpoint", spec.endpoint.as_deref(), derived, reach)?;
    let place = place.through(spec.proxy.as_ref(), reach)?;
    if spec.protocol_version == ProtocolVersion::Other {
        return Err(unsupported("the protocolVersion in spec"));
    }
    let grant = Grant::of(provider).map_err(|error| {
        let why = format!("spec.allowedNamespaces.selector cannot be used: {error}.");
        Halt::Wait(Reason::Unsupported, why)
    })?;
    let client = client(provider, context, key, place)?;
    let read_at = clock::monotonic();
    let source = source(provider, context, client.endpoint()).await?;
    let Ready { credential, used, in_use } =
        credential::ready(provider, context, key, &source, &client).await?;
    let (provider, ca_bundle) = (watched.clone(), name_of_bundle(spec));
    Ok(Access { provider, client, credential, used, in_use, read_at, ca_bundle, grant })
}

/// The client for an endpoint, the authorities trusted there and the proxy on the way: the one in use, if it leads to
/// the same place.
fn client(
    provider: &AnyProvider,
    context: &Context,
    key: &ProviderKey,
    place: Destination,
) -> Result<Client, Halt> {
    let spec = provider.spec();
    if let Standing::Ready(old) = context.providers.standing(key)
        && *old.client.endpoint() == place.endpoint
        && old.ca_bundle == name_of_bundle(spec)
        && old.spec().proxy == spec.proxy
    {
        return Ok(old.client.clone());
    }
    let options = ClientOptions {
        load_ca_bundle: load_ca_bundle(provider, context),
        ..place.options(spec.ca_bundle.as_deref())
    };
    Client::new(place.endpoint, options).map_err(|error| {
        let why = format!("spec.endpoint or spec.caBundle cannot be used: {error}.");
        Halt::Wait(Reason::EndpointRefused, why)
    })
}

/// Reads the CA bundle again that a client was made with.
fn load_ca_bundle(provider: &AnyProvider, context: &Context) -> Option<LoadCaBundle> {
    let made_with = name_of_bundle(provider.spec())?;
    let (client, kind) = (context.clients.calls.clone(), provider.kind());
    let meta = provider.meta();
    let (namespace, name) =
        (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let load = move || {
        let (client, made_with) = (client.clone(), made_with.clone());
        let (namespace, name) = (namespace.clone(), name.clone());
        async move {
            let found = providers::ca_bundle(&client, kind, &namespace, &name).await;
            let ca_bundle = found.map_err(|error| with_causes(&error))?.and_then(|(_, ca_bundle)| ca_bundle);
            let same = ca_bundle.filter(|ca_bundle| secrets::name_of(&[ca_bundle]) == made_with);
            same.ok_or_else(|| "the provider has changed".to_owned())
        }
    };
    Some(LoadCaBundle::new(load))
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
