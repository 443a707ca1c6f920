//! The gate of a provider: decides which callers may send now, and queues the others. Pure: time and randomness are
//! arguments.
//!
//! Three levels slow requests down, because each answer speaks of one of them:
//!
//! * the **account**: everything that is sent with the provider's endpoint and credential. Its rate, pauses and breaker
//!   follow from what no tenant can choose.
//! * the **namespace**: a share of the permits in flight.
//! * the **function**, as one namespace uses it: its own throttles, failures and timeouts.

mod breaker;
mod bucket;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod hostile;
mod learn;
mod limiter;
mod pace;
mod queue;
mod shares;
#[cfg(test)]
mod simulation;
mod tenants;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use limiter::Limiter;
use queue::Queue;
pub use shares::Shares;
use tenants::Tenants;
pub use vocabulary::{Caller, Entry, FunctionKey, GateLimits, GateState, Level, Phase, Signal, Ticket, Wait};

/// How long a grant waits for its caller. A triggered reconcile comes within milliseconds. An object that does not
/// come (deleted, suspended, finished) must not hold a permit for long.
const GRANT_TTL: Duration = Duration::from_secs(2);

/// The gate of one provider: three levels of pace, and the queue of waiting callers.
///
/// A caller calls [`enter`](Self::enter). If it is admitted, it sends, and reports the result with
/// [`leave`](Self::leave). If it is queued, its reconcile ends. [`grants`](Self::grants) returns the tickets whose
/// turn has come, and admits their next `enter`.
///
/// # Guarantees
/// * While the gate is shut, or the account is paused or its breaker open, no caller is admitted.
/// * The number of permits (granted and admitted) never exceeds the limit, nor one while the breaker is half-open.
/// * A queued caller is granted a permit after at most one turn of each other namespace and of each other function in
///   its namespace, for each caller before it with its own function, unless its own function or namespace is held up.
/// * What one namespace learns of a function delays no other namespace.
/// * Total: unknown callers are ignored, and a clock that goes back does not move the gate's time.
///
/// # Assumptions
/// * Every admitted caller leaves (hold a guard).
/// * The caller calls `grants` at [`next_wake`](Self::next_wake), and reads `next_wake` again after every other call.
#[derive(Debug)]
pub struct Gate {
    limits: GateLimits,
    /// Whether the provider is ready.
    open: bool,
    account: Limiter,
    tenants: Tenants,
    /// The functions whose requests did not reach the service since it last answered.
    failing: BTreeSet<FunctionKey>,
    /// The latest of them.
    failed_last: Option<FunctionKey>,
    queue: Queue,
    /// Granted permits without their caller yet, by admission number, so the first one expires first.
    granted: BTreeMap<u64, Grant>,
    admitted: usize,
    /// Stage of every known caller.
    stages: BTreeMap<Caller, Stage>,
    /// The next arrival or admission number.
    next_number: u64,
    /// The latest time seen.
    now: Instant,
}

/// Stage of a caller.
#[derive(Debug)]
enum Stage {
    /// Queued since `arrival`.
    Waiting { arrival: u64 },
    /// Granted; the key of its grant.
    Granted { number: u64 },
    /// Admitted.
    Admitted { number: u64, function: FunctionKey },
}

/// A permit that waits for its caller.
#[derive(Debug)]
struct Grant {
    arrival: u64,
    ticket: Ticket,
    until: Instant,
}

// === impl Gate ===

impl Gate {
    /// A gate that is shut until the provider is ready.
    pub fn new(limits: GateLimits, now: Instant) -> Self {
        let ceiling = ceiling(limits);
        Self {
            limits,
            open: false,
            account: Limiter::new(ceiling, now),
            tenants: Tenants::new(ceiling),
            failing: BTreeSet::new(),
            failed_last: None,
            queue: Queue::default(),
            granted: BTreeMap::new(),
            admitted: 0,
            stages: BTreeMap::new(),
            next_number: 0,
            now,
        }
    }

