//! When the API server last sent bytes on a watch: any answer, an event, a bookmark, or the end.

use crate::clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The last activity on one watch; `None` until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<Option<Instant>>>);

impl Activity {
    /// Bytes arrived, or the watch is about to be opened.
    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::monotonic());
    }

    /// How long the watch has been silent; `None` if it is not open.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|last| clock::monotonic().saturating_duration_since(last))
    }
}
