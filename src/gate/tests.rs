//! The gate's guarantees, case by case.

use std::collections::BTreeMap;

use super::{simulation::origin, *};

const LIMITS: GateLimits = GateLimits { max_requests_per_second: 100, max_in_flight: 4, shared: false };
const RETRY_AFTER: Signal =
    Signal::Throttled { level: Level::Account, retry_after: Some(Duration::from_secs(7)) };

/// A process that holds nothing elsewhere.
fn alone() -> Shares {
    Shares::new(usize::MAX)
}

/// The same calls with what no test below changes.
impl Gate {
    pub(super) fn asks(&mut self, ticket: Ticket, now: Instant) -> Entry {
        self.enter(ticket, &alone(), now)
    }

    pub(super) fn calls(&mut self, now: Instant) -> Vec<Ticket> {
        self.grants(&mut alone(), now)
    }

    pub(super) fn wakes(&self, now: Instant) -> Option<Instant> {
        self.next_wake(&alone(), now)
    }

    pub(super) fn ends(&mut self, uid: &str, signal: Signal, chance: u64, now: Instant) {
        self.leave(&caller(uid), signal, chance, now);
    }
}

pub(super) fn caller(uid: &str) -> Caller {
    Caller::Object { uid: uid.into(), name: uid.into() }
}

pub(super) fn ticket(uid: &str, namespace: &str, function: &str) -> Ticket {
    let function = FunctionKey { namespace: namespace.into(), function: function.into() };
    Ticket { caller: caller(uid), function }
}

pub(super) fn uid(ticket: &Ticket) -> &str {
    match &ticket.caller {
        Caller::Object { uid, .. } => uid,
        Caller::List { .. } | Caller::Check => "",
    }
}

fn of(uid: &str) -> Ticket {
    ticket(uid, "default", "resize")
}

fn uids(tickets: &[Ticket]) -> Vec<&str> {
    tickets.iter().map(uid).collect()
}