    /// Sets new limits. Requests in flight continue. If fewer permits are left than before, granted callers are queued
    /// again. Idempotent.
    pub fn set_limits(&mut self, limits: GateLimits, now: Instant) {
        self.advance(now);
        let before = self.max_in_flight();
        self.limits = limits;
        self.account.set_ceiling(ceiling(limits), self.now);
        self.tenants.set_ceiling(ceiling(limits), self.now);
        if self.max_in_flight() < before {
            self.recall(|_| true);
        }
    }

    /// The provider is not ready: admits no caller. Requests in flight end as usual.
    pub fn shut(&mut self) {
        self.open = false;
        self.recall(|_| true);
    }

    /// The provider is ready. Idempotent.
    pub fn open(&mut self, now: Instant) {
        self.advance(now);
        self.open = true;
    }

    /// The provider has another endpoint: forgets what was learned of the old one. Queued callers stay queued. Answers
    /// of the old endpoint that are still to come count like any other.
    pub fn new_endpoint(&mut self, now: Instant) {
        self.advance(now);
        self.account = Limiter::new(ceiling(self.limits), now);
        self.tenants.forget_limits();
        self.failing.clear();
        self.failed_last = None;
    }

    /// The service asked the account to wait through another gate of the same account.
    pub fn pause(&mut self, until: Instant, now: Instant) {
        self.advance(now);
        if self.account.pause(until) {
            self.recall(|_| true);
        }
    }

    /// Asks for a permit. `process` is what the namespaces hold of all gates together. Idempotent: an admitted caller
    /// stays admitted, a queued one keeps its position, unless it asks for another function.
    pub fn enter(&mut self, ticket: Ticket, process: &Shares, now: Instant) -> Entry {
        self.advance(now);
        if self.waits_otherwise(&ticket) {
            self.forget(&ticket.caller);
        }
        match self.stages.get(&ticket.caller) {
            Some(Stage::Admitted { .. }) => Entry::Admitted,
            Some(Stage::Waiting { .. }) => Entry::Queued,
            Some(&Stage::Granted { number }) => {
                self.granted.remove(&number);
                self.admit(ticket, number)
            }
            None if self.may_send(&ticket.function, process) && self.next_function(process).is_none() => {
                let number = self.draw_number();
                self.account.take(self.now);
                self.tenants.hold(&ticket.function, self.now);
                self.admit(ticket, number)
            }
            None => {
                let arrival = self.draw_number();
                self.stages.insert(ticket.caller.clone(), Stage::Waiting { arrival });
                self.queue.push(arrival, ticket);
                Entry::Queued
            }
        }
    }

    /// Whether the caller waits for a permit of another function. One that was sent by another process and is to be stopped now
    /// does: its call is of no function.
    fn waits_otherwise(&self, ticket: &Ticket) -> bool {
        let known = match self.stages.get(&ticket.caller) {
            Some(Stage::Waiting { arrival }) => self.queue.ticket(*arrival),
            Some(Stage::Granted { number }) => self.granted.get(number).map(|grant| &grant.ticket),
            Some(Stage::Admitted { .. }) | None => None,
        };
        known.is_some_and(|known| known.function != ticket.function)
    }

    /// Ends an admission. `chance` is a uniform random number for the jitter of the breakers. Ignores callers that are
    /// not admitted.
    pub fn leave(&mut self, caller: &Caller, signal: Signal, chance: u64, now: Instant) {
        self.advance(now);
        let Some(Stage::Admitted { .. }) = self.stages.get(caller) else { return };
        let Some(Stage::Admitted { number, function }) = self.stages.remove(caller) else { return };
        self.admitted -= 1;
        self.learn(&function, number, signal, chance);
        self.tenants.release(&function);
    }

    /// The caller does not want a permit any more. An admitted caller still has to leave.
    pub fn forget(&mut self, caller: &Caller) {
        match self.stages.get(caller) {
            Some(&Stage::Waiting { arrival }) => self.queue.remove(arrival),
            Some(&Stage::Granted { number }) => {
                if let Some(Grant { ticket, .. }) = self.granted.remove(&number) {
                    self.give_back(&ticket.function);
                }
            }
            Some(Stage::Admitted { .. }) | None => return,
        }
        self.stages.remove(caller);
    }

