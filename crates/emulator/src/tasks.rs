//! Work in the background, which ends with the emulator.

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts tasks, and ends them all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl Tasks {
    /// Starts a task that ends with the emulator, or by the handle.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tracker.spawn(self.stop.clone().run_until_cancelled_owned(work)).abort_handle()
    }
}
