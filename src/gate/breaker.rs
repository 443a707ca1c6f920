//! The breaker: an endpoint that fails again and again is left alone for a while, then asked once.

use std::time::{Duration, Instant};

/// Troubles in a row that open the breaker: enough not to be two unlucky connections, few enough to spare a dead
/// endpoint (and the API server, which pays two writes for each try).
const FAILURES_TO_OPEN: u32 = 5;

/// How long the first opening lasts; the k-th in a row lasts k times as long.
const FIRST_OPENING: Duration = Duration::from_secs(30);

/// The longest opening before jitter: an endpoint that is back is noticed within minutes.
const MAX_OPENING: Duration = Duration::from_mins(5);

/// Closed: everybody passes. Open: nobody. Half-open (the time is over): one at a time until one is answered.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// In a row, since it last opened or was answered.
    troubles: u32,
    /// In a row, since it was last answered; 0 while closed.
    openings: u32,
    /// The end of the present opening; none while closed.
    until: Option<Instant>,
    /// Admissions with a lower number were made before the present opening: how they end is no news.
    since: u64,
}

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// Everybody.
    Free,
    /// One at a time, until one is answered.
    Probe,
    /// Nobody before this instant.
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

    /// The endpoint gave an answer, of whatever kind, to admission `number`.
    pub(super) fn answered(&mut self, number: u64) {
        if number >= self.since {
            (self.troubles, self.openings, self.until) = (0, 0, None);
        }
    }

    /// Admission `number` came to nothing; says whether that opens the breaker. `next_number` is the number of the
    /// next admission, `chance` any number, evenly spread.
    pub(super) fn troubled(&mut self, number: u64, next_number: u64, chance: u64, now: Instant) -> bool {
        if number < self.since {
            return false;
        }
        self.troubles += 1;
        if self.until.is_none() && self.troubles < FAILURES_TO_OPEN {
            return false;
        }
        self.openings = self.openings.saturating_add(1);
        let opening = FIRST_OPENING.saturating_mul(self.openings).min(MAX_OPENING);
        self.until = Some(now + opening + jitter(opening, chance));
        self.since = next_number;
        self.troubles = 0;
        true
    }
}

/// Up to a fifth of `opening`, so that the replicas and the providers of one endpoint do not probe in step.
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

    /// Five troubles of admissions 0 to 4; the next is 5.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for number in 0..5 {
            assert_eq!(breaker.passage(now), Passage::Free, "after {number} troubles");
            assert_eq!(breaker.troubled(number, 5, 0, now), number == 4);
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
                assert!(!breaker.troubled(number, number + 1, 0, now));
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
            assert!(breaker.troubled(probe, probe + 1, 0, now));
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
            breaker.troubled(number, 11, 0, now);
        }
        assert_eq!(breaker.passage(now), Passage::Closed(now + seconds(30)));
    }

    #[test]
    fn what_was_sent_before_it_opened_is_no_news() {
        let now = origin();
        let mut breaker = opened(now);
        breaker.answered(3);
        assert!(!breaker.troubled(4, 5, 0, now + seconds(40)));
        assert_eq!(breaker.passage(now), Passage::Closed(now + seconds(30)));
    }

    #[test]
    fn chance_adds_up_to_a_fifth() {
        assert_eq!(jitter(seconds(30), 0), Duration::ZERO);
        assert_eq!(jitter(seconds(30), HALF).as_millis(), 2_999);
        assert_eq!(jitter(seconds(30), u64::MAX), seconds(6));
    }
}
