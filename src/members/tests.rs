//! What members agree on, in tables and in random histories.
#![expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]

use super::*;
use proptest::prelude::*;

fn members(names: &[&str], own: usize) -> Members {
    Members { names: names.iter().map(ToString::to_string).collect(), own: Some(own), until: None }
}

fn owner(names: &[&str], what: &str) -> Option<String> {
    let now = Instant::now();
    let owns = |own: &usize| members(names, *own).duty(what, now) == Duty::Ours;
    let owners: Vec<_> = (0..names.len()).filter(owns).collect();
    assert!(owners.len() <= 1, "{owners:?} own {what}");
    owners.first().map(|own| names[*own].to_owned())
}

#[test]
fn every_version_of_the_operator_finds_the_same_owner() {
    let names = ["one", "two", "three"];
    let owners: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|what| owner(&names, what).unwrap()).collect();
    assert_eq!(owners, ["two", "two", "two", "one", "three"]);
}

#[test]
fn the_work_is_divided_in_equal_parts() {
    let names = ["one", "two", "three"];
    let mut counts = BTreeMap::new();
    for number in 0..3000 {
        *counts.entry(owner(&names, &number.to_string()).unwrap()).or_insert(0) += 1;
    }
    assert!(counts.values().all(|count| (900..1100).contains(count)), "{counts:?}");
}

proptest! {
    #[test]
    fn when_a_member_goes_only_what_it_owned_moves(
        names in proptest::collection::btree_set("[a-z]{1,8}", 2..6), what in "[0-9a-f]{8}", gone in 0_usize..6
    ) {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let gone = names[gone % names.len()];
        let rest: Vec<_> = names.iter().copied().filter(|name| *name != gone).collect();
        let (before, after) = (owner(&names, &what).unwrap(), owner(&rest, &what).unwrap());
        prop_assert!(before == gone || before == after);
    }

    #[test]
    fn shares_add_up_to_the_limit(count in 1_usize..9, limit in 0_u32..10_000) {
        let names: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let sum: u32 = (0..count).map(|own| members(&names, own).share(limit)).sum();
        prop_assert_eq!(sum, limit.max(u32::try_from(count).unwrap()));
    }
}

#[test]
fn a_process_that_is_no_member_owns_nothing_and_one_without_leases_owns_everything() {
    let now = Instant::now();
    let mut alone = Membership::new("a".into());
    assert_eq!(alone.members().duty("x", now), Duty::NoMember);
    alone.seen("b".into(), "1".into(), now);
    alone.refused();
    assert_eq!((alone.members().duty("x", now), alone.members().count(now)), (Duty::Ours, 1));
    alone.renewed("2".into(), now);
    assert_eq!(alone.members().duty("x", now), Duty::NoMember, "its own Lease is not seen yet");
    alone.seen("a".into(), "2".into(), now);
    assert_eq!(alone.members().duty("x", now), Duty::NoMember, "the others may not have seen its Lease");
    alone.renewed("3".into(), now);
    alone.seen("a".into(), "3".into(), now);
    assert_eq!(alone.members().count(now), 2);
    alone.leave();
    assert_eq!((alone.members().duty("x", now), alone.members().count(now)), (Duty::NoMember, 0));
}

#[test]
fn what_another_member_owned_is_taken_over_however_long_ago_the_work_was_divided() {
    let what = (0..100)
        .map(|number| number.to_string())
        .find(|what| owner(&["a", "b"], what).unwrap() == "b")
        .unwrap();
    let before = Members { until: Some(Instant::now()), ..members(&["a", "b"], 0) };
    let alone = members(&["a"], 0);
    assert!(alone.takes_over(&before, &what));
    assert!(!alone.takes_over(&alone, &what));
    assert!(!alone.takes_over(&Members::default(), &what), "it was none of them, and has done this already");
}

#[test]
fn the_first_process_begins_at_once_and_the_next_when_the_first_has_seen_it() {
    let now = Instant::now();
    let mut second = Membership::new("b".into());
    second.renewed("1".into(), now);
    second.seen("b".into(), "1".into(), now);
    assert_eq!(second.members().duty("x", now), Duty::Ours, "there is nobody else");
    second.seen("a".into(), "2".into(), now);
    assert_eq!(second.members().duty("x", now), Duty::NoMember);
    second.gone("a");
    assert_eq!(second.members().duty("x", now), Duty::Ours, "the other has left");
    second.seen("a".into(), "3".into(), now);
    second.renewed("4".into(), now);
    second.seen("b".into(), "4".into(), now);
    assert_eq!(second.members().count(now), 2);
}

#[test]
fn a_process_among_others_renews_early_once_to_begin_with_its_share() {
    let now = Instant::now();
    let mut second = Membership::new("b".into());
    second.seen("a".into(), "1".into(), now);
    assert_eq!(second.renew_interval(), RENEW_INTERVAL);
    second.renewed("2".into(), now);
    assert_eq!(second.renew_interval(), RENEW_INTERVAL, "the watch has not shown the first renewal");
    second.seen("b".into(), "2".into(), now);
    assert_eq!(second.renew_interval(), JOIN_INTERVAL);
    second.renewed("3".into(), now + JOIN_INTERVAL);
    assert_eq!(second.renew_interval(), RENEW_INTERVAL, "one early renewal is enough");
    second.seen("b".into(), "3".into(), now + JOIN_INTERVAL);
    assert_eq!((second.renew_interval(), second.members().count(now)), (RENEW_INTERVAL, 2));
}

