//! The gateway's rate limit and the formats of `Retry-After`.

use std::num::NonZeroU32;

use functiongraph_emulator::{RateLimit, RetryAfter};

use crate::support::Place;

/// So slow that the second request never passes during a test.
fn one_at_most(retry_after: Option<RetryAfter>) -> RateLimit {
    RateLimit { requests_per_second: NonZeroU32::MIN, burst: None, retry_after }
}

#[tokio::test]
async fn a_burst_over_the_limit_is_throttled_and_not_accepted() {
    let place = Place::new().await;
    let burst = NonZeroU32::new(3);
    place.emulator.set_rate_limit(Some(RateLimit { burst, ..one_at_most(None) }));
    let mut accepted = 0;
    let throttled = loop {
        let seen = place.submit("hello", "{}").await;
        if seen.status != 202 {
            break seen;
        }
        accepted += 1;
    };
    assert!(accepted >= 3);
    throttled.assert_error(
        429,
        "APIG.0308",
        "The throttling threshold has been reached: policy user over ratelimit,limit:1,time:1 second",
    );
    assert_eq!(throttled.json()["request_id"].as_str(), throttled.header("x-request-id"));
    assert_eq!(throttled.header("retry-after"), None);
    assert_eq!(place.emulator.ledger().len(), accepted);
    place.emulator.set_rate_limit(None);
    for _ in 0..5 {
        assert_eq!(place.submit("hello", "{}").await.status, 202);
    }
}

#[tokio::test]
async fn retry_after_comes_as_seconds_or_as_a_date() {
    let place = Place::new().await;
    let throttled = async |retry_after| {
        place.emulator.set_rate_limit(Some(one_at_most(Some(retry_after))));
        loop {
            let seen = place.submit("hello", "{}").await;
            if seen.status == 429 {
                break seen.header("retry-after").unwrap().to_owned();
            }
        }
    };
    assert_eq!(throttled(RetryAfter::Seconds(7)).await, "7");
    let date = throttled(RetryAfter::Date).await;
    assert!(date.ends_with(" GMT"), "{date}");
}
