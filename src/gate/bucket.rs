//! The token bucket: one token per request, refilled at the rate of the pace.

use std::time::{Duration, Instant};

/// Available tokens. Rate (tokens per second) and burst (maximum of tokens) come with each refill.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    burst: f64,
    filled: Instant,
}

// === impl Bucket ===

impl Bucket {
    pub(super) fn new(burst: f64, now: Instant) -> Self {
        Self { tokens: burst, burst, filled: now }
    }

    /// Adds the tokens since the last refill. A clock that went back adds none.
    pub(super) fn refill(&mut self, rate: f64, burst: f64, now: Instant) {
        self.burst = burst;
        self.tokens = self.level(rate, now).min(burst);
        self.filled = self.filled.max(now);
    }

    pub(super) fn take(&mut self) -> bool {
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    pub(super) fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.burst);
    }

    /// After a throttle: drops the saved tokens, and of those until the pause is over (`until`) keeps at most one.
    pub(super) fn hold(&mut self, rate: f64, until: Instant) {
        self.tokens = (rate * until.saturating_duration_since(self.filled).as_secs_f64()).min(1.0);
        self.filled = until;
    }

    /// When the next token is available; `now` if one is.
    pub(super) fn ready_at(&self, rate: f64, now: Instant) -> Instant {
        let missing = 1.0 - self.level(rate, now);
        if missing <= 0.0 {
            return now;
        }
        // Add a microsecond, so that rounding never wakes an object slightly too early, again and again.
        self.filled.max(now) + Duration::from_secs_f64(missing / rate) + Duration::from_micros(1)
    }

    fn level(&self, rate: f64, now: Instant) -> f64 {
        self.tokens + rate * now.saturating_duration_since(self.filled).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::simulation::origin;

    const RATE: f64 = 10.0;
    const BURST: f64 = 3.0;

    fn taken(bucket: &mut Bucket) -> usize {
        std::iter::from_fn(|| bucket.take().then_some(())).count()
    }

    #[test]
    fn it_refills_at_the_rate_and_keeps_no_more_than_the_burst() {
        // After this number of milliseconds, this number of tokens.
        for (after, tokens) in [(0, 0), (99, 0), (100, 1), (250, 2), (300, 3), (60_000, 3)] {
            let now = origin();
            let mut bucket = Bucket::new(BURST, now);
            assert_eq!(taken(&mut bucket), 3);
            bucket.refill(RATE, BURST, now + Duration::from_millis(after));
            assert_eq!(taken(&mut bucket), tokens, "after {after} ms");
        }
    }

    #[test]
    fn the_next_token_is_there_when_announced() {
        let now = origin();
        let mut bucket = Bucket::new(BURST, now);
        assert_eq!(bucket.ready_at(RATE, now), now);
        taken(&mut bucket);
        let ready = bucket.ready_at(RATE, now);
        assert_eq!((ready - now).as_millis(), 100);
        bucket.refill(RATE, BURST, ready);
        assert!(bucket.take());
    }

    #[test]
    fn a_token_given_back_is_there_at_once_but_never_beyond_the_burst() {
        let now = origin();
        let mut bucket = Bucket::new(BURST, now);
        bucket.give_back();
        assert_eq!(taken(&mut bucket), 3);
        bucket.give_back();
        assert_eq!(taken(&mut bucket), 1);
    }

    #[test]
    fn a_pause_leaves_one_token_at_most() {
        for (pause, tokens) in [(50, 0), (100, 1), (60_000, 1)] {
            let now = origin();
            let mut bucket = Bucket::new(BURST, now);
            let until = now + Duration::from_millis(pause);
            bucket.hold(RATE, until);
            bucket.refill(RATE, BURST, until);
            assert_eq!(taken(&mut bucket), tokens, "after {pause} ms");
        }
    }

    #[test]
    fn a_clock_that_goes_back_adds_nothing() {
        let now = origin();
        let later = now + Duration::from_mins(1);
        let mut bucket = Bucket::new(BURST, later);
        taken(&mut bucket);
        bucket.refill(RATE, BURST, now);
        assert_eq!(taken(&mut bucket), 0);
        bucket.refill(RATE, BURST, later + Duration::from_millis(100));
        assert_eq!(taken(&mut bucket), 1);
    }
}
