//! How every controller runs: a watch fills its store, it reconciles until the drain, and what goes wrong with the watch is
//! counted.

use super::watches::{Watch, Watched};
use crate::context::Context;
use crate::kubernetes::{causes, with_causes};
use crate::reconcile;
use futures::{Stream, StreamExt, future};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use std::io;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The store of one watch.
pub struct Shelf<K: Watched> {
    pub reader: Store<K>,
    writer: Writer<K>,
    /// Cancelled when the first list is in the store. The store's own `wait_until_ready` wakes only one waiter, which is the
    /// controller.
    pub listed: CancellationToken,
}

// === impl Shelf ===

impl<K: Watched> Default for Shelf<K> {
    fn default() -> Self {
        let (reader, writer) = reflector::store();
        Self { reader, writer, listed: CancellationToken::new() }
    }
}

impl<K: Watched + Sync> Shelf<K> {
    /// A controller of the objects that a watch brings to the shelf. `left` is told of each that leaves it.
    pub fn controller(
        self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        left: impl Fn(&K) + Send + 'static,
    ) -> Controller<K> {
        let listed = self.listed;
        let events = events.reflect(self.writer).inspect(move |event| match event {
            Ok(watcher::Event::InitDone) => listed.cancel(),
            Ok(watcher::Event::Delete(object)) => left(object),
            Ok(_) | Err(_) => {}
        });
        Controller::for_stream(events.applied_objects(), self.reader)
    }
}

/// Runs a controller until the drain.
pub async fn run<K, R>(
    controller: Controller<K>,
    (watch, listed): (&Watch, CancellationToken),
    concurrency: u16,
    work: impl FnMut(Arc<K>, Arc<Context>) -> R,
    context: &Arc<Context>,
) where
    K: Watched + Sync,
    R: Future<Output = Result<Action, reconcile::Error>> + Send + 'static,
{
    let controller = controller
        .with_config(controller::Config::default().concurrency(concurrency))
        .graceful_shutdown_on(context.draining.clone().cancelled_owned())
        .run(
            work,
            |object, error, context| reconcile::retry_later(&object, error, &context),
            Arc::clone(context),
        )
        .for_each(|result| {
            note(context, watch.name, result);
            future::ready(())
        });
    tokio::pin!(controller);
    tokio::select! {
        () = &mut controller => return,
        () = context.draining.cancelled() => {}
    }
    // Before its first list a controller has not started, and kube-runtime would wait for that list for ever.
    if listed.is_cancelled() {
        controller.await;
    }
}

/// Counts the results of the controller on a `watch`. Errors of single objects are logged where they occur.
fn note<K: Watched>(
    context: &Context,
    watch: &'static str,
    result: Result<(ObjectRef<K>, Action), controller::Error<reconcile::Error, watcher::Error>>,
) {
    match result {
        // The object was deleted or has finished before its turn.
        Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Err(controller::Error::QueueError(error)) => {
            context.metrics.watch_broke(watch);
            let (reason, cause) = (reason(&error), causes(&error));
            if must_begin_again(&error) {
                tracing::info!(watch, reason, cause, "a watch begins again");
            } else {
                tracing::warn!(watch, reason, cause, "a watch failed; restarting it");
            }
        }
        Err(error) => tracing::warn!(error = with_causes(&error), "a controller failed"),
    }
}

/// Whether the API server itself says that a watch must begin again: it has forgotten where the watch was (410), or it takes
/// no watch yet (429), as right after the CRDs were installed.
fn must_begin_again(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchStartFailed};
    match error {
        WatchError(status)
        | InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status)) => [410, 429].contains(&status.code),
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn a_watch_that_the_api_server_sends_back_to_its_beginning_is_no_warning() {
        let status = |code| Box::new(Status::failure("no", "Reason").with_code(code));
        let of = |code| {
            [
                watcher::Error::WatchError(status(code)),
                watcher::Error::InitialListFailed(kube::Error::Api(status(code))),
                watcher::Error::WatchStartFailed(kube::Error::Api(status(code))),
            ]
        };
        for (code, expected) in
            [(410, true), (429, true), (401, false), (403, false), (500, false), (503, false)]
        {
            assert!(of(code).iter().all(|error| must_begin_again(error) == expected), "{code}");
        }
        assert!(!must_begin_again(&watcher::Error::NoResourceVersion));
    }
}
