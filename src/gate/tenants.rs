//! What the gate knows of each namespace and of each function: permits in flight, and what slows a function down.

use super::breaker::Admission;
use super::limiter::Limiter;
use super::vocabulary::{FunctionKey, Phase};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Functions that throttle within this time do so at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// When this number of functions throttle at once, it may be the account that is at its limit: no document of the service
/// says whether `FSS.0429` speaks of a function or of the account.
const FUNCTIONS_OF_AN_ACCOUNT: usize = 3;

/// What was learned of a function that nobody invokes is forgotten after this time.
const LIMITER_TTL: Duration = Duration::from_mins(15);

/// Namespaces and functions that have permits, or that are slowed down.
#[derive(Debug)]
pub(super) struct Tenants {
    /// Requests a second to a function that does not throttle.
    ceiling: f64,
    namespaces: BTreeMap<String, Namespace>,
    functions: BTreeMap<FunctionKey, Function>,
}

#[derive(Debug, Default)]
struct Namespace {
    in_flight: usize,
    /// The last answer that was not a throttle.
    answered: Option<Instant>,
}

#[derive(Debug, Default)]
struct Function {
    in_flight: usize,
    /// None while nothing slows it down.
    limiter: Option<Box<Limiter>>,
    throttled: Option<Instant>,
    is_disabled: bool,
    /// The last time that something was learned of it.
    used: Option<Instant>,
}

// === impl Tenants ===

impl Tenants {
    pub(super) fn new(ceiling: f64) -> Self {
        Self { ceiling, namespaces: BTreeMap::new(), functions: BTreeMap::new() }
    }

    /// The function takes a permit, and a token where it has a rate of its own.
    pub(super) fn hold(&mut self, key: &FunctionKey, now: Instant) {
        self.namespace(&key.namespace).in_flight += 1;
        let function = self.functions.entry(key.clone()).or_default();
        function.in_flight += 1;
        if let Some(limiter) = &mut function.limiter {
            limiter.take(now);
        }
    }

    pub(super) fn release(&mut self, key: &FunctionKey) {
        if let Some(namespace) = self.namespaces.get_mut(&key.namespace) {
            namespace.in_flight = namespace.in_flight.saturating_sub(1);
        }
        if let Some(function) = self.functions.get_mut(key) {
            function.in_flight = function.in_flight.saturating_sub(1);
            if function.in_flight == 0 && function.limiter.is_none() && function.throttled.is_none() {
                self.functions.remove(key);
            }
        }
    }

    /// The token of a permit was not used.
    pub(super) fn give_back(&mut self, key: &FunctionKey) {
        if let Some(limiter) = self.functions.get_mut(key).and_then(|function| function.limiter.as_mut()) {
            limiter.give_back();
        }
    }

    /// The permits of each namespace that has some.
    pub(super) fn holdings(&self) -> impl Iterator<Item = (&str, usize)> {
        let all = self.namespaces.iter().map(|(name, namespace)| (name.as_str(), namespace.in_flight));
        all.filter(|(_, in_flight)| *in_flight > 0)
    }

