//! The requests of one function that are followed: what to ask FunctionGraph's list next, and when.

use super::{Line, News, Request};
use crate::api::invocation::Execution;
use crate::context::Owner;
use functiongraph::ListQuery;
use functiongraph::records::DEFAULT_LIMIT;
use jiff::Timestamp;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The shortest pause between two rounds. The pause is half the age of the youngest request, so that an end is seen at
/// most half as late again as it took.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two rounds: what takes hours costs a call a minute.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The shortest pause grows by this with every function of a provider, so that all of them together cost at most two
/// calls a second.
const PAUSE_PER_FUNCTION: Duration = Duration::from_millis(500);

/// A request that FunctionGraph has not known by its id for this long has vanished.
pub(super) const VANISHED_DELAY: Duration = Duration::from_mins(10);

/// A request that a complete list does not show is asked for by its id, in a window that begins this long before it was
/// claimed: the clock that noted that time may have been wrong.
const WINDOW_OF_ONE: Duration = Duration::from_hours(24 * 30);

/// FunctionGraph is asked to stop a request again after this long.
const STOP_RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// The window of a question begins this long before the first claim and ends this long after the last acceptance was
/// seen, because clocks differ. The difference that the last answer showed comes on top.
const WINDOW_MARGIN: Duration = Duration::from_mins(1);

/// The followed requests of one topic.
pub(super) struct Group {
    requests: HashMap<String, Waiter>,
    /// When the next round begins.
    next: Instant,
    /// The round that is going on.
    round: Option<ListQuery>,
    /// When the latest round began.
    began: Instant,
    /// Pages of the list that the latest round has read.
    pages: usize,
    limit: u16,
    /// By how much FunctionGraph's clock and ours differed at the last answer.
    skew: Duration,
    /// Whether the latest question was for one request by its id: then the list of all is next.
    by_id: bool,
    /// Whether a page, or a permit for it, is being asked for.
    busy: bool,
    failures: u32,
    /// What is wrong with reading the list.
    trouble: Option<String>,
}

/// A followed request.
pub(super) struct Waiter {
    request: Request,
    since: Instant,
    /// When the list last showed it, or when it came.
    seen: Instant,
    /// Since when neither complete lists nor its id have shown it.
    missing: Option<Instant>,
    /// Whether it is so far back in the list that asking for it by its id costs fewer calls.
    is_far: bool,
    /// When it was last asked for by its id.
    asked: Option<Instant>,
    /// What its object has to write.
    pub(super) news: Option<News>,
    stop_tried: Option<(Instant, String)>,
}

// === impl Group ===

