//! The gateway's rate limit: a token bucket whose clock is an argument.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde::{Deserialize, Serialize};

/// A limit on the requests of all callers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per second, on average.
    pub requests_per_second: NonZeroU32,
    /// Maximum burst after a pause; absent: the requests of one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
    /// The header `Retry-After` of a refusal; absent: none, because the service documents none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfter>,
}

/// Format of the time in a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum RetryAfter {
    /// `Retry-After: 3`; in a file the number of seconds.
    Seconds(u32),
    /// `Retry-After: Sun, 06 Nov 1994 08:49:37 GMT`, [`RetryAfter::DATE_AHEAD`] from now; in a file `date`.
    Date,
}

impl RetryAfter {
    /// How far in the future the date is. Dates have whole seconds, so one second could be rounded to none.
    pub const DATE_AHEAD: Duration = Duration::from_secs(2);

    /// The value of the header.
    pub(crate) fn header(self, now: Timestamp) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            // Only a year after 9999 has no HTTP date. Clients ignore an empty value.
            Self::Date => (now.checked_add(Self::DATE_AHEAD))
                .and_then(|at| DateTimePrinter::new().timestamp_to_rfc9110_string(&at))
                .unwrap_or_default(),
        }
    }
}

/// [`RetryAfter`] in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Seconds(u32),
    Text(String),
}

impl TryFrom<Written> for RetryAfter {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Seconds(seconds) => Ok(Self::Seconds(seconds)),
            Written::Text(text) if text == "date" => Ok(Self::Date),
            Written::Text(_) => Err("retryAfter is a number of seconds or `date`"),
        }
    }
}

impl From<RetryAfter> for Written {
    fn from(value: RetryAfter) -> Self {
        match value {
            RetryAfter::Seconds(seconds) => Self::Seconds(seconds),
            RetryAfter::Date => Self::Text("date".to_owned()),
        }
    }
}

/// The remaining tokens of a [`RateLimit`].
#[derive(Debug)]
pub(crate) struct Bucket {
    limit: RateLimit,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(limit: RateLimit, now: Instant) -> Self {
        Self { limit, tokens: Self::size(&limit), at: now }
    }

    fn size(limit: &RateLimit) -> f64 {
        limit.burst.unwrap_or(limit.requests_per_second).get().into()
    }

    /// Takes a token for one request, or returns the exceeded limit.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), RateLimit> {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        let refill = elapsed * f64::from(self.limit.requests_per_second.get());
        self.tokens = (self.tokens + refill).min(Self::size(&self.limit));
        self.at = now;
        if self.tokens < 1.0 {
            return Err(self.limit);
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn limit(rate: u32, burst: Option<u32>) -> RateLimit {
        RateLimit {
            requests_per_second: NonZeroU32::new(rate).unwrap(),
            burst: burst.and_then(NonZeroU32::new),
            retry_after: None,
        }
    }

    #[test]
    fn a_burst_passes_and_then_only_the_rate() {
        let start = clock::instant();
        let mut bucket = Bucket::full(limit(10, Some(3)), start);
        let passed = |bucket: &mut Bucket, at| (0..10).filter(|_| bucket.take(at).is_ok()).count();
        assert_eq!(passed(&mut bucket, start), 3);
        assert_eq!(passed(&mut bucket, start + Duration::from_millis(100)), 1);
        assert_eq!(passed(&mut bucket, start + Duration::from_mins(1)), 3);
    }

    #[test]
    fn a_date_is_an_http_date_ahead_of_now() {
        let now: Timestamp = "1994-11-06T08:49:35Z".parse().unwrap();
        assert_eq!(RetryAfter::Date.header(now), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(RetryAfter::Seconds(7).header(now), "7");
    }
}
