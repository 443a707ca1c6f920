//! The executions that this process follows: grouped by provider and function, so that one page of the
//! service's list tells about many.

use crate::api::invocation::Execution;
use crate::context::Owner;
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

/// A request that the service has not known by its id for this long has vanished.
const VANISHED: Duration = Duration::from_mins(10);

/// A request that a complete list does not show is asked for by its id, in a window that begins this long before it was
/// claimed: the clock that noted that time may have been wrong.
const WIDE: Duration = Duration::from_hours(24 * 30);

/// The window of a question begins this long before the first claim and ends this long after the last
/// acceptance was seen: clocks differ. The difference that the last answer showed comes on top.
const MARGIN: Duration = Duration::from_mins(1);

/// Records in one page: some 20 KB, and at most 120 KB with messages as long as we keep them. Longer ones make a
/// page too long to be read; then fewer are asked for.
pub const RECORDS_PER_PAGE: u16 = 100;

/// One request to follow.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose it is.
    pub owner: Owner,
    /// The id that the service gave it.
    pub id: String,
    /// When it was claimed: it was not accepted before.
    pub claimed: Timestamp,
    /// When its acceptance was seen, perhaps hours after it: in a list, or by a person.
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

/// A list to read: through which provider, where the requests went, and of which function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The provider.
    pub provider: Key,
    /// The endpoint that it led to when the requests were sent, as far as that was recorded.
    pub endpoint: String,
    /// The function, as it was invoked: region and project included.
    pub urn: FunctionUrn,
}

