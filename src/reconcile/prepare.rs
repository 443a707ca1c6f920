//! Everything that can keep an invocation from being sent, found out before anything is claimed.

use super::halt::Halt;
use super::{RETRY_DELAY, Reconcile};
use crate::api::invocation::{CompletionPolicy, FunctionRef, InvocationType, event_version};
use crate::api::provider::ProtocolVersion;
use crate::api::{FunctionInvocationSpec, Reason};
use crate::clock;
use crate::context::providers::Access;
use crate::kubernetes::payload::{self, Event, Found};
use crate::kubernetes::providers;
use crate::lifecycle::decide::changed_event;
use crate::lifecycle::{Target, not_known};
use functiongraph::{FunctionUrn, KeptClient, Kind, Protocol, Qualifier};
use std::sync::Arc;
use std::time::Duration;

/// A credential that is older than this when it is used is read again, so that the operator notices a rotated Secret.
const CREDENTIAL_TTL: Duration = Duration::from_mins(1);

/// The largest event of a `Sync` invocation, as the API server stores it: etcd takes objects of 1.5 MiB, and this leaves
/// room for the metadata and the largest status.
const MAX_SYNC_EVENT_BYTES: usize = 1_400_000;

/// The event of an invocation that gives none.
pub const EMPTY_EVENT: &[u8] = b"{}";

/// Everything about a request that can fail, done before the claim.
pub struct Prepared {
    pub access: Arc<Access>,
    pub urn: FunctionUrn,
    pub kind: Kind,
    /// In which version of the API.
    pub protocol: Protocol,
    /// With how much memory, if not the function's own.
    pub instance_memory_mb: Option<u32>,
    /// The event, if it is not in the object itself.
    pub event: Option<Event>,
    pub event_bytes: usize,
    /// What is claimed: where it goes, and which event.
    pub target: Target,
    /// The client's CA bundle and connections stay in memory until the answer.
    #[expect(dead_code, reason = "it is kept, and not used")]
    pub kept: KeptClient,
}

