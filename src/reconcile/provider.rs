//! Looks at one provider: is its endpoint acceptable, is there a credential, can it be used?

use super::{Error, guarded};
use crate::api::condition::{Claim, Condition, ConditionStatus, ConditionType};
use crate::api::provider::{Credentials, FunctionGraphProviderSpec, ProtocolVersion, SecretSource};
use crate::api::{AnyProvider, FunctionGraphProviderStatus, Reason};
use crate::clock;
use crate::context::Context;
use crate::context::grants::Grant;
pub use crate::context::providers::Access;
use crate::context::providers::{Key, Standing, key};
use crate::gate::GateLimits;
use crate::kubernetes::{secrets, status};
use functiongraph::addresses::{IpNet, LOCAL_NETWORKS};
use functiongraph::{Client, ClientOptions, Credential, Endpoint, regions};
use kube::runtime::controller::Action;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;

/// A refused credential is tried again after this long even if its Secret did not change: access keys are
/// locked for five minutes after more than five failed authentications in a row (API Gateway FAQ).
const PROBE: Duration = Duration::from_secs(310);

/// One look at a provider.
///
/// # Errors
/// When the API server did not answer.
pub async fn inspect(provider: AnyProvider, context: Arc<Context>) -> Result<Action, Error> {
    guarded(&context, run(&provider, &context)).await
}

/// Why a provider cannot be used.
struct Obstacle(Reason, String);

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
    let result = match destination(provider.spec(), &context.options.allowed_endpoint_hosts) {
        Ok(destination) => match access(provider, context, &key, destination).await {
            Ok(result) => result,
            Err(error) => {
                outdated(provider, context, &key);
                return Err(error);
            }
        },
        Err(obstacle) => Err(obstacle),
    };
    let ready = result.is_ok();
    match result {
        Ok(access) => context.providers.ready(&key, access, limits(provider.spec())),
        Err(Obstacle(reason, message)) => context.providers.not_ready(&key, reason, message),
    }
    report(provider, context, &key).await?;
    context.failures.clear(provider.meta().uid.as_deref().unwrap_or_default());
    Ok(if ready { Action::await_change() } else { Action::requeue(context.options.secret_poll) })
}

/// The Secret could not be read, and nobody knows why. What was known goes on to be used, unless the spec has
/// changed since: the owner's word counts at once.
fn outdated(provider: &AnyProvider, context: &Context, key: &Key) {
    let generation = provider.meta().generation.unwrap_or_default();
    if matches!(context.providers.standing(key), Standing::Ready(access) if access.generation != generation) {
        let why = "The provider was changed, and its Secret cannot be read at the moment.".into();
        context.providers.not_ready(key, Reason::CredentialsInvalid, why);
    }
}

/// Where to send, and which addresses a name must not lead to.
struct Destination {
    endpoint: Endpoint,
    refused_networks: Vec<IpNet>,
}

/// The endpoint to use, if the platform team allows it. A host that fits a suffix only must be a name, and
/// one that leads outside: an entry in somebody's DNS must not bring our credential to the metadata service.
fn destination(spec: &FunctionGraphProviderSpec, allowed: &[String]) -> Result<Destination, Obstacle> {
    let text = spec.endpoint.clone().unwrap_or_else(|| regions::endpoint(&spec.region));
    let refused = |why: String| Obstacle(Reason::EndpointRefused, why);
    let endpoint: Endpoint =
        text.parse().map_err(|error| refused(format!("The endpoint cannot be used: {error}.")))?;
    let host = endpoint.host();
    if allowed.iter().any(|listed| listed == host) {
        return Ok(Destination { endpoint, refused_networks: Vec::new() });
    }
    let fits = |pattern: &String| pattern.starts_with('.') && host.ends_with(pattern.as_str());
    if allowed.iter().any(fits) && !endpoint.host_is_ip() {
        return Ok(Destination { endpoint, refused_networks: LOCAL_NETWORKS.to_vec() });
    }
    Err(refused(format!(
        "The host {host} is not on the operator's list of allowed endpoint hosts. If it should be, add it with --allowed-endpoint-hosts."
    )))
}

