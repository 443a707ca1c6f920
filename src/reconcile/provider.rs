//! Looks at one provider: is its endpoint acceptable, is there a credential, can it be used?

mod check;
mod credential;
mod destination;
mod identity;
mod source;

use super::halt::Halt;
use super::{Error, guarded};
use crate::api::condition::{Condition, ConditionStatus, ConditionType, ConditionUpdate, fitting};
use crate::api::provider::{CredentialRefusal, FunctionGraphProviderSpec, ProtocolVersion};
use crate::api::{AnyProvider, FunctionGraphProviderStatus, Reason};
use crate::clock;
use crate::context::Context;
use crate::context::grants::Grant;

use crate::context::providers::{Access, Key, Standing, key};
use crate::credential::{Proof, Step};
use crate::gate::GateLimits;
use crate::kubernetes::{providers, secrets, status};
use crate::lifecycle::{self, later};
use credential::Ready;
use destination::{Destination, destination};
use functiongraph::{Client, ClientOptions, LoadCaBundle, regions};
use kube::runtime::controller::Action;
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

/// One look at a provider.
///
/// # Errors
/// When the API server did not answer.
pub async fn inspect(provider: AnyProvider, context: Arc<Context>) -> Result<Action, Error> {
    let looked = guarded(&context, run(&provider, &context)).await;
    if looked.is_err() {
        outdated(&provider, &context, &key_of(&provider));
    }
    looked
}

