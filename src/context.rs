//! What the shell needs to do its work, in one place: clients, memory, providers, metrics.

pub mod failures;
pub mod followed;
pub mod grants;
pub mod journal;
pub mod lookups;
pub mod memory;
pub mod notices;
pub mod providers;

pub use functiongraph::Carrier;

use crate::api::invocation::{ProviderKind, ProviderRef};
use crate::api::provider::ProtocolVersion;
use crate::api::{
    AnyProvider, ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionInvocation, Reason,
};
use crate::args::HostPattern;
use crate::clock;
use crate::kubernetes::Clients;
use crate::kubernetes::events::Events;
use crate::kubernetes::scope::Scope;
use crate::lifecycle::{Call, Resolution, State, View, resolve};
use crate::members::{Duty, Members};
use crate::metrics::Metrics;
use crate::traces::Traces;
use failures::Failures;
use followed::Followed;
use functiongraph::addresses::IpNet;
use futures::{Stream, stream};
use grants::Namespaces;
use jiff::Timestamp;
use journal::Journal;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::reflector::{ObjectRef, Store};
use lookups::Lookups;
use memory::EventMemory;
use notices::{Notices, WaitNotices};
use providers::{ProviderKey, Providers};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The object of an invocation: which one, by its uid, and where to find it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Owner {
    /// The owner that an object is.
    #[must_use]
    pub fn of(object: &FunctionInvocation) -> Self {
        let metadata = &object.metadata;
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }
}

/// One attempt of an invocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId {
    /// The object.
    pub owner: Owner,
    /// The attempt's number; 1 for the first.
    pub number: i64,
}

impl AttemptId {
    /// Attempt `number` of an object.
    #[must_use]
    pub fn of(object: &FunctionInvocation, number: i64) -> Self {
        Self { owner: Owner::of(object), number }
    }
}

/// The key of the provider that an object names.
#[must_use]
pub fn provider_key(object: &FunctionInvocation) -> ProviderKey {
    let ProviderRef { kind, name } = &object.spec.provider_ref;
    ProviderKey::new(*kind, object.metadata.namespace.as_deref().unwrap_or_default(), name)
}

/// One process of the operator.
pub struct Context {
    /// The API server.
    pub clients: Clients,
    /// This process: 128 random bits, new at every start, so that a restarted process never takes its
    /// predecessor's claims for its own.
    pub holder: String,
    /// The processes that share the work.
    pub members: watch::Sender<Members>,
    /// What this process alone knows.
    pub journal: Journal,
    /// The executions that it follows.
    pub followed: Followed,
    /// What it has learned of ambiguous attempts.
    pub lookups: Lookups,
    /// The providers: whether they can be used, and how fast.
    pub providers: Arc<Providers>,
    /// The providers as the API server has them.
    pub provider_store: Store<FunctionGraphProvider>,
    /// The cluster-scoped providers; `None` where the operator serves only some namespaces.
    pub cluster_provider_store: Option<Store<ClusterFunctionGraphProvider>>,
    /// Which namespaces a cluster-scoped provider admits.
    pub namespaces: Namespaces,
    /// Explanations for people.
    pub events: Events,
    /// How many objects may still say that they are queued.
    pub queue_notices: WaitNotices,
    /// How many objects may still be told in an Event that they wait for their provider.
    pub waiting_events: WaitNotices,
    /// What it has said of each object that waits.
    pub notices: Notices,
    /// Held while an annotation `Accepted:<id>` is checked and written, so that two objects never get the same request id.
    pub resolving: tokio::sync::Mutex<()>,
    /// Memory for events on their way.
    pub event_memory: EventMemory,
    /// Numbers for machines.
    pub metrics: Metrics,
    /// One span for each attempt, if somebody wants them.
    pub traces: Traces,
    /// How often in a row an object could not be worked on.
    pub failures: Failures,
    /// Cancelled when the process shall end: nothing is claimed any more.
    pub draining: CancellationToken,
    /// The part of the operator that ended before it was time, if one did.
    pub broken: OnceLock<&'static str>,
    /// What the platform team decided.
    pub options: Options,
}

/// What the platform team decided with the operator's flags.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where providers may lead.
    pub reach: Reach,
    /// Where the operator works.
    pub scope: Scope,
    /// The operator's own namespace, where the Secrets of cluster-scoped providers are.
    pub own_namespace: String,
    /// How often the Secret of a provider that is not ready is read again.
    pub secret_poll: Duration,
    /// The audience that tokens of a ServiceAccount are made for; none are made without.
    pub token_audience: Option<String>,
    /// The folder of projected tokens that cluster-scoped providers may name; none are read without.
    pub token_folder: Option<PathBuf>,
    /// What the operator itself is to the cloud, and who may use that.
    pub own_identity: OwnIdentity,
    /// Whether a 503 that does not carry a code of the service leaves it open if it was accepted.
    pub strict_503: bool,
    /// Whether an object is marked with its uid before its first claim: a second API write for each.
    pub restore_guard: bool,
    /// Whether an accepted invocation gets an Event: a third API write for each.
    pub events_on_success: bool,
}

/// Where providers may lead.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Hosts that an endpoint may name.
    pub allowed_hosts: Vec<HostPattern>,
    /// Networks that no endpoint may lead to, unless its host is listed as it is.
    pub refused_networks: Vec<IpNet>,
    /// Carries requests to FunctionGraph another way than over the network.
    pub carrier: Option<Carrier>,
}

