//! The number of series is bounded, whatever number of providers exists.

use super::scrape::classes;
use super::{CODES, Metrics, OTHERS, PROVIDERS, ProviderNow, Reading};
use crate::api::Reason;
use crate::api::invocation::Outcome;
use jiff::Timestamp;
use std::time::Duration;

/// Maximum size of a scrape, in bytes.
const MAX_SCRAPE_BYTES: usize = 2 * 1024 * 1024;

fn name(number: usize) -> String {
    format!("a-namespace-with-a-name-of-some-length/provider-{number:04}")
}

fn provider(number: usize) -> ProviderNow {
    ProviderNow {
        name: name(number),
        ready: !number.is_multiple_of(2),
        reason: if number.is_multiple_of(2) { Reason::SecretNotFound } else { Reason::ProviderReady },
        expires_at: Timestamp::from_second(2_000_000_000 - i64::try_from(number).unwrap()).ok(),
        not_renewed: number == 999,
        in_flight: 1,
        waiting: 2,
        held: number == 998,
        rate: 3.0,
    }
}

/// The value of a sample, or `None` without the sample.
fn sample(text: &str, line: &str) -> Option<f64> {
    let rest =
        text.lines().find_map(|found| found.strip_prefix(&format!("functiongraph_operator_{line}")))?;
    rest.trim().parse().ok()
}

fn assert_sample(text: &str, line: &str, expected: f64) {
    let found = sample(text, line);
    assert!(found.is_some_and(|value| (value - expected).abs() < 0.1), "{line}: {found:?}, not {expected}");
}

#[test]
fn t18_a_thousand_providers_make_no_scrape_long_and_nothing_goes_uncounted() {
    let metrics = Metrics::default();
    for name in (0..1000).map(name) {
        for class in classes() {
            metrics.attempted(&name, class);
        }
        for status in [None, Some(200), Some(300), Some(400), Some(500)] {
            metrics.requested(&name, status, Duration::from_millis(20), None);
        }
        metrics.ended(Some(&name), Outcome::Accepted);
        metrics.accepted(&name, Duration::from_secs(1));
        metrics.listed(&name);
    }
    let reading = Reading {
        ready: true,
        providers: (0..1000).map(provider).collect(),
        unknown: (0..1000).map(|number| (name(number), 1)).collect(),
        ..Reading::default()
    };
    let text = metrics.text(&reading);
    assert!(text.len() < MAX_SCRAPE_BYTES, "{} bytes", text.len());
    assert_eq!(CODES.len(), 5, "each is counted above");

    let own = format!("provider=\"{}\"", name(0));
    let others = format!("provider=\"{OTHERS}\"");
    let rest = f64::from(u16::try_from(1000 - PROVIDERS).unwrap());
    assert_sample(&text, "providers_without_series", rest);
    for (whose, number) in [(&own, 1.0), (&others, rest)] {
        assert_sample(&text, &format!("invocations_total{{{whose},outcome=\"Accepted\"}}"), number);
        assert_sample(&text, &format!("attempts_total{{{whose},class=\"Throttled\"}}"), number);
        assert_sample(&text, &format!("list_requests_total{{{whose}}}"), number);
        assert_sample(&text, &format!("acceptance_seconds_count{{{whose}}}"), number);
        assert_sample(&text, &format!("in_flight{{{whose}}}"), number);
        assert_sample(&text, &format!("waiting{{{whose}}}"), 2.0 * number);
        assert_sample(&text, &format!("rate{{{whose}}}"), 3.0 * number);
        assert_sample(&text, &format!("unknown{{{whose}}}"), number);
    }
    // The alerts still work: if one of many providers is not ready, paused or cannot renew, the shared label shows
    // it.
    assert_sample(&text, &format!("provider_ready{{{others},reason=\"SecretNotFound\"}}"), 0.0);
    assert_sample(&text, &format!("provider_ready{{{others},reason=\"ProviderReady\"}}"), 1.0);
    for (whose, flag) in [(&own, 0.0), (&others, 1.0)] {
        assert_sample(&text, &format!("throttled{{{whose}}}"), flag);
        assert_sample(&text, &format!("credential_renewal_failing{{{whose}}}"), flag);
    }
    let earliest = 2_000_000_000.0 - 999.0;
    assert_sample(&text, &format!("credential_expiration_timestamp_seconds{{{others}}}"), earliest);
}

#[test]
fn a_provider_gets_series_of_its_own_when_another_one_is_gone() {
    let metrics = Metrics::default();
    let of = |providers: std::ops::Range<usize>| Reading {
        providers: providers.map(provider).collect(),
        ..Reading::default()
    };
    let text = metrics.text(&of(0..PROVIDERS + 1));
    assert_eq!(sample(&text, &format!("waiting{{provider=\"{}\"}}", name(PROVIDERS))), None);
    assert_sample(&text, "providers_without_series", 1.0);
    let text = metrics.text(&of(1..PROVIDERS + 1));
    assert_sample(&text, &format!("waiting{{provider=\"{}\"}}", name(PROVIDERS)), 2.0);
    assert_eq!(sample(&text, &format!("waiting{{provider=\"{}\"}}", name(0))), None);
    assert_sample(&text, "providers_without_series", 0.0);
}