    pub(super) fn in_flight_of(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).map_or(0, |namespace| namespace.in_flight)
    }

    pub(super) fn sending(&self) -> impl Iterator<Item = &FunctionKey> {
        self.functions.iter().filter(|(_, function)| function.in_flight > 0).map(|(key, _)| key)
    }

    pub(super) fn phase(&self, key: &FunctionKey, now: Instant) -> Phase {
        let limiter = self.functions.get(key).and_then(|function| function.limiter.as_ref());
        limiter.map_or(Phase::Open, |limiter| limiter.phase(now))
    }

    pub(super) fn is_disabled(&self, key: &FunctionKey) -> bool {
        self.functions.get(key).is_some_and(|function| function.is_disabled)
    }

    /// When the function itself admits a request. `None` if one that is in flight has to end first.
    pub(super) fn ready_at(&self, key: &FunctionKey, now: Instant) -> Option<Instant> {
        let Some(function) = self.functions.get(key) else { return Some(now) };
        let Some(limiter) = &function.limiter else { return Some(now) };
        let is_full = matches!(limiter.phase(now), Phase::Open | Phase::Probing)
            && function.in_flight >= limiter.in_flight(now);
        (!is_full).then(|| limiter.ready_at(now))
    }

    pub(super) fn set_ceiling(&mut self, ceiling: f64, now: Instant) {
        self.ceiling = ceiling;
        for limiter in self.functions.values_mut().filter_map(|function| function.limiter.as_mut()) {
            limiter.set_ceiling(ceiling, now);
        }
    }

    /// An answer that is no problem of the function.
    pub(super) fn answered(&mut self, key: &FunctionKey, number: u64, now: Instant) {
        self.namespace(&key.namespace).answered = Some(now);
        let Some(function) = self.functions.get_mut(key) else { return };
        (function.is_disabled, function.used) = (false, Some(now));
        if let Some(limiter) = &mut function.limiter {
            limiter.accepted(number, now);
            function.limiter.take_if(|limiter| limiter.is_idle(now));
        }
    }

    /// The function throttled. Returns whether that begins a pause, or makes it longer.
    pub(super) fn throttled(
        &mut self,
        key: &FunctionKey,
        at: Admission,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> bool {
        let (function, ceiling) = self.used(key, now);
        function.throttled = Some(now);
        function.limiter(ceiling, now).throttled(at, retry_after, now)
    }

    /// A request to the function failed, because the function is switched off if it `is_disabled`. Returns whether that
    /// opens its breaker.
    pub(super) fn failed(
        &mut self,
        key: &FunctionKey,
        at: Admission,
        is_disabled: bool,
        chance: u64,
        now: Instant,
    ) -> bool {
        let (function, ceiling) = self.used(key, now);
        function.is_disabled = is_disabled;
        function.limiter(ceiling, now).failed(at, true, chance, now)
    }

    /// What failed was the account: no function has to prove itself.
    pub(super) fn close_breakers(&mut self) {
        for limiter in self.functions.values_mut().filter_map(|function| function.limiter.as_mut()) {
            limiter.close_breaker();
        }
    }

    /// Whether functions throttle at once, and no other namespace gets answers meanwhile: so it is the account.
    pub(super) fn throttle_at_once(&self, now: Instant) -> bool {
        let recent = |time: Option<Instant>| time.is_some_and(|then| then + AT_ONCE > now);
        let throttled = self.functions.iter().filter(|(_, function)| recent(function.throttled));
        let keys: Vec<&FunctionKey> = throttled.map(|(key, _)| key).collect();
        let names: BTreeSet<&str> = keys.iter().map(|key| key.function.as_str()).collect();
        let namespaces: BTreeSet<&str> = keys.iter().map(|key| key.namespace.as_str()).collect();
        let is_answered = |(name, namespace): (&String, &Namespace)| {
            !name.is_empty() && recent(namespace.answered) && !namespaces.contains(name.as_str())
        };
        names.len() >= FUNCTIONS_OF_AN_ACCOUNT && !self.namespaces.iter().any(is_answered)
    }

    /// Forgets every function, as after a change of the endpoint. Permits stay counted.
    pub(super) fn forget_limits(&mut self) {
        self.functions.retain(|_, function| {
            *function = Function { in_flight: function.in_flight, ..Function::default() };
            function.in_flight > 0
        });
    }

    pub(super) fn prune(&mut self, now: Instant) {
        let is_old = |time: Option<Instant>| time.is_none_or(|then| then + LIMITER_TTL <= now);
        self.functions.retain(|_, function| {
            let is_held = function.limiter.as_ref().is_some_and(|limiter| limiter.in_flight(now) == 0);
            function.in_flight > 0 || is_held || !is_old(function.used)
        });
        self.namespaces.retain(|_, namespace| namespace.in_flight > 0 || !is_old(namespace.answered));
    }

    fn namespace(&mut self, name: &str) -> &mut Namespace {
        self.namespaces.entry(name.to_owned()).or_default()
    }

    /// The function, of which something was learned, and the ceiling of its rate.
    fn used(&mut self, key: &FunctionKey, now: Instant) -> (&mut Function, f64) {
        let function = self.functions.entry(key.clone()).or_default();
        function.used = Some(now);
        (function, self.ceiling)
    }
}

// === impl Function ===

impl Function {
    fn limiter(&mut self, ceiling: f64, now: Instant) -> &mut Limiter {
        self.limiter.get_or_insert_with(|| Box::new(Limiter::new(ceiling, now)))
    }
}