/// The name of a provider as this process uses it.
#[must_use]
pub fn key_of(provider: &AnyProvider) -> Key {
    let meta = provider.meta();
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    key(provider.kind(), &text(&meta.namespace), &text(&meta.name))
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
    let found = access(&whole, context, &key).await;
    // That may take half a minute: a provider that was deleted meanwhile must not come back.
    if !is_there(provider, context) {
        context.providers.gone(&key);
        return Ok(Action::await_change());
    }
    let look_again = match found {
        Ok(access) => {
            let again = access.in_use.decide_again_in;
            let limits = limits(provider.spec(), &access.in_use.proof);
            context.providers.ready(&key, access, limits);
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
    let look_again = [look_again, context.providers.disagreement(&key), paused].into_iter().flatten().min();
    Ok(look_again.map_or_else(Action::await_change, Action::requeue))
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
fn retry_in(context: &Context, key: &Key) -> Duration {
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

/// The look did not come to an end, and nobody knows why. What was known goes on to be used while it is good, unless
/// this is another provider or another spec: the owner's word counts at once.
fn outdated(provider: &AnyProvider, context: &Context, key: &Key) {
    match context.providers.standing(key) {
        Standing::Ready(access) if access.edition() != provider.edition() => {
            let why = "The provider was changed, and cannot be looked at at the moment.".into();
            context.providers.not_ready(key, Reason::CredentialsInvalid, why);
        }
        // Perhaps because the credential has just ended: the line stands still from now on.
        Standing::NotReady(reason, why) => context.providers.not_ready(key, reason, why),
        Standing::Ready(_) | Standing::Unseen => {}
    }
}

/// The client and a credential that FunctionGraph has accepted.
async fn access(provider: &AnyProvider, context: &Context, key: &Key) -> Result<Access, Halt> {
    let spec = provider.spec();
    let derived = || regions::endpoint(&spec.region);
    let place = destination("endpoint", spec.endpoint.as_deref(), derived, &context.options.reach)?;
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
    let ca_bundle = name_of_bundle(spec);
    // The client reads the bundle again when it needs it.
    let provider = match ca_bundle {
        Some(_) => provider.with_ca_bundle(Some(String::new())),
        None => provider.clone(),
    };
    Ok(Access { provider, client, credential, used, in_use, read_at, ca_bundle, grant })
}

/// The client for an endpoint and the authorities trusted there: the one in use, if it leads to the same place.
fn client(provider: &AnyProvider, context: &Context, key: &Key, place: Destination) -> Result<Client, Halt> {
    let spec = provider.spec();
    if let Standing::Ready(old) = context.providers.standing(key)
        && *old.client.endpoint() == place.endpoint
        && old.ca_bundle == name_of_bundle(spec)
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
            let ca_bundle = found.map_err(|error| error.to_string())?.and_then(|(_, ca_bundle)| ca_bundle);
            let same = ca_bundle.filter(|ca_bundle| secrets::name_of(&[ca_bundle]) == made_with);
            same.ok_or_else(|| "the provider has changed".to_owned())
        }
    };
    Some(LoadCaBundle::new(load))
}

fn name_of_bundle(spec: &FunctionGraphProviderSpec) -> Option<String> {
    spec.ca_bundle.as_deref().map(|ca_bundle| secrets::name_of(&[ca_bundle]))
}

fn limits(spec: &FunctionGraphProviderSpec, proof: &Proof) -> GateLimits {
    let number = |n: i64| u32::try_from(n).unwrap_or(1);
    let max_in_flight = number(spec.limits.max_in_flight);
    GateLimits {
        max_requests_per_second: number(spec.limits.max_requests_per_second),
        max_in_flight: match proof {
            Proof::Unchecked { used: false, .. } => max_in_flight.min(UNCHECKED_IN_FLIGHT_MAX),
            Proof::Unchecked { used: true, .. } | Proof::Accepted | Proof::Restricted(_) => max_in_flight,
        },
    }
}

/// Writes what was found into the provider's status, if it is news.
async fn report(provider: &AnyProvider, context: &Context, key: &Key) -> Result<(), Error> {
    let spec = provider.spec();
    let suspect = context.providers.is_suspect(key);
    let (status, reason, message) = match context.providers.standing(key) {
        Standing::Ready(_) if suspect => (ConditionStatus::False, Reason::EndpointUnreachable, {
            let trouble = context.providers.last_trouble(key);
            let trouble = trouble.trim_end_matches('.');
            let remedy = lifecycle::remedy(trouble);
            format!(
                "The endpoint did not answer several times in a row; the last time: {trouble}.{remedy} Nothing is sent for a while; then the operator tries it with one request."
            )
        }),
        Standing::Ready(access) => {
            let message = match (&access.in_use.not_renewed, access.in_use.expires_at) {
                (None, _) => access.in_use.proof.message(),
                (Some(why), Some(end)) => format!(
                    "The credential could not be renewed: {why}. The one in use ends at {end}; it is tried again until then."
                ),
                (Some(why), None) => {
                    format!("The credential could not be renewed: {why}. It is tried again.")
                }
            };
            (ConditionStatus::True, Reason::ProviderReady, message)
        }
        Standing::NotReady(reason, message) => (ConditionStatus::False, reason, message),
        Standing::Unseen => return Ok(()),
    };
    let told = provider
        .status()
        .is_some_and(|status| Condition::find(&status.conditions, ConditionType::Paused).is_some());
    let paused = context.providers.paused(key, told).map(|rest| {
        let until = later(context.now(), rest);
        let message = format!(
            "FunctionGraph throttles this provider. The operator sends nothing through it until {}.",
            until.strftime("%H:%M:%S UTC")
        );
        // A pause that became longer is news, and a second more or less is none.
        (message, until.as_second() / 10)
    });
    // An Event and the log say it too.
    let message = fitting(&message);
    let claim = |type_, status| ConditionUpdate { type_, status, reason, message: message.clone() };
    let mut claims = vec![claim(ConditionType::Ready, status)];
    match reason {
        Reason::ProviderReady => {}
        // What may come by itself, or with the next manifest, is work in progress for kstatus.
        Reason::SecretNotFound | Reason::EndpointUnreachable | Reason::Throttled => {
            claims.push(claim(ConditionType::Reconciling, ConditionStatus::True));
        }
        _ => claims.push(claim(ConditionType::Stalled, ConditionStatus::True)),
    }
    let pause = paused.as_ref().map(|(_, until)| *until);
    claims.extend(paused.map(|(message, _)| ConditionUpdate {
        type_: ConditionType::Paused,
        status: ConditionStatus::True,
        reason: Reason::Throttled,
        message,
    }));
    let previous = provider.status().cloned().unwrap_or_default();
    let generation = provider.meta().generation.unwrap_or_default();
    let (project_id, credential_expiration_time) = match context.providers.standing(key) {
        Standing::Ready(access) => (Some(access.in_use.project.clone()), access.in_use.expires_at),
        Standing::NotReady(..) | Standing::Unseen => (spec.project_id.clone(), None),
    };
    let credential_refusal = refusal_to_tell(provider, context, key);
    let refused_at = credential_refusal.as_ref().map(|refusal| refusal.time);
    let next = FunctionGraphProviderStatus {
        observed_generation: Some(generation),
        endpoint: Some(spec.endpoint.clone().unwrap_or_else(|| regions::endpoint(&spec.region))),
        project_id,
        credential_expiration_time,
        credential_refusal,
        conditions: Condition::put(&previous.conditions, claims, generation, clock::now()),
    };
    let current = previous.observed_generation == Some(generation);
    let said = Condition::find(&previous.conditions, ConditionType::Ready).map(|c| (c.status, c.reason));
    let differs = current && said != Some((status, reason));
    // Asked first: what is found must be remembered even where another replica has written the same already.
    let found =
        (generation, reason, format!("{message}{pause:?}"), credential_expiration_time.or(refused_at));
    let news = context.providers.is_news(key, found, differs);
    if next == previous || (current && !news) {
        return Ok(());
    }
    if let Err(error) = status::write_provider(&context.clients.calls, provider, &next).await {
        context.providers.not_reported(key);
        return Err(error.into());
    }
    let turned =
        Condition::find(&previous.conditions, ConditionType::Ready).map(|c| c.reason) != Some(reason);
    if turned {
        context.tell(|| provider.object_ref(), reason, &message);
        tracing::info!(provider = %key, reason = reason.as_str(), message, "provider");
    }
    Ok(())
}

/// What other replicas shall know of a refused credential: the later of what this one was told, and what stands there.
fn refusal_to_tell(provider: &AnyProvider, context: &Context, key: &Key) -> Option<CredentialRefusal> {
    let stands = provider.status().and_then(|status| status.credential_refusal.clone());
    match context.providers.standing(key) {
        Standing::NotReady(Reason::CredentialsInvalid, _) => {
            let own = context.providers.refused_at(key);
            let own = own
                .map(|(secret_resource_version, time)| CredentialRefusal { secret_resource_version, time });
            [stands, own].into_iter().flatten().max_by_key(|refusal| refusal.time)
        }
        Standing::NotReady(..) | Standing::Ready(_) | Standing::Unseen => None,
    }
}
