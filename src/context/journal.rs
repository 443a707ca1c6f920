//! What this process alone knows: which attempts it sent, what came back, and what it saw stand still.

use crate::lifecycle::{Memory, Reply};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A written answer is remembered this long, so that an older copy of the object is recognised as one. A
/// watch that lags longer costs one refused write, nothing else.
const AFTERGLOW: Duration = Duration::from_mins(1);

/// A claim of somebody else that was not looked at for this long is forgotten.
const SIGHT: Duration = Duration::from_mins(10);

/// The journal of one process.
#[derive(Default)]
pub struct Journal(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    own: HashMap<String, Own>,
    saved: VecDeque<(Instant, String)>,
    others: HashMap<String, Sighting>,
    swept: Option<Instant>,
}

/// An attempt of ours.
struct Own {
    number: i64,
    stage: Stage,
}

enum Stage {
    Returned,
    Sent,
    Answered(Reply),
    Saved(Instant),
}

/// Somebody else's attempt.
struct Sighting {
    number: i64,
    holder: String,
    since: Instant,
    looked: Instant,
}

impl Journal {
    /// Notes, before it is written, that attempt `number` is given back unsent. The write may arrive long after
    /// we gave up on it: whoever sent the attempt meanwhile would send it again.
    pub fn returned(&self, uid: &str, number: i64) {
        self.pages().own.insert(uid.into(), Own { number, stage: Stage::Returned });
    }

    /// Notes, before the first byte leaves, that attempt `number` is being sent.
    pub fn sent(&self, uid: &str, number: i64) {
        self.pages().own.insert(uid.into(), Own { number, stage: Stage::Sent });
    }

    /// Notes the answer.
    pub fn answered(&self, uid: &str, number: i64, reply: Reply) {
        self.pages().own.insert(uid.into(), Own { number, stage: Stage::Answered(reply) });
    }

    /// Notes that the answer is written, or has nowhere to be written any more.
    pub fn saved(&self, uid: &str, number: i64, now: Instant) {
        let mut pages = self.pages();
        pages.own.insert(uid.into(), Own { number, stage: Stage::Saved(now) });
        pages.saved.push_back((now, uid.into()));
        while pages.saved.front().is_some_and(|(then, _)| now.duration_since(*then) > AFTERGLOW) {
            let Some((then, old)) = pages.saved.pop_front() else { break };
            if matches!(pages.own.get(&old), Some(Own { stage: Stage::Saved(at), .. }) if *at == then) {
                pages.own.remove(&old);
            }
        }
    }

    /// What is remembered of attempt `number`. A later attempt of ours proves that this one is over.
    pub fn memory(&self, uid: &str, number: i64) -> Memory {
        match self.pages().own.get(uid) {
            Some(own) if own.number > number => Memory::Saved,
            Some(Own { number: n, stage }) if *n == number => match stage {
                Stage::Returned => Memory::Returned,
                Stage::Sent => Memory::Sent,
                Stage::Answered(_) => Memory::Answered,
                Stage::Saved(_) => Memory::Saved,
            },
            Some(_) | None => Memory::Nothing,
        }
    }

    /// The answer in hand.
    pub fn reply(&self, uid: &str, number: i64) -> Option<Reply> {
        match self.pages().own.get(uid) {
            Some(Own { number: n, stage: Stage::Answered(reply) }) if *n == number => Some(reply.clone()),
            Some(_) | None => None,
        }
    }

    /// For how long somebody else's attempt has been seen unchanged; the first look starts the count.
    pub fn unchanged_for(&self, uid: &str, number: i64, holder: &str, now: Instant) -> Duration {
        let mut pages = self.pages();
        if pages.swept.is_none_or(|then| now.duration_since(then) > SIGHT) {
            pages.swept = Some(now);
            pages.others.retain(|_, sighting| now.duration_since(sighting.looked) < SIGHT);
        }
        let sighting = pages
            .others
            .entry(uid.into())
            .and_modify(|sighting| sighting.looked = now)
            .or_insert_with(|| Sighting { number, holder: holder.into(), since: now, looked: now });
        if sighting.number != number || sighting.holder != holder {
            *sighting = Sighting { number, holder: holder.into(), since: now, looked: now };
        }
        now.duration_since(sighting.since)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests {
    use super::*;
    use crate::lifecycle::Acceptance;

    #[test]
    fn an_attempt_is_remembered_from_its_first_byte_until_a_minute_after_it_was_saved() {
        let (journal, now) = (Journal::default(), Instant::now());
        assert_eq!(journal.memory("u", 1), Memory::Nothing);
        journal.sent("u", 1);
        assert_eq!(journal.memory("u", 1), Memory::Sent);
        assert_eq!(journal.memory("u", 2), Memory::Nothing);
        journal.answered("u", 1, Reply::Accepted(Acceptance::default()));
        assert_eq!(journal.memory("u", 1), Memory::Answered);
        journal.saved("u", 1, now);
        assert_eq!(journal.memory("u", 1), Memory::Saved);
        journal.saved("other", 1, now + AFTERGLOW * 2);
        assert_eq!(journal.memory("u", 1), Memory::Nothing);
    }

    #[test]
    fn an_attempt_that_is_given_back_is_never_again_one_that_may_be_sent() {
        let journal = Journal::default();
        journal.returned("u", 1);
        assert_eq!(journal.memory("u", 1), Memory::Returned);
        assert_eq!(journal.memory("u", 2), Memory::Nothing);
    }

    #[test]
    fn somebody_elses_attempt_ages_only_while_it_stays_the_same() {
        let (journal, now) = (Journal::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(journal.unchanged_for("u", 1, "a", now), Duration::ZERO);
        assert_eq!(journal.unchanged_for("u", 1, "a", after(100)), Duration::from_secs(100));
        assert_eq!(journal.unchanged_for("u", 2, "a", after(110)), Duration::ZERO);
        assert_eq!(journal.unchanged_for("u", 2, "b", after(120)), Duration::ZERO);
        assert_eq!(journal.unchanged_for("u", 2, "b", after(121)), Duration::from_secs(1));
    }
}
