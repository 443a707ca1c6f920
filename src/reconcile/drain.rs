//! The end of a process: writes what only this process knows.

use super::Reconcile;
use crate::clock;
use crate::context::{AttemptId, Context, Owner};
use crate::kubernetes::{status, with_causes};
use crate::lifecycle::{Progress, State, record};
use futures::{StreamExt, stream};
use std::time::Duration;

/// How many objects are written at the same time.
const DRAIN_CONCURRENCY: usize = 16;

/// Between two tries to write what could not be written.
const DRAIN_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Writes the answers that are in hand, and gives back what was claimed and not sent, until nothing is left. The caller
/// bounds the time.
pub async fn drain(context: &Context) {
    loop {
        let unwritten = context.journal.unwritten();
        if unwritten.is_empty() {
            return;
        }
        // One that the API server does not take must not hold up the others.
        let writes = stream::iter(unwritten);
        let write = async |attempt| write(context, &attempt).await;
        writes.for_each_concurrent(DRAIN_CONCURRENCY, write).await;
        tokio::time::sleep(DRAIN_RETRY_DELAY).await;
    }
}

/// Writes the result of one attempt. If the write fails, the drain tries again. If the object is gone, it is forgotten.
async fn write(context: &Context, attempt: &AttemptId) {
    let AttemptId { owner, number } = attempt;
    let Ok(live) = status::find(&context.clients.calls, &owner.namespace, &owner.name).await else { return };
    let live = live.filter(|object| Owner::of(object) == *owner);
    let state = live.as_ref().and_then(|object| object.status.as_ref()).map(State::of);
    let ours = State::Claimed { number: *number, holder: context.holder.clone() };
    let (Some(object), true) = (live, state == Some(ours)) else {
        context.journal.saved(attempt, clock::monotonic());
        return;
    };
    let reconcile = Reconcile::new(&object, context);
    let written = if context.journal.progress(attempt) == Progress::Returned {
        reconcile.write(&record::handed_back(&reconcile.view, reconcile.now())).await
    } else {
        reconcile.record_known().await
    };
    if let Err(error) = written {
        tracing::warn!(
            namespace = owner.namespace,
            name = owner.name,
            error = with_causes(&error),
            "cannot write the result of an attempt; trying again"
        );
    }
}
