//! The end of a process: what it alone knows is written before it goes.

use super::invocation::save_known;
use super::object::{provider_of, put};
use crate::clock;
use crate::context::{Context, Owner};
use crate::kubernetes::status;
use crate::lifecycle::{Progress, State, record};
use futures::{StreamExt, stream};
use std::time::Duration;

/// How many objects are written at the same time.
const AT_ONCE: usize = 16;

/// Between two tries to write what could not be written.
const PAUSE: Duration = Duration::from_secs(1);

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
        let write = async |(owner, number)| write(context, &owner, number).await;
        writes.for_each_concurrent(AT_ONCE, write).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Writes what is known of one attempt. What cannot be written is tried again, what has no place any more is forgotten.
async fn write(context: &Context, owner: &Owner, number: i64) {
    let Ok(live) = status::find(&context.clients.calls, &owner.namespace, &owner.name).await else { return };
    let live = live.filter(|object| Owner::of(object) == *owner);
    let claimed = live.as_ref().and_then(|object| object.status.as_ref()).map(State::of);
    let ours = State::Claimed { number, holder: context.holder.clone() };
    let (Some(object), true) = (live, claimed == Some(ours)) else {
        context.journal.saved(owner, number, clock::monotonic());
        return;
    };
    let provider = provider_of(&object);
    let written = if context.journal.progress(&owner.uid, number) == Progress::Returned {
        let status = record::handed_back(&context.view(&object), context.now());
        put(context, &provider, &object, &status).await
    } else {
        save_known(&object, context, &provider).await
    };
    if let Err(error) = written {
        tracing::warn!(namespace = owner.namespace, name = owner.name, %error, "cannot write what is left to write; trying again");
    }
}
