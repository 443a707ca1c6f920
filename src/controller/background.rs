//! Parts of the operator that run beside the others, and what happens when one breaks.

use crate::context::Context;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Runs a part of the operator beside the others. One that ends before it is time, by a defect, stops the whole
/// process: it is started anew, while a missing part would not be noticed for long.
pub fn background(
    part: &'static str,
    context: &Arc<Context>,
    work: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let ended = AssertUnwindSafe(work).catch_unwind().await;
        if !context.draining.is_cancelled() {
            tracing::error!(
                part,
                panicked = ended.is_err(),
                "a defect in the operator: a part of it has ended"
            );
            let _ = context.broken.set(part);
            context.draining.cancel();
        }
    })
}
