//! The watches: what is read of each kind, what is kept of it, and how a controller on top of one ends.

use crate::api::FunctionInvocation;
use crate::api::invocation::{Payload, RESOLVE, SUBMITTED_AS, VELERO_RESTORE};
use crate::context::Context;
use futures::{Stream, future};
use kube::runtime::controller;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use std::collections::BTreeMap;
use std::fmt::Debug;
use tokio_util::sync::CancellationToken;

/// Objects in one page of a list: some hundred kilobytes with payloads of usual size.
const PAGE: u32 = 200;

/// Where to watch.
#[derive(Clone)]
pub struct Watches {
    /// The client for them.
    pub client: Client,
    /// The one namespace that is served; `None` for the whole cluster.
    pub namespace: Option<String>,
}

impl Watches {
    /// The objects of a kind, as far as a field selector selects them.
    pub fn stream<K>(
        &self,
        fields: &str,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + serde::de::DeserializeOwned + Send + 'static,
    {
        let api = match &self.namespace {
            Some(namespace) => Api::<K>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        slim(api, fields)
    }

    /// The same for a kind of the cluster; `None` where a single namespace is served.
    pub fn cluster_stream<K>(
        &self,
    ) -> Option<impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static>
    where
        K: Resource<Scope = kube::core::ClusterResourceScope, DynamicType = ()>,
        K: Clone + Debug + serde::de::DeserializeOwned + Send + 'static,
    {
        self.namespace.is_none().then(|| slim(Api::<K>::all(self.client.clone()), ""))
    }
}

/// A watch that keeps what the decisions need.
fn slim<K>(
    api: Api<K>,
    fields: &str,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().page_size(PAGE).fields(fields);
    // Nothing else that the decisions need is in there, and copies of the payload are.
    watcher(api, config).default_backoff().modify(|object| {
        let metadata = object.meta_mut();
        metadata.managed_fields = None;
        keep(&mut metadata.labels, &[VELERO_RESTORE]);
        keep(&mut metadata.annotations, &[RESOLVE, SUBMITTED_AS]);
    })
}

/// Drops the text of the payload, as soon as the object was decoded. Its digest stays.
pub fn without_payload(object: &mut FunctionInvocation) {
    object.spec.payload = object.spec.payload.take().map(Payload::without_text);
}

/// Drops all but these labels or annotations.
fn keep(from: &mut Option<BTreeMap<String, String>>, keys: &[&str]) {
    let kept: BTreeMap<_, _> =
        from.iter_mut().flat_map(|all| keys.iter().filter_map(|key| all.remove_entry(*key))).collect();
    *from = Some(kept).filter(|kept| !kept.is_empty());
}

/// Looks at the events of a watch and cancels `listed` when the first list is in the store. The store's own
/// `wait_until_ready` wakes one waiter only, and that is the controller.
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

/// Runs a controller to its end. One whose first list has not come when it is time to stop has begun nothing,
/// and kube-runtime would wait for that list for ever.
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

/// Counts what the controller on top of a `watch` reports: the errors of single objects are told where they happen.
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
        // A deleted or settled object, gone before its turn: nothing to do.
        Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Err(controller::Error::QueueError(error)) => {
            context.metrics.watch_broke(watch);
            tracing::warn!(watch, %error, "a watch broke; it is taken up again");
        }
        Err(error) => tracing::warn!(%error, "controller"),
    }
    future::ready(())
}
