//! The executions that this process follows: grouped by provider and function, so that one page of the
//! service's list tells about many.

mod group;

use crate::api::ProviderKey;
use crate::api::invocation::Execution;
use crate::context::Owner;
use functiongraph::{FunctionUrn, ListQuery};
use group::Group;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Instant;
use tokio::sync::Notify;

/// One request to follow.
#[derive(Clone, Debug)]
pub struct Request {
    pub owner: Owner,
    pub id: String,
    /// When it was claimed: it was not accepted before.
    pub claimed: Timestamp,
    /// When its acceptance was seen, perhaps hours after it: in a list, or by a person.
    pub accepted: Timestamp,
}

/// What the list told about a request.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// It has ended.
    Ended(Execution),
    /// It is not in the list any more.
    Vanished,
}

/// A line of the list, as far as it matters here: `None` for an execution that goes on.
pub type Line = (String, Option<Execution>);

/// A list to read: through which provider, where the requests went, and of which function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    pub provider: ProviderKey,
    /// The endpoint that it led to when the requests were sent, as far as that was recorded.
    pub endpoint: String,
    /// The function, as it was invoked: region and project included.
    pub urn: FunctionUrn,
}

/// Everything that is followed.
#[derive(Default)]
pub struct Followed {
    topics: Mutex<HashMap<Topic, Group>>,
    changed: Notify,
}

// === impl Followed ===

impl Followed {
    /// Follows a request as long as its object exists and is unfinished. Returns what is known of it by now. Idempotent.
    pub fn follow(&self, topic: &Topic, request: Request, now: Instant) -> Option<News> {
        let mut topics = self.topics.lock();
        let siblings = siblings(&topics, topic);
        let group = topics.entry(topic.clone()).or_insert_with(|| Group::new(now));
        if let Some(known) = group.known(&request) {
            return known.news.clone();
        }
        group.add(request, siblings, now);
        drop(topics);
        self.changed.notify_one();
        None
    }

    /// What keeps the list from being read.
    pub fn trouble(&self, topic: &Topic) -> Option<String> {
        self.topics.lock().get(topic)?.trouble()
    }

    /// Notes that FunctionGraph was asked to stop a request, and why it does not.
    pub fn stop_tried(&self, topic: &Topic, uid: &str, why: String, now: Instant) {
        if let Some(group) = self.topics.lock().get_mut(topic) {
            group.stop_tried(uid, why, now);
        }
    }

    /// Why FunctionGraph does not stop a request, if it said so within the last minute.
    pub fn stop_refused(&self, topic: &Topic, uid: &str, now: Instant) -> Option<String> {
        self.topics.lock().get(topic)?.stop_refused(uid, now)
    }

    /// How many requests of each provider are followed.
    pub fn count(&self) -> HashMap<ProviderKey, usize> {
        let mut counts = HashMap::new();
        for (topic, group) in &*self.topics.lock() {
            *counts.entry(topic.provider.clone()).or_default() += group.count();
        }
        counts
    }

    /// Waits until a request is added.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The topics whose list is to be read now; each is named once until [`Self::told`] or [`Self::failed`].
    /// Requests whose object is not `wanted` any more are dropped. Also says when the next is due.
    pub fn due(&self, wanted: impl Fn(&Owner) -> bool, now: Instant) -> (Vec<Topic>, Option<Instant>) {
        let mut topics = self.topics.lock();
        topics.retain(|_, group| group.retain(&wanted, now));
        let (mut due, mut next) = (Vec::new(), None);
        for (topic, group) in &mut *topics {
            match group.next() {
                Some(time) if time <= now => {
                    group.begin();
                    due.push(topic.clone());
                }
                Some(time) => next = Some(next.map_or(time, |next: Instant| next.min(time))),
                None => {}
            }
        }
        (due, next)
    }

    /// Whether a request waits for the list of a topic.
    pub fn is_followed(&self, topic: &Topic) -> bool {
        self.topics.lock().get(topic).is_some_and(Group::has_requests)
    }

    /// What to ask for a topic; `None` if no request waits for an answer any more.
    pub fn question(&self, topic: &Topic, now: Instant) -> Option<ListQuery> {
        self.topics.lock().get_mut(topic)?.question(now)
    }

    /// A page came. Returns the objects whose requests have ended or vanished. `more` is where the next page begins,
    /// `date` the time by the service's clock.
    pub fn told(
        &self,
        topic: &Topic,
        lines: Vec<Line>,
        more: Option<String>,
        date: Option<Timestamp>,
        now: (Timestamp, Instant),
    ) -> Vec<Owner> {
        let mut topics = self.topics.lock();
        let siblings = siblings(&topics, topic);
        let group = topics.get_mut(topic);
        group.map(|group| group.told(lines, more, date, siblings, now)).unwrap_or_default()
    }

    /// The list could not be read; it is read again later. `trouble` is for the objects to tell. Returns those that have
    /// not told it yet.
    pub fn failed(&self, topic: &Topic, trouble: Option<String>, now: Instant) -> Vec<Owner> {
        self.topics.lock().get_mut(topic).map(|group| group.failed(trouble, now)).unwrap_or_default()
    }

    /// A page was too long to be read: fewer records are asked for, at once. False if it was for one only.
    pub fn shorten(&self, topic: &Topic, now: Instant) -> bool {
        self.topics.lock().get_mut(topic).is_some_and(|group| group.shorten(now))
    }
}

/// How many functions of a provider are followed.
fn siblings(topics: &HashMap<Topic, Group>, topic: &Topic) -> usize {
    topics.keys().filter(|other| other.provider == topic.provider).count()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests;
