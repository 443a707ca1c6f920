//! What a hostile tenant may do to its own functions, and what it does not do to the others.

use super::{
    simulation::origin,
    tests::{ticket, uid},
    *,
};

const LIMITS: GateLimits = GateLimits { max_requests_per_second: 100, max_in_flight: 32, shared: true };

const FUNCTION_THROTTLED: Signal =
    Signal::Throttled { level: Level::Function, retry_after: Some(Duration::from_mins(15)) };

/// A gate and its time.
struct Stage {
    gate: Gate,
    now: Instant,
    /// The number of callers until now.
    callers: u32,
}

impl Stage {
    fn new() -> Self {
        let now = origin();
        let mut gate = Gate::new(LIMITS, now);
        gate.open(now);
        Self { gate, now, callers: 0 }
    }

    /// A caller of a function asks. Returns its uid, and whether it is admitted.
    fn asks(&mut self, namespace: &str, function: &str) -> (String, Entry) {
        self.callers += 1;
        let uid = format!("{namespace}-{}", self.callers);
        let entry = self.gate.asks(ticket(&uid, namespace, function), self.now);
        (uid, entry)
    }

    fn ends(&mut self, uid: &str, signal: Signal) {
        self.gate.ends(uid, signal, 0, self.now);
    }

    /// A caller sends and ends, now if it may, or else when it is its turn. Returns how long it waited.
    fn sends(&mut self, namespace: &str, function: &str, signal: Signal) -> Duration {
        let (asked, (mine, entry)) = (self.now, self.asks(namespace, function));
        let mut is_in = entry == Entry::Admitted;
        while !is_in {
            self.now = self.gate.wakes(self.now).expect("it is called some time");
            for granted in self.gate.calls(self.now) {
                let theirs = uid(&granted).to_owned();
                self.gate.asks(granted, self.now);
                if theirs == mine {
                    is_in = true;
                } else {
                    self.ends(&theirs, Signal::Answered);
                }
            }
        }
        self.ends(&mine, signal);
        self.now - asked
    }

    fn phase(&self) -> Phase {
        self.gate.state(self.now).phase
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
    }

    fn wait(&self, namespace: &str, function: &str) -> Wait {
        let key = FunctionKey { namespace: namespace.into(), function: function.into() };
        self.gate.wait(&key, &Shares::new(usize::MAX), self.now)
    }
}

#[test]
fn t23_what_a_tenant_does_to_its_own_function_delays_no_other_and_none_of_its_other_functions() {
    for signal in [Signal::Unanswered, Signal::FunctionFailed, FUNCTION_THROTTLED, Signal::Disabled] {
        let mut stage = Stage::new();
        let sent =
            (0..8).map(|_| stage.asks("hostile", "slow")).filter(|(_, entry)| *entry == Entry::Admitted);
        let sent: Vec<String> = sent.map(|(uid, _)| uid).collect();
        for uid in sent {
            stage.ends(&uid, signal);
        }
        while matches!(stage.wait("hostile", "slow"), Wait::Turn) {
            stage.sends("hostile", "slow", signal);
        }
        stage.passes(Duration::from_secs(1));
        for _ in 0..200 {
            stage.asks("hostile", "slow");
        }
        assert_eq!(stage.phase(), Phase::Open, "{signal:?}");
        for (namespace, function) in [("neighbour", "slow"), ("neighbour", "quick"), ("hostile", "other")] {
            let waited = stage.sends(namespace, function, Signal::Answered);
            assert_eq!(waited, Duration::ZERO, "{namespace} {function} after {signal:?}");
        }
        assert!(stage.gate.calls(stage.now).is_empty(), "the function itself is held up after {signal:?}");
        assert!(stage.wait("hostile", "slow").until().is_some(), "{signal:?}");
    }
}

#[test]
fn a_throttle_of_the_account_pauses_everybody_and_one_of_a_function_only_that() {
    let mut stage = Stage::new();
    let account = Signal::Throttled { level: Level::Account, retry_after: Some(Duration::from_secs(7)) };
    stage.sends("a", "f", account);
    let until = stage.now + Duration::from_secs(7);
    assert_eq!(stage.wait("b", "g"), Wait::Account(Phase::Paused { until }));
    assert_eq!(stage.sends("b", "g", FUNCTION_THROTTLED), Duration::from_secs(7));
    let until = stage.now + Duration::from_mins(15);
    assert_eq!(stage.wait("b", "g"), Wait::Function(Phase::Paused { until }));
    assert_eq!(stage.wait("a", "g"), Wait::Turn);
}

#[test]
fn a_function_that_was_throttled_comes_back_to_full_speed_and_is_forgotten() {
    let mut stage = Stage::new();
    stage.sends("a", "f", Signal::Throttled { level: Level::Function, retry_after: None });
    for _ in 0..600 {
        stage.sends("a", "f", Signal::Answered);
    }
    assert!(stage.gate.state(stage.now).rate >= 100.0);
    stage.gate.retain(|_| true, stage.now + Duration::from_hours(1));
    assert_eq!(stage.gate.tenants.holdings().count(), 0);
    assert_eq!(stage.wait("a", "f"), Wait::Turn);
    for _ in 0..5 {
        stage.sends("a", "f", Signal::Disabled);
    }
    assert!(matches!(stage.wait("a", "f"), Wait::Disabled { .. }));
    stage.gate.retain(|_| true, stage.now + Duration::from_hours(2));
    assert_eq!(stage.wait("a", "f"), Wait::Turn, "nobody invoked it for an hour");
}