/// The client and the credential.
async fn access(
    provider: &AnyProvider,
    context: &Context,
    key: &Key,
    destination: Destination,
) -> Result<Result<Access, Obstacle>, Error> {
    let (spec, namespace) = (provider.spec(), home(provider, context));
    let unsupported = |what: &str| {
        let why = format!("This version of the operator does not know {what}: upgrade the operator.");
        Ok(Err(Obstacle(Reason::Unsupported, why)))
    };
    if spec.protocol_version == ProtocolVersion::Other {
        return unsupported("the protocolVersion in spec");
    }
    let Some((name, kind)) = secret_of(&spec.credentials) else {
        return unsupported("the kind of credential in spec.credentials");
    };
    let grant = match Grant::of(provider) {
        Ok(grant) => grant,
        Err(error) => {
            let why = format!("spec.allowedNamespaces.selector cannot be used: {error}.");
            return Ok(Err(Obstacle(Reason::Unsupported, why)));
        }
    };
    let Some(project_id) = spec.project_id.clone() else {
        let why = "spec.projectID is missing: add it.".into();
        return Ok(Err(Obstacle(Reason::Unsupported, why)));
    };
    let values = match secrets::read(&context.clients.calls, namespace, name).await {
        Ok(Some(values)) => values,
        Ok(None) => {
            let why = format!("Secret {name} does not exist in namespace {namespace}: create it.");
            return Ok(Err(Obstacle(Reason::SecretNotFound, why)));
        }
        Err(error) if error.is_forbidden() => {
            let why = format!(
                "The operator may not read Secret {name} in namespace {namespace}: grant it get on secrets."
            );
            return Ok(Err(Obstacle(Reason::CredentialsInvalid, why)));
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(refusal) = context.providers.refusal(key)
        && refusal.secret_version == values.version
        && clock::monotonic().duration_since(refusal.at) < PROBE
    {
        let why = format!(
            "The service does not accept the credential in Secret {name}: {}. Correct the Secret; it is read again every {} s.",
            refusal.message.trim_end_matches('.'),
            context.options.secret_poll.as_secs()
        );
        return Ok(Err(Obstacle(Reason::CredentialsInvalid, why)));
    }
    let value = |key: &str| {
        values.by_key.get(key).cloned().ok_or_else(|| {
            Obstacle(Reason::CredentialsInvalid, format!("Secret {name} has no key {key}: add it."))
        })
    };
    let credential = match kind {
        Kind::AccessKey => value("accessKeyID").and_then(|id| {
            let token = values.by_key.get("securityToken").cloned();
            Credential::access_key(id.expose_secret(), value("secretAccessKey")?, token)
                .map_err(|error| Obstacle(Reason::CredentialsInvalid, format!("Secret {name}: {error}.")))
        }),
        Kind::Token => value("token").and_then(|token| {
            Credential::token(token)
                .map_err(|error| Obstacle(Reason::CredentialsInvalid, format!("Secret {name}: {error}.")))
        }),
    };
    let made_for = (destination.endpoint.to_string(), spec.ca_bundle.clone());
    let client = client(context, key, destination, &made_for);
    Ok(credential.and_then(|credential| {
        Ok(Access {
            client: client?,
            credential,
            secret_version: values.version,
            read_at: clock::monotonic(),
            made_for,
            generation: provider.meta().generation.unwrap_or_default(),
            region: spec.region.clone(),
            project_id,
            grant,
            allowed_functions: spec.allowed_functions.clone(),
            protocol: spec.protocol_version,
            allow_cancel: spec.allow_cancel,
            lookup_enabled: spec.lookup.enabled,
            exclusive_invoker: spec.lookup.exclusive_invoker,
        })
    }))
}

/// The client for an endpoint and the authorities trusted there: the one in use, if it leads to the same place.
fn client(
    context: &Context,
    key: &Key,
    destination: Destination,
    made_for: &(String, Option<String>),
) -> Result<Client, Obstacle> {
    if let Standing::Ready(old) = context.providers.standing(key)
        && old.made_for == *made_for
    {
        return Ok(old.client.clone());
    }
    let Destination { endpoint, refused_networks } = destination;
    let ca_bundle_pem = made_for.1.clone();
    Client::new(endpoint, ClientOptions { ca_bundle_pem, refused_networks, ..ClientOptions::default() })
        .map_err(|error| {
            let why = format!("spec.endpoint or spec.caBundle cannot be used: {error}.");
            Obstacle(Reason::EndpointRefused, why)
        })
}

/// The kinds of credential.
enum Kind {
    AccessKey,
    Token,
}

fn secret_of(credentials: &Credentials) -> Option<(&str, Kind)> {
    fn name(source: &SecretSource) -> &str {
        &source.secret_ref.name
    }
    match (&credentials.access_key, &credentials.token) {
        (Some(source), None) => Some((name(source), Kind::AccessKey)),
        (None, Some(source)) => Some((name(source), Kind::Token)),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

fn limits(spec: &FunctionGraphProviderSpec) -> GateLimits {
    let number = |n: i64| u32::try_from(n).unwrap_or(1);
    GateLimits {
        max_requests_per_second: number(spec.limits.max_requests_per_second),
        max_in_flight: number(spec.limits.max_in_flight),
    }
}

/// Writes what was found into the provider's status, if it is news.
async fn report(provider: &AnyProvider, context: &Context, key: &Key) -> Result<(), Error> {
    let spec = provider.spec();
    let suspect = context.providers.is_suspect(key);
    let refused = |access: &Access| {
        context.providers.refusal(key).filter(|refusal| refusal.secret_version == access.secret_version)
    };
    let (status, reason, message) = match context.providers.standing(key) {
        Standing::Ready(_) if suspect => (
            ConditionStatus::False,
            Reason::EndpointUnreachable,
            format!(
                "The endpoint did not answer several times in a row; the last time: {}. Nothing is sent for a while, then one request tries it.",
                context.providers.last_trouble(key).trim_end_matches('.')
            ),
        ),
        Standing::Ready(access) if refused(&access).is_some() => (
            ConditionStatus::False,
            Reason::CredentialsInvalid,
            "The service did not accept the credential; it is tried once more.".to_owned(),
        ),
        Standing::Ready(_) => {
            (ConditionStatus::True, Reason::ProviderReady, "Endpoint and credential are in place.".to_owned())
        }
        Standing::NotReady(reason, message) => (ConditionStatus::False, reason, message),
        Standing::Unseen => return Ok(()),
    };
    let claim = |type_, status| Claim { type_, status, reason, message: message.clone() };
    let mut claims = vec![claim(ConditionType::Ready, status)];
    match reason {
        Reason::ProviderReady => {}
        // What may come by itself, or with the next manifest, is work in progress for kstatus.
        Reason::SecretNotFound | Reason::EndpointUnreachable => {
            claims.push(claim(ConditionType::Reconciling, ConditionStatus::True));
        }
        _ => claims.push(claim(ConditionType::Stalled, ConditionStatus::True)),
    }
    let previous = provider.status().cloned().unwrap_or_default();
    let generation = provider.meta().generation.unwrap_or_default();
    let next = FunctionGraphProviderStatus {
        observed_generation: Some(generation),
        endpoint: Some(spec.endpoint.clone().unwrap_or_else(|| regions::endpoint(&spec.region))),
        project_id: match context.providers.standing(key) {
            Standing::Ready(access) => Some(access.project_id.clone()),
            Standing::NotReady(..) | Standing::Unseen => spec.project_id.clone(),
        },
        credential_expiration_time: None,
        conditions: Condition::put(&previous.conditions, claims, generation, clock::now()),
    };
    let current = previous.observed_generation == Some(generation);
    // Asked first: what is found must be remembered even where another replica has written the same already.
    let news = context.providers.is_news(key, generation, reason, &message);
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
