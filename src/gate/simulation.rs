//! A simulation of many objects that are due at once, one gate and one endpoint: the source of the constants in
//! `pace.rs`.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use super::tests::{ticket, uid};
use super::{Entry, Gate, GateLimits, Level, Signal};

/// Time from the request to the answer.
const LATENCY: Duration = Duration::from_millis(50);

/// Time from a grant to the reconcile that uses it.
const TRIGGER: Duration = Duration::from_millis(1);

/// How an endpoint counts requests.
#[derive(Debug, Clone, Copy)]
enum Endpoint {
    /// A token bucket.
    Bucket { rate: u32, burst: u32 },
    /// At most this number in each whole second, as gateways count.
    Window { rate: u32 },
}

/// A scenario.
#[derive(Debug, Clone)]
struct Herd {
    /// Number of objects, all due at the start.
    objects: u32,
    limits: GateLimits,
    endpoint: Endpoint,
    /// Another endpoint from this second on.
    change: Option<(usize, Endpoint)>,
    retry_after: Option<Duration>,
    /// Random variation of the way there, as a share of the latency.
    jitter: f64,
    seed: u64,
}

/// Result, second by second, as the endpoint saw it.
#[derive(Debug, Default)]
struct Outcome {
    accepted: Vec<u32>,
    throttled: Vec<u32>,
    /// The last answer.
    end: Duration,
}

/// Event for the object with this index.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Its reconcile asks for a permit.
    Asks(u32),
    /// Its request reaches the endpoint.
    Arrives(u32),
    /// Its answer arrives: accepted or throttled.
    Answered(u32, bool),
    /// The gate is asked for grants; the index is unused.
    Pump,
}

/// Pending events, in order of time, then of creation.
struct Agenda {
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    made: u64,
}

/// The running endpoint.
struct Server {
    tokens: f64,
    last: Duration,
}

/// Random numbers that are the same in every run (`SplitMix64`).
struct Chance(u64);

// === impl Herd ===

impl Herd {
    fn new(objects: u32, endpoint: Endpoint) -> Self {
        let limits = GateLimits { max_requests_per_second: 1_000, max_in_flight: 100, shared: false };
        Self { objects, limits, endpoint, change: None, retry_after: None, jitter: 0.2, seed: 1 }
    }

    fn run(&self) -> Outcome {
        let origin = origin();
        let mut gate = Gate::new(self.limits, origin);
        gate.open(origin);
        let mut chance = Chance(self.seed);
        let mut agenda = Agenda { events: BinaryHeap::new(), made: 0 };
        let mut server = Server { tokens: f64::MAX, last: Duration::ZERO };
        let mut throttles = vec![0; self.objects as usize];
        let mut pump_at = None;
        let mut outcome = Outcome::default();
        (0..self.objects).for_each(|object| agenda.add(Duration::ZERO, Event::Asks(object)));

        while let Some(Reverse((now, _, event))) = agenda.events.pop() {
            match event {
                Event::Asks(object) => {
                    if gate.asks(ticket(&object.to_string(), "default", "resize"), origin + now)
                        == Entry::Admitted
                    {
                        let way = LATENCY.mul_f64(0.5 + self.jitter * (chance.share() - 0.5));
                        agenda.add(now + way, Event::Arrives(object));
                    }
                }
                Event::Arrives(object) => {
                    let accepted = server.accepts(self.endpoint_at(now), now);
                    outcome.count(accepted, now);
                    agenda.add(now + LATENCY / 2, Event::Answered(object, accepted));
                }
                Event::Answered(object, true) => {
                    gate.ends(&object.to_string(), Signal::Answered, chance.draw(), origin + now);
                    outcome.end = now;
                }
                Event::Answered(object, false) => {
                    let signal = Signal::Throttled { level: Level::Account, retry_after: self.retry_after };
                    gate.ends(&object.to_string(), signal, chance.draw(), origin + now);
                    throttles[object as usize] += 1;
                    let longest = 2_f64.powi(throttles[object as usize]).min(300.0);
                    let wait = Duration::from_secs_f64(longest * chance.share());
                    agenda.add(now + wait, Event::Asks(object));
                }
                Event::Pump => {
                    pump_at = None;
                    for granted in gate.calls(origin + now) {
                        agenda.add(now + TRIGGER, Event::Asks(uid(&granted).parse().unwrap()));
                    }
                }
            }
            if let Some(wake) = gate.wakes(origin + now) {
                let wake = whole_millis(wake - origin);
                if pump_at.is_none_or(|already| wake < already) {
                    pump_at = Some(wake);
                    agenda.add(wake, Event::Pump);
                }
            }
        }
        assert_eq!(outcome.accepted.iter().sum::<u32>(), self.objects, "an object was lost");
        outcome
    }

