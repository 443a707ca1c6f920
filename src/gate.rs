//! The gate of a provider: decides which objects may send now, and queues the others. Pure: time and randomness are
//! arguments.

mod breaker;
mod bucket;
#[cfg(test)]
mod histories;
mod pace;
mod queue;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use breaker::{Breaker, Passage};
use bucket::Bucket;
use pace::Pace;
use queue::Queue;
pub use vocabulary::{Entry, GateLimits, GateState, Phase, Signal, Ticket};

/// How long a grant waits for its object. A triggered reconcile comes within milliseconds. An object that does not
/// come (deleted, suspended, finished) must not hold a permit for long.
const GRANT_TTL: Duration = Duration::from_secs(2);

/// Maximum of a pause. The caller limits `Retry-After`; this keeps the sum within the range of `Instant`.
const MAX_PAUSE: Duration = Duration::from_hours(24);

/// The gate of one provider (endpoint and credential): rate, requests in flight, pauses, breaker, and the queue of
/// waiting objects.
///
/// An object calls [`enter`](Self::enter). If it is admitted, it sends, and reports the result with
/// [`leave`](Self::leave). If it is queued, its reconcile ends. [`grants`](Self::grants) returns the objects whose
/// turn has come, and admits their next `enter`.
///
/// # Guarantees
/// * While the gate is shut or paused, or the breaker is open, no object is admitted.
/// * The number of permits (granted and admitted) never exceeds the limit, nor one while the breaker is half-open.
/// * A queued object is granted a permit after at most one turn of each other namespace and of each other function in
///   its namespace, for each object before it with its own function.
/// * Total: unknown uids are ignored, and a clock that goes back does not move the gate's time.
///
/// # Assumptions
/// * Every admitted object leaves (hold a guard).
/// * The caller calls `grants` at [`next_wake`](Self::next_wake), and reads `next_wake` again after every other call.
#[derive(Debug)]
pub struct Gate {
    max_in_flight: usize,
    /// Whether the provider is ready.
    open: bool,
    paused_until: Option<Instant>,
    breaker: Breaker,
    pace: Pace,
    bucket: Bucket,
    queue: Queue,
    /// Granted permits without their object yet, by admission number, so the first one expires first.
    granted: BTreeMap<u64, Grant>,
    admitted: usize,
    /// Stage of every known object, by uid.
    stages: BTreeMap<String, Stage>,
    /// The next arrival or admission number.
    next_number: u64,
    /// The latest time seen.
    now: Instant,
}

/// Stage of an object.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Queued since `arrival`.
    Waiting { arrival: u64 },
    /// Granted; the key of its grant.
    Granted { number: u64 },
    /// Admitted.
    Admitted { number: u64 },
}

/// A permit that waits for its object.
#[derive(Debug)]
struct Grant {
    arrival: u64,
    ticket: Ticket,
    until: Instant,
}

// === impl Gate ===

impl Gate {
    /// A gate that is shut until the provider is ready.
    #[must_use]
    pub fn new(limits: GateLimits, now: Instant) -> Self {
        let pace = Pace::new(limits.max_requests_per_second, now);
        Self {
            max_in_flight: max_in_flight(limits),
            open: false,
            paused_until: None,
            breaker: Breaker::default(),
            bucket: Bucket::new(pace.burst(), now),
            pace,
            queue: Queue::default(),
            granted: BTreeMap::new(),
            admitted: 0,
            stages: BTreeMap::new(),
            next_number: 0,
            now,
        }
    }

    /// Sets new limits. Requests in flight continue. If the limit is lower than before, granted objects are queued
    /// again. Idempotent.
    pub fn set_limits(&mut self, limits: GateLimits, now: Instant) {
        self.advance(now);
        self.pace.set_ceiling(limits.max_requests_per_second);
        if max_in_flight(limits) < self.max_in_flight {
            self.recall();
        }
        self.max_in_flight = max_in_flight(limits);
    }

    /// The provider is not ready: admits no object. Requests in flight end as usual.
    pub fn shut(&mut self) {
        self.open = false;
        self.recall();
    }

    /// The provider is ready. Idempotent.
    pub fn open(&mut self, now: Instant) {
        self.advance(now);
        self.open = true;
    }

    /// The provider has another endpoint: forgets the rate and the breaker of the old one. Queued objects stay
    /// queued. Answers of the old endpoint that are still to come count like any other.
    pub fn new_endpoint(&mut self, now: Instant) {
        self.advance(now);
        self.breaker = Breaker::default();
        self.pace = Pace::new(self.pace.ceiling(), now);
        self.paused_until = None;
    }

    /// Asks for a permit. Idempotent: an admitted object stays admitted, a queued one keeps its position.
    pub fn enter(&mut self, ticket: Ticket, now: Instant) -> Entry {
        self.advance(now);
        match self.stages.get(&ticket.uid) {
            Some(Stage::Admitted { .. }) => Entry::Admitted,
            Some(Stage::Waiting { .. }) => Entry::Queued,
            Some(&Stage::Granted { number }) => {
                self.granted.remove(&number);
                self.admit(ticket.uid, number)
            }
            None if self.queue.is_empty() && self.has_capacity() && self.bucket.take() => {
                let number = self.draw_number();
                self.admit(ticket.uid, number)
            }
            None => {
                let arrival = self.draw_number();
                self.stages.insert(ticket.uid.clone(), Stage::Waiting { arrival });
                self.queue.push(arrival, ticket);
                Entry::Queued
            }
        }
    }

