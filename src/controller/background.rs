//! Background parts of the operator, and what happens when one ends unexpectedly.

use crate::context::Context;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Runs a background part of the operator. If a defect ends it early, the whole process stops and is restarted.
/// Otherwise a missing part could stay unnoticed for long. The part ends when the handle is dropped.
pub fn background(
    part: &'static str,
    context: &Arc<Context>,
    work: impl Future<Output = ()> + Send + 'static,
) -> AbortOnDropHandle<()> {
    let context = Arc::clone(context);
    AbortOnDropHandle::new(tokio::spawn(async move {
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
    }))
}