    fn endpoint_at(&self, now: Duration) -> Endpoint {
        match self.change {
            Some((second, endpoint)) if now.as_secs() >= second as u64 => endpoint,
            _ => self.endpoint,
        }
    }

    /// Runs with and without a `Retry-After` of a second, and checks the goals for both.
    fn assert_goals(&self) {
        for retry_after in [None, Some(Duration::from_secs(1))] {
            Self { retry_after, ..self.clone() }.assert_goal();
        }
    }

    /// At most 1.02 requests per object, in at most 1.1 times the endpoint's own time.
    fn assert_goal(&self) {
        let outcome = self.run();
        let rate = match self.endpoint {
            Endpoint::Bucket { rate, .. } | Endpoint::Window { rate } => f64::from(rate),
        };
        let objects = f64::from(self.objects);
        let posts = objects + f64::from(outcome.throttled.iter().sum::<u32>());
        let time = outcome.end.as_secs_f64() * rate / objects;
        println!("{:.4} requests per object in {time:.4} of the ideal time: {self:?}", posts / objects);
        assert!(posts / objects <= 1.02, "{:.4} requests per object: {self:?}", posts / objects);
        assert!(time <= 1.1, "{time:.4} of the ideal time: {self:?}");
    }
}

// === impl Outcome ===

impl Outcome {
    fn count(&mut self, accepted: bool, now: Duration) {
        let second = usize::try_from(now.as_secs()).unwrap();
        for list in [&mut self.accepted, &mut self.throttled] {
            list.resize(list.len().max(second + 1), 0);
        }
        let list = if accepted { &mut self.accepted } else { &mut self.throttled };
        list[second] += 1;
    }
}

// === impl Agenda ===

impl Agenda {
    fn add(&mut self, at: Duration, event: Event) {
        self.events.push(Reverse((at, self.made, event)));
        self.made += 1;
    }
}

// === impl Server ===

impl Server {
    fn accepts(&mut self, endpoint: Endpoint, now: Duration) -> bool {
        match endpoint {
            Endpoint::Bucket { rate, burst } => {
                let trickled = f64::from(rate) * now.saturating_sub(self.last).as_secs_f64();
                self.tokens = (self.tokens + trickled).min(f64::from(burst));
            }
            Endpoint::Window { rate } => {
                if now.as_secs() > self.last.as_secs() || self.tokens > f64::from(rate) {
                    self.tokens = f64::from(rate);
                }
            }
        }
        self.last = now;
        let accepts = self.tokens >= 1.0;
        if accepts {
            self.tokens -= 1.0;
        }
        accepts
    }
}

