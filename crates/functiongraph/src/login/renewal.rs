//! When to renew a credential.

use jiff::{SignedDuration, Timestamp};

/// Remaining life at which a long-lived credential is renewed, as in the official SDKs.
const MARGIN: SignedDuration = SignedDuration::from_mins(40);

/// Denominator of the remaining life at which a short-lived credential is renewed: a third.
const LAST_PART: i32 = 3;

/// The shortest pause between two logins.
const MIN_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// When to renew a credential that was obtained `now` and expires at `expires_at`: 40 minutes before it expires, or
/// after two thirds of its life if that is later. Never within a second, even if the credential has already expired.
///
/// Call this once for each credential, at its login. A later call would return a later time.
#[must_use]
pub fn renew_at(now: Timestamp, expires_at: Timestamp) -> Timestamp {
    let left = expires_at.duration_since(now);
    let pause = (left - MARGIN.min(left / LAST_PART)).max(MIN_PAUSE);
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pause in seconds, for a life in seconds.
    fn pause(life: i64) -> f64 {
        let expires_at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(life);
        renew_at(Timestamp::UNIX_EPOCH, expires_at).duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
    }

    #[test]
    fn long_lives_keep_40_minutes_and_short_ones_a_third() {
        const HOUR: i64 = 3600;
        let table = [
            (24 * HOUR, 84_000.0), // 23 h 20 min
            (6 * HOUR, 19_200.0),  // 5 h 20 min
            (2 * HOUR, 4_800.0),   // both rules agree
            (HOUR, 2_400.0),
            (900, 600.0),
            (3, 2.0),
            (1, 1.0),
            (0, 1.0),
            (-HOUR, 1.0),
        ];
        for (life, expected) in table {
            assert!((pause(life) - expected).abs() < 1e-6, "{life}: {}", pause(life));
        }
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        assert_eq!(renew_at(Timestamp::MAX, Timestamp::MAX), Timestamp::MAX);
        assert!(renew_at(Timestamp::MIN, Timestamp::MAX) > Timestamp::UNIX_EPOCH);
        assert!(renew_at(Timestamp::MAX, Timestamp::MIN) <= Timestamp::MAX);
    }

    fn any_time() -> impl Strategy<Value = Timestamp> {
        (Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond())
            .prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).unwrap())
    }

    proptest! {
        #[test]
        fn the_renewal_is_in_time_and_not_hasty(now in any_time(), expires_at in any_time()) {
            let at = renew_at(now, expires_at);
            let soonest = now.checked_add(MIN_PAUSE).unwrap_or(Timestamp::MAX);
            prop_assert!(at >= soonest);
            prop_assert!(at <= expires_at.max(soonest));
            prop_assert!(expires_at.duration_since(at) <= MARGIN);
        }

        #[test]
        fn a_life_of_seconds_leaves_time_to_use_it(milliseconds in 3_000_i64..60_000) {
            let expires_at = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds);
            let at = renew_at(Timestamp::UNIX_EPOCH, expires_at).as_millisecond();
            prop_assert!(at * 3 >= milliseconds * 2 - 3 && at < milliseconds, "{at}");
        }

        #[test]
        fn a_longer_life_is_not_renewed_earlier(now in any_time(), one in any_time(), other in any_time()) {
            prop_assert!(renew_at(now, one.min(other)) <= renew_at(now, one.max(other)));
        }
    }
}