impl Group {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            requests: HashMap::new(),
            next: now + LONGEST_PAUSE,
            round: None,
            began: now,
            pages: 0,
            limit: DEFAULT_LIMIT,
            skew: Duration::ZERO,
            by_id: false,
            busy: false,
            failures: 0,
            trouble: None,
        }
    }

    pub(super) fn known(&self, request: &Request) -> Option<&Waiter> {
        self.requests.get(&request.owner.uid).filter(|known| known.request.id == request.id)
    }

    pub(super) fn add(&mut self, request: Request, siblings: usize, now: Instant) {
        if self.round.is_none() && self.failures == 0 {
            self.next = self.next.min(now + shortest(siblings));
        }
        let uid = request.owner.uid.clone();
        let (missing, asked, news, stop_tried) = (None, None, None, None);
        let waiter =
            Waiter { request, since: now, seen: now, missing, is_far: false, asked, news, stop_tried };
        self.requests.insert(uid, waiter);
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    pub(super) fn stop_tried(&mut self, uid: &str, why: String, now: Instant) {
        if let Some(waiter) = self.requests.get_mut(uid) {
            waiter.stop_tried = Some((now, why));
        }
    }

    pub(super) fn stop_refused(&self, uid: &str, now: Instant) -> Option<String> {
        let (at, why) = self.requests.get(uid)?.stop_tried.as_ref()?;
        (now.duration_since(*at) < STOP_RETRY_INTERVAL).then(|| why.clone())
    }

    /// How many requests have not ended.
    pub(super) fn count(&self) -> usize {
        self.requests.values().filter(|waiter| waiter.news.is_none()).count()
    }

    /// Drops requests whose object is not `wanted` any more, before a round begins. Returns whether any is left.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Owner) -> bool, now: Instant) -> bool {
        if self.next <= now && self.round.is_none() {
            self.requests.retain(|_, waiter| wanted(&waiter.request.owner));
        }
        self.busy || self.has_requests()
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// When the list is to be read next; `None` while it is being read.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.busy).then_some(self.next)
    }

    /// The list is being read from now on.
    pub(super) fn begin(&mut self) {
        self.busy = true;
    }

    /// What to ask; `None` if no request waits for an answer any more.
    pub(super) fn question(&mut self, now: Instant) -> Option<ListQuery> {
        if self.round.is_none() {
            let Some(question) = self.next_question(now) else {
                (self.busy, self.next) = (false, now + SHORTEST_PAUSE);
                return None;
            };
            (self.began, self.pages, self.round) = (now, 0, Some(question));
        }
        self.round.clone()
    }

    /// A page came. Returns the objects that have news.
    pub(super) fn told(
        &mut self,
        lines: Vec<Line>,
        more: Option<String>,
        date: Option<Timestamp>,
        siblings: usize,
        (time, now): (Timestamp, Instant),
    ) -> Vec<Owner> {
        self.skew = date.map_or(self.skew, |date| time.duration_since(date).unsigned_abs());
        // The service may leave out the marker: a full page without one may not be the last.
        let complete = more.is_none() && lines.len() < usize::from(self.limit);
        let lines: HashMap<String, Option<Execution>> = lines.into_iter().collect();
        let mut owners = Vec::new();
        // Objects that have told of the trouble tell that it is over.
        if self.trouble.take().is_some() {
            owners.extend(self.requests.values().map(|waiter| waiter.request.owner.clone()));
        }
        for waiter in self.requests.values_mut().filter(|waiter| waiter.news.is_none()) {
            let Some(line) = lines.get(&waiter.request.id) else { continue };
            (waiter.seen, waiter.missing) = (now, None);
            if let Some(execution) = line {
                waiter.news = Some(News::Ended(execution.clone()));
                owners.push(waiter.request.owner.clone());
            }
        }
        (self.busy, self.failures) = (false, 0);
        self.pages += 1;
        let missing = self.near().any(|waiter| waiter.seen < self.began);
        let is_worth_another = self.pages_are_cheaper();
        match (&mut self.round, more) {
            // The rest of the list is read only while a request that waits was not in it.
            (Some(round), Some(marker)) if missing && round.request_id.is_none() && is_worth_another => {
                round.marker = Some(marker);
                return owners;
            }
            (Some(ListQuery { request_id: None, .. }), Some(_)) if missing => self.ask_for_the_rest_by_id(),
            (Some(ListQuery { request_id: Some(id), .. }), _) => {
                let id = id.clone();
                owners.extend(self.not_known(&id, now));
            }
            (Some(_), _) if complete => self.missed(now),
            _ => {}
        }
        self.round = None;
        // What made pages too long may be over.
        self.limit = (self.limit + self.limit.div_ceil(4)).min(DEFAULT_LIMIT);
        self.next = now + self.pause(siblings, time, now);
        owners
    }

    /// The list could not be read. Returns the objects that have not told of this trouble yet.
    pub(super) fn failed(&mut self, trouble: Option<String>, now: Instant) -> Vec<Owner> {
        (self.busy, self.round) = (false, None);
        self.failures = self.failures.saturating_add(1);
        let pause = SHORTEST_PAUSE * 2_u32.saturating_pow(self.failures.min(8));
        self.next = now + pause.min(LONGEST_PAUSE);
        // A passing trouble does not end one that lasts.
        if trouble.is_none() || self.trouble == trouble {
            return Vec::new();
        }
        self.trouble = trouble;
        self.requests.values().map(|waiter| waiter.request.owner.clone()).collect()
    }

    /// A page was too long to be read: asks for fewer records, at once. False if it was for one only.
    pub(super) fn shorten(&mut self, now: Instant) -> bool {
        if self.limit <= 1 {
            return false;
        }
        self.limit /= 2;
        (self.busy, self.round, self.next) = (false, None, now);
        true
    }

    /// The requests that are looked for in the list.
    fn near(&self) -> impl Iterator<Item = &Waiter> {
        self.waiting().filter(|waiter| !waiter.is_far)
    }

    /// Whether another page costs no more than to ask for all that were not found by their ids.
    fn pages_are_cheaper(&self) -> bool {
        let unseen = |waiter: &&Waiter| waiter.is_far || waiter.seen < self.began;
        self.waiting().filter(unseen).count() >= self.pages
    }

    fn ask_for_the_rest_by_id(&mut self) {
        let began = self.began;
        for waiter in self.requests.values_mut().filter(|waiter| waiter.waits() && waiter.seen < began) {
            waiter.is_far = true;
        }
    }

    /// The requests that wait for news.
    fn waiting(&self) -> impl Iterator<Item = &Waiter> {
        self.requests.values().filter(|waiter| waiter.waits())
    }

    /// What to ask next: by its id for a request that a complete list did not show, else the list of all.
    fn next_question(&mut self, now: Instant) -> Option<ListQuery> {
        let (limit, has_near) = (self.limit, self.near().next().is_some());
        let unseen = |waiter: &&mut Waiter| waiter.is_to_be_asked_for(now);
        let unseen = self.requests.values_mut().filter(unseen).min_by_key(|waiter| waiter.asked);
        // The list of the others is next, if there are others.
        self.by_id = unseen.is_some() && !(self.by_id && has_near);
        if let Some(waiter) = unseen.filter(|_| self.by_id) {
            waiter.asked = Some(now);
            let Request { claimed, id, .. } = &waiter.request;
            let begin = claimed.saturating_sub(WINDOW_OF_ONE).unwrap_or(Timestamp::MIN);
            return Some(ListQuery { request_id: Some(id.clone()), limit, ..ListQuery::since(begin) });
        }
        let margin = WINDOW_MARGIN.saturating_add(self.skew);
        let first = self.near().map(|waiter| waiter.request.claimed).min()?;
        let last = self.near().map(|waiter| waiter.request.accepted).max()?;
        let begin = first.saturating_sub(margin).unwrap_or(Timestamp::MIN);
        let end = last.saturating_add(margin).unwrap_or(Timestamp::MAX);
        Some(ListQuery { end: Some(end), limit, ..ListQuery::since(begin) })
    }

    /// A complete list was read: notes those that it did not show.
    fn missed(&mut self, now: Instant) {
        let began = self.began;
        let is_missed = |waiter: &&mut Waiter| waiter.waits() && !waiter.is_far && waiter.seen < began;
        for waiter in self.requests.values_mut().filter(is_missed) {
            waiter.missing.get_or_insert(now);
        }
    }

    /// A request was asked for by its id. One that the service has not known for too long has vanished. A time in which
    /// nobody could ask shows nothing: it takes two answers.
    fn not_known(&mut self, id: &str, now: Instant) -> Option<Owner> {
        let is_unknown =
            |waiter: &&mut Waiter| waiter.request.id == id && waiter.waits() && waiter.seen < self.began;
        let waiter = self.requests.values_mut().find(is_unknown)?;
        let since = *waiter.missing.get_or_insert(now);
        if now.duration_since(since) < VANISHED_DELAY {
            return None;
        }
        waiter.news = Some(News::Vanished);
        Some(waiter.request.owner.clone())
    }

    fn pause(&self, siblings: usize, time: Timestamp, now: Instant) -> Duration {
        if self.requests.values().any(|waiter| waiter.is_to_be_asked_for(now)) {
            return shortest(siblings);
        }
        let youngest = self.waiting().map(|waiter| waiter.request.accepted).max();
        let age =
            youngest.map(|accepted| Duration::try_from(time.duration_since(accepted)).unwrap_or_default());
        age.map_or(LONGEST_PAUSE, |age| age / 2).clamp(shortest(siblings), LONGEST_PAUSE)
    }
}

// === impl Waiter ===

impl Waiter {
    /// Whether it waits to be seen in the list.
    fn waits(&self) -> bool {
        self.news.is_none()
    }

    /// Whether it is not looked for in the list, or complete lists do not show it, and it was not asked for by its id for a
    /// while.
    fn is_to_be_asked_for(&self, now: Instant) -> bool {
        let age = now.duration_since(self.since) / 2;
        let pause =
            if self.missing.is_some() { LONGEST_PAUSE } else { age.clamp(SHORTEST_PAUSE, LONGEST_PAUSE) };
        let lately = self.asked.is_some_and(|asked| now.duration_since(asked) < pause);
        self.waits() && (self.missing.is_some() || self.is_far) && !lately
    }
}

/// The shortest pause between two rounds of a function with this number of siblings.
fn shortest(siblings: usize) -> Duration {
    (PAUSE_PER_FUNCTION * u32::try_from(siblings).unwrap_or(u32::MAX)).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}
