//! Everything that can keep an invocation from being sent, found out before anything is claimed.

use super::Error;
use super::exchange::Prepared;
use super::object::access_of;
use crate::api::invocation::{CompletionPolicy, FunctionRef, InvocationType, ProviderRef};
use crate::api::provider::{Edition, ProtocolVersion};
use crate::api::{FunctionInvocation, FunctionInvocationSpec, Reason};
use crate::clock;
use crate::context::Context;
use crate::context::providers::{Access, Key};
use crate::kubernetes::payload::{self, Found};
use crate::kubernetes::providers;
use functiongraph::{FunctionUrn, Kind, Protocol, Qualifier};
use kube::ResourceExt;
use std::sync::Arc;
use std::time::Duration;

/// A credential is read again when it is used and older than this, so that a rotated Secret is picked up.
const CREDENTIAL_AGE: Duration = Duration::from_mins(1);

/// What keeps an object from being sent.
pub enum Hindrance {
    /// It may be otherwise at the next look: the provider has just turned away, or was edited.
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
    let edition = access.edition.clone();
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
    let (kind, protocol) = match manner(&object.spec, access.protocol) {
        Ok(manner) => manner,
        Err(message) => return Ok(Err(Hindrance::Never(Reason::Unsupported, message))),
    };
    let instance_memory_mb = object.spec.instance_memory_mb.and_then(|size| size.try_into().ok());
    let mut event = None;
    if let Some(source) = &object.spec.payload_from {
        match payload::fetch(&context.clients.calls, &namespace, source).await? {
            Found::Event(bytes) => event = Some(bytes),
            Found::Missing(what) => {
                return Ok(Err(Hindrance::NotYet(Reason::WaitingForPayload, format!("{what}."))));
            }
            Found::Unfit(why) => {
                let message = format!(
                    "The payload cannot be sent: {why}. Mend it and create a new FunctionInvocation."
                );
                return Ok(Err(Hindrance::Never(Reason::InvalidPayload, message)));
            }
            Found::Unsupported => {
                let message = "This version of the operator does not know the source in spec.payloadFrom: upgrade the operator.";
                return Ok(Err(Hindrance::Never(Reason::Unsupported, message.into())));
            }
        }
    }
    Ok(Ok(Prepared { access, urn, kind, protocol, instance_memory_mb, event }))
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
            "ClusterFunctionGraphProvider {} does not admit the namespace {namespace}: ask its owner for a place in spec.allowedNamespaces, then create a new FunctionInvocation.",
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
            FunctionUrn::new(&access.region, &access.project_id, &package, &name, qualifier)
        })
    };
    let urn = urn.map_err(|error| format!("spec.function: {error}."))?;
    if urn.region() != access.region || urn.project_id() != access.project_id {
        return Err(format!(
            "spec.function.urn is in region {} and project {}, but the provider is for region {} and project {}: use the provider of that project.",
            urn.region(),
            urn.project_id(),
            access.region,
            access.project_id
        ));
    }
    Ok(urn)
}

/// Whether the provider's owner allows the function.
fn listed(urn: &FunctionUrn, access: &Access) -> Result<(), String> {
    let (short, patterns) = (urn.short(), &access.allowed_functions);
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
