//! What the shell needs to do its work, in one place: clients, memory, providers, metrics.

pub(crate) mod failures;
pub(crate) mod followed;
pub(crate) mod grants;
pub mod journal;
pub(crate) mod lookups;
pub(crate) mod memory;
pub(crate) mod notices;
pub(crate) mod providers;

pub(crate) use functiongraph::Carrier;

use crate::api::invocation::ProviderKind;
use crate::api::provider::ProtocolVersion;
use crate::api::{
    AnyProvider, ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionInvocation, ProviderKey, Reason,
};
use crate::args::{HostPattern, Run};
use crate::clock;
use crate::kubernetes::Clients;
use crate::kubernetes::events::Events;
use crate::kubernetes::scope::Scope;
use crate::lifecycle::resolve::{self, Call};
use crate::lifecycle::{Resolution, State, View};
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
use providers::Providers;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The object of an invocation: which one, by its uid, and where to find it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl Owner {
    /// The owner that an object is.
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
pub(crate) struct AttemptId {
    pub owner: Owner,
    /// The attempt's number; 1 for the first.
    pub number: i64,
}

impl AttemptId {
    pub fn of(object: &FunctionInvocation, number: i64) -> Self {
        Self { owner: Owner::of(object), number }
    }
}

/// One process of the operator.
pub(crate) struct Context {
    pub clients: Clients,
    /// This process: 128 random bits, new at every start, so that a restarted process never takes its
    /// predecessor's claims for its own.
    pub holder: String,
    /// The processes that share the work.
    pub members: watch::Sender<Members>,
    pub journal: Journal,
    pub followed: Followed,
    pub lookups: Lookups,
    pub providers: Arc<Providers>,
    /// The providers as the API server has them.
    pub provider_store: Store<FunctionGraphProvider>,
    /// The cluster-scoped providers; `None` where the operator serves only some namespaces.
    pub cluster_provider_store: Option<Store<ClusterFunctionGraphProvider>>,
    /// Which namespaces a cluster-scoped provider admits.
    pub namespaces: Namespaces,
    pub events: Events,
    /// How many objects may still say that they are queued.
    pub queue_notices: WaitNotices,
    /// How many objects may still be told in an Event that they wait for their provider.
    pub waiting_events: WaitNotices,
    /// What it has said of each object that waits.
    pub notices: Notices,
    /// Held while an annotation `Accepted:<id>` is checked and written, so that two objects never get the same request id.
    pub resolving: tokio::sync::Mutex<()>,
    pub event_memory: EventMemory,
    pub metrics: Metrics,
    /// One span for each attempt, if somebody wants them.
    pub traces: Traces,
    pub failures: Failures,
    /// Cancelled when the process shall end: nothing is claimed any more.
    pub draining: CancellationToken,
    /// The part of the operator that ended before it was time, if one did.
    pub broken: OnceLock<&'static str>,
    pub options: Options,
}

/// What the platform team decided.
pub(crate) struct Options {
    pub flags: Run,
    pub reach: Reach,
    pub scope: Scope,
    /// The operator's own namespace, where the Secrets of cluster-scoped providers are.
    pub own_namespace: String,
}

impl Options {
    /// How often the Secret of a provider that is not ready is read again.
    pub fn secret_poll(&self) -> Duration {
        Duration::from_secs(self.flags.secret_poll_seconds)
    }
}

/// Where providers may lead.
pub(crate) struct Reach {
    pub allowed_hosts: Vec<HostPattern>,
    /// Networks that no endpoint may lead to, unless its host is listed as it is.
    pub refused_networks: Vec<IpNet>,
    /// Carries requests to FunctionGraph another way than over the network.
    pub carrier: Option<Carrier>,
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
            State::Accepted => self.duty(&ProviderKey::of(object)),
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
        self.journal.prune(&is_there, now);
        self.lookups.prune(&is_there);
        self.notices.prune(&is_there);
        self.failures.prune(now);
    }

    /// How much it remembers of objects.
    pub fn remembered(&self) -> usize {
        self.journal.len() + self.lookups.len() + self.notices.len() + self.failures.len()
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

    pub fn knows_provider(&self, object: &FunctionInvocation) -> bool {
        self.provider_of(object).is_some()
    }

    /// The provider that an object names, as the watch last brought it.
    pub fn provider_of(&self, object: &FunctionInvocation) -> Option<AnyProvider> {
        let is_known = object.spec.provider_ref.kind != ProviderKind::Other;
        is_known.then(|| self.provider(&ProviderKey::of(object))).flatten()
    }

    /// A provider, as the watch last brought it.
    pub fn provider(&self, key: &ProviderKey) -> Option<AnyProvider> {
        Some(match key.parts() {
            (Some(namespace), name) => {
                let found = self.provider_store.get(&ObjectRef::new(name).within(namespace))?;
                AnyProvider::Namespaced(found)
            }
            (None, name) => {
                AnyProvider::Cluster(self.cluster_provider_store.as_ref()?.get(&ObjectRef::new(name))?)
            }
        })
    }

    /// Publishes an Event if the reason is one that a person should hear of. Throttling and queueing are not: under
    /// pressure an Event for each object would be pressure too. For the same reason only a few objects a second are told
    /// that they wait for their provider.
    pub fn tell(&self, about: impl FnOnce() -> ObjectReference, reason: Reason, note: &str) {
        let about = about();
        let namespace = about.namespace.as_deref().unwrap_or_default();
        let warning = match reason {
            Reason::Accepted | Reason::Executed if self.options.flags.events_on_success => false,
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
