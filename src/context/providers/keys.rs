//! What this process knows of access keys, across providers: the gateway locks a key after more than five failed
//! authentications in a row, and does not ask which provider they came from.

use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// So long a failure counts. The gateway forgets after five minutes (API Gateway FAQ).
pub const LOCK: Duration = Duration::from_secs(310);

/// So many failures of one access key id, with whatever secrets, are risked within that time: less than the five that
/// lock it, and each replica counts for itself.
const MOST: usize = 3;

/// So many ids are remembered as good; beyond that all start anew.
const MOST_GOOD: usize = 10_000;

/// An access key as this process calls it. Nothing can be learned from these names outside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// Stands for the endpoint and the key's id: what the gateway counts by.
    pub id: String,
    /// Stands for the same and for all its secret parts.
    pub whole: String,
}

/// What the service said against a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of which key.
    pub whole: String,
    /// When.
    pub at: Instant,
    /// The same for people and other replicas.
    pub time: Timestamp,
    /// Its words.
    pub message: String,
}

/// Why a key must not be tried now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It was refused, by way of whatever provider.
    Refused(Failure),
    /// Others with the same id were refused; it can be tried again after this long.
    Locked(Duration),
}

/// All that is known of keys.
#[derive(Default)]
pub struct Keys {
    failures: HashMap<String, Vec<Failure>>,
    /// The whole names that the service took last, by id.
    good: HashMap<String, String>,
    /// The queue of those who want to check one that has not proven itself, by id.
    queues: HashMap<String, Arc<Mutex<()>>>,
}

// === impl Keys ===

impl Keys {
    /// The service did not take a key.
    pub fn refused(&mut self, key: &KeyName, message: String, at: Instant, time: Timestamp) {
        self.failures.retain(|_, failures| {
            failures.retain(|failure| at.saturating_duration_since(failure.at) < LOCK);
            !failures.is_empty()
        });
        let failures = self.failures.entry(key.id.clone()).or_default();
        failures.push(Failure { whole: key.whole.clone(), at, time, message });
        if self.good.get(&key.id) == Some(&key.whole) {
            self.good.remove(&key.id);
        }
    }

    /// The service took a key: whatever was counted against its id is forgotten there, and so here.
    pub fn accepted(&mut self, key: &KeyName) {
        if self.is_good(key) {
            return;
        }
        if self.good.len() > MOST_GOOD {
            self.good.clear();
        }
        self.failures.remove(&key.id);
        self.good.insert(key.id.clone(), key.whole.clone());
    }

    /// Whether the service took it last.
    #[must_use]
    pub fn is_good(&self, key: &KeyName) -> bool {
        self.good.get(&key.id) == Some(&key.whole)
    }

    /// Why a key must not be tried now, if it must not.
    #[must_use]
    pub fn held(&self, key: &KeyName, now: Instant) -> Option<Held> {
        if self.is_good(key) {
            return None;
        }
        let age = |failure: &Failure| now.saturating_duration_since(failure.at);
        let recent: Vec<_> =
            self.failures.get(&key.id)?.iter().filter(|failure| age(failure) < LOCK).collect();
        if let Some(own) = recent.iter().rev().find(|failure| failure.whole == key.whole) {
            return Some(Held::Refused((*own).clone()));
        }
        let oldest = recent.iter().rev().nth(MOST - 1)?;
        Some(Held::Locked(LOCK.saturating_sub(age(oldest))))
    }

    /// The queue for a check of a key; none for one that has proven itself.
    pub fn queue(&mut self, key: &KeyName) -> Option<Arc<Mutex<()>>> {
        if self.is_good(key) {
            return None;
        }
        self.queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        Some(Arc::clone(self.queues.entry(key.id.clone()).or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn key(id: &str, secret: &str) -> KeyName {
        KeyName { id: id.into(), whole: format!("{id}/{secret}") }
    }

    #[test]
    fn t13_a_refused_key_is_left_alone_for_five_minutes_by_whatever_provider() {
        let (mut keys, at, time) = (Keys::default(), clock::monotonic(), clock::now());
        keys.refused(&key("a", "wrong"), "no".into(), at, time);
        let failure = Failure { whole: "a/wrong".into(), at, time, message: "no".into() };
        assert_eq!(keys.held(&key("a", "wrong"), at), Some(Held::Refused(failure)));
        assert_eq!(keys.held(&key("a", "right"), at), None, "a correction counts at once");
        assert_eq!(keys.held(&key("b", "wrong"), at), None, "another key is another key");
        assert_eq!(keys.held(&key("a", "wrong"), at + LOCK), None);
    }

    #[test]
    fn t13_guessing_secrets_of_one_key_comes_to_rest_before_it_is_locked() {
        let (mut keys, at, time) = (Keys::default(), clock::monotonic(), clock::now());
        let second = Duration::from_secs(1);
        for number in 0..MOST {
            assert_eq!(keys.held(&key("a", &number.to_string()), at + second), None);
            keys.refused(&key("a", &number.to_string()), "no".into(), at + second, time);
        }
        assert_eq!(
            keys.held(&key("a", "next"), at + 2 * second),
            Some(Held::Locked(LOCK.saturating_sub(second)))
        );
        assert_eq!(keys.held(&key("a", "next"), at + second + LOCK), None);
        // One that works is not concerned, and ends the count.
        keys.accepted(&key("a", "right"));
        assert_eq!(keys.held(&key("a", "right"), at + 2 * second), None);
        assert_eq!(keys.held(&key("a", "next"), at + 2 * second), None);
    }

    #[test]
    fn t13_a_key_that_was_good_is_refused_like_any_other() {
        let (mut keys, at, time) = (Keys::default(), clock::monotonic(), clock::now());
        keys.accepted(&key("a", "once"));
        keys.refused(&key("a", "once"), "no".into(), at, time);
        assert!(matches!(keys.held(&key("a", "once"), at), Some(Held::Refused(_))));
    }
}
