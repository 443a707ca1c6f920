//! The only source of time and randomness in the operator.

use jiff::{Timestamp, TimestampRound, Unit};
use std::time::Instant;

/// The wall clock, in whole milliseconds: more precise than any stored pause.
#[expect(clippy::disallowed_methods, reason = "the only reader of the wall clock")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(TimestampRound::new().smallest(Unit::Millisecond)).unwrap_or(now)
}

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the only reader of the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Waits until a time of the monotonic clock; for ever without one.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// 64 random bits, or the time if the system has none. They only spread retries and need not be secret.
#[expect(clippy::disallowed_methods, reason = "the only source of randomness")]
pub fn chance() -> u64 {
    getrandom::u64().unwrap_or_else(|_| Timestamp::now().subsec_nanosecond().unsigned_abs().into())
}

/// A name for this process that no other process ever has: 128 random bits in hexadecimal.
///
/// # Errors
/// The system has no random bits. Without them the operator must not start.
#[expect(clippy::disallowed_methods, reason = "the only source of randomness")]
pub fn holder() -> Result<String, getrandom::Error> {
    Ok(format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?))
}
