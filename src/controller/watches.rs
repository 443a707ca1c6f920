//! The watches: the objects that they read, and the fields that they keep.

mod lists;
mod merged;
mod trimmed;

use crate::api::invocation::{Outcome, Payload, RESOLVE, SUBMITTED_AS, VELERO_RESTORE};
use crate::api::{ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionInvocation};
use crate::kubernetes::activity::Activity;
use crate::kubernetes::scope::objects;
use crate::kubernetes::{Clients, WATCH_TIMEOUT};
use crate::metrics::WATCHES;
use futures::{FutureExt, StreamExt, TryStreamExt};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource};
pub use merged::Events;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use trimmed::{Trimmed, unwrapped};

/// How long a watch may be silent before the operator is not ready. By then a dead watch has timed out, and its next
/// request has got no answer either.
const MAX_SILENCE: Duration = WATCH_TIMEOUT.saturating_add(Duration::from_secs(16));

/// A part of the cluster that the operator serves.
#[derive(Clone)]
pub struct Served {
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// Cancelled when no permission is missing; then the watches start.
    pub permitted: CancellationToken,
}

/// All watches of a process.
#[derive(Clone)]
pub struct Watches {
    /// Invocations that are not finished.
    pub unfinished: Watch,
    /// Invocations with the outcome Unknown.
    pub unknown: Watch,
    /// Invocations with a time to live after their end.
    pub expiring: Watch,
    /// Namespaced providers.
    pub providers: Watch,
    /// Cluster-scoped providers.
    pub cluster_providers: Watch,
}

/// One watch, with requests of its own for each part of the cluster that is served.
#[derive(Clone)]
pub struct Watch {
    /// Its name in logs and metrics.
    pub name: &'static str,
    parts: Vec<Part>,
}

/// The requests of a watch for one part.
#[derive(Clone)]
struct Part {
    served: Served,
    client: Client,
    activity: Activity,
}

/// A watched kind.
pub trait Watched: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static {
    /// Drops large fields that are not kept. Called for each object right after it is decoded.
    fn drop_payload(&mut self);
}

// === impl Watches ===

impl Watches {
    /// The watches of everything that is served. They are not open yet.
    ///
    /// # Errors
    /// A client cannot be built.
    pub fn new(clients: &Clients, served: &[Served]) -> Result<Self, kube::Error> {
        let part = |served: &Served| {
            let activity = Activity::default();
            let client = clients.watch(&activity)?;
            Ok::<_, kube::Error>(Part { served: served.clone(), client, activity })
        };
        let new = |name| {
            Ok::<_, kube::Error>(Watch { name, parts: served.iter().map(part).collect::<Result<_, _>>()? })
        };
        let [unfinished, unknown, expiring, providers, cluster_providers] = WATCHES;
        let mut cluster_providers = new(cluster_providers)?;
        cluster_providers.parts.retain(|part| part.served.namespace.is_none());
        Ok(Self {
            unfinished: new(unfinished)?,
            unknown: new(unknown)?,
            expiring: new(expiring)?,
            providers: new(providers)?,
            cluster_providers,
        })
    }

    fn all(&self) -> [&Watch; WATCHES.len()] {
        let Self { unfinished, unknown, expiring, providers, cluster_providers } = self;
        [unfinished, unknown, expiring, providers, cluster_providers]
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &Part)> {
        self.all().into_iter().flat_map(|watch| watch.parts.iter().map(|part| (watch.name, part)))
    }

    /// How long each open watch has been silent: the longest of its parts.
    pub fn silences(&self) -> Vec<(&'static str, Duration)> {
        let longest = |watch: &Watch| watch.parts.iter().filter_map(|part| part.activity.silence()).max();
        self.all().into_iter().filter_map(|watch| Some((watch.name, longest(watch)?))).collect()
    }

    /// A sentence for each watch that has been silent for too long.
    pub fn silent(&self) -> Vec<String> {
        let sentence = |(name, part): (&str, &Part)| {
            let seconds = part.activity.silence().filter(|silence| *silence > MAX_SILENCE)?.as_secs();
            let of = part.served.namespace.as_ref().map(|namespace| format!(" of namespace {namespace}"));
            Some(format!(
                "the API server has sent nothing for watch \"{name}\"{} for {seconds} s: check the API server and the network between it and the operator",
                of.unwrap_or_default()
            ))
        };
        self.parts().filter_map(sentence).collect()
    }