/// What the operator itself is to the cloud: every provider that uses it acts as the operator.
#[derive(Clone, Debug)]
pub struct OwnIdentity {
    /// The providers that may use it: `namespace/name`, or `name` for one of the cluster.
    pub providers: Vec<String>,
    /// Where CCE hands out the keys of the operator's Pod.
    pub pod_identity_url: Option<String>,
    /// The file with what the Pod shows there.
    pub pod_identity_token_file: Option<PathBuf>,
    /// Where the metadata of the operator's node are.
    pub metadata_url: String,
}

impl Context {
    /// An item for each change of what this process owns.
    pub fn shares(&self) -> impl Stream<Item = ()> + Send + use<> {
        stream::unfold(self.members.subscribe(), |mut members| async {
            members.changed().await.ok()?;
            Some(((), members))
        })
    }

    /// Whether this process owns something: an object by its uid, what belongs to a provider by the provider's name.
    pub fn duty(&self, what: &str) -> Duty {
        self.members.borrow().duty(what, clock::monotonic())
    }

    /// Whether this process owns an object. One member checks all annotations that name the same request id, so that no two objects
    /// get it. One member follows all executions of a provider, because a page of FunctionGraph's list tells of many.
    pub fn duty_of(&self, object: &FunctionInvocation) -> Duty {
        let view = View::of(object, false);
        if let Some(Call::Act(Resolution::Accepted(id))) = resolve::call(&view) {
            return self.duty(&id);
        }
        match State::of(view.status) {
            State::Accepted => self.duty(&provider_key(object)),
            _ => self.duty(view.uid),
        }
    }

    /// The time by which statuses are written and judged: the API server's.
    pub fn now(&self) -> Timestamp {
        self.clients.time.now()
    }

    /// Forgets what it remembers of objects that are not there any more.
    pub fn prune(&self, is_there: impl Fn(&str) -> bool, now: Instant) {
        self.providers.prune(&is_there, now);
        self.journal.prune(&is_there);
        self.lookups.prune(&is_there);
        self.notices.prune(&is_there);
        self.failures.prune(now);
    }

    /// What the core needs to know of an object.
    pub fn view<'a>(&self, object: &'a FunctionInvocation) -> View<'a> {
        // There is a list in v2 only.
        let listed = self.provider_of(object).is_some_and(|provider| {
            let spec = provider.spec();
            spec.lookup.enabled && spec.protocol_version == ProtocolVersion::V2
        });
        View::of(object, listed)
    }

    /// Whether the provider that an object names exists.
    pub fn knows_provider(&self, object: &FunctionInvocation) -> bool {
        self.provider_of(object).is_some()
    }

    /// The provider that an object names, as the watch last brought it.
    pub fn provider_of(&self, object: &FunctionInvocation) -> Option<AnyProvider> {
        let ProviderRef { kind, name } = &object.spec.provider_ref;
        self.provider(*kind, object.metadata.namespace.as_deref().unwrap_or_default(), name)
    }

    /// A provider, as the watch last brought it.
    pub fn provider(&self, kind: ProviderKind, namespace: &str, name: &str) -> Option<AnyProvider> {
        match kind {
            ProviderKind::FunctionGraphProvider => {
                let found = self.provider_store.get(&ObjectRef::new(name).within(namespace))?;
                Some(AnyProvider::Namespaced(found))
            }
            ProviderKind::ClusterFunctionGraphProvider => {
                let found = self.cluster_provider_store.as_ref()?.get(&ObjectRef::new(name))?;
                Some(AnyProvider::Cluster(found))
            }
            ProviderKind::Other => None,
        }
    }

    /// Publishes an Event if the reason is one that a person should hear of. Throttling and queueing are not: under
    /// pressure an Event for each object would be pressure too. For the same reason only a few objects a second are told
    /// that they wait for their provider.
    pub fn tell(&self, about: impl FnOnce() -> ObjectReference, reason: Reason, note: &str) {
        let about = about();
        let namespace = about.namespace.as_deref().unwrap_or_default();
        let warning = match reason {
            Reason::Accepted | Reason::Executed if self.options.events_on_success => false,
            Reason::Accepted
            | Reason::Executed
            | Reason::Running
            | Reason::LookingUp
            | Reason::Progressing
            | Reason::Throttled
            | Reason::BackingOff
            | Reason::Queued
            | Reason::Suspended => return,
            Reason::WaitingForProvider if !self.waiting_events.take(namespace, clock::monotonic()) => return,
            Reason::Cancelled | Reason::Resolved | Reason::ProviderReady => false,
            Reason::WaitingForProvider
            | Reason::WaitingForPayload
            | Reason::OutcomeUnknown
            | Reason::Restored
            | Reason::ExecutionFailed
            | Reason::Discarded
            | Reason::ExecutionUnknown
            | Reason::StopRefused
            | Reason::ListUnreadable
            | Reason::BackoffLimitExceeded
            | Reason::DeadlineExceeded
            | Reason::Rejected
            | Reason::RedirectRefused
            | Reason::FunctionDisabled
            | Reason::InvalidPayload
            | Reason::AccessDenied
            | Reason::Unsupported
            | Reason::DestinationChanged
            | Reason::NotUnderstood
            | Reason::NothingToResolve
            | Reason::ResolvedTooEarly
            | Reason::RequestIdInUse
            | Reason::StatusRefused
            | Reason::EndpointRefused
            | Reason::EndpointUnreachable
            | Reason::SecretNotFound
            | Reason::CredentialsInvalid => true,
        };
        self.events.publish(about, warning, reason, note);
    }
}
