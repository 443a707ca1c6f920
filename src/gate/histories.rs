//! The gate's guarantees, over random histories.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    simulation::origin,
    tests::{caller, ticket, uid},
    *,
};

const LIMITS: GateLimits = GateLimits { max_requests_per_second: 100, max_in_flight: 4, shared: false };

/// Something that happens to a gate.
#[derive(Debug, Clone)]
enum Deed {
    Enter(u8),
    Leave(u8, Signal, u64),
    Forget(u8),
    Grants,
    Wake,
    Pass(Duration),
    GoBack(Duration),
    Open,
    Shut,
    Limits(GateLimits),
    Prune,
}

fn signal() -> impl Strategy<Value = Signal> {
    let level = prop_oneof![Just(Level::Account), Just(Level::Function)];
    let throttled = (level, prop::option::of((0_u64..20_000).prop_map(Duration::from_millis)));
    prop_oneof![
        8 => Just(Signal::Answered),
        2 => Just(Signal::Unreachable),
        1 => Just(Signal::Unanswered),
        1 => Just(Signal::FunctionFailed),
        1 => Just(Signal::Disabled),
        1 => Just(Signal::Unused),
        2 => throttled.prop_map(|(level, retry_after)| Signal::Throttled { level, retry_after }),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let limits = (0_u32..300, 0_u32..6, any::<bool>());
    let limits = limits.prop_map(|(max_requests_per_second, max_in_flight, shared)| GateLimits {
        max_requests_per_second,
        max_in_flight,
        shared,
    });
    prop_oneof![
        20 => (0_u8..24).prop_map(Deed::Enter),
        20 => (0_u8..24, signal(), any::<u64>()).prop_map(|(uid, signal, chance)| Deed::Leave(uid, signal, chance)),
        2 => (0_u8..24).prop_map(Deed::Forget),
        10 => Just(Deed::Grants),
        5 => Just(Deed::Wake),
        10 => (0_u64..5_000).prop_map(|passed| Deed::Pass(Duration::from_millis(passed))),
        1 => (0_u64..5_000).prop_map(|passed| Deed::GoBack(Duration::from_millis(passed))),
        2 => Just(Deed::Open),
        1 => Just(Deed::Shut),
        1 => limits.prop_map(Deed::Limits),
        1 => Just(Deed::Prune),
    ]
}

/// The expectations of an observer outside.
struct Watched {
    gate: Gate,
    limits: GateLimits,
    now: Instant,
    /// By uid: admitted and not left.
    holding: BTreeSet<String>,
    /// By uid: queued, and neither granted nor removed since.
    owed: BTreeSet<String>,
}

impl Watched {
    /// Checks the number of permits after `entering` new ones.
    fn check_capacity(&self, phase: Phase, entering: usize) {
        if entering == 0 {
            return;
        }
        let most = match phase {
            Phase::Open => self.limits.max_in_flight.max(1) as usize,
            // While the breaker is open, a namespace that has not failed may show that the endpoint answers.
            Phase::Probing | Phase::BreakerOpen { .. } => 1,
            Phase::Shut | Phase::Paused { .. } => 0,
        };
        let in_flight = self.gate.state(self.now).in_flight;
        assert!(in_flight <= most, "{in_flight} in flight while {phase:?}");
    }

    fn asks(&mut self, ticket: Ticket) -> Entry {
        let phase = self.gate.state(self.now).phase;
        let uid = uid(&ticket).to_owned();
        let held = self.holding.contains(&uid);
        let entry = self.gate.asks(ticket, self.now);
        match entry {
            Entry::Admitted if held => {}
            Entry::Admitted => {
                self.check_capacity(phase, 1);
                self.owed.remove(&uid);
                self.holding.insert(uid);
            }
            Entry::Queued => {
                assert!(!held, "an admitted object was queued again");
                self.owed.insert(uid);
            }
        }
        entry
    }

    fn calls(&mut self) -> Vec<Ticket> {
        let phase = self.gate.state(self.now).phase;
        let called = self.gate.calls(self.now);
        self.check_capacity(phase, called.len());
        for ticket in &called {
            assert!(!self.holding.contains(uid(ticket)), "an admitted object was granted a permit");
            self.owed.remove(uid(ticket));
        }
        called
    }

    fn ends(&mut self, uid: &str, signal: Signal, chance: u64) {
        self.holding.remove(uid);
        self.gate.ends(uid, signal, chance, self.now);
    }

    fn happens(&mut self, deed: &Deed) {
        match *deed {
            Deed::Enter(number) => {
                let (namespace, function) = ((number % 3).to_string(), (number % 5).to_string());
                self.asks(ticket(&number.to_string(), &namespace, &function));
            }
            Deed::Leave(uid, signal, chance) => self.ends(&uid.to_string(), signal, chance),
            Deed::Forget(uid) => {
                self.owed.remove(&uid.to_string());
                self.gate.forget(&caller(&uid.to_string()));
            }
            Deed::Grants => drop(self.calls()),
            Deed::Wake => self.now = self.gate.wakes(self.now).unwrap_or(self.now),
            Deed::Pass(time) => self.now += time,
            Deed::GoBack(time) => {
                // The gate sees no time pass; the observer's own clock continues.
                let back = self.now.checked_sub(time).unwrap_or(self.now);
                self.gate.ends("nobody", Signal::Answered, 0, back);
            }
            Deed::Open => self.gate.open(self.now),
            Deed::Shut => self.gate.shut(),
            Deed::Limits(limits) => {
                self.limits = limits;
                self.gate.set_limits(limits, self.now);
            }
            Deed::Prune => self.gate.retain(|_| true, self.now),
        }
        assert!(self.gate.state(self.now).in_flight >= self.holding.len(), "a permit was lost");
        let rate = self.gate.state(self.now).rate;
        assert!(rate >= 1.0 && rate <= f64::from(self.limits.max_requests_per_second.max(1)), "{rate}/s");
    }

    /// All objects leave cleanly and the gate stays open: every queued object is served.
    fn ends_well(mut self) {
        self.gate.open(self.now);
        while let Some(uid) = self.holding.pop_first() {
            self.ends(&uid, Signal::Answered, 0);
        }
        for _ in 0..1_000 {
            if self.gate.state(self.now).waiting == 0 {
                break;
            }
            self.now = self.gate.wakes(self.now).unwrap();
            for ticket in self.calls() {
                let uid = uid(&ticket).to_owned();
                assert_eq!(self.asks(ticket), Entry::Admitted);
                self.ends(&uid, Signal::Answered, 0);
            }
        }
        assert_eq!(self.owed, BTreeSet::new(), "an object was lost");
        let end = self.now + GRANT_TTL;
        assert!(self.gate.calls(end).is_empty());
        assert_eq!(self.gate.in_flight(), 0);
        assert!(self.gate.stages.is_empty(), "an object left state behind");
    }
}

proptest! {
    #[test]
    fn no_history_breaks_a_promise(deeds in prop::collection::vec(deed(), 1..400)) {
        let now = origin();
        let gate = Gate::new(LIMITS, now);
        let (holding, owed) = (BTreeSet::new(), BTreeSet::new());
        let mut watched = Watched { gate, limits: LIMITS, now, holding, owed };
        for deed in &deeds {
            watched.happens(deed);
        }
        watched.ends_well();
    }
}