/// What to ask the list next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The window.
    pub begin: Timestamp,
    /// Its end; `None` for now.
    pub end: Option<Timestamp>,
    /// Where the page begins; `None` for the first.
    pub marker: Option<String>,
    /// Only of this request.
    pub request_id: Option<String>,
    /// Records on the page.
    pub limit: u16,
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
    /// When the latest round began.
    began: Instant,
    /// Records on a page.
    limit: u16,
    /// By how much the service's clock and ours differed at the last answer.
    skew: Duration,
    /// Whether the latest question was for one request by its id: then the list of all is next.
    by_id: bool,
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
    /// Since when neither complete lists nor its id have shown it.
    missing: Option<Instant>,
    /// When it was last asked for by its id.
    asked: Option<Instant>,
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
        let waiter = Waiter {
            since: now,
            seen: now,
            missing: None,
            asked: None,
            news: None,
            stop_tried: None,
            request,
        };
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
        for (topic, group) in &*self.topics() {
            let running = group.requests.values().filter(|waiter| waiter.news.is_none()).count();
            *counts.entry(Arc::clone(&topic.provider)).or_default() += running;
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
            let Some(question) = group.next_question(now) else {
                group.busy = false;
                group.next = now + SHORTEST;
                return None;
            };
            group.began = now;
            group.round = Some(question);
        }
        group.round.clone()
    }

    /// A page came: whose requests have ended, or have vanished. `more` is where the next page begins, `date` the time by
    /// the service's clock.
    pub fn told(
        &self,
        topic: &Topic,
        lines: Vec<Line>,
        more: Option<String>,
        date: Option<Timestamp>,
        (time, now): (Timestamp, Instant),
    ) -> Vec<Owner> {
        let mut topics = self.topics();
        let siblings = siblings(&topics, topic);
        let Some(group) = topics.get_mut(topic) else { return Vec::new() };
        group.skew = date.map_or(group.skew, |date| time.duration_since(date).unsigned_abs());
        // The service may leave out the marker: a full page without one may not be the last.
        let complete = more.is_none() && lines.len() < usize::from(group.limit);
        let lines: HashMap<String, Option<Execution>> = lines.into_iter().collect();
        let mut owners = Vec::new();
        // Those who were told of the trouble are told that it is over.
        if group.trouble.take().is_some() {
            owners.extend(group.requests.values().map(|waiter| waiter.request.owner.clone()));
        }
        for waiter in group.requests.values_mut().filter(|waiter| waiter.news.is_none()) {
            let Some(line) = lines.get(&waiter.request.id) else { continue };
            (waiter.seen, waiter.missing) = (now, None);
            if let Some(execution) = line {
                waiter.news = Some(News::Ended(execution.clone()));
                owners.push(waiter.request.owner.clone());
            }
        }
        group.busy = false;
        group.failures = 0;
        let missing = group.waiting(now).any(|waiter| waiter.seen < group.began);
        match (&mut group.round, more) {
            // The rest of the list is read only while somebody misses their line.
            (Some(round), Some(marker)) if missing && round.request_id.is_none() => {
                round.marker = Some(marker);
                return owners;
            }
            (Some(Question { request_id: Some(id), .. }), _) => {
                let id = id.clone();
                owners.extend(group.not_known(&id, now));
            }
            (Some(_), _) if complete => group.missed(now),
            _ => {}
        }
        group.round = None;
        group.next = now + group.pause(siblings, time, now);
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
        // What passes does not end what is wrong for longer.
        if trouble.is_none() || group.trouble == trouble {
            return Vec::new();
        }
        group.trouble = trouble;
        group.requests.values().map(|waiter| waiter.request.owner.clone()).collect()
    }

    /// A page was too long to be read: fewer records are asked for, at once. False if there was one only.
    pub fn shorten(&self, topic: &Topic, now: Instant) -> bool {
        let mut topics = self.topics();
        let Some(group) = topics.get_mut(topic).filter(|group| group.limit > 1) else { return false };
        group.limit /= 2;
        (group.busy, group.round, group.next) = (false, None, now);
        true
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Group>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Group ===

impl Group {
    fn new(now: Instant) -> Self {
        Self {
            requests: HashMap::new(),
            next: now + LONGEST,
            round: None,
            began: now,
            limit: RECORDS_PER_PAGE,
            skew: Duration::ZERO,
            by_id: false,
            busy: false,
            failures: 0,
            trouble: None,
        }
    }

    /// Those who wait for their line: our own, and others' that have taken long.
    fn waiting(&self, now: Instant) -> impl Iterator<Item = &Waiter> {
        self.requests.values().filter(move |waiter| waiter.waits(now))
    }

    /// What to ask next: by its id for a request that a complete list did not show, else the list of all.
    fn next_question(&mut self, now: Instant) -> Option<Question> {
        let limit = self.limit;
        let unseen = |waiter: &&mut Waiter| waiter.is_to_be_asked_for(now);
        let unseen = self.requests.values_mut().filter(unseen).min_by_key(|waiter| waiter.asked);
        self.by_id = !self.by_id && unseen.is_some();
        if let Some(waiter) = unseen.filter(|_| self.by_id) {
            waiter.asked = Some(now);
            return Some(Question {
                begin: waiter.request.claimed.saturating_sub(WIDE).unwrap_or(Timestamp::MIN),
                end: None,
                marker: None,
                request_id: Some(waiter.request.id.clone()),
                limit,
            });
        }
        let margin = MARGIN.saturating_add(self.skew);
        let first = self.waiting(now).map(|waiter| waiter.request.claimed).min()?;
        let last = self.waiting(now).map(|waiter| waiter.request.accepted).max()?;
        Some(Question {
            begin: first.saturating_sub(margin).unwrap_or(Timestamp::MIN),
            end: Some(last.saturating_add(margin).unwrap_or(Timestamp::MAX)),
            marker: None,
            request_id: None,
            limit,
        })
    }

    /// A complete list was read: notes those that it did not show.
    fn missed(&mut self, now: Instant) {
        let began = self.began;
        for waiter in self.requests.values_mut().filter(|waiter| waiter.waits(now) && waiter.seen < began) {
            waiter.missing.get_or_insert(now);
        }
    }

    /// A request was asked for by its id. One that the service has not known for too long has vanished. A time in which
    /// nobody could ask shows nothing: it takes two answers.
    fn not_known(&mut self, id: &str, now: Instant) -> Option<Owner> {
        let waiter =
            self.requests.values_mut().find(|waiter| waiter.request.id == id && waiter.waits(now))?;
        let since = waiter.missing?;
        if now.duration_since(since) < VANISHED {
            return None;
        }
        waiter.news = Some(News::Vanished);
        Some(waiter.request.owner.clone())
    }

    fn pause(&self, siblings: usize, time: Timestamp, now: Instant) -> Duration {
        if self.requests.values().any(|waiter| waiter.is_to_be_asked_for(now)) {
            return shortest(siblings);
        }
        let youngest = self.waiting(now).map(|waiter| waiter.request.accepted).max();
        let age =
            youngest.map(|accepted| Duration::try_from(time.duration_since(accepted)).unwrap_or_default());
        age.map_or(LONGEST, |age| age / 2).clamp(shortest(siblings), LONGEST)
    }
}

// === impl Waiter ===

impl Waiter {
    /// Whether it waits for its line: what others sent does only after a while.
    fn waits(&self, now: Instant) -> bool {
        self.news.is_none() && (self.request.ours || now.duration_since(self.since) >= OTHERS)
    }

    /// Whether complete lists do not show it, and it was not asked for by its id for a while.
    fn is_to_be_asked_for(&self, now: Instant) -> bool {
        let lately = self.asked.is_some_and(|asked| now.duration_since(asked) < LONGEST);
        self.waits(now) && self.missing.is_some() && !lately
    }
}

/// How many functions of a provider are followed.
fn siblings(topics: &HashMap<Topic, Group>, topic: &Topic) -> usize {
    topics.keys().filter(|other| other.provider == topic.provider).count()
}

/// The shortest pause between two rounds of a function with this number of siblings.
fn shortest(siblings: usize) -> Duration {
    (SHARE * u32::try_from(siblings).unwrap_or(u32::MAX)).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests;
