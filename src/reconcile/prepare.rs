//! Everything that can keep an invocation from being sent, found out before anything is claimed.

use super::Error;
use super::exchange::Prepared;
use super::object::access_of;
use crate::api::invocation::{CompletionPolicy, FunctionRef, InvocationType, ProviderRef, event_version};
use crate::api::provider::{Edition, ProtocolVersion};
use crate::api::{FunctionInvocation, FunctionInvocationSpec, Reason};
use crate::clock;
use crate::context::Context;
use crate::context::providers::{Access, Key};
use crate::kubernetes::payload::{self, Found};
use crate::kubernetes::providers;
use crate::lifecycle::Target;
use functiongraph::{FunctionUrn, Kind, Protocol, Qualifier};
use kube::ResourceExt;
use std::sync::Arc;
use std::time::Duration;

/// A credential is read again when it is used and older than this, so that a rotated Secret is picked up.
const CREDENTIAL_AGE: Duration = Duration::from_mins(1);

/// The largest event of a `Sync` invocation, as the API server stores it: etcd takes objects of 1.5 MiB, and this leaves
/// room for the metadata and the largest status.
const MOST_SYNC: usize = 1_400_000;

/// The event of an invocation that gives none.
pub const EMPTY: &[u8] = b"{}";

/// What keeps an object from being sent.
pub enum Hindrance {
    /// The provider has just become unusable, or was edited: the next reconcile says why.
    Moment,
    /// It may go away.
    NotYet(Reason, String),
    /// It will not.
    Never(Reason, String),
}

/// Everything that can fail without a trace, before anything is claimed.
///
/// What ends the object was judged by a provider that is still the one that the API server has.
pub async fn prepare(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
) -> Result<Result<Prepared, Hindrance>, Error> {
    let Some(access) = access_of(object, context, provider) else {
        // Nothing else wakes a provider whose credential ended earlier than a timer knew: clocks can jump.
        context.providers.ask_to_renew(provider);
        return Ok(Err(Hindrance::Moment));
    };
    let edition = access.edition();
    match judge(object, context, provider, access).await? {
        // The watch may not have brought yet what its owner has changed.
        Err(Hindrance::Never(..)) if current_edition(object, context).await? != Some(edition) => {
            Ok(Err(Hindrance::Moment))
        }
        judged => Ok(judged),
    }
}

/// The edition of an object's provider that the API server has now.
async fn current_edition(object: &FunctionInvocation, context: &Context) -> Result<Option<Edition>, Error> {
    let ProviderRef { kind, name } = &object.spec.provider_ref;
    let namespace = object.namespace().unwrap_or_default();
    Ok(providers::edition(&context.clients.calls, *kind, &namespace, name).await?)
}

async fn judge(
    object: &FunctionInvocation,
    context: &Context,
    provider: &Key,
    access: Arc<Access>,
) -> Result<Result<Prepared, Hindrance>, Error> {
    if clock::monotonic().duration_since(access.read_at) > CREDENTIAL_AGE {
        context.providers.ask_to_renew(provider);
    }
    let namespace = object.namespace().unwrap_or_default();
    let urn = match allowed(object, context, &access).await? {
        Ok(urn) => urn,
        Err(hindrance) => return Ok(Err(hindrance)),
    };
    let (kind, protocol) = match manner(&object.spec, access.spec().protocol_version) {
        Ok(manner) => manner,
        Err(message) => return Ok(Err(Hindrance::Never(Reason::Unsupported, message))),
    };
    let instance_memory_mb = object.spec.instance_memory_mb.and_then(|size| size.try_into().ok());
    let (event, event_version, event_bytes) = match event_of(object, context, &namespace).await? {
        Ok(event) => event,
        Err(hindrance) => return Ok(Err(hindrance)),
    };
    let endpoint = access.client.endpoint().to_string();
    let target = Target { endpoint, urn: urn.to_string(), event_version };
    Ok(Ok(Prepared { access, urn, kind, protocol, instance_memory_mb, event, event_bytes, target }))
}

/// The event, where it is not in the object itself; what identifies it; and its size in bytes.
type Known = (Option<payload::Event>, String, usize);

async fn event_of(
    object: &FunctionInvocation,
    context: &Context,
    namespace: &str,
) -> Result<Result<Known, Hindrance>, Error> {
    let unfit = |why: String| {
        let message =
            format!("The payload cannot be sent: {why}. Fix it and create a new FunctionInvocation.");
        Hindrance::Never(Reason::InvalidPayload, message)
    };
    let Some(source) = &object.spec.payload_from else {
        let Some(payload) = &object.spec.payload else {
            return Ok(Ok((None, event_version(EMPTY), EMPTY.len())));
        };
        let digest = payload.digest();
        let is_sync = object.spec.invocation_type == InvocationType::Sync;
        let (size, most) =
            if is_sync { (digest.stored_bytes, MOST_SYNC) } else { (digest.sent_bytes, payload::MOST) };
        if size > most {
            return Ok(Err(unfit(format!("it has {size} bytes, and may have {most}"))));
        }
        return Ok(Ok((None, digest.version, digest.sent_bytes)));
    };
    Ok(match payload::fetch(&context.clients.calls, namespace, source).await? {
        Found::Event { event, version } => {
            let size = event.len();
            Ok((Some(event), version, size))
        }
        Found::Missing(what) => Err(Hindrance::NotYet(Reason::WaitingForPayload, format!("{what}."))),
        Found::Unfit(why) => Err(unfit(why)),
        Found::Unsupported => {
            let message = "This version of the operator does not know the source in spec.payloadFrom: upgrade the operator.";
            Err(Hindrance::Never(Reason::Unsupported, message.into()))
        }
    })
}

