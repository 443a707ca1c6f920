//! What this process has seen in the service's list of attempts that are in doubt.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between the two looks that it takes to conclude anything.
pub const BETWEEN: Duration = Duration::from_secs(30);

/// A doubt that could not be looked up for this long stays one.
const PATIENCE: Duration = Duration::from_mins(15);

/// A look that was not taken up again for this long is forgotten: its object is gone.
const MEMORY: Duration = Duration::from_hours(1);

/// The lookups of one process, by uid.
#[derive(Default)]
pub struct Lookups(Mutex<HashMap<String, Lookup>>);

struct Lookup {
    number: i64,
    began: Instant,
    touched: Instant,
    first: Option<(Instant, bool)>,
    done: bool,
}

impl Lookups {
    /// Whether looking on is pointless: it was done, or tried for too long.
    pub fn exhausted(&self, uid: &str, number: i64, now: Instant) -> bool {
        self.of(uid, number, now, |lookup| lookup.done || now.duration_since(lookup.began) >= PATIENCE)
    }

    /// For how long this process has known of the doubt.
    pub fn age(&self, uid: &str, number: i64, now: Instant) -> Duration {
        self.of(uid, number, now, |lookup| now.duration_since(lookup.began))
    }

    /// When the first look was made, and whether it showed for certain that there is nothing.
    pub fn first(&self, uid: &str, number: i64, now: Instant) -> Option<(Instant, bool)> {
        self.of(uid, number, now, |lookup| lookup.first)
    }

    /// Notes the first look.
    pub fn looked(&self, uid: &str, number: i64, nothing: bool, now: Instant) {
        self.of(uid, number, now, |lookup| lookup.first = Some((now, nothing)));
    }

    /// Notes that there is nothing more to learn.
    pub fn done(&self, uid: &str, number: i64, now: Instant) {
        self.of(uid, number, now, |lookup| lookup.done = true);
    }

    fn of<T>(&self, uid: &str, number: i64, now: Instant, change: impl FnOnce(&mut Lookup) -> T) -> T {
        let new = || Lookup { number, began: now, touched: now, first: None, done: false };
        let mut all = self.all();
        if !all.contains_key(uid) {
            all.retain(|_, lookup| now.duration_since(lookup.touched) < MEMORY);
        }
        let lookup = all.entry(uid.into()).or_insert_with(new);
        if lookup.number != number {
            *lookup = new();
        }
        lookup.touched = now;
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
    fn a_doubt_is_looked_up_until_it_is_done_or_patience_ends_and_each_attempt_anew() {
        let (lookups, now) = (Lookups::default(), Instant::now());
        assert!(!lookups.exhausted("u", 1, now));
        assert_eq!(lookups.age("u", 1, now + BETWEEN), BETWEEN);
        lookups.looked("u", 1, true, now);
        assert_eq!(lookups.first("u", 1, now), Some((now, true)));
        assert!(lookups.exhausted("u", 1, now + PATIENCE));
        assert_eq!(lookups.first("u", 2, now), None);
        assert!(!lookups.exhausted("u", 2, now + Duration::from_secs(1)));
        lookups.done("u", 2, now);
        assert!(lookups.exhausted("u", 2, now));
    }
}
