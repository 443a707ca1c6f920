//! Says what is going on: minutes pass, and a person waits. The test harness would keep it until the end.

use functiongraph_operator::clock;
use std::io::Write;
use std::time::Instant;

/// The steps so far.
pub struct Show {
    begin: Instant,
}

fn say(text: &str) {
    // Nobody may be listening.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A line about what a step has found.
pub fn note(text: &str) {
    say(&format!("        {text}\n"));
}

// === impl Show ===

impl Show {
    pub fn start() -> Self {
        say("\n");
        Self { begin: clock::monotonic() }
    }

    /// Says what comes, does it, and says how long it took.
    pub async fn step<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        let begin = clock::monotonic();
        say(&format!("{:>5.0} s {name}\n", self.begin.elapsed().as_secs_f64()));
        let done = work.await;
        say(&format!("        done in {:.1} s\n", begin.elapsed().as_secs_f64()));
        done
    }
}
