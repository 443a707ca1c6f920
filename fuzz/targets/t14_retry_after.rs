//! T14: whatever a server asks for, the pause is held to the policy, and never shorter than our own.
#![cfg_attr(feature = "search", no_main)]

use std::time::Duration;

use functiongraph::{Answer, Kind, Protocol};
use functiongraph_fuzz::{fuzz_target, line};
use functiongraph_operator::api::invocation::RetryPolicy;
use functiongraph_operator::lifecycle::backoff;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

// Lines: `Retry-After`, `Date`, a retry policy as JSON.
fuzz_target!(|input: &[u8]| {
    let (asked, rest) = line(input);
    let (date, rest) = line(rest);
    let mut headers = HeaderMap::new();
    for (name, value) in [(RETRY_AFTER, asked), (DATE, date)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let read = Answer::from_parts(Kind::Async, Protocol::V2, 429, &headers, b"").retry_after;

    let text =
        headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim).unwrap_or_default();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        assert_eq!(read, text.parse().ok().map(Duration::from_secs), "seconds are taken as they are");
    } else if read.is_some() {
        assert!(headers.contains_key(DATE), "a date means nothing without another");
    }

    let policy: RetryPolicy = serde_json::from_slice(rest).unwrap_or_default();
    let chance = u64::from_le_bytes(std::array::from_fn(|i| input.get(i).copied().unwrap_or_default()));
    let most = Duration::from_secs(policy.retry_after_max_seconds.unsigned_abs());
    for n in [0, 1, 7, i64::MAX, i64::MIN] {
        let own = backoff::full_jitter(&policy, n, chance);
        assert!(own <= Duration::from_secs(policy.max_delay_seconds.unsigned_abs()), "{own:?}");
        let pause = backoff::with_retry_after(own, read, &policy, chance);
        assert!(pause >= own, "{pause:?} < {own:?}");
        assert!(pause <= own.max(most.saturating_add(most / 10)), "{pause:?}");
        assert!(read.is_none_or(|asked| pause >= asked.min(most)), "{pause:?} is less than was asked for");
    }
});
