//! When the API server last sent bytes on a watch (any answer, an event, a bookmark, or the end), and whether its last
//! answer was a refusal.

use crate::clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is known of one watch; nothing until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<Option<Last>>>);

#[derive(Clone, Copy, Debug)]
struct Last {
    /// When something came.
    at: Instant,
    /// Whether the last request was refused.
    refused: bool,
}

impl Activity {
    /// Bytes arrived, or the watch is about to be opened.
    pub fn note(&self) {
        self.change(|refused| refused);
    }

    pub fn answered(&self, success: bool) {
        self.change(|_| !success);
    }

    /// How long the watch has been silent; `None` if it is not open.
    pub fn silence(&self) -> Option<Duration> {
        self.last().map(|last| clock::monotonic().saturating_duration_since(last.at))
    }

    /// Whether the watch is open, and the API server did not refuse the last request for it.
    pub fn is_admitted(&self) -> bool {
        self.last().is_some_and(|last| !last.refused)
    }

    fn last(&self) -> Option<Last> {
        *self.0.lock()
    }

    fn change(&self, refused: impl FnOnce(bool) -> bool) {
        let mut last = self.0.lock();
        let before = last.is_some_and(|last| last.refused);
        *last = Some(Last { at: clock::monotonic(), refused: refused(before) });
    }
}
