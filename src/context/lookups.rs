//! Since when this process has known of an ambiguous attempt.

use super::AttemptId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The operator stops reading a list that it could not read for this long.
const LOOKUP_TIMEOUT: Duration = Duration::from_mins(15);

/// The ambiguous attempts that one process knows of: by uid, their number and since when.
#[derive(Default)]
pub struct Lookups(Mutex<HashMap<String, (i64, Instant)>>);

impl Lookups {
    /// Whether the list was tried for long enough.
    pub fn exhausted(&self, attempt: &AttemptId, now: Instant) -> bool {
        self.age(attempt, now) >= LOOKUP_TIMEOUT
    }

    /// For how long this process has known that the attempt is ambiguous.
    pub fn age(&self, AttemptId { owner, number }: &AttemptId, now: Instant) -> Duration {
        let mut all = self.0.lock();
        let lookup = all.entry(owner.uid.clone()).or_insert((*number, now));
        if lookup.0 != *number {
            *lookup = (*number, now);
        }
        now.duration_since(lookup.1)
    }

    pub fn prune(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().retain(|uid, _| is_there(uid));
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests {
    use super::*;
    use crate::context::Owner;

    fn attempt(number: i64) -> AttemptId {
        AttemptId { owner: Owner { namespace: "n".into(), name: "o".into(), uid: "u".into() }, number }
    }

    #[test]
    fn an_attempt_is_looked_up_until_that_is_given_up_and_the_next_one_again() {
        let (lookups, now) = (Lookups::default(), Instant::now());
        let minute = Duration::from_mins(1);
        assert!(!lookups.exhausted(&attempt(1), now));
        assert_eq!(lookups.age(&attempt(1), now + minute), minute);
        assert!(lookups.exhausted(&attempt(1), now + LOOKUP_TIMEOUT));
        assert!(!lookups.exhausted(&attempt(2), now + LOOKUP_TIMEOUT));
        lookups.prune(|uid| uid != "u");
        assert_eq!(lookups.age(&attempt(2), now + LOOKUP_TIMEOUT * 2), Duration::ZERO);
    }
}
