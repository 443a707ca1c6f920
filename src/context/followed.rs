//! The executions that this process follows: grouped by provider and function, so that one page of the
//! service's list tells about many.

use crate::api::invocation::Execution;
use crate::context::providers::Key;
use functiongraph::FunctionUrn;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The pause between two rounds is half the age of the youngest request, within these bounds: an end is seen
/// at most half as late again as it took, and what takes hours costs a call a minute.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(1);

/// So much is added to the shortest pause for every function that a provider's list is read for: all of them
/// together cost at most two calls a second.
const SHARE: Duration = Duration::from_millis(500);

/// Requests that another process sent are followed when they have not ended after this long: until then it
/// most likely follows them itself.
const OTHERS: Duration = Duration::from_secs(45);

/// A request that complete lists have not shown for this long has vanished from them.
const VANISHED: Duration = Duration::from_mins(10);

/// The window of a question begins this long before the first acceptance and ends this long after the last:
/// the longest request (90 s), and clocks that differ by a minute.
const BEFORE: Duration = Duration::from_secs(150);
const AFTER: Duration = Duration::from_mins(1);

/// The object of an invocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// One request to follow.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose it is.
    pub owner: Owner,
    /// The id that the service gave it.
    pub id: String,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Whether this process sent it.
    pub ours: bool,
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

/// A provider and a function, as it was invoked.
pub type Topic = (Key, FunctionUrn);

/// What to ask the list next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The window.
    pub begin: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// Where the page begins; `None` for the first.
    pub marker: Option<String>,
}

/// Everything that is followed.
#[derive(Default)]
pub struct Followed {
    topics: Mutex<HashMap<Topic, Group>>,
    changed: Notify,
}

struct Group {
    requests: HashMap<String, Waiter>,
    /// When the next round begins.
    next: Instant,
    /// The round that is going on.
    round: Option<Question>,
    /// Whether a page is being asked for, or a place to ask for it.
    busy: bool,
    /// Rounds in a row that failed.
    failures: u32,
    /// What is wrong with reading the list.
    trouble: Option<String>,
}

struct Waiter {
    request: Request,
    since: Instant,
    /// When the list last showed it, or when it came.
    seen: Instant,
    news: Option<News>,
    stop_tried: Option<(Instant, String)>,
}

// === impl Followed ===

impl Followed {
    /// Follows a request as long as its object is there and unfinished, and says what is known of it by now. Saying
    /// it again changes nothing.
    pub fn follow(&self, topic: &Topic, request: Request, now: Instant) -> Option<News> {
        let mut topics = self.topics();
        let siblings = siblings(&topics, topic);
        let group = topics.entry(topic.clone()).or_insert_with(|| Group::new(now));
        let soon = now + if request.ours { shortest(siblings) } else { OTHERS };
        let known = group.requests.get(&request.owner.uid);
        if let Some(waiter) = known.filter(|waiter| waiter.request.id == request.id) {
            return waiter.news.clone();
        }
        if group.round.is_none() && group.failures == 0 {
            group.next = group.next.min(soon);
        }
        let waiter = Waiter { since: now, seen: now, news: None, stop_tried: None, request };
        group.requests.insert(waiter.request.owner.uid.clone(), waiter);
        drop(topics);
        self.changed.notify_one();
        None
    }

    /// What keeps the list from being read.
    pub fn trouble(&self, topic: &Topic) -> Option<String> {
        self.topics().get(topic).and_then(|group| group.trouble.clone())
    }

    /// Notes that the service was asked to stop a request, and why it does not.
    pub fn stop_tried(&self, topic: &Topic, uid: &str, why: String, now: Instant) {
        if let Some(waiter) = self.topics().get_mut(topic).and_then(|group| group.requests.get_mut(uid)) {
            waiter.stop_tried = Some((now, why));
        }
    }

    /// Why the service does not stop a request, if it said so within the last minute.
    pub fn stop_refused(&self, topic: &Topic, uid: &str, now: Instant) -> Option<String> {
        let topics = self.topics();
        let (at, why) = topics.get(topic)?.requests.get(uid)?.stop_tried.as_ref()?;
        (now.duration_since(*at) < LONGEST).then(|| why.clone())
    }

