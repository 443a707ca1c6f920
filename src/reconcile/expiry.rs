//! Deletes finished objects whose time to live is over. They alone are watched again after their end, and
//! only if they ask for it.

use super::{Error, guarded};
use crate::api::FunctionInvocation;
use crate::clock;
use crate::context::Context;
use crate::kubernetes::status;
use crate::lifecycle::decide::wake;
use crate::lifecycle::{Memory, Moment, Step, decide};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::sync::Arc;
use std::time::Duration;

/// One look at a finished object.
///
/// # Errors
/// When the API server did not take the delete.
pub async fn expire(object: Arc<FunctionInvocation>, context: Arc<Context>) -> Result<Action, Error> {
    guarded(&context, run(&object, &context)).await
}

async fn run(object: &FunctionInvocation, context: &Context) -> Result<Action, Error> {
    let now = clock::now();
    let moment = Moment {
        now,
        holder: &context.holder,
        memory: Memory::Nothing,
        unchanged_for: Duration::ZERO,
        looked_up: true,
    };
    match decide(&context.view(object), &moment) {
        Step::Delete => {
            status::delete(&context.clients.calls, object).await?;
            let namespace = object.namespace().unwrap_or_default();
            tracing::info!(namespace, name = object.name_any(), "deleted after its time to live");
            Ok(Action::await_change())
        }
        step @ Step::Wait(_) => Ok(wake(&step, now).map_or_else(Action::await_change, Action::requeue)),
        // Not finished after all, or a person's word is to be heard first: other watches have it.
        _ => Ok(Action::await_change()),
    }
}
