//! The controllers of invocations: the watch of each stage, the gates that queue them, and the lists read for them.

use super::background::background;
use super::control::{self, Shelf};
use super::watches::Watch;
use crate::api::FunctionInvocation;
use crate::clock;
use crate::context::{Context, Owner};
use crate::gate::{Caller, Ticket};
use crate::kubernetes::with_causes;
use crate::members::Duty;
use crate::reconcile;
use futures::{StreamExt, future, stream};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::time::DelayQueue;

/// How often the process removes its memory of deleted objects.
const PRUNE_INTERVAL: Duration = Duration::from_mins(1);

/// How many finished objects the process works on at the same time.
const ENDED_CONCURRENCY: u16 = 16;

/// Half of the delay before the second try to acknowledge an edit. It doubles with each.
const ACKNOWLEDGE_DELAY: Duration = Duration::from_secs(2);

/// So often the operator tries, for about half an hour: the namespace may be gone, and the permission with it.
const ACKNOWLEDGE_TRIES: u32 = 10;

/// Deletes finished objects after their time to live.
pub async fn run_expiry(watch: Watch, context: Arc<Context>) {
    let fields = "status.outcome!=,spec.ttlSecondsAfterFinished!=";
    // An object leaves the selection when it is deleted, and when its time to live is removed.
    let (leave, mut left) = mpsc::unbounded_channel();
    let acknowledging = Arc::clone(&context);
    let acknowledging = background("acknowledging", &context, async move {
        // What cannot be acknowledged waits here, and nothing waits for it.
        let mut again = DelayQueue::new();
        loop {
            let (owner, tries): (Owner, _) = tokio::select! {
                Some(owner) = left.recv() => (owner, 1),
                Some(waited) = again.next() => waited.into_inner(),
                else => future::pending().await,
            };
            let Err(error) = reconcile::acknowledge(&owner, &acknowledging).await else { continue };
            if tries < ACKNOWLEDGE_TRIES {
                again.insert((owner, tries + 1), ACKNOWLEDGE_DELAY * 2_u32.pow(tries));
                continue;
            }
            tracing::warn!(
                namespace = owner.namespace,
                name = owner.name,
                error = with_causes(&error),
                "an edit cannot be acknowledged"
            );
        }
    });
    let left = move |object: &FunctionInvocation| drop(leave.send(Owner::of(object)));
    run_ended(watch, fields, (Shelf::default(), left), reconcile::expire, context).await;
    drop(acknowledging);
}

/// Watches objects with the outcome Unknown, until you resolve them.
pub async fn run_unknown(watch: Watch, shelf: Shelf<FunctionInvocation>, context: Arc<Context>) {
    run_ended(watch, "status.outcome=Unknown", (shelf, |_: &_| {}), reconcile::resolve, context).await;
}

/// Reconciles finished objects that a field selector selects. Those that leave the selection are `left`.
async fn run_ended<R>(
    watch: Watch,
    fields: &'static str,
    (shelf, left): (Shelf<FunctionInvocation>, impl Fn(&FunctionInvocation) + Send + 'static),
    work: impl FnMut(Arc<FunctionInvocation>, Arc<Context>) -> R,
    context: Arc<Context>,
) where
    R: Future<Output = Result<Action, reconcile::Error>> + Send + 'static,
{
    let (listed, events) = (shelf.listed.clone(), watch.stream(fields, shelf.reader.clone()));
    let controller = shelf.controller(events, left).reconcile_all_on(context.shares());
    control::run(controller, (&watch, listed), ENDED_CONCURRENCY, work, &context).await;
}

/// Reconciles all objects that are not finished.
pub async fn run_unfinished(
    watch: Watch,
    shelf: Shelf<FunctionInvocation>,
    concurrency: u16,
    context: Arc<Context>,
) {
    let (reader, listed) = (shelf.reader.clone(), shelf.listed.clone());
    let (call, mut called) = mpsc::unbounded_channel();
    let (call_list, called_lists) = mpsc::unbounded_channel();
    let parts = [
        background("queues", &context, pump(reader.clone(), call.clone(), call_list, Arc::clone(&context))),
        background("executions", &context, follow(reader.clone(), called_lists, call, Arc::clone(&context))),
        background("forgetting", &context, forget(reader.clone(), Arc::clone(&context))),
    ];
    // Finished objects leave this selection, so the process forgets them.
    let controller = shelf
        .controller(watch.stream("status.outcome=", reader), |_| {})
        .reconcile_on(stream::poll_fn(move |cx| called.poll_recv(cx)))
        .reconcile_all_on(context.shares());
    control::run(controller, (&watch, listed), concurrency, reconcile::reconcile, &context).await;
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