    /// Ends an admission. `chance` is a uniform random number for the breaker's jitter. Ignores objects that are not
    /// admitted.
    pub fn leave(&mut self, uid: &str, signal: Signal, chance: u64, now: Instant) {
        self.advance(now);
        let Some(&Stage::Admitted { number }) = self.stages.get(uid) else { return };
        self.stages.remove(uid);
        self.admitted -= 1;
        match signal {
            Signal::Unused => self.bucket.give_back(),
            Signal::Clean => {
                self.pace.accepted(self.now);
                self.breaker.answered(number);
            }
            Signal::Throttled { retry_after } => {
                self.breaker.answered(number);
                self.throttled(number, retry_after);
            }
            Signal::Trouble => {
                if self.breaker.troubled(number, self.next_number, chance, self.now) {
                    self.recall();
                }
            }
        }
    }

    /// The object does not want a permit any more. An admitted object still has to leave.
    pub fn forget(&mut self, uid: &str) {
        match self.stages.get(uid) {
            Some(&Stage::Waiting { arrival }) => self.queue.remove(arrival),
            Some(Stage::Granted { number }) => {
                self.granted.remove(number);
                self.bucket.give_back();
            }
            Some(Stage::Admitted { .. }) | None => return,
        }
        self.stages.remove(uid);
    }

    /// Removes all queued objects that are not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let is_in = |stage: &Stage| matches!(stage, Stage::Admitted { .. });
        let gone: Vec<String> = self
            .stages
            .iter()
            .filter(|(uid, stage)| !is_in(stage) && !wanted(uid))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            self.forget(&uid);
        }
    }

    /// Grants permits to queued objects in fair order, up to the limits. Each object has two seconds to enter. Then
    /// its permit and token go to the next, and it must ask again.
    #[must_use]
    pub fn grants(&mut self, now: Instant) -> Vec<Ticket> {
        self.advance(now);
        let mut called = Vec::new();
        while !self.queue.is_empty() && self.has_capacity() && self.bucket.take() {
            let Some((arrival, ticket)) = self.queue.pop() else { break };
            let number = self.draw_number();
            self.stages.insert(ticket.uid.clone(), Stage::Granted { number });
            called.push(ticket.clone());
            self.granted.insert(number, Grant { arrival, ticket, until: self.now + GRANT_TTL });
        }
        called
    }

    /// When time alone makes [`grants`](Self::grants) worth calling; `None` if only another call (an arrival, a
    /// leave, an opening) can.
    #[must_use]
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let now = now.max(self.now);
        if self.queue.is_empty() || !self.open {
            return None;
        }
        if let Passage::Closed(until) = self.breaker.passage(now) {
            return Some(until);
        }
        if self.in_flight() >= self.capacity(now) {
            return self.granted.values().next().map(|grant| grant.until.max(now));
        }
        let token = self.bucket.ready_at(self.pace.rate(), now);
        Some(self.paused_until.map_or(token, |until| until.max(token)))
    }

    /// Whether the endpoint has failed repeatedly and has not answered since.
    #[must_use]
    pub fn is_suspect(&self, now: Instant) -> bool {
        self.breaker.passage(now.max(self.now)) != Passage::Free
    }

    /// The gate as status and metrics show it.
    #[must_use]
    pub fn state(&self, now: Instant) -> GateState {
        let now = now.max(self.now);
        let phase = match (self.breaker.passage(now), self.paused_until) {
            _ if !self.open => Phase::Shut,
            (Passage::Closed(until), _) => Phase::BreakerOpen { until },
            (_, Some(until)) if until > now => Phase::Paused { until },
            (Passage::Probe, _) => Phase::Probing,
            (Passage::Free, _) => Phase::Open,
        };
        let lapsed = self.granted.values().take_while(|grant| grant.until <= now).count();
        GateState {
            phase,
            waiting: self.queue.len(),
            in_flight: self.in_flight() - lapsed,
            rate: self.pace.rate(),
        }
    }

    /// Moves the gate's time to `now`.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.bucket.refill(self.pace.rate(), self.pace.burst(), self.now);
        while let Some(first) = self.granted.first_entry()
            && first.get().until <= self.now
        {
            self.stages.remove(&first.remove().ticket.uid);
            self.bucket.give_back();
        }
    }

    fn has_capacity(&self) -> bool {
        let closed = !self.open
            || matches!(self.breaker.passage(self.now), Passage::Closed(_))
            || self.paused_until.is_some_and(|until| until > self.now);
        !closed && self.in_flight() < self.capacity(self.now)
    }

    fn capacity(&self, now: Instant) -> usize {
        if self.breaker.passage(now) == Passage::Probe {
            1
        } else {
            self.max_in_flight.min(self.pace.in_flight())
        }
    }

    fn in_flight(&self) -> usize {
        self.granted.len() + self.admitted
    }

    fn admit(&mut self, uid: String, number: u64) -> Entry {
        self.stages.insert(uid, Stage::Admitted { number });
        self.admitted += 1;
        Entry::Admitted
    }

    fn draw_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    fn throttled(&mut self, number: u64, retry_after: Option<Duration>) {
        let default_pause = self.pace.throttled(number, self.next_number, self.now);
        let Some(pause) = retry_after.max(default_pause) else { return };
        let until = self.now + pause.min(MAX_PAUSE);
        if self.paused_until.is_none_or(|already| already < until) {
            self.paused_until = Some(until);
            self.recall();
            self.bucket.hold(self.pace.rate(), until);
        }
    }

    /// Takes back every unused grant: its object returns to its position in the queue.
    fn recall(&mut self) {
        while let Some((_, Grant { arrival, ticket, until: _ })) = self.granted.pop_first() {
            self.stages.insert(ticket.uid.clone(), Stage::Waiting { arrival });
            self.queue.push(arrival, ticket);
            self.bucket.give_back();
        }
    }
}

fn max_in_flight(limits: GateLimits) -> usize {
    usize::try_from(limits.max_in_flight.max(1)).unwrap_or(usize::MAX)
}
