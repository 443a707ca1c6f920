//! Where time and chance enter the operator: nothing else reads a clock or draws a random number.

use jiff::{Timestamp, TimestampRound, Unit};
use std::time::Instant;

/// The wall clock, in whole milliseconds: finer than any pause we store.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(TimestampRound::new().smallest(Unit::Millisecond)).unwrap_or(now)
}

/// The monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// 64 random bits. Falls back to the clock where the system has none to give: they spread retries, they
/// protect nothing.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn chance() -> u64 {
    getrandom::u64().unwrap_or_else(|_| Timestamp::now().subsec_nanosecond().unsigned_abs().into())
}

/// A name for this process that no other process has or will have: 128 random bits in hexadecimal.
///
/// # Errors
/// When the system gives no random bits; without them the operator must not start.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn holder() -> Result<String, getrandom::Error> {
    Ok(format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?))
}
