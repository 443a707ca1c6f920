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

    /// Forgets what concerns objects that are not there any more.
    pub fn prune(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
    }
}

/// Number of objects that may say in one second that they are queued, or be told in an Event that they wait, because each
/// of them costs a write.
const QUEUE_NOTICES_PER_SECOND: u32 = 5;

/// Bounds how many objects say that they are queued, or are told in an Event that they wait.
#[derive(Default)]
pub struct QueueNotices(Mutex<Option<(Instant, u32)>>);

impl QueueNotices {
    /// Whether one more object may say so now.
    pub fn take(&self, now: Instant) -> bool {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = second.filter(|(began, _)| now.duration_since(*began) < Duration::from_secs(1));
        let (began, count) = current.unwrap_or((now, 0));
        *second = Some((began, count.saturating_add(1)));
        count < QUEUE_NOTICES_PER_SECOND
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests {
    use super::*;

    #[test]
    fn few_objects_a_second_say_that_they_wait() {
        let (notices, now) = (QueueNotices::default(), Instant::now());
        let second = |second: u64| now + Duration::from_millis(second * 1000);
        for start in [second(0), second(1), second(7)] {
            let said = (0..100).filter(|_| notices.take(start)).count();
            assert_eq!(said, QUEUE_NOTICES_PER_SECOND as usize);
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
