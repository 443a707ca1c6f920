//! Reads `Retry-After`. The service does not document this header, but proxies send it.

use std::time::Duration;

use http::header::{DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};

/// The wait that the headers ask for; `None` if there is none or it cannot be parsed.
///
/// A date is compared with the answer's own `Date`, so the local clock does not matter.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, &RETRY_AFTER)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let until = date(value)?.as_second();
    let now = date_of(headers)?.as_second();
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0)))
}

/// Adds a `Date` with the local time of the request to an answer that has `Retry-After` but no `Date`. Without it, a
/// date in `Retry-After` could not be compared with anything.
pub(crate) fn measure_from(headers: &mut HeaderMap, requested_at: Timestamp) {
    static PRINTER: DateTimePrinter = DateTimePrinter::new();
    if headers.contains_key(RETRY_AFTER)
        && date_of(headers).is_none()
        && let Ok(date) = PRINTER.timestamp_to_rfc9110_string(&requested_at)
        && let Ok(date) = HeaderValue::from_str(&date)
    {
        headers.insert(DATE, date);
    }
}

/// When the answer was made, by the sender's clock.
pub(crate) fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    date(text(headers, &DATE)?)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// An HTTP date in the only format that senders may still use. The two obsolete formats are not read.
fn date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE_OF_ANSWER: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn of(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        read(&headers)
    }

    #[test]
    fn seconds_are_taken_as_they_are() {
        assert_eq!(of("0", None), Some(Duration::ZERO));
        assert_eq!(of(" 120 ", None), Some(Duration::from_mins(2)));
        assert_eq!(of("18446744073709551615", None), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn a_date_is_measured_against_the_date_of_the_answer() {
        assert_eq!(of("Sun, 06 Nov 1994 08:50:37 GMT", Some(DATE_OF_ANSWER)), Some(Duration::from_mins(1)));
        assert_eq!(of("Sun, 06 Nov 1994 07:00:00 GMT", Some(DATE_OF_ANSWER)), Some(Duration::ZERO));
        assert_eq!(of("Sun, 06 Nov 1994 08:50:37 GMT", None), None);
        assert_eq!(of("Sun, 06 Nov 1994 08:50:37 GMT", Some("yesterday")), None);
    }

    #[test]
    fn a_date_without_the_date_of_the_answer_is_measured_against_our_clock() {
        let now = "1994-11-06T08:49:37Z".parse().unwrap();
        for (date, expected) in
            [(None, 60), (Some("yesterday"), 60), (Some("Sun, 06 Nov 1994 08:50:07 GMT"), 30)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT".parse().unwrap());
            headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
            measure_from(&mut headers, now);
            assert_eq!(read(&headers), Some(Duration::from_secs(expected)), "{date:?}");
        }
        let mut none = HeaderMap::new();
        measure_from(&mut none, now);
        assert!(none.is_empty(), "the time of another clock is not taken for the service's");
    }

    #[test]
    fn garbage_is_ignored() {
        for garbage in ["", "-1", "+1", "1.5", "1e3", "soon", "18446744073709551616", "1, 2", "٣"] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, http::HeaderValue::from_bytes(garbage.as_bytes()).unwrap());
            headers.insert(DATE, DATE_OF_ANSWER.parse().unwrap());
            assert_eq!(read(&headers), None, "{garbage:?}");
        }
    }
}
