//! The breaker: stops requests to an endpoint that fails repeatedly, then sends a single probe.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker: more than two unlucky connections, but few enough to spare a dead
/// endpoint (and the API server, which handles two writes for each try).
const FAILURES_TO_OPEN: u32 = 5;

/// Duration of the first opening; the k-th in a row lasts k times as long.
const FIRST_OPENING: Duration = Duration::from_secs(30);

/// Maximum of an opening before jitter, so that the operator notices a recovered endpoint within minutes.
const MAX_OPENING: Duration = Duration::from_mins(5);

/// An admission: its number, and that of the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission {
    pub(super) number: u64,
    pub(super) next: u64,
}

/// Closed: all pass. Open: none. Half-open (the opening is over): one at a time until one is answered.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Failures in a row, since it last opened or was answered.
    troubles: u32,
    /// Openings in a row, since it was last answered; 0 while closed.
    openings: u32,
    /// The end of the current opening; none while closed.
    until: Option<Instant>,
    /// Admissions with a lower number were made before the current opening, so their results do not count.
    since: u64,
}

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// All.
    Free,
    /// One at a time, until one is answered.
    Probe,
    /// None before this instant.
    Closed(Instant),
}

// === impl Breaker ===

impl Breaker {
    pub(super) fn passage(&self, now: Instant) -> Passage {
        match self.until {
            None => Passage::Free,
            Some(until) if until > now => Passage::Closed(until),
            Some(_) => Passage::Probe,
        }
    }

    /// The endpoint answered admission `number` in any way.
    pub(super) fn answered(&mut self, number: u64) {
        if number >= self.since {
            (self.troubles, self.openings, self.until) = (0, 0, None);
        }
    }

    /// Whether something failed since it was last answered.
    pub(super) fn is_troubled(&self) -> bool {
        self.troubles > 0 || self.until.is_some()
    }

    /// An admission failed. If `may_open`, the fifth failure in a row, or a later one, opens the breaker. Returns whether
    /// it did. A failed probe opens it again in any case. `chance` is a uniform random number.
    pub(super) fn troubled(&mut self, at: Admission, may_open: bool, chance: u64, now: Instant) -> bool {
        if at.number < self.since {
            return false;
        }
        self.troubles = self.troubles.saturating_add(1);
        if self.until.is_none() && !(may_open && self.troubles >= FAILURES_TO_OPEN) {
            return false;
        }
        self.openings = self.openings.saturating_add(1);
        let opening = FIRST_OPENING.saturating_mul(self.openings).min(MAX_OPENING);
        self.until = Some(now + opening + jitter(opening, chance));
        self.since = at.next;
        self.troubles = 0;
        true
    }
}

/// Up to a fifth of `opening`, so that replicas and providers of one endpoint do not probe at the same time.
fn jitter(opening: Duration, chance: u64) -> Duration {
    let share = f64::from((chance >> 32) as u32) / f64::from(u32::MAX);
    (opening / 5).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::simulation::origin;

    const HALF: u64 = u64::MAX / 2;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(number: u64, next: u64) -> Admission {
        Admission { number, next }
    }

    /// Five troubles of admissions 0 to 4; the next is 5.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for number in 0..5 {
            assert_eq!(breaker.passage(now), Passage::Free, "after {number} troubles");
            assert_eq!(breaker.troubled(at(number, 5), true, 0, now), number == 4);
        }
        breaker
    }

    #[test]
    fn five_troubles_in_a_row_open_it_for_thirty_seconds() {
        let now = origin();
        let breaker = opened(now);
        assert_eq!(breaker.passage(now), Passage::Closed(now + seconds(30)));
        assert_eq!(breaker.passage(now + seconds(30)), Passage::Probe);
    }

    #[test]
    fn an_answer_between_troubles_restarts_the_count() {
        let now = origin();
        let mut breaker = Breaker::default();
        for number in 0..40 {
            if number % 5 == 4 {
                breaker.answered(number);
            } else {
                assert!(!breaker.troubled(at(number, number + 1), true, 0, now));
            }
        }
        assert_eq!(breaker.passage(now), Passage::Free);
    }

    #[test]
    fn each_failed_probe_opens_it_for_longer_up_to_five_minutes() {
        let mut now = origin();
        let mut breaker = opened(now);
        for (probe, lasts) in (5..).zip([60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]) {
            now += seconds(300);
            assert_eq!(breaker.passage(now), Passage::Probe);
            assert!(breaker.troubled(at(probe, probe + 1), true, 0, now));
            assert_eq!(breaker.passage(now), Passage::Closed(now + seconds(lasts)));
        }
    }

    #[test]
    fn an_answered_probe_closes_it_and_the_next_opening_is_a_first_one_again() {
        let now = origin();
        let mut breaker = opened(now);
        breaker.answered(5);
        assert_eq!(breaker.passage(now), Passage::Free);
        for number in 6..11 {
            breaker.troubled(at(number, 11), true, 0, now);
        }
        assert_eq!(breaker.passage(now), Passage::Closed(now + seconds(30)));
    }

    #[test]
    fn results_from_before_the_opening_do_not_count() {
        let now = origin();
        let mut breaker = opened(now);
        breaker.answered(3);
        assert!(!breaker.troubled(at(4, 5), true, 0, now + seconds(40)));
        assert_eq!(breaker.passage(now), Passage::Closed(now + seconds(30)));
    }

    #[test]
    fn failures_that_may_not_open_it_are_counted_and_the_first_that_may_does() {
        let now = origin();
        let mut breaker = Breaker::default();
        assert!((0..9).all(|number| !breaker.troubled(at(number, 10), false, 0, now)));
        assert!(breaker.is_troubled());
        assert!(breaker.troubled(at(9, 10), true, 0, now));
    }

    #[test]
    fn chance_adds_up_to_a_fifth() {
        assert_eq!(jitter(seconds(30), 0), Duration::ZERO);
        assert_eq!(jitter(seconds(30), HALF).as_millis(), 2_999);
        assert_eq!(jitter(seconds(30), u64::MAX), seconds(6));
    }
}
