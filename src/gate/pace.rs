//! The pace: the number of requests per second that an endpoint accepts, learned from its throttles.

use std::time::{Duration, Instant};

/// Minimum rate. Without any request, the operator would never learn that the endpoint accepts requests again.
const MIN_RATE: f64 = 1.0;

/// Minimum knee after the first throttle. Few requests were accepted until then, which says little. From ten requests
/// a second the climb to fifty takes five seconds, from one it takes ten.
const MIN_FIRST_KNEE: f64 = 10.0;

/// How far below the knee the rate starts after a throttle. More costs time, less costs requests.
const BACK_OFF: f64 = 0.05;

/// Above this multiple of the knee without a throttle, the knee is outdated and the rate climbs at its maximum.
const PAST_THE_KNEE: f64 = 1.1;

/// Maximum increase of the rate by an accepted request (requests per second): half of the rate each second. A faster
/// increase overruns an endpoint without a burst before its first throttle arrives.
const MAX_STEP: f64 = 0.4;

/// Seconds of sending from a throttle back to the knee, at first.
const FIRST_CLIMB_SECONDS: f64 = 1.0;

/// Each confirmation of the knee multiplies the seconds by this.
const CONFIRMED_CLIMB_FACTOR: f64 = 3.0;

/// The maximum of these seconds. It decides how soon a higher capacity is found: after 2.3 times this and a few seconds.
const MAX_CLIMB_SECONDS: f64 = 24.0;

/// A knee within this range of the previous one confirms it.
const CONFIRMED: std::ops::Range<f64> = 0.8..1.2;

/// The pause after a throttle without `Retry-After`. It doubles while the endpoint accepts nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest of these pauses: after a second, an endpoint that counts by the second starts a new count.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Requests in flight before the first is accepted; each accepted one allows one more. So a slow endpoint throttles
/// eight requests at the start, and not the configured maximum.
const FIRST_IN_FLIGHT: usize = 8;

/// The rate, and the knowledge about the endpoint.
///
/// Before the first throttle the rate is the ceiling, so an endpoint that never throttles is never slowed down. After
/// it there is a *knee*, the rate at which the endpoint last throttled:
///
/// * The first throttle sets the knee to the accepted requests of the last second. Each later one sets it to the
///   current rate, times the share of requests accepted since the one before (about 1 after a long run, a half if
///   none was accepted).
/// * The rate starts 5 % below the knee and climbs along a cubic, which is flat at the knee and steep after it. The
///   way to the knee takes one second of sending at first, and three times as long at each confirmation of the knee,
///   up to 24 s. So an endpoint with a known knee rarely throttles.
/// * The curve advances with accepted requests, not with time: an idle gate learns nothing.
/// * All throttles of requests admitted before the last throttle count as one.
///
/// These constants were the best in `gate/simulation.rs`, over endpoints of 5, 50 and 500 requests a second that
/// count with a bucket (burst of 1, a tenth of a second, a second) or by the second. 10,000 due objects with 50 a
/// second take at most 1.01 requests each and 1.04 times the ideal time, or 1.10 times if each throttle has a
/// `Retry-After` of a second. A sawtooth (down to 70 %, then up linearly) reaches on average 85 % of the endpoint's
/// capacity, 1.18 times the time. The cubic comes from CUBIC (RFC 9438).
#[derive(Debug)]
pub(super) struct Pace {
    ceiling: f64,
    rate: f64,
    knowledge: Knowledge,
    in_flight: usize,
    pause: Duration,
    /// Admissions with a lower number were made before the last throttle, so their throttles do not count.
    since: u64,
}

/// Knowledge about the endpoint.
#[derive(Debug)]
enum Knowledge {
    /// It has not throttled at the ceiling.
    Unthrottled(Meter),
    /// It has throttled.
    Throttled(Knee),
}

/// The rate at which the endpoint last throttled, and the progress since.
#[derive(Debug)]
struct Knee {
    rate: f64,
    /// Seconds of sending from the throttle to the knee.
    climb_seconds: f64,
    /// Seconds of sending since the throttle.
    climbed_seconds: f64,
    accepted: u32,
}

