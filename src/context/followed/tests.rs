//! Rounds over the service's list: how few calls tell how much.

use super::group::VANISHED_DELAY;
use super::*;
use crate::api::invocation::ExecutionStatus;
use functiongraph::Qualifier;
use functiongraph::records::DEFAULT_LIMIT;
use std::time::Duration;

const NOON: Timestamp = Timestamp::UNIX_EPOCH;

fn topic(function: &str) -> Topic {
    let urn = FunctionUrn::new("eu-de", "project", "default", function, Qualifier::Latest).unwrap();
    Topic { provider: "namespace/provider".into(), endpoint: "https://there".into(), urn }
}

fn request(name: &str) -> Request {
    let owner = Owner { namespace: "namespace".into(), name: name.into(), uid: format!("uid of {name}") };
    Request { owner, id: format!("id of {name}"), claimed: NOON, accepted: NOON }
}

fn line(name: &str, ended: bool) -> Line {
    let execution = Execution { status: Some(ExecutionStatus::Success), ..Execution::default() };
    (format!("id of {name}"), ended.then_some(execution))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(time: u64) -> Timestamp {
    NOON.saturating_add(seconds(time)).unwrap()
}

#[test]
fn a_thousand_requests_of_twenty_functions_cost_twenty_calls_a_round() {
    let (followed, start) = (Followed::default(), Instant::now());
    for function in 0..20 {
        for number in 0..50 {
            let name = format!("{function}-{number}");
            followed.follow(&topic(&format!("f{function}")), request(&name), start);
        }
    }
    let mut calls = 0;
    let (mut now, end) = (start, start + seconds(60));
    while now < end {
        let (due, next) = followed.due(|_| true, now);
        calls += due.len();
        for topic in due {
            assert_eq!(followed.question(&topic, now).unwrap().marker, None);
            let function = topic.urn.short().split(':').nth(1).unwrap()[1..].to_owned();
            let lines = (0..50).map(|number| line(&format!("{function}-{number}"), false)).collect();
            let passed = now.duration_since(start).as_secs();
            assert_eq!(followed.told(&topic, lines, Some("50".into()), None, (at(passed), now)), []);
        }
        now = next.unwrap_or(now).max(now + Duration::from_millis(1));
    }
    // Rounds begin within the first ten seconds and return every ten: twenty functions share two calls a second.
    assert!((4 * 20..=6 * 20).contains(&calls), "{calls} calls in a minute");
}

#[test]
fn pages_are_turned_only_until_everybody_has_been_found() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    for name in ["a", "b"] {
        followed.follow(&topic, request(name), start);
    }
    let now = start + seconds(5);
    let page =
        |lines, more: Option<&str>| followed.told(&topic, lines, more.map(Into::into), None, (at(5), now));
    assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic));
    assert_eq!(followed.due(|_| true, now).0, [], "it is being asked for already");
    let first = followed.question(&topic, now).unwrap();
    assert!(first.begin < NOON && first.end > Some(NOON));
    assert_eq!(page(vec![line("a", true)], Some("100")), [request("a").owner]);
    assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic), "b is still to be found");
    assert_eq!(followed.question(&topic, now).unwrap().marker.as_deref(), Some("100"));
    assert_eq!(page(vec![line("b", false)], Some("200")), []);
    assert_eq!(followed.due(|_| true, now).0, [], "nobody needs a third page");
    let news = followed.follow(&topic, request("a"), now);
    assert!(matches!(news, Some(News::Ended(_))));
    assert_eq!(followed.follow(&topic, request("b"), now), None);
}