impl Reconcile<'_> {
    /// Everything that can fail without a trace, before anything is claimed.
    ///
    /// What ends the object was judged by the provider as the API server has it now.
    pub(super) async fn prepare(&self) -> Result<Prepared, Halt> {
        let Some(access) = self.access() else { return Err(Halt::rest(RETRY_DELAY)) };
        let (edition, calls) = (access.edition(), &self.context.clients.calls);
        let prepared = match self.judge(access).await {
            // The watch may not have brought the owner's last edit yet.
            Err(Halt::Fail(..)) if providers::edition(calls, &self.provider).await? != Some(edition) => {
                return Err(Halt::rest(RETRY_DELAY));
            }
            judged => judged?,
        };
        match changed_event(&self.view, &prepared.target.event_version) {
            None => Ok(prepared),
            Some(conclusion) => Err(Halt::Rest(self.conclude(&conclusion).await?)),
        }
    }

    async fn judge(&self, access: Arc<Access>) -> Result<Prepared, Halt> {
        if clock::monotonic().duration_since(access.read_at) > CREDENTIAL_TTL {
            self.context.providers.ask_to_renew(&self.provider);
        }
        let spec = &self.object.spec;
        let urn = self.allowed(&access).await.map_err(|halt| match halt {
            // It was not sent.
            Halt::Fail(reason, why) => {
                Halt::Fail(reason, format!("{why} Create a new FunctionInvocation when this is corrected."))
            }
            halt => halt,
        })?;
        let (kind, protocol) = manner(spec, access.spec().protocol_version)
            .map_err(|message| Halt::Fail(Reason::Unsupported, message))?;
        let instance_memory_mb = spec.instance_memory_mb.and_then(|size| size.try_into().ok());
        let (event, event_version, event_bytes) = self.event_to_send().await?;
        let endpoint = access.client.endpoint().to_string();
        let target = Target { endpoint, urn: urn.to_string(), event_version };
        let kept = access.client.keep().await.map_err(|error| {
            let message =
                format!("The operator cannot use the provider's spec.caBundle now: {error}. It tries again.");
            Halt::Wait(Reason::WaitingForProvider, message)
        })?;
        Ok(Prepared { access, urn, kind, protocol, instance_memory_mb, event, event_bytes, target, kept })
    }

    /// The function, if the provider may be used for it from the object's namespace. The reason why not says nothing of a new
    /// invocation: this one may have been accepted.
    pub(super) async fn allowed(&self, access: &Access) -> Result<FunctionUrn, Halt> {
        let (namespace, calls) = (self.namespace(), &self.context.clients.calls);
        if !self.context.namespaces.admitted(calls, &access.grant, namespace).await? {
            let message = format!(
                "ClusterFunctionGraphProvider {} does not admit the namespace {namespace}. Ask its owner to add the namespace to spec.allowedNamespaces.",
                self.object.spec.provider_ref.name
            );
            return Err(Halt::Fail(Reason::AccessDenied, message));
        }
        urn_of(&self.object.spec.function, access)
            .and_then(|urn| listed(&urn, access).map(|()| urn))
            .map_err(|message| Halt::Fail(Reason::AccessDenied, message))
    }

    /// The event, where it is not in the object itself; what identifies it; and its size in bytes.
    async fn event_to_send(&self) -> Result<(Option<Event>, String, usize), Halt> {
        let unfit = |why: String| {
            let message =
                format!("The payload cannot be sent: {why}. Fix it and create a new FunctionInvocation.");
            Halt::Fail(Reason::InvalidPayload, message)
        };
        let Some(source) = &self.object.spec.payload_from else {
            let Some(payload) = &self.object.spec.payload else {
                return Ok((None, event_version(EMPTY_EVENT), EMPTY_EVENT.len()));
            };
            let digest = payload.digest();
            let is_sync = self.object.spec.invocation_type == InvocationType::Sync;
            let (size, max) = if is_sync {
                (digest.stored_bytes, MAX_SYNC_EVENT_BYTES)
            } else {
                (digest.sent_bytes, payload::MAX_EVENT_BYTES)
            };
            if size > max {
                return Err(unfit(format!("it has {size} bytes, and may have {max}")));
            }
            return Ok((None, digest.version, digest.sent_bytes));
        };
        match payload::fetch(&self.context.clients.calls, self.namespace(), source).await? {
            Found::Event { event, version } => {
                let size = event.len();
                Ok((Some(event), version, size))
            }
            Found::Missing(what) => Err(Halt::Wait(Reason::WaitingForPayload, format!("{what}."))),
            Found::Unfit(why) => Err(unfit(why)),
            Found::Unsupported => {
                Err(Halt::Fail(Reason::Unsupported, not_known("the source in spec.payloadFrom")))
            }
        }
    }
}

/// How FunctionGraph is asked.
///
/// # Errors
/// A sentence on what the provider's version of the API does not know.
fn manner(spec: &FunctionInvocationSpec, version: ProtocolVersion) -> Result<(Kind, Protocol), String> {
    let protocol = match version {
        ProtocolVersion::V2 => Protocol::V2,
        ProtocolVersion::V1 => Protocol::V1,
        ProtocolVersion::Other => return Err(not_known("the provider's protocolVersion")),
    };
    let kind = match spec.invocation_type {
        InvocationType::Async => Kind::Async,
        InvocationType::Sync => Kind::Sync { log_tail: spec.sync.unwrap_or_default().log_tail },
        InvocationType::Reserved => Kind::Reserved,
        InvocationType::Other => return Err(not_known("the value of spec.invocationType")),
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
            "spec.function.urn is in region {} and project {}, but the provider is for region {} and project {}.",
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
        "The provider does not allow the function {short}. Ask its owner to add it to spec.allowedFunctions."
    ))
}

/// Whether `text` matches `pattern`, in which `*` matches any characters.
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
    fn a_star_matches_any_characters() {
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