/// Requests accepted in about the last second: those of the current second, and a share of the previous one.
#[derive(Debug)]
struct Meter {
    start: Instant,
    current: u32,
    before: u32,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(ceiling: f64, now: Instant) -> Self {
        Self {
            ceiling,
            rate: ceiling,
            knowledge: Knowledge::Unthrottled(Meter::new(now)),
            in_flight: FIRST_IN_FLIGHT,
            pause: FIRST_PAUSE,
            since: 0,
        }
    }

    pub(super) fn set_ceiling(&mut self, ceiling: f64) {
        self.ceiling = ceiling;
        self.rate = match self.knowledge {
            Knowledge::Unthrottled(_) => self.ceiling,
            Knowledge::Throttled(_) => self.rate.min(self.ceiling),
        };
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Maximum number of saved tokens: a tenth of a second's worth, and almost none for an endpoint that throttles (a
    /// busy machine may oversleep by a fiftieth of a second).
    pub(super) fn burst(&self) -> f64 {
        match self.knowledge {
            Knowledge::Unthrottled(_) => (self.rate / 10.0).max(1.0),
            Knowledge::Throttled(_) => 1.0 + self.rate / 50.0,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether the endpoint has throttled, and the rate has not come back to the ceiling since.
    pub(super) fn is_throttled(&self) -> bool {
        matches!(self.knowledge, Knowledge::Throttled(_))
    }

    /// A request was not throttled.
    pub(super) fn accepted(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.pause = FIRST_PAUSE;
        match &mut self.knowledge {
            Knowledge::Unthrottled(meter) => meter.count(now),
            Knowledge::Throttled(knee) => {
                self.rate = knee.climb(self.rate);
                if self.rate >= self.ceiling {
                    self.rate = self.ceiling;
                    self.knowledge = Knowledge::Unthrottled(Meter::new(now));
                }
            }
        }
    }

    /// Admission `number` was throttled; `next_number` is the number of the next admission. Returns the pause for a
    /// throttle without `Retry-After`; `None` if the throttle does not count.
    pub(super) fn throttled(&mut self, number: u64, next_number: u64, now: Instant) -> Option<Duration> {
        if number < self.since {
            return None;
        }
        self.since = next_number;
        let knee = match &mut self.knowledge {
            Knowledge::Unthrottled(meter) => Knee::new(meter.read(now).max(MIN_FIRST_KNEE).min(self.rate)),
            Knowledge::Throttled(knee) => {
                if knee.accepted == 0 {
                    // The endpoint still accepts nothing. That says how long it does so, not how much it accepts.
                    let pause = self.pause;
                    self.pause = (pause * 2).min(MAX_PAUSE);
                    if pause < MAX_PAUSE {
                        return Some(self.pause);
                    }
                }
                knee.next(self.rate)
            }
        };
        self.rate = (knee.rate * (1.0 - BACK_OFF)).max(MIN_RATE).min(self.ceiling);
        self.knowledge = Knowledge::Throttled(knee);
        Some(self.pause)
    }
}

// === impl Knee ===

impl Knee {
    fn new(rate: f64) -> Self {
        Self {
            rate: rate.max(MIN_RATE),
            climb_seconds: FIRST_CLIMB_SECONDS,
            climbed_seconds: 0.0,
            accepted: 0,
        }
    }

    /// The next knee, after another throttle at `rate`.
    fn next(&self, rate: f64) -> Self {
        let accepted = f64::from(self.accepted);
        let next = Self::new(rate * (accepted + 1.0) / (accepted + 2.0));
        if CONFIRMED.contains(&(next.rate / self.rate)) {
            Self {
                climb_seconds: (self.climb_seconds * CONFIRMED_CLIMB_FACTOR).min(MAX_CLIMB_SECONDS),
                ..next
            }
        } else {
            next
        }
    }

    /// The rate after another accepted request at `rate`.
    fn climb(&mut self, rate: f64) -> f64 {
        self.accepted = self.accepted.saturating_add(1);
        self.climbed_seconds += 1.0 / rate;
        let share = 1.0 + BACK_OFF * (self.climbed_seconds / self.climb_seconds - 1.0).powi(3);
        let longest = rate + MAX_STEP;
        if share > PAST_THE_KNEE { longest } else { longest.min(self.rate * share).max(MIN_RATE) }
    }
}

// === impl Meter ===

impl Meter {
    fn new(now: Instant) -> Self {
        Self { start: now, current: 0, before: 0 }
    }

    fn count(&mut self, now: Instant) {
        self.turn(now);
        self.current = self.current.saturating_add(1);
    }

    /// The count plus its square root, because a count may be too low by that much at random.
    fn read(&mut self, now: Instant) -> f64 {
        self.turn(now);
        let gone = now.saturating_duration_since(self.start).as_secs_f64();
        let seen = f64::from(self.current) + f64::from(self.before) * (1.0 - gone).max(0.0);
        seen + seen.sqrt()
    }

    fn turn(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        if seconds > 0 {
            self.before = if seconds == 1 { self.current } else { 0 };
            self.current = 0;
            self.start += Duration::from_secs(seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::simulation::origin;

    fn accept(pace: &mut Pace, requests: u32, now: Instant) {
        (0..requests).for_each(|_| pace.accepted(now));
    }

    fn close_to(rate: f64, expected: f64) {
        assert!((rate - expected).abs() < 0.01, "{rate} instead of {expected}");
    }

    #[test]
    fn the_first_throttle_sets_the_rate_of_the_last_second() {
        // Accepted requests, and then 5 % less than that plus its root, or the minimum.
        for (accepted, rate) in [(100, 104.5), (49, 53.2), (1, 9.5), (0, 9.5)] {
            let now = origin();
            let mut pace = Pace::new(200.0, now);
            accept(&mut pace, accepted, now + Duration::from_millis(100));
            pace.throttled(0, 1, now + Duration::from_millis(200));
            close_to(pace.rate(), rate);
        }
    }

    #[test]
    fn an_endpoint_that_stays_closed_gets_fewer_requests_but_never_none() {
        let now = origin();
        let mut pace = Pace::new(200.0, now);
        let pauses: Vec<_> = (0..12)
            .map(|number| {
                let pause = pace.throttled(number, number + 1, now).unwrap();
                (pause.as_millis(), pace.rate().round())
            })
            .collect();
        assert_eq!(pauses[..5], [(100, 10.0), (200, 10.0), (400, 10.0), (800, 10.0), (1_000, 10.0)]);
        assert_eq!(pauses[5..9], [(1_000, 5.0), (1_000, 2.0), (1_000, 1.0), (1_000, 1.0)]);
        accept(&mut pace, 1, now);
        assert_eq!(pace.throttled(12, 13, now), Some(FIRST_PAUSE));
    }

    #[test]
    fn the_rate_climbs_with_accepted_requests_and_not_with_time() {
        let now = origin();
        let mut pace = Pace::new(200.0, now);
        pace.throttled(0, 1, now);
        let rate = pace.rate();
        pace.throttled(0, 1, now + Duration::from_hours(1));
        close_to(pace.rate(), rate);
        accept(&mut pace, 1_000, now);
        close_to(pace.rate(), 200.0);
        assert!(matches!(pace.knowledge, Knowledge::Unthrottled(_)));
    }

    #[test]
    fn a_confirmed_knee_is_approached_more_slowly_and_a_new_one_faster() {
        let now = origin();
        let mut pace = Pace::new(200.0, now);
        accept(&mut pace, 49, now);
        pace.throttled(0, 1, now);
        let mut seconds = vec![];
        for (number, accepted) in (1..).zip([50, 150, 500, 2_000, 0, 0, 0, 0, 0, 0]) {
            accept(&mut pace, accepted, now);
            pace.throttled(number, number + 1, now);
            let Knowledge::Throttled(knee) = &pace.knowledge else { panic!("at the ceiling") };
            seconds.push(knee.climb_seconds.round());
        }
        assert_eq!(seconds, [3.0, 9.0, 24.0, 24.0, 24.0, 24.0, 24.0, 24.0, 1.0, 1.0]);
    }

    #[test]
    fn limits_may_change_at_any_time() {
        let now = origin();
        let mut pace = Pace::new(200.0, now);
        pace.set_ceiling(400.0);
        close_to(pace.rate(), 400.0);
        pace.throttled(0, 1, now);
        pace.set_ceiling(5.0);
        close_to(pace.rate(), 5.0);
        // The share of a process may be less than one request a second.
        pace.set_ceiling(0.5);
        close_to(pace.rate(), 0.5);
        pace.throttled(1, 2, now);
        close_to(pace.rate(), 0.5);
    }
}
