//! What this process has said in statuses, so that replicas do not overwrite each other's without end, and a queue does
//! not cost a write for each object.

use crate::api::Reason;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Another replica may find otherwise, and writing over each other would never end. So the same is not said again before
/// this has passed.
const SAID_TTL: Duration = Duration::from_mins(1);

/// What this process has said of objects that wait for something, by uid.
#[derive(Default)]
pub struct Notices(Mutex<HashMap<String, (Instant, Reason, String)>>);

impl Notices {
    /// Whether this was said of an object last, and not long ago.
    pub fn is_said(&self, uid: &str, reason: Reason, message: &str, now: Instant) -> bool {
        let said = self.0.lock();
        said.get(uid).is_some_and(|(at, last_reason, last_message)| {
            *last_reason == reason && last_message == message && now.duration_since(*at) < SAID_TTL
        })
    }

    /// Remembers what was said of an object.
    pub fn say(&self, uid: &str, reason: Reason, message: String, now: Instant) {
        self.0.lock().insert(uid.into(), (now, reason, message));
    }

    /// This process has written something else about an object.
    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// Whether something was said of an object in the last minute.
    pub fn is_recent(&self, uid: &str, now: Instant) -> bool {
        let said = self.0.lock();
        said.get(uid).is_some_and(|(at, ..)| now.duration_since(*at) < SAID_TTL)
    }

    pub fn prune(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().retain(|uid, _| is_there(uid));
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// Bounds how many objects of each namespace say in one second that they wait, because each of them costs a write.
pub struct WaitNotices {
    per_second: u32,
    seconds: Mutex<HashMap<String, (Instant, u32)>>,
}

impl WaitNotices {
    pub fn new(per_second: u32) -> Self {
        Self { per_second, seconds: Mutex::default() }
    }

    /// Whether one more object of the namespace may say so now.
    pub fn take(&self, namespace: &str, now: Instant) -> bool {
        let mut seconds = self.seconds.lock();
        seconds.retain(|_, (began, _)| now.duration_since(*began) < Duration::from_secs(1));
        let (_, count) = seconds.entry(namespace.to_owned()).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count <= self.per_second
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests {
    use super::*;

    #[test]
    fn few_objects_of_each_namespace_a_second_say_that_they_wait() {
        let (notices, now) = (WaitNotices::new(3), Instant::now());
        for second in [0, 1, 7] {
            let start = now + Duration::from_secs(second);
            for namespace in ["a", "b"] {
                assert_eq!((0..100).filter(|_| notices.take(namespace, start)).count(), 3);
            }
        }
    }

    #[test]
    fn the_same_is_said_again_only_after_a_while() {
        let (notices, now) = (Notices::default(), Instant::now());
        assert!(!notices.is_said("a", Reason::Queued, "x", now));
        notices.say("a", Reason::Queued, "x".into(), now);
        assert!(notices.is_said("a", Reason::Queued, "x", now + SAID_TTL / 2));
        assert!(!notices.is_said("a", Reason::Queued, "x", now + SAID_TTL));
        assert!(!notices.is_said("a", Reason::Queued, "y", now));
        assert!(!notices.is_said("a", Reason::Running, "x", now));
        assert!(!notices.is_said("b", Reason::Queued, "x", now));
        notices.forget("a");
        assert!(!notices.is_said("a", Reason::Queued, "x", now));
        notices.say("a", Reason::Queued, "x".into(), now);
        notices.prune(|uid| uid != "a");
        assert_eq!(notices.len(), 0);
    }
}
