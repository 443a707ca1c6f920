//! The controllers of providers of both kinds: their watches, the checks, and the first check of all providers.

use super::control::{self, Shelf};
use super::watches::{Events, Watch, Watched, Watches};
use crate::api::{AnyProvider, ClusterFunctionGraphProvider, FunctionGraphProvider, ProviderKey};
use crate::context::Context;
use crate::reconcile;
use futures::{future, stream};
use kube::runtime::reflector::{ObjectRef, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long the first check of all providers may delay the invocations: less than the timeout of one tenant's silent
/// service. Invocations wait for a provider that is still not ready as usual.
const FIRST_CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum number of concurrent provider checks. A check that logs in waits half a minute for a silent service, and
/// silent services of one tenant must not delay the renewal of other tenants' credentials.
const MAX_CHECKS: u16 = 128;

/// Checks providers until the drain: each one that changes, and each one requested.
pub async fn run(
    watches: Watches,
    own: Shelf<FunctionGraphProvider>,
    of_the_cluster: Shelf<ClusterFunctionGraphProvider>,
    mut to_check: mpsc::UnboundedReceiver<ProviderKey>,
    context: Arc<Context>,
) {
    let (ask_own, own_asked) = mpsc::unbounded_channel();
    let (ask_cluster, cluster_asked) = mpsc::unbounded_channel();
    let routing = async move {
        while let Some(key) = to_check.recv().await {
            // The receiver is gone only when the process ends.
            let _ = match key.parts() {
                (Some(namespace), name) => ask_own.send(ObjectRef::new(name).within(namespace)).is_ok(),
                (None, name) => ask_cluster.send(ObjectRef::new(name)).is_ok(),
            };
        }
        future::pending::<()>().await;
    };
    let Watches { providers, cluster_providers, .. } = watches;
    let events = providers.stream("", own.reader.clone());
    let first = check(&providers, events, own, own_asked, AnyProvider::Namespaced, &context);
    let second = async {
        match cluster_providers.cluster_stream(of_the_cluster.reader.clone()) {
            Some(events) => {
                let wrap = AnyProvider::Cluster;
                check(&cluster_providers, events, of_the_cluster, cluster_asked, wrap, &context).await;
            }
            None => of_the_cluster.listed.cancel(),
        }
    };
    tokio::select! {
        ((), ()) = future::join(first, second) => {}
        () = routing => {}
    }
}

async fn check<K: Watched + Sync>(
    watch: &Watch,
    events: Events<K>,
    shelf: Shelf<K>,
    mut asked: mpsc::UnboundedReceiver<ObjectRef<K>>,
    wrap: fn(Arc<K>) -> AnyProvider,
    context: &Arc<Context>,
) {
    let (listed, providers) = (shelf.listed.clone(), Arc::clone(&context.providers));
    let left = move |provider: &K| providers.gone(&wrap(Arc::new(provider.clone())).key());
    let controller =
        shelf.controller(events, left).reconcile_on(stream::poll_fn(move |cx| asked.poll_recv(cx)));
    let work = move |object, context| reconcile::check_provider(wrap(object), context);
    control::run(controller, (watch, listed), MAX_CHECKS, work, context).await;
}

/// Waits until each provider has been checked once, so that a restart does not tell every waiting object that its
/// provider is not ready.
pub async fn first_check(listed: [&CancellationToken; 2], context: &Context) {
    let checked = async {
        for list in listed {
            list.cancelled().await;
        }
        loop {
            let own = context.provider_store.state().into_iter().map(AnyProvider::Namespaced);
            let store = context.cluster_provider_store.iter();
            let of_the_cluster = store.flat_map(Store::state).map(AnyProvider::Cluster);
            let mut all = own.chain(of_the_cluster);
            if all.all(|provider| context.providers.is_known(&provider.key())) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(FIRST_CHECK_TIMEOUT, context.draining.run_until_cancelled(checked)).await;
}