// === impl Chance ===

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Evenly spread over [0, 1).
    fn share(&mut self) -> f64 {
        f64::from((self.draw() >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Any start time.
#[expect(clippy::disallowed_methods, reason = "the gate only ever sees differences")]
pub(super) fn origin() -> Instant {
    Instant::now()
}

/// Timers wake at the next full millisecond, as in tokio.
fn whole_millis(at: Duration) -> Duration {
    Duration::from_millis(u64::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap())
}

#[test]
fn a_herd_passes_a_gateway_that_counts_by_the_second() {
    Herd::new(10_000, Endpoint::Window { rate: 50 }).assert_goals();
}

#[test]
fn a_herd_passes_an_endpoint_with_a_burst() {
    Herd::new(10_000, Endpoint::Bucket { rate: 50, burst: 50 }).assert_goals();
}

#[test]
fn a_herd_passes_an_endpoint_with_a_small_burst() {
    Herd::new(10_000, Endpoint::Bucket { rate: 50, burst: 5 }).assert_goals();
}

#[test]
fn a_herd_passes_an_endpoint_without_a_burst() {
    // No jitter on the way: here, two requests that are slightly too close cause a throttle, whichever client sends them.
    Herd { jitter: 0.0, ..Herd::new(10_000, Endpoint::Bucket { rate: 50, burst: 1 }) }.assert_goals();
}

#[test]
fn a_herd_passes_with_the_default_limits() {
    let limits = GateLimits { max_requests_per_second: 200, max_in_flight: 32, shared: false };
    Herd { limits, ..Herd::new(10_000, Endpoint::Bucket { rate: 50, burst: 50 }) }.assert_goals();
    Herd { limits, ..Herd::new(10_000, Endpoint::Window { rate: 50 }) }.assert_goals();
}

#[test]
fn a_herd_passes_a_fast_endpoint() {
    Herd::new(20_000, Endpoint::Bucket { rate: 500, burst: 500 }).assert_goals();
    Herd::new(20_000, Endpoint::Window { rate: 500 }).assert_goal();
}

#[test]
fn a_herd_passes_a_slow_endpoint() {
    Herd::new(2_000, Endpoint::Bucket { rate: 5, burst: 5 }).assert_goals();
    Herd::new(2_000, Endpoint::Window { rate: 5 }).assert_goals();
}

#[test]
fn an_endpoint_that_never_throttles_is_never_slowed() {
    let limits = GateLimits { max_requests_per_second: 300, max_in_flight: 32, shared: false };
    let herd = Herd { limits, ..Herd::new(3_000, Endpoint::Bucket { rate: 10_000, burst: 10_000 }) };
    let outcome = herd.run();
    assert!(outcome.end <= Duration::from_millis(10_250), "{:?}", outcome.end);
    assert!(outcome.accepted[0] >= 280, "{:?}", outcome.accepted);
}

#[test]
fn the_rate_follows_an_endpoint_that_recovers() {
    let (slow, fast) = (Endpoint::Bucket { rate: 50, burst: 50 }, Endpoint::Bucket { rate: 200, burst: 200 });
    let outcome = Herd { change: Some((60, fast)), ..Herd::new(20_000, slow) }.run();
    let follows = outcome.accepted.iter().skip(60).position(|accepted| *accepted >= 180).unwrap();
    println!("{follows} s after the endpoint");
    assert!(follows <= 75, "{follows} s after the endpoint");
}

#[test]
fn an_endpoint_that_slows_down_is_not_overrun() {
    let (fast, slow) = (Endpoint::Bucket { rate: 200, burst: 200 }, Endpoint::Bucket { rate: 10, burst: 10 });
    // A pause of a second refills the bucket, so each throttle comes after ten more successes and teaches less.
    for (retry_after, at_most) in [(None, 60), (Some(Duration::from_secs(1)), 150)] {
        let outcome = Herd { change: Some((20, slow)), retry_after, ..Herd::new(5_000, fast) }.run();
        let extra: u32 = outcome.throttled.iter().skip(20).take(30).sum();
        let later: u32 = outcome.throttled.iter().skip(50).take(30).sum();
        let accepted: u32 = outcome.accepted.iter().skip(22).take(30).sum();
        println!("{extra} throttled in half a minute, {later} in the next, {accepted} accepted");
        assert!(extra <= at_most, "{extra} throttled in half a minute");
        assert!(later <= 30, "{later} throttled in the next half minute");
        assert!(accepted >= 270, "{accepted} accepted in half a minute");
    }
}
