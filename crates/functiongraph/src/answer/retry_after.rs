//! Reads `Retry-After`, which no document of the service promises.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// The wait that the headers ask for; `None` if they ask for none or cannot be understood.
///
/// A date is measured against the answer's own `Date`: whose clock is right does not matter then.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, &RETRY_AFTER)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let until = date(value)?.as_second();
    let now = date_of(headers)?.as_second();
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0)))
}

/// When the answer was made, by the sender's clock.
pub(crate) fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    date(text(headers, &DATE)?)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// An HTTP date in the form that every sender must use; its two obsolete forms are not read.
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
    fn garbage_is_ignored() {
        for garbage in ["", "-1", "+1", "1.5", "1e3", "soon", "18446744073709551616", "1, 2", "٣"] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, http::HeaderValue::from_bytes(garbage.as_bytes()).unwrap());
            headers.insert(DATE, DATE_OF_ANSWER.parse().unwrap());
            assert_eq!(read(&headers), None, "{garbage:?}");
        }
    }
}