    /// How many requests of each provider are followed.
    pub fn count(&self) -> HashMap<Key, usize> {
        let mut counts = HashMap::new();
        for ((provider, _), group) in &*self.topics() {
            let running = group.requests.values().filter(|waiter| waiter.news.is_none()).count();
            *counts.entry(Arc::clone(provider)).or_default() += running;
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
        let mut topics = self.topics();
        for group in topics.values_mut().filter(|group| group.next <= now && group.round.is_none()) {
            group.requests.retain(|_, waiter| wanted(&waiter.request.owner));
        }
        topics.retain(|_, group| group.busy || !group.requests.is_empty());
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for (topic, group) in topics.iter_mut().filter(|(_, group)| !group.busy) {
            if group.next <= now {
                group.busy = true;
                due.push(topic.clone());
            } else {
                next = Some(next.map_or(group.next, |time| time.min(group.next)));
            }
        }
        (due, next)
    }

    /// What to ask for a topic; `None` if nobody waits for an answer any more.
    pub fn question(&self, topic: &Topic, now: Instant) -> Option<Question> {
        let mut topics = self.topics();
        let group = topics.get_mut(topic)?;
        if group.round.is_none() {
            let accepted = || group.waiting(now).map(|waiter| waiter.request.accepted);
            let (first, last) = (accepted().min(), accepted().max());
            let (Some(first), Some(last)) = (first, last) else {
                group.busy = false;
                group.next = now + SHORTEST;
                return None;
            };
            group.round = Some(Question {
                begin: first.saturating_sub(BEFORE).unwrap_or(Timestamp::MIN),
                end: last.saturating_add(AFTER).unwrap_or(Timestamp::MAX),
                marker: None,
            });
        }
        group.round.clone()
    }

    /// A page came: whose requests have ended. `more` is where the next page begins.
    pub fn told(
        &self,
        topic: &Topic,
        lines: Vec<Line>,
        more: Option<String>,
        time: Timestamp,
        now: Instant,
    ) -> Vec<Owner> {
        let mut topics = self.topics();
        let siblings = siblings(&topics, topic);
        let Some(group) = topics.get_mut(topic) else { return Vec::new() };
        let lines: HashMap<String, Option<Execution>> = lines.into_iter().collect();
        let mut owners = Vec::new();
        // Who was told of the trouble is told that it is over.
        if group.trouble.take().is_some() {
            owners.extend(group.requests.values().map(|waiter| waiter.request.owner.clone()));
        }
        for waiter in group.requests.values_mut().filter(|waiter| waiter.news.is_none()) {
            let Some(line) = lines.get(&waiter.request.id) else { continue };
            waiter.seen = now;
            if let Some(execution) = line {
                waiter.news = Some(News::Ended(execution.clone()));
                owners.push(waiter.request.owner.clone());
            }
        }
        group.busy = false;
        group.failures = 0;
        let missing = group.waiting(now).any(|waiter| waiter.seen != now);
        match (&mut group.round, more) {
            // The rest of the list is read only while somebody misses their line.
            (Some(round), Some(marker)) if missing => round.marker = Some(marker),
            (_, more) => {
                group.round = None;
                if more.is_none() {
                    owners.extend(group.vanished(now));
                }
                group.next = now + group.pause(siblings, time, now);
            }
        }
        owners
    }

    /// The list could not be read; it is read again later. `trouble` is for the objects to say, and names
    /// those that have not said it yet.
    pub fn failed(&self, topic: &Topic, trouble: Option<String>, now: Instant) -> Vec<Owner> {
        let mut topics = self.topics();
        let Some(group) = topics.get_mut(topic) else { return Vec::new() };
        group.busy = false;
        group.round = None;
        group.failures = group.failures.saturating_add(1);
        group.next = now + (SHORTEST * 2_u32.saturating_pow(group.failures.min(8))).min(LONGEST);
        // What was not asked for cannot have been missed.
        group.requests.values_mut().for_each(|waiter| waiter.seen = now);
        if group.trouble == trouble {
            return Vec::new();
        }
        group.trouble = trouble;
        group.requests.values().map(|waiter| waiter.request.owner.clone()).collect()
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Group>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Group ===

impl Group {
    fn new(now: Instant) -> Self {
        let requests = HashMap::new();
        Self { requests, next: now + LONGEST, round: None, busy: false, failures: 0, trouble: None }
    }

    /// Those who wait for their line: our own, and others' that have taken long.
    fn waiting(&self, now: Instant) -> impl Iterator<Item = &Waiter> {
        self.requests
            .values()
            .filter(move |w| w.news.is_none() && (w.request.ours || now.duration_since(w.since) >= OTHERS))
    }

    /// Those who have been missing from complete lists for too long.
    fn vanished(&mut self, now: Instant) -> Vec<Owner> {
        let lost = |w: &&mut Waiter| w.news.is_none() && now.duration_since(w.seen) >= VANISHED;
        let lost = self.requests.values_mut().filter(lost).map(|waiter| {
            waiter.news = Some(News::Vanished);
            waiter.request.owner.clone()
        });
        lost.collect()
    }

    fn pause(&self, siblings: usize, time: Timestamp, now: Instant) -> Duration {
        let youngest = self.waiting(now).map(|waiter| waiter.request.accepted).max();
        let age =
            youngest.map(|accepted| Duration::try_from(time.duration_since(accepted)).unwrap_or_default());
        age.map_or(LONGEST, |age| age / 2).clamp(shortest(siblings), LONGEST)
    }
}

/// How many functions of a provider are followed.
fn siblings(topics: &HashMap<Topic, Group>, (provider, _): &Topic) -> usize {
    topics.keys().filter(|(other, _)| other == provider).count()
}

/// The shortest pause between two rounds of a function that has so many siblings.
fn shortest(siblings: usize) -> Duration {
    (SHARE * u32::try_from(siblings).unwrap_or(u32::MAX)).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests;
