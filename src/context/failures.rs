//! How often in a row each object could not be worked on, and how long it rests for it.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often in a row each object could not be worked on: kube-runtime keeps no count of its own.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<String, Failure>>);

struct Failure {
    count: u32,
    last: Instant,
    pause: Duration,
}

/// A failure is remembered for longer than any pause that follows from it.
const FAILURE_TTL: Duration = Duration::from_mins(10);

impl Failures {
    /// Counts one more, and says how long to wait: half a second, doubling up to a minute, and up to as much
    /// again by `chance`.
    pub fn count(&self, uid: &str, chance: u64, now: Instant) -> Duration {
        let mut counts = self.0.lock();
        let new = Failure { count: 0, last: now, pause: Duration::ZERO };
        let failure = counts.entry(uid.into()).or_insert(new);
        failure.count = failure.count.saturating_add(1).min(8);
        let base = Duration::from_millis(250 << failure.count).min(Duration::from_mins(1));
        (failure.last, failure.pause) = (now, base + Duration::from_millis(chance % 1000).min(base));
        failure.pause
    }

    /// What is left of the pause after the latest failure, whatever calls the object meanwhile.
    pub fn rest(&self, uid: &str, now: Instant) -> Option<Duration> {
        let counts = self.0.lock();
        let failure = counts.get(uid)?;
        failure.pause.checked_sub(now.duration_since(failure.last)).filter(|rest| !rest.is_zero())
    }

    /// Forgets what failed long ago, as objects that were deleted meanwhile did.
    pub fn prune(&self, now: Instant) {
        let mut counts = self.0.lock();
        counts.retain(|_, failure| now.duration_since(failure.last) < FAILURE_TTL);
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// It worked.
    pub fn clear(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests {
    use super::*;

    #[test]
    fn what_failed_long_ago_is_forgotten() {
        let (failures, now) = (Failures::default(), Instant::now());
        let first = failures.count("a", 0, now);
        assert_eq!(failures.rest("a", now), Some(first));
        assert_eq!(failures.rest("a", now + first), None);
        assert!(failures.count("a", 0, now) > first);
        failures.prune(now + FAILURE_TTL);
        assert_eq!(failures.count("a", 0, now + FAILURE_TTL), first);
    }
}