    /// Removes all queued callers that are not wanted any more, and what was learned of functions that nobody invokes.
    pub fn retain(&mut self, wanted: impl Fn(&Caller) -> bool, now: Instant) {
        self.advance(now);
        let is_in = |stage: &Stage| matches!(stage, Stage::Admitted { .. });
        let gone: Vec<Caller> = self
            .stages
            .iter()
            .filter(|(caller, stage)| !is_in(stage) && !wanted(caller))
            .map(|(caller, _)| caller.clone())
            .collect();
        for caller in gone {
            self.forget(&caller);
        }
        self.tenants.prune(self.now);
    }

    /// Grants permits to queued callers in fair order, up to the limits, and counts them in `process`. Each caller has
    /// two seconds to enter. Then its permit and token go to the next, and it must ask again.
    #[must_use]
    pub fn grants(&mut self, process: &mut Shares, now: Instant) -> Vec<Ticket> {
        self.advance(now);
        let mut called = Vec::new();
        while let Some((arrival, ticket)) = self.pop(process) {
            let number = self.draw_number();
            self.account.take(self.now);
            self.tenants.hold(&ticket.function, self.now);
            process.hold(&ticket.function.namespace, 1);
            self.stages.insert(ticket.caller.clone(), Stage::Granted { number });
            called.push(ticket.clone());
            self.granted.insert(number, Grant { arrival, ticket, until: self.now + GRANT_TTL });
        }
        called
    }

    /// When time alone makes [`grants`](Self::grants) worth calling; `None` if only another call (an arrival, a
    /// leave, an opening) can.
    pub fn next_wake(&self, process: &Shares, now: Instant) -> Option<Instant> {
        let now = now.max(self.now);
        if self.queue.is_empty() || !self.open {
            return None;
        }
        let lapse = self.granted.values().next().map(|grant| grant.until.max(now));
        if let Phase::BreakerOpen { until } | Phase::Paused { until } = self.account.phase(now) {
            return Some(if self.next_function(process).is_some() { now } else { until });
        }
        let capacity = self.capacity(now);
        if self.in_flight() >= capacity {
            return lapse;
        }
        let account = self.account.ready_at(now);
        let mut next = None;
        for function in self.queue.functions() {
            let has_share = self.has_share(function, capacity, process);
            let ready = has_share.then(|| self.tenants.ready_at(function, now));
            match ready.flatten() {
                Some(ready) if ready <= account => return Some(account),
                Some(ready) => next = [next, Some(ready)].into_iter().flatten().min(),
                // A permit has to come back first.
                None => next = [next, lapse].into_iter().flatten().min(),
            }
        }
        next
    }

    /// Whether the endpoint has failed repeatedly and has not answered since.
    pub fn is_suspect(&self, now: Instant) -> bool {
        self.account.is_suspect(now.max(self.now))
    }

    /// The gate as status and metrics show it.
    pub fn state(&self, now: Instant) -> GateState {
        let now = now.max(self.now);
        let lapsed = self.granted.values().take_while(|grant| grant.until <= now).count();
        GateState {
            phase: self.phase(now),
            waiting: self.queue.len(),
            in_flight: self.in_flight() - lapsed,
            rate: self.account.rate(),
        }
    }

    /// Which level makes a caller of this function wait.
    pub fn wait(&self, function: &FunctionKey, process: &Shares, now: Instant) -> Wait {
        let now = now.max(self.now);
        let account = self.phase(now);
        if !matches!(account, Phase::Open | Phase::Probing) {
            return Wait::Account(account);
        }
        match self.tenants.phase(function, now) {
            Phase::BreakerOpen { until } if self.tenants.is_disabled(function) => Wait::Disabled { until },
            Phase::Open if account == Phase::Probing => Wait::Account(account),
            Phase::Open if !self.has_share(function, self.capacity(now), process) => Wait::Namespace,
            Phase::Open => Wait::Turn,
            phase => Wait::Function(phase),
        }
    }

    /// The permits that each namespace holds.
    pub fn holdings(&self) -> impl Iterator<Item = (&str, usize)> {
        self.tenants.holdings()
    }

    /// Removes the next caller in turn that may send.
    fn pop(&mut self, process: &Shares) -> Option<(u64, Ticket)> {
        let function = self.next_function(process)?.clone();
        self.queue.pop(&function)
    }