#[test]
fn two_requests_of_an_hour_among_ten_thousand_of_others_cost_two_calls_a_minute() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    for name in ["a", "b"] {
        followed.follow(&topic, request(name), start);
    }
    let (mut now, mut minutes, mut ended) = (start, vec![0; 61], Vec::new());
    while now < start + seconds(3600) {
        let (due, next) = followed.due(|_| true, now);
        let passed = now.duration_since(start).as_secs();
        for topic in due {
            minutes[usize::try_from(passed / 60).unwrap()] += 1;
            let question = followed.question(&topic, now).unwrap();
            let (lines, more) = match question.request_id {
                Some(id) => (vec![line(id.strip_prefix("id of ").unwrap(), passed > 3500)], None),
                None => {
                    ((0..100).map(|number| line(&number.to_string(), true)).collect(), Some("more".into()))
                }
            };
            ended.extend(followed.told(&topic, lines, more, None, (at(passed), now)));
        }
        now = next.unwrap_or(now).max(now + Duration::from_millis(1));
    }
    assert!(minutes[5..].iter().all(|calls| *calls <= 2), "{minutes:?}");
    assert!(minutes.iter().sum::<u32>() <= 160, "{minutes:?}");
    ended.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(ended, [request("a").owner, request("b").owner]);
}

#[test]
fn a_request_that_complete_lists_do_not_show_is_asked_for_by_its_id_before_it_counts_as_vanished() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    followed.follow(&topic, request("a"), start);
    let round = |after: Duration, told: bool| {
        let now = start + after;
        assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic));
        let question = followed.question(&topic, now).unwrap();
        let owners = if told {
            followed.told(&topic, vec![line("b", false)], None, None, (at(after.as_secs()), now))
        } else {
            followed.failed(&topic, None, now)
        };
        (question.request_id.is_some(), owners)
    };
    let minutes = |minutes: u64| Duration::from_mins(minutes);
    assert_eq!(round(minutes(2), true), (false, vec![]), "the list");
    assert_eq!(round(minutes(4), false), (true, vec![]), "its id, and nobody answers");
    assert_eq!(round(minutes(6), true), (false, vec![]), "the list, for the others");
    assert_eq!(round(minutes(8), true), (true, vec![]), "its id, and there is nothing");
    assert_eq!(round(minutes(10), true), (false, vec![]));
    assert_eq!(round(minutes(2) + VANISHED_DELAY, true), (true, vec![request("a").owner]));
    assert_eq!(followed.follow(&topic, request("a"), start), Some(News::Vanished));
}

#[test]
fn a_request_that_was_claimed_by_a_wrong_clock_is_found_by_its_id_or_in_a_wider_window() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    let ahead = Request { claimed: at(7200), accepted: at(7200), ..request("a") };
    followed.follow(&topic, ahead, start);
    let ask = |after| {
        let now = start + Duration::from_mins(after);
        assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic));
        followed.question(&topic, now).unwrap()
    };
    let tell = |after, lines, date| {
        let now = start + Duration::from_mins(after);
        followed.told(&topic, lines, None, date, (at(7200), now))
    };
    assert!(ask(1).begin > at(60), "where it was claimed, by that clock");
    assert_eq!(tell(1, vec![], None), []);
    let question = ask(3);
    assert_eq!((question.request_id.as_deref(), question.end), (Some("id of a"), None));
    assert_eq!(tell(3, vec![line("a", false)], Some(at(0))), []);
    assert!(ask(6).begin < at(0), "by now the difference of the clocks is known");
    assert_eq!(tell(6, vec![line("a", true)], Some(at(0))), [request("a").owner]);
}

#[test]
fn trouble_with_the_list_is_told_once_and_its_end_too() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    followed.follow(&topic, request("a"), start);
    let why = || Some("403".to_owned());
    assert_eq!(followed.failed(&topic, why(), start), [request("a").owner]);
    assert_eq!(followed.failed(&topic, why(), start), []);
    assert_eq!(followed.trouble(&topic), why());
    assert_eq!(followed.told(&topic, vec![], None, None, (at(9), start)), [request("a").owner]);
    assert_eq!(followed.trouble(&topic), None);
}

#[test]
fn what_nobody_waits_for_is_forgotten() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    followed.follow(&topic, request("a"), start);
    followed.follow(&topic, request("b"), start);
    assert_eq!(followed.count().values().copied().collect::<Vec<_>>(), [2]);
    let (due, _) = followed.due(|owner| owner.name == "a", start + seconds(3));
    assert_eq!(due, std::slice::from_ref(&topic));
    assert_eq!(followed.count().values().copied().collect::<Vec<_>>(), [1]);
    followed.failed(&topic, None, start);
    assert_eq!(followed.due(|_| false, start + seconds(5)), (vec![], None));
    assert!(followed.count().is_empty());
}

