//! Since when this process has known of an ambiguous attempt, and whether it has read the service's list about it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A list that could not be read for this long is not read any more.
const GIVE_UP: Duration = Duration::from_mins(15);

/// The lookups of one process, by uid.
#[derive(Default)]
pub struct Lookups(Mutex<HashMap<String, Lookup>>);

struct Lookup {
    number: i64,
    began: Instant,
    done: bool,
}

impl Lookups {
    /// Whether looking on is pointless: it was done, or tried for too long.
    pub fn exhausted(&self, uid: &str, number: i64, now: Instant) -> bool {
        self.of(uid, number, now, |lookup| lookup.done || now.duration_since(lookup.began) >= GIVE_UP)
    }

    /// For how long this process has known that the attempt is ambiguous.
    pub fn age(&self, uid: &str, number: i64, now: Instant) -> Duration {
        self.of(uid, number, now, |lookup| now.duration_since(lookup.began))
    }

    /// Notes that there is nothing more to learn.
    pub fn done(&self, uid: &str, number: i64, now: Instant) {
        self.of(uid, number, now, |lookup| lookup.done = true);
    }

    /// Forgets what concerns objects that are not there any more.
    pub fn prune(&self, is_there: impl Fn(&str) -> bool) {
        self.all().retain(|uid, _| is_there(uid));
    }

    fn of<T>(&self, uid: &str, number: i64, now: Instant, change: impl FnOnce(&mut Lookup) -> T) -> T {
        let mut all = self.all();
        let lookup = all.entry(uid.into()).or_insert(Lookup { number, began: now, done: false });
        if lookup.number != number {
            *lookup = Lookup { number, began: now, done: false };
        }
        change(lookup)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Lookup>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_looked_up_until_that_is_done_or_given_up_and_the_next_one_again() {
        let (lookups, now) = (Lookups::default(), Instant::now());
        let minute = Duration::from_mins(1);
        assert!(!lookups.exhausted("u", 1, now));
        assert_eq!(lookups.age("u", 1, now + minute), minute);
        assert!(lookups.exhausted("u", 1, now + GIVE_UP));
        assert!(!lookups.exhausted("u", 2, now + minute));
        lookups.done("u", 2, now);
        assert!(lookups.exhausted("u", 2, now));
        lookups.prune(|uid| uid != "u");
        assert!(!lookups.exhausted("u", 2, now));
    }
}
