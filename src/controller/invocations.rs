//! The controllers of invocations: the watch of each stage, the gates that queue them, and the lists read for them.

use super::background::background;
use super::watches::{Watch, tell_when_listed, until_drained, watched};
use crate::api::FunctionInvocation;
use crate::clock;
use crate::context::{Context, Owner};
use crate::gate::{Caller, Ticket};
use crate::kubernetes::with_causes;
use crate::members::Duty;
use crate::reconcile;
use futures::{StreamExt, future};
use kube::ResourceExt;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often the process removes its memory of deleted objects.
const PRUNE_INTERVAL: Duration = Duration::from_mins(1);

/// Delay before another try to acknowledge an edit.
const ACKNOWLEDGE_DELAY: Duration = Duration::from_secs(5);

/// Deletes finished objects after their time to live.
pub async fn run_expiry(watch: Watch, context: Arc<Context>) {
    let fields = "status.outcome!=,spec.ttlSecondsAfterFinished!=";
    // An object leaves the selection when it is deleted, and when its time to live is removed.
    let (leave, mut left) = mpsc::unbounded_channel();
    let acknowledging = Arc::clone(&context);
    let acknowledging = background("acknowledging", &context, async move {
        while let Some(owner) = left.recv().await {
            while let Err(error) = reconcile::acknowledge(&owner, &acknowledging).await {
                tracing::warn!(
                    namespace = owner.namespace,
                    name = owner.name,
                    error = with_causes(&error),
                    "cannot acknowledge an edit; trying again"
                );
                tokio::time::sleep(ACKNOWLEDGE_DELAY).await;
            }
        }
        future::pending::<()>().await;
    });
    let left = move |object: &FunctionInvocation| drop(leave.send(Owner::of(object)));
    run_ended(watch, fields, (reflector::store(), left), reconcile::expire, context).await;
    drop(acknowledging);
}

/// Watches objects with the outcome Unknown, until you resolve them.
pub async fn run_unknown(
    watch: Watch,
    store: (Store<FunctionInvocation>, reflector::store::Writer<FunctionInvocation>),
    context: Arc<Context>,
) {
    run_ended(watch, "status.outcome=Unknown", (store, |_: &_| {}), reconcile::resolve, context).await;
}

/// The store of a watch, and the callback for objects that leave it.
type Kept<L> = ((Store<FunctionInvocation>, reflector::store::Writer<FunctionInvocation>), L);

/// Reconciles finished objects that a field selector selects.
async fn run_ended<R>(
    watch: Watch,
    fields: &'static str,
    ((reader, writer), left): Kept<impl Fn(&FunctionInvocation) + Send + 'static>,
    work: impl FnMut(Arc<FunctionInvocation>, Arc<Context>) -> R,
    context: Arc<Context>,
) where
    R: Future<Output = Result<controller::Action, reconcile::Error>> + Send + 'static,
{
    let listed = CancellationToken::new();
    let stream = watch
        .stream(fields, reader.clone())
        .reflect(writer)
        .inspect(tell_when_listed(&listed))
        .inspect(move |event| {
            if let Ok(watcher::Event::Delete(object)) = event {
                left(object);
            }
        })
        .applied_objects();
    let controller = Controller::for_stream(stream, reader)
        .with_config(controller::Config::default().concurrency(16))
        .reconcile_all_on(context.shares())
        .graceful_shutdown_on(context.draining.clone().cancelled_owned())
        .run(
            work,
            |object, error, context| reconcile::retry_later(&object, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| watched(&context, watch.name, result));
    until_drained(controller, &listed, &context.draining).await;
}

/// Reconciles all objects that are not finished.
pub async fn run_unfinished(
    watch: Watch,
    (reader, writer, listed): (
        Store<FunctionInvocation>,
        reflector::store::Writer<FunctionInvocation>,
        CancellationToken,
    ),
    concurrency: u16,
    context: Arc<Context>,
) {
    // Finished objects leave this selection, so the process forgets them.
    let stream = watch
        .stream("status.outcome=", reader.clone())
        .reflect(writer)
        .inspect(tell_when_listed(&listed))
        .applied_objects();
    let (call, mut called) = mpsc::unbounded_channel();
    let (call_list, called_lists) = mpsc::unbounded_channel();
    let parts = [
        background("queues", &context, pump(reader.clone(), call.clone(), call_list, Arc::clone(&context))),
        background("executions", &context, follow(reader.clone(), called_lists, call, Arc::clone(&context))),
        background("forgetting", &context, forget(reader.clone(), Arc::clone(&context))),
    ];
    let called = futures::stream::poll_fn(move |cx| called.poll_recv(cx));
    let controller = Controller::for_stream(stream, reader)
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_on(called)
        .reconcile_all_on(context.shares())
        .graceful_shutdown_on(context.draining.clone().cancelled_owned())
        .run(
            reconcile::reconcile,
            |object, error, context| reconcile::retry_later(&object, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| watched(&context, watch.name, result));
    until_drained(controller, &listed, &context.draining).await;
    drop(parts);
    reconcile::drain(&context).await;
}

/// Who is called: an object, by name.
type Call = mpsc::UnboundedSender<ObjectRef<FunctionInvocation>>;

/// Calls the objects and lists that have a permit of their provider.
async fn pump(
    store: Store<FunctionInvocation>,
    call: Call,
    call_list: mpsc::UnboundedSender<Ticket>,
    context: Arc<Context>,
) {
    let reference = |name: &str, ticket: &Ticket| ObjectRef::new(name).within(&ticket.function.namespace);
    let wanted = |ticket: &Ticket| match &ticket.caller {
        Caller::Object { name, .. } => store.get(&reference(name, ticket)).is_some(),
        Caller::List { .. } => true,
        // A check does not wait for its turn.
        Caller::Check => false,
    };
    // The receiver is gone only when the process ends.
    let call = |ticket: Ticket| match &ticket.caller {
        Caller::Object { name, .. } => drop(call.send(reference(name, &ticket))),
        Caller::List { .. } => drop(call_list.send(ticket)),
        Caller::Check => {}
    };
    context.providers.pump(wanted, call).await;
}

/// Reads the lists of executions, and calls the objects for which there is news.
async fn follow(
    store: Store<FunctionInvocation>,
    called_lists: mpsc::UnboundedReceiver<Ticket>,
    call: Call,
    context: Arc<Context>,
) {
    let reference = |owner: &Owner| ObjectRef::new(&owner.name).within(&owner.namespace);
    let wanted = |owner: &Owner| {
        store.get(&reference(owner)).is_some_and(|object| {
            object.uid().as_ref() == Some(&owner.uid) && context.duty_of(&object) != Duty::Others
        })
    };
    let tell = |owner: Owner| drop(call.send(reference(&owner)));
    reconcile::lists::run(Arc::clone(&context), called_lists, wanted, tell).await;
}

/// Forgets objects that are gone.
async fn forget(store: Store<FunctionInvocation>, context: Arc<Context>) {
    loop {
        tokio::time::sleep(PRUNE_INTERVAL).await;
        let there: HashSet<String> = store.state().iter().filter_map(|object| object.uid()).collect();
        context.prune(|uid| there.contains(uid), clock::monotonic());
    }
}
