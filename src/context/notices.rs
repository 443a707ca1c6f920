//! What this process has said in statuses, so that replicas do not overwrite each other's without end, and a queue does
//! not cost a write for each object.

use crate::api::Reason;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Another replica may find otherwise, and writing over each other would never end. So the same is not said again before
/// this has passed.
const SAID_TTL: Duration = Duration::from_mins(1);

/// What this process has said of objects that wait for something, by uid.
#[derive(Default)]
pub struct Notices(Mutex<HashMap<String, (Instant, Reason, String)>>);

impl Notices {
    /// Whether this may be said of an object now: it is something else than was said last, or that was long ago.
    pub fn take(&self, uid: &str, reason: Reason, message: &str, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = said.get(uid);
        let again = last.is_some_and(|(at, last_reason, last_message)| {
            *last_reason == reason && last_message == message && now.duration_since(*at) < SAID_TTL
        });
        if !again {
            said.insert(uid.into(), (now, reason, message.into()));
        }
        !again
    }

    /// Whether something was said of an object in the last minute.
    pub fn is_recent(&self, uid: &str, now: Instant) -> bool {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.get(uid).is_some_and(|(at, ..)| now.duration_since(*at) < SAID_TTL)
    }

    /// Forgets what concerns objects that are not there any more.
    pub fn prune(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
    }
}

/// The time between two objects of a namespace that say that they are queued, because each of them costs a write.
const QUEUE_NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// Bounds how many objects of each namespace say that they are queued.
#[derive(Default)]
pub struct QueueNotices(Mutex<HashMap<String, Instant>>);

impl QueueNotices {
    /// Whether one more object of the namespace may say so now.
    pub fn take(&self, namespace: &str, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, then| now.duration_since(*then) < QUEUE_NOTICE_INTERVAL);
        let is_free = !last.contains_key(namespace);
        if is_free {
            last.insert(namespace.to_owned(), now);
        }
        is_free
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests {
    use super::*;

    #[test]
    fn one_object_of_each_namespace_a_second_says_that_it_waits() {
        let (notices, now) = (QueueNotices::default(), Instant::now());
        for second in [0, 1, 7] {
            let start = now + Duration::from_secs(second);
            for namespace in ["a", "b"] {
                assert_eq!((0..100).filter(|_| notices.take(namespace, start)).count(), 1);
            }
        }
    }

    #[test]
    fn the_same_is_said_again_only_after_a_while() {
        let (notices, now) = (Notices::default(), Instant::now());
        assert!(notices.take("a", Reason::Queued, "x", now));
        assert!(!notices.take("a", Reason::Queued, "x", now));
        assert!(notices.take("b", Reason::Queued, "x", now));
        assert!(notices.take("a", Reason::Running, "y", now));
        assert!(!notices.take("a", Reason::Running, "y", now + SAID_TTL / 2));
        assert!(notices.take("a", Reason::Running, "y", now + SAID_TTL));
        notices.prune(|uid| uid != "a");
        assert!(notices.take("a", Reason::Running, "y", now + SAID_TTL));
    }
}
