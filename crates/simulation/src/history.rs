//! Who did what to which object when.

use crate::lock;
use functiongraph_operator::clock;
use std::fmt::Display;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The lines of a history.
pub struct History {
    began: Instant,
    lines: Mutex<Vec<String>>,
}

impl History {
    /// An empty history that begins now.
    pub fn new() -> Self {
        Self { began: clock::monotonic(), lines: Mutex::default() }
    }

    /// The time since it began.
    pub fn passed(&self) -> Duration {
        clock::monotonic().duration_since(self.began)
    }

    /// Adds a line.
    pub fn note(&self, who: impl Display, what: impl Display) {
        let passed = self.passed();
        lock(&self.lines).push(format!("{:>9.3} {who:<12} {what}", passed.as_secs_f64()));
    }

    /// All lines.
    pub fn text(&self) -> String {
        lock(&self.lines).join("\n") + "\n"
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}
