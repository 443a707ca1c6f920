//! The API server's clock. All times in a status, and all decisions about them, use this one clock. So neither a
//! replica's clock nor a change of it decides anything.

use crate::clock;
use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// An answer further behind the estimate than this comes from another clock: of another API server, or one that was
/// set back. Smaller differences come from `Date`, which has whole seconds, and from the duration of the request.
const MAX_LAG: Duration = Duration::from_secs(2);

/// The API server's clock: a time of it, and the local monotonic time at that moment.
#[derive(Default)]
pub struct ServerTime(Mutex<Option<(Timestamp, Instant)>>);

impl ServerTime {
    /// The API server's time. Before its first answer, the local time.
    pub fn now(&self) -> Timestamp {
        let known = *self.0.lock();
        known.map_or_else(clock::now, |known| at(known, clock::monotonic()))
    }

    pub fn read(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        if let Some(date) = date {
            self.note(date, clock::monotonic());
        }
    }

    fn note(&self, date: Timestamp, now: Instant) {
        let mut known = self.0.lock();
        let estimate = known.map(|known| at(known, now));
        let behind = |estimate: Timestamp| Duration::try_from(estimate.duration_since(date));
        // The answer that is furthest ahead is the most precise.
        if estimate.is_none_or(|estimate| date > estimate || behind(estimate).is_ok_and(|gap| gap > MAX_LAG))
        {
            *known = Some((date, now));
        }
    }
}

/// The time at `now`, in whole milliseconds: more precise than any stored pause.
fn at((date, then): (Timestamp, Instant), now: Instant) -> Timestamp {
    let passed = now.saturating_duration_since(then).as_millis();
    let passed = Duration::from_millis(u64::try_from(passed).unwrap_or(u64::MAX));
    date.saturating_add(passed).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_api_servers_whatever_clock_this_machine_has() {
        let (time, start) = (ServerTime::default(), clock::monotonic());
        let date = |second: i64| Timestamp::from_second(1_000_000 + second).unwrap();
        let known = |after: u64| {
            at(time.0.lock().unwrap(), start + Duration::from_millis(after)).as_millisecond()
                - date(0).as_millisecond()
        };
        time.note(date(0), start);
        assert_eq!(known(1500), 1500);
        // An answer that took long, and one that is rounded down, change nothing.
        time.note(date(1), start + Duration::from_millis(2900));
        assert_eq!(known(3000), 3000);
        // One that is ahead is more precise.
        time.note(date(4), start + Duration::from_millis(3100));
        assert_eq!(known(3100), 4000);
        // One that is far behind is from another clock.
        time.note(date(-500), start + Duration::from_secs(10));
        assert_eq!(known(10_000), -500_000);
    }

    #[test]
    fn the_date_of_an_answer_is_read_and_odd_ones_are_not() {
        let time = ServerTime::default();
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "nonsense".parse().unwrap());
        time.read(&headers);
        assert!(time.0.lock().is_none());
        headers.insert(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        time.read(&headers);
        let apart = time.now().duration_since("1994-11-06T08:49:37Z".parse::<Timestamp>().unwrap());
        assert!(apart.unsigned_abs() < Duration::from_hours(1), "{apart}");
    }
}
