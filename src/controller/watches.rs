//! The watches: the objects that they read, the fields that they keep, and how their controllers end.

mod lists;
mod trimmed;

use crate::api::invocation::{Outcome, Payload, RESOLVE, SUBMITTED_AS, VELERO_RESTORE};
use crate::api::{ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionInvocation};
use crate::context::Context;
use crate::kubernetes::activity::Activity;
use crate::kubernetes::{Clients, WATCH_TIMEOUT};
use crate::metrics::WATCHES;
use futures::{Stream, TryStreamExt, future};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use trimmed::{Trimmed, unwrapped};

/// How long a watch may be silent before the operator is not ready. By then a dead watch has timed out, and its next
/// request has got no answer either.
const MAX_SILENCE: Duration = WATCH_TIMEOUT.saturating_add(Duration::from_secs(16));

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

/// One watch.
#[derive(Clone)]
pub struct Watch {
    /// Its name in logs and metrics.
    pub name: &'static str,
    client: Client,
    activity: Activity,
    /// The only served namespace; `None` for the whole cluster.
    namespace: Option<String>,
}

/// A watched kind.
pub trait Watched: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static {
    /// Drops large fields that are not kept. Called for each object right after it is decoded.
    fn drop_payload(&mut self) {}
}

// === impl Watches ===

impl Watches {
    /// The watches of one namespace, or of the whole cluster. They are not open yet.
    ///
    /// # Errors
    /// A client cannot be built.
    pub fn new(clients: &Clients, namespace: Option<&str>) -> Result<Self, kube::Error> {
        let new = |name| {
            let activity = Activity::default();
            let client = clients.watch(&activity)?;
            Ok::<_, kube::Error>(Watch { name, client, activity, namespace: namespace.map(Into::into) })
        };
        let [unfinished, unknown, expiring, providers, cluster_providers] = WATCHES;
        Ok(Self {
            unfinished: new(unfinished)?,
            unknown: new(unknown)?,
            expiring: new(expiring)?,
            providers: new(providers)?,
            cluster_providers: new(cluster_providers)?,
        })
    }

    /// How long each open watch has been silent.
    pub fn silences(&self) -> Vec<(&'static str, Duration)> {
        let Self { unfinished, unknown, expiring, providers, cluster_providers } = self;
        let all = [unfinished, unknown, expiring, providers, cluster_providers];
        all.into_iter().filter_map(|watch| Some((watch.name, watch.activity.silence()?))).collect()
    }

    /// A sentence for each watch that has been silent for too long.
    pub fn silent(&self) -> Vec<String> {
        let too_long = self.silences().into_iter().filter(|(_, silence)| *silence > MAX_SILENCE);
        let sentence = |(name, silence): (&str, Duration)| {
            let seconds = silence.as_secs();
            format!(
                "the API server has sent nothing for watch \"{name}\" for {seconds} s: check the API server and the network between it and the operator"
            )
        };
        too_long.map(sentence).collect()
    }
}

// === impl Watch ===

impl Watch {
    /// Opens the watch for a kind, with a field selector.
    pub fn stream<K>(
        &self,
        fields: &str,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
    where
        K: Watched<Scope = NamespaceResourceScope>,
    {
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        self.open(api, fields)
    }

    /// Opens the watch for a cluster-scoped kind; `None` if the operator serves a single namespace.
    pub fn cluster_stream<K>(
        &self,
    ) -> Option<impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>>
    where
        K: Watched<Scope = ClusterResourceScope>,
    {
        self.namespace.is_none().then(|| self.open(Api::all(self.client.clone()), ""))
    }

    fn open<K: Watched>(
        &self,
        api: Api<Trimmed<K>>,
        fields: &str,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K> {
        self.activity.note();
        lists::watch(api, self.name, fields).map_ok(unwrapped).default_backoff()
    }
}

// === impl Watched ===

impl Watched for FunctionGraphProvider {}

impl Watched for ClusterFunctionGraphProvider {}

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

/// Watches the events and cancels `listed` when the first list is in the store. The store's own `wait_until_ready`
/// wakes only one waiter, which is the controller.
pub fn tell_when_listed<K>(
    listed: &CancellationToken,
) -> impl Fn(&watcher::Result<watcher::Event<K>>) + use<K> {
    let listed = listed.clone();
    move |event| {
        if matches!(event, Ok(watcher::Event::InitDone)) {
            listed.cancel();
        }
    }
}

/// Runs a controller to its end. If the operator must stop before the first list has arrived, the controller has not
/// started, and kube-runtime would wait for that list for ever.
pub async fn until_drained(
    controller: impl Future<Output = ()>,
    listed: &CancellationToken,
    draining: &CancellationToken,
) {
    tokio::pin!(controller);
    tokio::select! {
        () = &mut controller => return,
        () = draining.cancelled() => {}
    }
    if listed.is_cancelled() {
        controller.await;
    }
}

/// Counts the results of the controller on a `watch`. Errors of single objects are logged where they occur.
pub fn watched<K: Resource, E>(
    context: &Context,
    watch: &'static str,
    result: Result<(ObjectRef<K>, controller::Action), controller::Error<E, watcher::Error>>,
) -> impl Future<Output = ()> + use<K, E>
where
    E: std::error::Error + 'static,
    K::DynamicType: Clone,
{
    match result {
        // The object was deleted or has finished before its turn.
        Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Err(controller::Error::QueueError(error)) => {
            context.metrics.watch_broke(watch);
            tracing::warn!(watch, reason = reason(&error), %error, "a watch failed; restarting it");
        }
        Err(error) => tracing::warn!(%error, "controller"),
    }
    future::ready(())
}

/// Why a watch failed: the last error of the chain.
fn reason(error: &watcher::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(cause) if cause.kind() == io::ErrorKind::TimedOut => {
            "the API server did not answer in time".into()
        }
        _ => cause.to_string(),
    }
}