fn open(limits: GateLimits) -> (Gate, Instant) {
    let now = origin();
    let mut gate = Gate::new(limits, now);
    gate.open(now);
    (gate, now)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_caller_that_asks_for_another_function_does_not_wait_for_the_first_nor_hold_it() {
    let (mut gate, now) = open(LIMITS);
    let paused = Signal::Throttled { level: Level::Function, retry_after: Some(Duration::from_mins(1)) };
    assert_eq!(gate.asks(of("first"), now), Entry::Admitted);
    gate.ends("first", paused, 0, now);
    assert_eq!(gate.asks(of("a"), now), Entry::Queued);
    assert_eq!(gate.asks(ticket("a", "default", ""), now), Entry::Admitted);
    gate.ends("a", Signal::Answered, 0, now);
    assert_eq!(gate.state(now).waiting, 0);

    let later = now + Duration::from_secs(61);
    assert_eq!(gate.asks(of("b"), now), Entry::Queued);
    assert_eq!(uids(&gate.calls(later)), ["b"]);
    assert_eq!(gate.asks(ticket("b", "default", ""), later), Entry::Admitted);
    gate.ends("b", Signal::Answered, 0, later);
    gate.retain(|_| true, later + Duration::from_hours(1));
    assert_eq!(gate.tenants.sending().count(), 0, "what was granted for the first function is free again");
}

#[test]
fn a_new_gate_is_shut_and_opens_for_those_who_wait() {
    let now = origin();
    let mut gate = Gate::new(LIMITS, now);
    assert_eq!(gate.asks(of("a"), now), Entry::Queued);
    assert_eq!((gate.wakes(now), gate.calls(now)), (None, vec![]));
    assert_eq!(gate.state(now).phase, Phase::Shut);
    gate.open(now);
    assert_eq!(gate.wakes(now), Some(now));
    assert_eq!(uids(&gate.calls(now)), ["a"]);
    assert_eq!(gate.asks(of("a"), now), Entry::Admitted);
}

#[test]
fn with_room_and_nobody_in_line_one_is_admitted_at_once_else_one_waits_behind() {
    let (mut gate, now) = open(LIMITS);
    for uid in ["a", "b", "c", "d"] {
        assert_eq!(gate.asks(of(uid), now), Entry::Admitted);
    }
    assert_eq!(gate.asks(of("e"), now), Entry::Queued);
    gate.ends("a", Signal::Answered, 0, now);
    assert_eq!(gate.asks(of("f"), now), Entry::Queued, "e was first");
    assert_eq!(uids(&gate.calls(now)), ["e"]);
}

#[test]
fn asking_again_changes_nothing() {
    let (mut gate, now) = open(GateLimits { max_in_flight: 1, ..LIMITS });
    assert_eq!(gate.asks(of("a"), now), Entry::Admitted);
    assert_eq!(gate.asks(of("b"), now), Entry::Queued);
    let before = gate.state(now);
    assert_eq!(gate.asks(of("a"), now), Entry::Admitted);
    assert_eq!(gate.asks(of("b"), now), Entry::Queued);
    assert_eq!(gate.state(now), before);
}

#[test]
fn the_rate_is_kept_after_a_tenth_of_a_second_at_once() {
    let (mut gate, now) = open(GateLimits { max_in_flight: 8, ..LIMITS });
    let mut admitted = 0;
    let mut at = now;
    for uid in 0..200 {
        let uid = uid.to_string();
        gate.asks(of(&uid), at);
    }
    while at <= now + Duration::from_secs(1) {
        for ticket in gate.calls(at) {
            gate.asks(ticket, at);
        }
        for uid in 0..200 {
            let held = matches!(gate.stages.get(&caller(&uid.to_string())), Some(Stage::Admitted { .. }));
            admitted += u32::from(held);
            gate.ends(&uid.to_string(), Signal::Answered, 0, at);
        }
        at += millis(1);
    }
    assert!((108..=111).contains(&admitted), "{admitted} in a second");
}

#[test]
fn a_grant_not_taken_up_lapses_and_goes_to_the_next() {
    let (mut gate, now) = open(GateLimits { max_in_flight: 1, ..LIMITS });
    for uid in ["a", "b", "c"] {
        gate.asks(of(uid), now);
    }
    gate.ends("a", Signal::Answered, 0, now);
    assert_eq!(uids(&gate.calls(now)), ["b"]);
    assert_eq!(gate.wakes(now), Some(now + GRANT_TTL));
    let lapsed = now + GRANT_TTL;
    assert_eq!(gate.state(lapsed).in_flight, 0);
    assert_eq!(uids(&gate.calls(lapsed)), ["c"]);
    assert_eq!(gate.asks(of("b"), lapsed), Entry::Queued, "b has to ask again");
}

#[test]
fn who_is_forgotten_frees_its_grant_or_its_spot_but_not_its_admission() {
    let (mut gate, now) = open(GateLimits { max_in_flight: 1, ..LIMITS });
    for uid in ["a", "b", "c", "d"] {
        gate.asks(of(uid), now);
    }
    gate.forget(&caller("a"));
    assert_eq!(gate.state(now).in_flight, 1);
    gate.ends("a", Signal::Answered, 0, now);
    gate.forget(&caller("b"));
    assert_eq!(uids(&gate.calls(now)), ["c"]);
    gate.forget(&caller("c"));
    assert_eq!(uids(&gate.calls(now)), ["d"]);
    gate.forget(&caller("nobody"));
    gate.ends("nobody", Signal::Unreachable, 0, now);
}

#[test]
fn what_was_not_sent_costs_no_token() {
    let (mut gate, now) = open(GateLimits { max_requests_per_second: 1, ..LIMITS });
    for (uid, signal, entry) in [
        ("a", Signal::Unused, Entry::Admitted),
        ("b", Signal::Answered, Entry::Admitted),
        ("c", Signal::Answered, Entry::Queued),
    ] {
        assert_eq!(gate.asks(of(uid), now), entry);
        gate.ends(uid, signal, 0, now);
    }
}

#[test]
fn a_grant_made_before_the_gate_closes_is_taken_back_to_its_spot() {
    let shut = Gate::shut;
    let pause = |gate: &mut Gate| gate.ends("1", RETRY_AFTER, 0, gate.now);
    let breaks = |gate: &mut Gate| {
        for uid in ["1", "2", "3", "4", "5"] {
            gate.ends(uid, Signal::Unreachable, 0, gate.now);
        }
    };
    for close in [shut, pause, breaks] {
        let (mut gate, now) = open(GateLimits { max_in_flight: 6, ..LIMITS });
        for uid in ["1", "2", "3", "4", "5", "6", "a", "b"] {
            gate.asks(of(uid), now);
        }
        gate.ends("6", Signal::Answered, 0, now);
        assert_eq!(uids(&gate.calls(now)), ["a"]);
        close(&mut gate);
        assert_eq!(gate.asks(of("a"), now), Entry::Queued);
        for uid in ["1", "2", "3", "4", "5"] {
            gate.ends(uid, Signal::Answered, 0, now);
        }
        gate.open(now);
        let mut called = vec![];
        for now in [now + Duration::from_secs(40), now + Duration::from_secs(41)] {
            for ticket in gate.calls(now) {
                called.push(uid(&ticket).to_owned());
                gate.asks(ticket, now);
                gate.ends(called.last().unwrap(), Signal::Answered, 0, now);
            }
        }
        assert_eq!(called, ["a", "b"]);
    }
}

#[test]
fn a_retry_after_pauses_everybody_and_never_shortens_a_pause() {
    let (mut gate, now) = open(LIMITS);
    for uid in ["a", "b", "c"] {
        gate.asks(of(uid), now);
    }
    let (before, until) = (now + millis(6_999), now + Duration::from_secs(7));
    gate.ends("a", RETRY_AFTER, 0, now);
    gate.ends("b", Signal::Throttled { level: Level::Account, retry_after: Some(millis(10)) }, 0, now);
    gate.ends("c", Signal::Throttled { level: Level::Account, retry_after: None }, 0, now);
    assert_eq!(gate.state(now).phase, Phase::Paused { until });
    assert_eq!(gate.asks(of("d"), now), Entry::Queued);
    assert_eq!(gate.wakes(now), Some(until));
    assert!(gate.calls(before).is_empty());
    assert_eq!(uids(&gate.calls(until)), ["d"]);
    gate.asks(of("d"), before);
    assert_eq!(gate.state(before).phase, Phase::Open, "a clock that goes back stands still");
}

#[test]
fn a_retry_after_beyond_the_end_of_time_is_a_day() {
    let (mut gate, now) = open(LIMITS);
    gate.asks(of("a"), now);
    gate.ends("a", Signal::Throttled { level: Level::Account, retry_after: Some(Duration::MAX) }, 0, now);
    assert_eq!(gate.state(now).phase, Phase::Paused { until: now + limiter::MAX_PAUSE });
}

#[test]
fn the_throttles_of_one_burst_count_once() {
    let now = origin();
    let (mut once, mut thrice) = (Gate::new(LIMITS, now), Gate::new(LIMITS, now));
    for gate in [&mut once, &mut thrice] {
        gate.open(now);
        for uid in ["a", "b", "c"] {
            gate.asks(of(uid), now);
        }
        gate.ends("a", Signal::Throttled { level: Level::Account, retry_after: None }, 0, now);
    }
    for uid in ["b", "c"] {
        once.ends(uid, Signal::Unreachable, 0, now);
        thrice.ends(uid, Signal::Throttled { level: Level::Account, retry_after: None }, 0, now);
    }
    assert!(once.state(now).rate < 100.0);
    assert_eq!(once.state(now), thrice.state(now));
}

#[test]
fn an_open_breaker_lets_nobody_in_and_a_half_open_one_a_single_probe() {
    let (mut gate, now) = open(GateLimits { max_in_flight: 8, ..LIMITS });
    for uid in ["1", "2", "3", "4", "5", "straggler", "a", "b", "c"] {
        gate.asks(of(uid), now);
    }
    for uid in ["1", "2", "3", "4", "5"] {
        gate.ends(uid, Signal::Unreachable, 0, now);
    }
    let (before, until) = (now + millis(29_999), now + Duration::from_secs(30));
    assert_eq!(gate.state(now).phase, Phase::BreakerOpen { until });
    assert_eq!(gate.wakes(now), Some(until));
    for uid in ["straggler", "a", "b"] {
        gate.ends(uid, Signal::Answered, 0, now);
    }
    assert!(gate.calls(before).is_empty());
    assert_eq!(uids(&gate.calls(until)), ["c"]);
    gate.asks(of("d"), until);
    gate.asks(of("c"), until);
    gate.ends("c", Signal::Unused, 0, until);
    assert_eq!(uids(&gate.calls(until)), ["d"], "a probe that was not sent lets another go");
    gate.asks(of("d"), until);
    gate.ends("d", Signal::Unreachable, 0, until);
    assert_eq!(gate.state(until).phase, Phase::BreakerOpen { until: until + Duration::from_mins(1) });
}

#[test]
fn throttles_never_open_the_breaker() {
    let (mut gate, mut now) = open(LIMITS);
    for _ in 0..20 {
        now += Duration::from_secs(10);
        assert_eq!(gate.asks(of("a"), now), Entry::Admitted);
        gate.ends("a", Signal::Throttled { level: Level::Account, retry_after: None }, 0, now);
    }
}

/// Grants and ends as the pump does, `rounds` times, and counts the grants of each namespace.
fn serve(gate: &mut Gate, rounds: u32) -> BTreeMap<String, f64> {
    let mut served = BTreeMap::new();
    for _ in 0..rounds {
        let now = gate.wakes(gate.now).unwrap();
        for ticket in gate.calls(now) {
            *served.entry(ticket.function.namespace.clone()).or_insert(0.0) += 1.0;
            let uid = uid(&ticket).to_owned();
            gate.asks(ticket, now);
            gate.ends(&uid, Signal::Answered, 0, now);
        }
    }
    served
}

#[test]
fn ten_thousand_of_one_namespace_delay_another_by_one_turn() {
    let now = origin();
    let mut gate =
        Gate::new(GateLimits { max_requests_per_second: 50, max_in_flight: 4, shared: false }, now);
    for uid in 0..10_000 {
        gate.asks(ticket(&format!("big{uid}"), "big", &(uid % 3).to_string()), now);
    }
    gate.open(now);
    for round in 0..100 {
        serve(&mut gate, 3);
        let (uid, asked) = (format!("small{round}"), gate.now);
        gate.asks(ticket(&uid, "small", "f"), asked);
        while matches!(gate.stages.get(&caller(&uid)), Some(Stage::Waiting { .. })) {
            serve(&mut gate, 1);
        }
        // One turn of the other namespace, then its own: two tokens at 50 a second.
        let waited = gate.now - asked;
        assert!(waited <= millis(41), "waited for {waited:?}");
    }
}

#[test]
fn ten_equal_namespaces_get_equal_shares_whatever_their_numbers() {
    let now = origin();
    let mut gate = Gate::new(LIMITS, now);
    for tenant in 0..10 {
        for uid in 0..(200 * (tenant + 1)) {
            gate.asks(ticket(&format!("{tenant}-{uid}"), &tenant.to_string(), "f"), now);
        }
    }
    gate.open(now);
    let served = serve(&mut gate, 1_500);
    let (sum, squares) = served.values().fold((0.0, 0.0), |(sum, squares), n| (sum + n, squares + n * n));
    let jain = sum * sum / (10.0 * squares);
    assert!(jain >= 0.99, "Jain's index is {jain}: {served:?}");
}

#[test]
fn who_is_gone_is_taken_out_of_a_line_that_calls_nobody() {
    let now = origin();
    let mut gate = Gate::new(LIMITS, now);
    for uid in ["a", "b", "c"] {
        gate.asks(of(uid), now);
    }
    gate.retain(|who| *who == caller("b"), now);
    assert_eq!(gate.state(now).waiting, 1);
    gate.open(now);
    assert_eq!(uids(&gate.calls(now)), ["b"]);
    gate.asks(of("b"), now);
    gate.retain(|_| false, now);
    assert_eq!(gate.state(now).in_flight, 1, "who was admitted has to leave");
}