#[test]
fn a_process_whose_watch_does_not_work_works_alone_until_it_does() {
    let now = Instant::now();
    let mut blind = Membership::new("a".into());
    blind.seen("b".into(), "1".into(), now);
    for second in 0..100 {
        let sent = now + Duration::from_secs(second);
        blind.renewed(format!("a{second}"), sent);
        let expected = if second < LEASE_DURATION.as_secs() { Duty::NoMember } else { Duty::Ours };
        assert_eq!(blind.members().duty("x", sent), expected, "{second}");
    }
    blind.seen("a".into(), "a99".into(), now + Duration::from_secs(99));
    blind.seen("b".into(), "2".into(), now + Duration::from_secs(99));
    assert_eq!(blind.members().count(now), 2);
    // After an outage it does not work alone.
    blind.renewed("a100".into(), now + Duration::from_secs(100));
    blind.renewed("a200".into(), now + Duration::from_secs(200));
    assert_eq!(blind.members().duty("x", now), Duty::NoMember);
}

#[test]
fn a_process_whose_renewals_keep_failing_works_alone_until_one_succeeds() {
    let now = Instant::now();
    let mut member = Membership::new("a".into());
    member.seen("b".into(), "1".into(), now);
    for (version, second) in [("2", 0), ("3", 1)] {
        let sent = now + Duration::from_secs(second);
        member.renewed(version.into(), sent);
        member.seen("a".into(), version.into(), sent);
    }
    assert_eq!(member.members().count(now), 2);
    for second in 2..90 {
        let sent = now + Duration::from_secs(second);
        member.failed(sent);
        let expected = if second < 2 + ALONE_DELAY.as_secs() { 2 } else { 1 };
        assert_eq!(member.members().count(now), expected, "{second}");
    }
    // It begins with a share when the others have seen it again.
    let later = now + Duration::from_secs(90);
    member.renewed("4".into(), later);
    member.seen("a".into(), "4".into(), later);
    member.seen("b".into(), "5".into(), later);
    assert_eq!(member.members().count(later), 0);
    member.failed(later);
    member.renewed("6".into(), later);
    member.seen("a".into(), "6".into(), later);
    assert_eq!(member.members().count(later), 2);
}

#[test]
fn what_a_dead_member_owned_is_taken_over_within_twenty_seconds() {
    // A renewal is seen when the next one begins at the latest, and so is that another has stopped.
    assert!(LEASE_DURATION + 2 * RENEW_INTERVAL <= Duration::from_secs(20));
    // Renewals may fail twice in a row before a member stops taking new work.
    assert!(3 * RENEW_INTERVAL < WORK_DURATION && WORK_DURATION + RENEW_INTERVAL < LEASE_DURATION);
}

#[test]
fn a_lease_that_is_left_over_is_deleted_by_one_member() {
    let now = Instant::now();
    let later = now + ABANDONED_DELAY;
    let mut both: Vec<_> = ["a", "b"].map(|name| Membership::new(name.into())).into();
    for member in &mut both {
        for name in ["a", "b", "dead"] {
            member.seen(name.into(), "1".into(), now);
        }
    }
    for (name, version) in [("a", "2"), ("b", "3"), ("a", "4"), ("b", "5")] {
        for member in &mut both {
            if member.name == name {
                member.renewed(version.into(), later);
            }
            member.seen(name.into(), version.into(), later);
        }
    }
    let deleted: Vec<_> = both.iter().filter_map(|member| member.abandoned(later)).collect();
    assert_eq!(deleted, [("dead".to_owned(), "1".to_owned())]);
}

/// Something that happens in a history of members.
#[derive(Debug, Clone)]
enum Happening {
    /// Time passes.
    Pass(u64),
    /// A member renews its Lease.
    Renew(usize),
    /// The watch brings a member this number of changes.
    Watch(usize, usize),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        (1_u64..8000).prop_map(Happening::Pass),
        (0_usize..3).prop_map(Happening::Renew),
        (0_usize..3, 1_usize..9).prop_map(|(member, changes)| Happening::Watch(member, changes)),
    ];
    proptest::collection::vec(happening, 1..200)
}

proptest! {
    #[test]
    fn nobody_takes_over_from_a_member_that_may_still_take_new_work(happenings in happenings()) {
        let (names, mut now) = (["a", "b", "c"], Instant::now());
        let mut members = names.map(|name| Membership::new(name.into()));
        // What the API server wrote, in order: whose Lease, when.
        let mut written: Vec<(usize, Instant)> = Vec::new();
        let mut read = [0_usize; 3];
        for happening in happenings {
            match happening {
                Happening::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                Happening::Renew(member) => {
                    written.push((member, now));
                    members[member].renewed(written.len().to_string(), now);
                }
                Happening::Watch(member, changes) => {
                    for _ in 0..changes {
                        let Some((of, _)) = written.get(read[member]) else { break };
                        read[member] += 1;
                        let version = read[member].to_string();
                        members[member].seen(names[*of].into(), version, now);
                    }
                }
            }
            for (judge, name) in names.iter().enumerate() {
                let membership = &members[judge];
                let view = membership.members();
                if membership.is_blind() || view.own.is_none() {
                    continue;
                }
                for (other, other_name) in names.iter().enumerate().filter(|(other, _)| *other != judge) {
                    let expired = membership.leases.contains_key(*other_name) && !view.names.contains(&(*other_name).to_owned());
                    // What it wrote after the judge's latest renewal that the watch has shown is not known to the judge.
                    let watched = membership.watched.unwrap();
                    let last = written.iter().rfind(|(of, at)| *of == other && *at < watched).map(|(_, at)| *at);
                    let lapsed = last.is_none_or(|last| last + WORK_DURATION < watched);
                    prop_assert!(!expired || lapsed, "{name} takes over from {other_name}");
                }
            }
        }
    }
}
