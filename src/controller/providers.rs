//! The wiring of providers of both kinds: their watches, who is looked at when, and the first look at all.

use super::watches::{Watch, Watched, Watches, tell_when_listed, until_drained, watched};
use crate::api::{AnyProvider, ClusterFunctionGraphProvider, FunctionGraphProvider};
use crate::context::Context;
use crate::context::providers::Key;
use crate::reconcile;
use futures::{Stream, StreamExt, future, stream};
use kube::Resource;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long the first look at all providers may hold back the invocations: less than the silent service of one tenant
/// takes to be given up. Whatever is not ready by then is waited for like any other provider that is not ready.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// How many providers are looked at at the same time. A look that logs in waits half a minute for a service that is
/// silent, and one tenant's silent services must not keep the credentials of the others from being renewed.
const LOOKS: u16 = 128;

/// Where the objects of one kind are written, and who is told when the first list is there.
pub struct Shelf<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// The store's other end.
    pub writer: Writer<K>,
    /// Cancelled when the first list is in the store.
    pub listed: CancellationToken,
}

/// Looks at the providers until the drain: at each that changes, and at each that is asked for.
pub async fn run(
    watches: Watches,
    own: Shelf<FunctionGraphProvider>,
    of_the_cluster: Shelf<ClusterFunctionGraphProvider>,
    mut to_inspect: mpsc::UnboundedReceiver<Key>,
    context: Arc<Context>,
) {
    let (ask_own, own_asked) = mpsc::unbounded_channel();
    let (ask_cluster, cluster_asked) = mpsc::unbounded_channel();
    let routing = async move {
        while let Some(key) = to_inspect.recv().await {
            // Nobody listens any more only when the process ends.
            let _ = match key.split_once('/') {
                Some((namespace, name)) => ask_own.send(ObjectRef::new(name).within(namespace)).is_ok(),
                None => ask_cluster.send(ObjectRef::new(&key)).is_ok(),
            };
        }
        future::pending::<()>().await;
    };
    let Watches { providers, cluster_providers, .. } = watches;
    let events = providers.stream("", own.writer.as_reader());
    let first = control(&providers, events, own, own_asked, AnyProvider::Namespaced, Arc::clone(&context));
    let second = async {
        match cluster_providers.cluster_stream(of_the_cluster.writer.as_reader()) {
            Some(events) => {
                let wrap = AnyProvider::Cluster;
                let watch = &cluster_providers;
                control(watch, events, of_the_cluster, cluster_asked, wrap, Arc::clone(&context)).await;
            }
            None => of_the_cluster.listed.cancel(),
        }
    };
    tokio::select! {
        ((), ()) = future::join(first, second) => {}
        () = routing => {}
    }
}

async fn control<K>(
    watch: &Watch,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    Shelf { writer, listed }: Shelf<K>,
    mut asked: mpsc::UnboundedReceiver<ObjectRef<K>>,
    wrap: fn(Arc<K>) -> AnyProvider,
    context: Arc<Context>,
) where
    K: Watched + Sync,
{
    let (reader, providers) = (writer.as_reader(), Arc::clone(&context.providers));
    let events = events
        .reflect(writer)
        .inspect(tell_when_listed(&listed))
        .inspect(move |event| {
            if let Ok(watcher::Event::Delete(provider)) = event {
                providers.gone(&reconcile::key_of(&wrap(Arc::new(provider.clone()))));
            }
        })
        .applied_objects();
    let controller = Controller::for_stream(events, reader)
        .with_config(controller::Config::default().concurrency(LOOKS))
        .reconcile_on(stream::poll_fn(move |cx| asked.poll_recv(cx)))
        .graceful_shutdown_on(context.draining.clone().cancelled_owned())
        .run(
            move |object, context| reconcile::inspect(wrap(object), context),
            |object, error, context| reconcile::retry_later(&object, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| watched(&context, watch.name, result));
    until_drained(controller, &listed, &context.draining).await;
}

/// Waits until each provider has been looked at once, so that a restart does not tell every waiting object
/// that its provider is not ready.
pub async fn first_look(listed: [&CancellationToken; 2], context: &Context) {
    let looked = async {
        for list in listed {
            list.cancelled().await;
        }
        loop {
            let own = context.provider_store.state().into_iter().map(AnyProvider::Namespaced);
            let store = context.cluster_provider_store.iter();
            let of_the_cluster = store.flat_map(Store::state).map(AnyProvider::Cluster);
            let mut all = own.chain(of_the_cluster);
            if !all.any(|provider| context.providers.is_unseen(&reconcile::key_of(&provider))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(FIRST_LOOK, context.draining.run_until_cancelled(looked)).await;
}
