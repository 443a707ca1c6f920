//! Finished objects that have a time to live: deletes them when it is over, and acknowledges when it is edited.

use super::{Error, Reconcile, guarded};
use crate::api::FunctionInvocation;
use crate::context::{Context, Owner};
use crate::kubernetes::status;
use crate::lifecycle::{Moment, Progress, Step, decide, record};
use crate::members::Duty;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::sync::Arc;
use std::time::Duration;

pub async fn expire(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    match Reconcile::new(&object, &context).left_to_owner() {
        Some(action) => Ok(action),
        None => guarded(&context, run(&object, &context, Copy::Cached)).await,
    }
}

/// Where a copy of an object is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// The watch, which leaves out what the function returned.
    Cached,
    /// The API server, just now.
    Live,
}

/// An object left the watch of those with a time to live: it was deleted, or the time to live was removed.
pub async fn acknowledge(owner: &Owner, context: &Context) -> Result<Action, Error> {
    if context.duty(&owner.uid) == Duty::Others {
        return Ok(Action::await_change());
    }
    let live = status::find(&context.clients.calls, &owner.namespace, &owner.name).await?;
    match live.filter(|object| object.uid().as_ref() == Some(&owner.uid)) {
        Some(object) => run(&object, context, Copy::Live).await,
        None => Ok(Action::await_change()),
    }
}

async fn run(object: &FunctionInvocation, context: &Context, copy: Copy) -> Result<Action, Error> {
    let reconcile = Reconcile::new(object, context);
    let (view, now) = (&reconcile.view, reconcile.now());
    let moment = Moment {
        now,
        holder: &context.holder,
        progress: Progress::Nothing,
        unchanged_for: Duration::ZERO,
        looked_up: true,
    };
    let status = match decide(view, &moment) {
        Step::Delete => return reconcile.delete().await,
        step @ Step::Wait(_) => return Ok(reconcile.until(&step)),
        Step::Acknowledge | Step::CorrectTimes if copy == Copy::Cached => {
            return Box::pin(acknowledge(&Owner::of(object), context)).await;
        }
        Step::Acknowledge => record::acknowledged(view, now),
        Step::CorrectTimes => record::corrected(view, now),
        // Not finished after all, or the annotation comes first: other watches bring it.
        _ => return Ok(Action::await_change()),
    };
    reconcile.write(&status).await
}
