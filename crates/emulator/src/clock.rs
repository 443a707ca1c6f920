//! The only source of time and randomness in the emulator.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The wall clock, for ledger entries, listings and the signature window.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The monotonic clock, for the rate limit.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the monotonic clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Waits. Returns at once for a zero duration, because a timer has a resolution of a millisecond.
pub(crate) async fn sleep(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// The id of an accepted invocation, in the hyphenated form that the service documents.
pub(crate) fn invocation_id() -> String {
    let hex = gateway_id();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The gateway's own id of a request: 32 hexadecimal digits, never the id of an invocation.
pub(crate) fn gateway_id() -> String {
    format!("{:032x}", random())
}

/// Random letters and digits that nobody can guess.
pub(crate) fn secret(length: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digits = std::iter::repeat_with(random).flat_map(u128::to_ne_bytes);
    // Leave out the last byte values, so that all letters are equally likely.
    let fair = digits.filter(|byte| usize::from(*byte) < 256 / LETTERS.len() * LETTERS.len());
    fair.take(length).map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

/// A port for a server. Systems take others for the clients' ends of connections, so none of those can take it meanwhile.
pub(crate) fn server_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    PORTS.start + u16::try_from(random() % u128::from(PORTS.end - PORTS.start)).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "this is the one source of chance")]
fn random() -> u128 {
    let mut bytes = [0; 16];
    // Without a source of randomness the emulator still needs distinct ids, so use the time.
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_ne_bytes(bytes),
        Err(_) => now().as_nanosecond().unsigned_abs(),
    }
}
