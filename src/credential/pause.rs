//! How long to wait after a call that failed and may work later.

use std::time::Duration;

/// The pause after the first failure; it doubles with each one in a row.
const PAUSE_MIN: Duration = Duration::from_secs(2);

/// The longest pause that the operator chooses.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Between half and all of the pause after `times` failures in a row, or as long as the service asked.
pub fn pause(times: u32, asked: Option<Duration>, chance: u64) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << times.saturating_sub(1).min(8)).min(PAUSE_MAX);
    let half = full / 2;
    let jitter = Duration::from_millis(chance % u64::try_from(half.as_millis()).unwrap_or(1).max(1));
    asked.unwrap_or_default().max(half + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_follow_what_the_service_asks() {
        let seconds = Duration::from_secs;
        for (times, least, most) in [(1, 1, 2), (2, 2, 4), (5, 16, 32), (6, 30, 60), (99, 30, 60)] {
            for chance in [0, 1, u64::MAX / 3, u64::MAX] {
                let pause = pause(times, None, chance);
                assert!(seconds(least) <= pause && pause <= seconds(most), "{times}: {pause:?}");
            }
        }
        assert_eq!(pause(1, Some(seconds(7)), 0), seconds(7));
        assert_eq!(pause(1, Some(seconds(300)), 0), seconds(300));
    }
}