#[test]
fn calls_that_take_minutes_leave_half_of_the_permits_to_the_others() {
    let mut stage = Stage::new();
    // The account has accepted enough requests to allow all permits at once.
    for _ in 0..40 {
        stage.sends("hostile", "warm", Signal::Answered);
    }
    let held = |stage: &mut Stage, namespace: &str| {
        (0..40).for_each(|_| drop(stage.asks(namespace, "slow")));
        for _ in 0..200 {
            stage.passes(Duration::from_millis(20));
            for granted in stage.gate.calls(stage.now) {
                stage.gate.asks(granted, stage.now);
            }
        }
        stage.gate.tenants.in_flight_of(namespace)
    };
    assert_eq!(held(&mut stage, "hostile"), 16);
    assert_eq!(stage.wait("hostile", "slow"), Wait::Namespace);
    assert_eq!(stage.sends("neighbour", "quick", Signal::Answered), Duration::ZERO);
    assert_eq!(held(&mut stage, "hostile-too"), 8);
    assert_eq!(stage.sends("neighbour", "quick", Signal::Answered), Duration::ZERO);
}

#[test]
fn a_namespace_that_holds_its_share_of_the_process_waits_and_the_others_do_not() {
    let mut stage = Stage::new();
    let mut process = Shares::new(10);
    process.hold("hostile", 5);
    let ask = |stage: &mut Stage, namespace: &str| {
        stage.gate.enter(ticket(namespace, namespace, "f"), &process, stage.now)
    };
    assert_eq!(ask(&mut stage, "hostile"), Entry::Queued);
    assert_eq!(stage.gate.next_wake(&process, stage.now), None, "only an answer helps");
    assert_eq!(ask(&mut stage, "neighbour"), Entry::Admitted);
    assert_eq!(stage.gate.grants(&mut Shares::new(10), stage.now).len(), 1);
}

#[test]
fn t23_one_namespace_alone_never_opens_the_breaker_for_others_that_are_there() {
    let mut stage = Stage::new();
    let (long, _) = stage.asks("neighbour", "long");
    for _ in 0..4 {
        stage.sends("hostile", "f", Signal::Unreachable);
        stage.sends("hostile", "g", Signal::Unreachable);
    }
    assert_eq!(stage.phase(), Phase::Open);
    assert!(matches!(stage.wait("hostile", "f"), Wait::Turn));
    assert_eq!(stage.sends("neighbour", "f", Signal::Answered), Duration::ZERO);
    // Where two namespaces fail, it is the endpoint.
    for _ in 0..4 {
        stage.sends("hostile", "f", Signal::Unreachable);
    }
    stage.ends(&long, Signal::Unreachable);
    assert!(matches!(stage.phase(), Phase::BreakerOpen { .. }));
}

#[test]
fn a_namespace_that_comes_later_shows_at_once_that_the_endpoint_answers() {
    let mut stage = Stage::new();
    for _ in 0..5 {
        stage.sends("hostile", "f", Signal::Unreachable);
    }
    assert!(matches!(stage.phase(), Phase::BreakerOpen { .. }), "nobody else is there to ask");
    assert_eq!(stage.asks("hostile", "g").1, Entry::Queued);
    assert_eq!(stage.sends("neighbour", "f", Signal::Answered), Duration::ZERO);
    assert_eq!(stage.phase(), Phase::Open);
}

#[test]
fn a_probe_is_for_another_function_than_the_one_that_failed_last() {
    let mut stage = Stage::new();
    for _ in 0..5 {
        stage.sends("a", "f", Signal::Unreachable);
    }
    stage.asks("a", "f");
    stage.asks("a", "g");
    stage.passes(Duration::from_secs(30));
    assert_eq!(stage.phase(), Phase::Probing);
    let called = stage.gate.calls(stage.now);
    assert_eq!(called.iter().map(|ticket| &*ticket.function.function).collect::<Vec<_>>(), ["g"]);
}

/// The rate after each of these functions throttled once.
fn rate_after(stage: &mut Stage, throttled: &[(&str, &str)]) -> f64 {
    for (namespace, function) in throttled {
        stage.sends(namespace, function, Signal::Throttled { level: Level::Function, retry_after: None });
    }
    stage.gate.state(stage.now).rate
}

#[test]
fn three_functions_that_throttle_at_once_slow_the_account_down_unless_others_get_answers() {
    let mut stage = Stage::new();
    assert!(rate_after(&mut stage, &[("a", "f"), ("b", "f"), ("a", "g")]) >= 100.0);
    assert!(rate_after(&mut stage, &[("b", "h")]) < 100.0);

    let mut stage = Stage::new();
    stage.sends("neighbour", "f", Signal::Answered);
    assert!(rate_after(&mut stage, &[("hostile", "f"), ("hostile", "g"), ("hostile", "h")]) >= 100.0);
    stage.passes(Duration::from_secs(10));
    assert!(rate_after(&mut stage, &[("hostile", "f"), ("hostile", "g"), ("hostile", "h")]) < 100.0);
}