    /// The next function in turn that may send. A probe of the endpoint is for another function than the one that failed
    /// last, if one waits.
    fn next_function(&self, process: &Shares) -> Option<&FunctionKey> {
        let may_send = |key: &&FunctionKey| self.may_send(key, process);
        let is_another = |key: &&FunctionKey| self.failed_last.as_ref() != Some(*key);
        if !self.admits(self.capacity(self.now).max(1)) {
            return None;
        }
        let probe = match self.account.phase(self.now) {
            Phase::Open => None,
            Phase::Shut | Phase::Paused { .. } | Phase::BreakerOpen { .. } | Phase::Probing => {
                self.queue.functions().filter(is_another).find(may_send)
            }
        };
        probe.or_else(|| self.queue.functions().find(may_send))
    }

    /// Whether all levels admit a request to this function now.
    fn may_send(&self, function: &FunctionKey, process: &Shares) -> bool {
        let capacity = if self.is_first_probe(function) { 1 } else { self.capacity(self.now) };
        self.admits(capacity)
            && self.has_share(function, capacity, process)
            && self.tenants.ready_at(function, self.now).is_some_and(|ready| ready <= self.now)
    }

    /// Whether there is a token, and one of this number of permits.
    fn admits(&self, capacity: usize) -> bool {
        self.open && self.in_flight() < capacity && self.account.has_token(self.now)
    }

    /// Whether the breaker is open because of one namespace, and the function is of another, which may show that the
    /// endpoint answers.
    fn is_first_probe(&self, function: &FunctionKey) -> bool {
        matches!(self.account.phase(self.now), Phase::BreakerOpen { .. })
            && self.count_failing() == 1
            && !self.is_failing(&function.namespace)
    }

    /// Whether the namespace may hold one more permit, here and in the whole process.
    fn has_share(
        &self,
        FunctionKey { namespace, .. }: &FunctionKey,
        capacity: usize,
        process: &Shares,
    ) -> bool {
        let free = capacity.saturating_sub(self.in_flight());
        (!self.limits.shared || self.tenants.in_flight_of(namespace) < free) && process.admit(namespace, 1)
    }

    fn phase(&self, now: Instant) -> Phase {
        if self.open { self.account.phase(now) } else { Phase::Shut }
    }

    /// Moves the gate's time to `now`.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some(first) = self.granted.first_entry()
            && first.get().until <= self.now
        {
            let Grant { ticket, .. } = first.remove();
            self.stages.remove(&ticket.caller);
            self.give_back(&ticket.function);
        }
    }

    fn capacity(&self, now: Instant) -> usize {
        self.max_in_flight().min(self.account.in_flight(now))
    }

    fn max_in_flight(&self) -> usize {
        usize::try_from(self.limits.max_in_flight.max(1)).unwrap_or(usize::MAX)
    }

    fn in_flight(&self) -> usize {
        self.granted.len() + self.admitted
    }

    fn admit(&mut self, Ticket { caller, function }: Ticket, number: u64) -> Entry {
        self.stages.insert(caller, Stage::Admitted { number, function });
        self.admitted += 1;
        Entry::Admitted
    }

    fn draw_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// A permit was not used.
    fn give_back(&mut self, function: &FunctionKey) {
        self.account.give_back();
        self.tenants.give_back(function);
        self.tenants.release(function);
    }

    /// Takes back the unused grants of these functions: each caller returns to its position in the queue.
    fn recall(&mut self, of: impl Fn(&FunctionKey) -> bool) {
        let recalled: Vec<u64> = self
            .granted
            .iter()
            .filter(|(_, grant)| of(&grant.ticket.function))
            .map(|(number, _)| *number)
            .collect();
        for number in recalled {
            let Some(Grant { arrival, ticket, until: _ }) = self.granted.remove(&number) else { continue };
            self.stages.insert(ticket.caller.clone(), Stage::Waiting { arrival });
            self.give_back(&ticket.function);
            self.queue.push(arrival, ticket);
        }
    }
}

fn ceiling(limits: GateLimits) -> f64 {
    f64::from(limits.max_requests_per_second.max(1))
}
