//! How long to wait before the next attempt: full jitter, a server's wish, and a slow pace for what only
//! a person can mend.

use crate::api::invocation::RetryPolicy;
use std::time::Duration;

/// A disabled function is asked again this rarely: somebody has to enable it first.
const SLOW: Duration = Duration::from_mins(5);

/// Between 0 and `min(maxDelaySeconds, initialDelaySeconds · 2^n)`, evenly drawn (full jitter: of the known
/// schemes the one with the fewest collisions when thousands are due at once).
#[must_use]
pub fn full_jitter(policy: &RetryPolicy, n: i64, chance: u64) -> Duration {
    let doublings = u32::try_from(n.clamp(0, 20)).unwrap_or_default();
    let ceiling = Duration::from_secs(policy.initial_delay_seconds.unsigned_abs())
        .saturating_mul(2_u32.pow(doublings))
        .min(Duration::from_secs(policy.max_delay_seconds.unsigned_abs()));
    part(ceiling, chance)
}

/// At least five minutes, and up to a fifth more so that many do not return together.
#[must_use]
pub fn slow(chance: u64) -> Duration {
    SLOW + part(SLOW / 5, chance)
}

/// The longer of our own pause and what the server asked for, the latter clamped to the policy and spread
/// by up to a tenth.
#[must_use]
pub fn with_retry_after(
    own: Duration,
    retry_after: Option<Duration>,
    policy: &RetryPolicy,
    chance: u64,
) -> Duration {
    let Some(asked) = retry_after else { return own };
    let asked = clamp_retry_after(asked, policy);
    own.max(asked + part(asked / 10, chance))
}

/// The longest pause that [`full_jitter`], [`slow`] and [`with_retry_after`] can make.
#[must_use]
pub fn longest(policy: &RetryPolicy) -> Duration {
    let asked = Duration::from_secs(policy.retry_after_max_seconds.unsigned_abs());
    let own = Duration::from_secs(policy.max_delay_seconds.unsigned_abs());
    own.max(asked.saturating_add(asked / 10)).max(SLOW + SLOW / 5)
}

/// A server's wish, held to what the policy allows.
#[must_use]
pub fn clamp_retry_after(asked: Duration, policy: &RetryPolicy) -> Duration {
    asked.min(Duration::from_secs(policy.retry_after_max_seconds.unsigned_abs()))
}

/// A random part of `whole`: milliseconds are fine enough for pauses of seconds.
fn part(whole: Duration, chance: u64) -> Duration {
    let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(chance % millis.saturating_add(1))
}
