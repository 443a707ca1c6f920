//! The pause before the next attempt: full jitter, a server's `Retry-After`, and a slow rate for errors that only a
//! person can fix.

use crate::api::invocation::RetryPolicy;
use std::time::Duration;

/// Pause before the next attempt for a disabled function: somebody must enable it first.
const DISABLED_FUNCTION_PAUSE: Duration = Duration::from_mins(5);

/// A random pause between 0 and `min(maxDelaySeconds, initialDelaySeconds · 2^n)`. Of the known schemes, full jitter
/// has the fewest collisions when thousands of objects are due at once.
pub fn full_jitter(policy: &RetryPolicy, n: i64, chance: u64) -> Duration {
    let doublings = u32::try_from(n.clamp(0, 20)).unwrap_or_default();
    let ceiling = Duration::from_secs(policy.initial_delay_seconds.unsigned_abs())
        .saturating_mul(2_u32.pow(doublings))
        .min(Duration::from_secs(policy.max_delay_seconds.unsigned_abs()));
    part(ceiling, chance)
}

/// At least five minutes, and up to a fifth more, so that objects do not retry together.
pub fn slow(chance: u64) -> Duration {
    DISABLED_FUNCTION_PAUSE + part(DISABLED_FUNCTION_PAUSE / 5, chance)
}

/// The longer of the operator's own pause and the server's `Retry-After`. The latter is limited by the policy and
/// extended by up to a tenth.
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

/// The longest pause of [`full_jitter`], [`slow`] and [`with_retry_after`].
pub fn longest(policy: &RetryPolicy) -> Duration {
    let asked = Duration::from_secs(policy.retry_after_max_seconds.unsigned_abs());
    let own = Duration::from_secs(policy.max_delay_seconds.unsigned_abs());
    own.max(asked.saturating_add(asked / 10)).max(DISABLED_FUNCTION_PAUSE + DISABLED_FUNCTION_PAUSE / 5)
}

/// A server's `Retry-After`, limited by the policy.
pub fn clamp_retry_after(asked: Duration, policy: &RetryPolicy) -> Duration {
    asked.min(Duration::from_secs(policy.retry_after_max_seconds.unsigned_abs()))
}

/// A random part of `whole`. Milliseconds are precise enough for pauses of seconds.
fn part(whole: Duration, chance: u64) -> Duration {
    let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(chance % millis.saturating_add(1))
}