    /// The namespaces, if the operator does not serve the whole cluster, and whether it has all permissions there.
    pub fn namespaces(&self) -> BTreeMap<String, bool> {
        let mut namespaces = BTreeMap::new();
        for (_, part) in self.parts() {
            let Some(namespace) = &part.served.namespace else { continue };
            *namespaces.entry(namespace.clone()).or_insert(true) &= part.activity.is_admitted();
        }
        namespaces
    }
}

// === impl Watch ===

impl Watch {
    /// Opens the watch for a kind, with a field selector. The caller applies its events to `store`.
    pub fn stream<K>(&self, fields: &'static str, store: Store<K>) -> Events<K>
    where
        K: Watched<Scope = NamespaceResourceScope> + Sync,
    {
        self.open(fields, store, |part| objects(part.client.clone(), part.served.namespace.as_deref()))
    }

    /// Opens the watch for a cluster-scoped kind; `None` if the operator serves a list of namespaces.
    pub fn cluster_stream<K>(&self, store: Store<K>) -> Option<Events<K>>
    where
        K: Watched<Scope = ClusterResourceScope> + Sync,
    {
        let served = !self.parts.is_empty();
        served.then(|| self.open("", store, |part| Api::all(part.client.clone())))
    }

    fn open<K: Watched + Sync>(
        &self,
        fields: &'static str,
        store: Store<K>,
        api: impl Fn(&Part) -> Api<Trimmed<K>>,
    ) -> Events<K> {
        let part = |part: &Part| {
            let (Part { served, activity, .. }, api, name) = (part.clone(), api(part), self.name);
            let permitted = served.permitted.is_cancelled();
            let events = async move {
                served.permitted.cancelled().await;
                activity.note();
                lists::watch(api, name, fields).map_ok(unwrapped).default_backoff()
            };
            let events = events.flatten_stream().boxed();
            merged::Part { namespace: part.served.namespace.clone(), permitted, events }
        };
        merged::merged(self.parts.iter().map(part).collect(), store)
    }
}

// === impl Watched ===

impl Watched for FunctionGraphProvider {
    fn drop_payload(&mut self) {
        self.spec.empty_ca_bundle();
    }
}

impl Watched for ClusterFunctionGraphProvider {
    fn drop_payload(&mut self) {
        self.spec.provider.empty_ca_bundle();
    }
}

impl Watched for FunctionInvocation {
    fn drop_payload(&mut self) {
        without_payload(self);
    }
}

/// Keeps the fields that decisions need.
fn trim<K: Watched>(object: &mut K) {
    object.drop_payload();
    let metadata = object.meta_mut();
    // managedFields holds copies of the payload.
    metadata.managed_fields = None;
    (metadata.owner_references, metadata.finalizers) = (None, None);
    keep(&mut metadata.labels, &[VELERO_RESTORE]);
    keep(&mut metadata.annotations, &[RESOLVE, SUBMITTED_AS]);
}

/// Drops the text of the payload and keeps its digest: the event to send comes with the answer to the claim. For a
/// finished object, drops the function's result and log too. A write to such an object starts from a live read.
fn without_payload(object: &mut FunctionInvocation) {
    if let Some(status) = &mut object.status
        && status.outcome.is_some_and(Outcome::is_final)
    {
        status.result = None;
    }
    object.spec.payload = object.spec.payload.take().map(Payload::without_text);
}

/// Maximum length of a label or annotation value that decisions read.
const MAX_VALUE_BYTES: usize = 128;

/// Keeps only these labels or annotations, and cuts their values.
fn keep(from: &mut Option<BTreeMap<String, String>>, keys: &[&str]) {
    let mut kept: BTreeMap<_, _> =
        from.iter_mut().flat_map(|all| keys.iter().filter_map(|key| all.remove_entry(*key))).collect();
    for value in kept.values_mut() {
        value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES));
        value.shrink_to_fit();
    }
    *from = Some(kept).filter(|kept| !kept.is_empty());
}
