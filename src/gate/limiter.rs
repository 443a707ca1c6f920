//! The limiter: pace, pause and breaker of one level, an account or a function.

use super::breaker::{Admission, Breaker, Passage};
use super::bucket::Bucket;
use super::pace::Pace;
use super::vocabulary::Phase;
use std::time::{Duration, Instant};

/// Maximum of a pause. The caller limits `Retry-After`; this keeps the sum within the range of `Instant`.
pub(super) const MAX_PAUSE: Duration = Duration::from_hours(24);

/// What one level learns from answers, and what it admits.
#[derive(Debug)]
pub(super) struct Limiter {
    breaker: Breaker,
    pace: Pace,
    bucket: Bucket,
    paused_until: Option<Instant>,
}

// === impl Limiter ===

impl Limiter {
    /// It admits `ceiling` requests a second, until it learns that they are too many.
    pub(super) fn new(ceiling: f64, now: Instant) -> Self {
        let pace = Pace::new(ceiling, now);
        let bucket = Bucket::new(pace.burst(), now);
        Self { breaker: Breaker::default(), pace, bucket, paused_until: None }
    }

    pub(super) fn set_ceiling(&mut self, ceiling: f64, now: Instant) {
        self.refill(now);
        self.pace.set_ceiling(ceiling);
    }

    pub(super) fn phase(&self, now: Instant) -> Phase {
        match (self.breaker.passage(now), self.paused_until) {
            (Passage::Closed(until), _) => Phase::BreakerOpen { until },
            (_, Some(until)) if until > now => Phase::Paused { until },
            (Passage::Probe, _) => Phase::Probing,
            (Passage::Free, _) => Phase::Open,
        }
    }

    /// Maximum number of requests in flight; 0 while it admits nothing.
    pub(super) fn in_flight(&self, now: Instant) -> usize {
        match self.phase(now) {
            Phase::Shut | Phase::BreakerOpen { .. } | Phase::Paused { .. } => 0,
            Phase::Probing => 1,
            Phase::Open => self.pace.in_flight(),
        }
    }

    /// When there is a token and neither pause nor open breaker.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        let token = self.bucket.ready_at(self.pace.rate(), now);
        match self.phase(now) {
            Phase::BreakerOpen { until } | Phase::Paused { until } => until.max(token),
            Phase::Shut | Phase::Probing | Phase::Open => token,
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.pace.rate()
    }

    pub(super) fn has_token(&self, now: Instant) -> bool {
        self.bucket.ready_at(self.pace.rate(), now) <= now
    }

    /// Takes a token. The caller has made sure that there is one.
    pub(super) fn take(&mut self, now: Instant) {
        self.refill(now);
        self.bucket.take();
    }

    pub(super) fn give_back(&mut self) {
        self.bucket.give_back();
    }

    /// Whether it has failed repeatedly and not answered since.
    pub(super) fn is_suspect(&self, now: Instant) -> bool {
        self.breaker.passage(now) != Passage::Free
    }

    /// Whether it limits nothing and remembers nothing.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.phase(now) == Phase::Open && !self.breaker.is_troubled() && !self.pace.is_throttled()
    }

    /// A request was answered and not throttled.
    pub(super) fn accepted(&mut self, number: u64, now: Instant) {
        self.refill(now);
        self.pace.accepted(now);
        self.breaker.answered(number);
    }

    /// A request was answered, which says nothing of the pace.
    pub(super) fn answered(&mut self, number: u64) {
        self.breaker.answered(number);
    }

    /// A request was throttled. Returns whether that begins a pause, or makes it longer.
    pub(super) fn throttled(&mut self, at: Admission, retry_after: Option<Duration>, now: Instant) -> bool {
        self.refill(now);
        self.breaker.answered(at.number);
        let default_pause = self.pace.throttled(at.number, at.next, now);
        let Some(pause) = retry_after.max(default_pause) else { return false };
        self.pause(now + pause.min(MAX_PAUSE))
    }

    /// Admits nothing until then. Returns whether that begins a pause, or makes it longer.
    pub(super) fn pause(&mut self, until: Instant) -> bool {
        let is_longer = self.paused_until.is_none_or(|already| already < until);
        if is_longer {
            self.paused_until = Some(until);
            self.bucket.hold(self.pace.rate(), until);
        }
        is_longer
    }

    /// A request failed. If `may_open`, enough of them open the breaker. Returns whether this one did.
    pub(super) fn failed(&mut self, at: Admission, may_open: bool, chance: u64, now: Instant) -> bool {
        self.breaker.troubled(at, may_open, chance, now)
    }

    /// Forgets failures and the breaker.
    pub(super) fn close_breaker(&mut self) {
        self.breaker = Breaker::default();
    }

    fn refill(&mut self, now: Instant) {
        self.bucket.refill(self.pace.rate(), self.pace.burst(), now);
    }
}