#[test]
fn who_was_found_on_an_earlier_page_is_not_missed_on_the_next() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    for name in ["a", "b"] {
        followed.follow(&topic, request(name), start);
    }
    let now = start + seconds(5);
    assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic));
    followed.question(&topic, now).unwrap();
    followed.told(&topic, vec![line("a", false)], Some("1".into()), None, (at(6), now + seconds(1)));
    // One that comes in the middle of a round waits for the next.
    followed.follow(&topic, request("c"), now + seconds(1));
    assert_eq!(followed.due(|_| true, now + seconds(1)).0, std::slice::from_ref(&topic));
    followed.told(&topic, vec![line("b", false)], Some("2".into()), None, (at(7), now + seconds(2)));
    assert_eq!(followed.due(|_| true, now + seconds(2)).0, [], "nobody needs a third page");
}

#[test]
fn a_request_that_was_found_long_after_it_was_sent_is_looked_for_where_it_was_sent() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    let late = Request { accepted: at(7200), ..request("a") };
    followed.follow(&topic, late, start);
    let question = followed.question(&topic, start + seconds(5)).unwrap();
    assert!(question.begin < NOON && question.end > Some(at(7200)), "{question:?}");
}

#[test]
fn a_full_page_without_a_marker_is_no_complete_list() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    followed.follow(&topic, request("a"), start);
    for round in 1..100 {
        let now = start + seconds(round * 60);
        assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic));
        followed.question(&topic, now).unwrap();
        let lines = (0..usize::from(DEFAULT_LIMIT)).map(|number| line(&number.to_string(), true)).collect();
        assert_eq!(followed.told(&topic, lines, None, None, (at(round * 60), now)), []);
    }
}

#[test]
fn a_page_that_is_too_long_is_asked_for_again_with_fewer_records() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    followed.follow(&topic, request("a"), start);
    let now = start + seconds(5);
    let mut limits = Vec::new();
    loop {
        assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic));
        limits.push(followed.question(&topic, now).unwrap().limit);
        if !followed.shorten(&topic, now) {
            break;
        }
    }
    assert_eq!(limits, [100, 50, 25, 12, 6, 3, 1]);

    // What made it too long was one record, or no page at all.
    followed.failed(&topic, None, now);
    let (mut rounds, mut time) = (0, 60);
    while limits.last() != Some(&DEFAULT_LIMIT) {
        let now = start + seconds(time);
        assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic));
        limits.push(followed.question(&topic, now).unwrap().limit);
        followed.told(&topic, vec![line("a", false)], None, None, (at(time), now));
        (rounds, time) = (rounds + 1, time + 600);
        assert!(rounds < 30, "{limits:?}");
    }
}

#[test]
fn a_list_that_waits_while_its_last_object_goes_is_not_wanted_any_more() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    followed.follow(&topic, request("a"), start);
    let now = start + seconds(5);
    assert_eq!(followed.due(|_| true, now).0, std::slice::from_ref(&topic));
    assert!(followed.is_followed(&topic));
    assert_eq!(followed.due(|_| false, now).0, []);
    assert!(!followed.is_followed(&topic));
    followed.failed(&topic, None, now);
    assert_eq!(followed.due(|_| false, now), (Vec::new(), None));
}

#[test]
fn a_passing_failure_does_not_end_a_lasting_trouble() {
    let (followed, start, topic) = (Followed::default(), Instant::now(), topic("f"));
    followed.follow(&topic, request("a"), start);
    let why = || Some("403".to_owned());
    assert_eq!(followed.failed(&topic, why(), start), [request("a").owner]);
    assert_eq!(followed.failed(&topic, None, start), []);
    assert_eq!(followed.trouble(&topic), why());
}