/// The function that the latest attempt invoked, if the provider still leads to where that went. What was claimed by an
/// older version of the operator does not say where it went, and is taken to have gone to where the provider leads.
///
/// # Errors
/// A sentence on where it went.
pub fn sent_to(object: &FunctionInvocation, access: &Access) -> Result<FunctionUrn, String> {
    let attempt = object.status.as_ref().and_then(|status| status.attempt.as_ref());
    let endpoint = attempt.and_then(|attempt| attempt.endpoint.clone());
    let urn = match attempt.and_then(|attempt| attempt.urn.as_deref()).map(str::parse::<FunctionUrn>) {
        Some(Ok(urn)) => urn,
        Some(Err(_)) | None => urn_of(&object.spec.function, access)?,
    };
    let here = access.client.endpoint().to_string();
    let leads_there = urn.region() == access.spec().region
        && urn.project_id() == access.project_id()
        && endpoint.as_ref().is_none_or(|endpoint| *endpoint == here);
    if leads_there {
        return Ok(urn);
    }
    Err(format!(
        "The request went to {} in region {} and project {}, where provider {} no longer leads.",
        endpoint.as_deref().unwrap_or("the service"),
        urn.region(),
        urn.project_id(),
        object.spec.provider_ref.name
    ))
}

/// How the service is asked; what is in the way of that, if its API of this version does not know it.
fn manner(spec: &FunctionInvocationSpec, version: ProtocolVersion) -> Result<(Kind, Protocol), String> {
    let protocol = match version {
        ProtocolVersion::V2 => Protocol::V2,
        ProtocolVersion::V1 => Protocol::V1,
        ProtocolVersion::Other => return Err("The provider's protocolVersion is not known.".into()),
    };
    let kind = match spec.invocation_type {
        InvocationType::Async => Kind::Async,
        InvocationType::Sync => Kind::Sync { log_tail: spec.sync.unwrap_or_default().log_tail },
        InvocationType::Reserved => Kind::Reserved,
        InvocationType::Other => return Err("The value of spec.invocationType is not known.".into()),
    };
    let unknown = if protocol == Protocol::V2 {
        None
    } else if kind == Kind::Reserved {
        Some("invocationType Reserved")
    } else if spec.completion_policy == CompletionPolicy::Executed {
        Some("completionPolicy Executed")
    } else if spec.instance_memory_mb.is_some() {
        Some("instanceMemoryMB")
    } else {
        None
    };
    match unknown {
        None => Ok((kind, protocol)),
        Some(what) => Err(format!(
            "Version v1.0 of the API, which the provider uses, knows no {what}: create a new FunctionInvocation without it, or one for a provider with protocolVersion v2."
        )),
    }
}

/// The function, if the provider may be used for it from here.
pub async fn allowed(
    object: &FunctionInvocation,
    context: &Context,
    access: &Access,
) -> Result<Result<FunctionUrn, Hindrance>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    if !context.namespaces.admitted(&context.clients.calls, &access.grant, &namespace).await? {
        let message = format!(
            "ClusterFunctionGraphProvider {} does not admit the namespace {namespace}. Ask its owner to add the namespace to spec.allowedNamespaces, then create a new FunctionInvocation.",
            object.spec.provider_ref.name
        );
        return Ok(Err(Hindrance::Never(Reason::AccessDenied, message)));
    }
    Ok(urn_of(&object.spec.function, access)
        .and_then(|urn| listed(&urn, access).map(|()| urn))
        .map_err(|message| Hindrance::Never(Reason::AccessDenied, message)))
}

/// The full name of a function of the provider's project.
///
/// # Errors
/// A sentence on why it has none.
pub fn urn_of(function: &FunctionRef, access: &Access) -> Result<FunctionUrn, String> {
    let or = |field: &Option<String>, default: &str| field.clone().unwrap_or_else(|| default.into());
    let urn = if let Some(text) = &function.urn {
        text.parse::<FunctionUrn>()
    } else {
        or(&function.qualifier, "latest").parse::<Qualifier>().and_then(|qualifier| {
            let (package, name) = (or(&function.package, "default"), or(&function.name, ""));
            FunctionUrn::new(&access.spec().region, access.project_id(), &package, &name, qualifier)
        })
    };
    let urn = urn.map_err(|error| format!("spec.function: {error}."))?;
    if urn.region() != access.spec().region || urn.project_id() != access.project_id() {
        return Err(format!(
            "spec.function.urn is in region {} and project {}, but the provider is for region {} and project {}: use the provider of that project.",
            urn.region(),
            urn.project_id(),
            access.spec().region,
            access.project_id()
        ));
    }
    Ok(urn)
}

/// Whether the provider's owner allows the function.
fn listed(urn: &FunctionUrn, access: &Access) -> Result<(), String> {
    let (short, patterns) = (urn.short(), &access.spec().allowed_functions);
    if patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, &short)) {
        return Ok(());
    }
    Err(format!(
        "The provider does not allow the function {short}: ask its owner to add it to spec.allowedFunctions."
    ))
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let mut last = None;
    for part in parts {
        if let Some(previous) = last.replace(part) {
            let Some(at) = rest.find(previous) else { return false };
            rest = &rest[at + previous.len()..];
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text) in [
            ("*", "default:resize:latest"),
            ("default:*", "default:resize:latest"),
            ("default:resize:*", "default:resize:!prod"),
            ("*:resize:*", "default:resize:latest"),
            ("default:re*ze:latest", "default:resize:latest"),
            ("a*b*a", "abba"),
            ("exact", "exact"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "default:resize:latest"),
            ("default", "default:resize:latest"),
            ("default:resize", "default:resize:latest"),
            ("*:resize", "default:resize:latest"),
            ("a*ba", "aba "),
            ("ab*ba", "aba"),
            ("exact", "exactly"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
