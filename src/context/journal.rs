//! What this process alone knows: which attempts it sent, what came back, and which claims of others did not change.

use super::{AttemptId, Owner};
use crate::lifecycle::{Progress, Reply};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A written answer is remembered this long, so that an older copy of the object is recognised as one. A
/// watch that lags longer costs one refused write, nothing else.
const SAVED_TTL: Duration = Duration::from_mins(1);

/// The journal of one process.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Pages>);

/// What a process remembers of the latest attempt that it made of one object; `R` is what it keeps of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Own<R> {
    /// The attempt's number.
    pub number: i64,
    /// How far it is.
    pub stage: Stage<R>,
}

/// How far a process is with an attempt of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage<R> {
    /// It began to give it back unsent.
    Returned,
    /// It began to send it.
    Sent,
    /// It has the answer.
    Answered(R),
    /// The answer is written, or has nowhere to be written any more.
    Saved,
}

impl<R> Own<R> {
    /// What is remembered of attempt `number`. A later attempt of ours proves that this one is over.
    pub fn progress(own: Option<&Self>, number: i64) -> Progress {
        match own {
            Some(own) if own.number > number => Progress::Saved,
            Some(own) if own.number == number => match own.stage {
                Stage::Returned => Progress::Returned,
                Stage::Sent => Progress::Sent,
                Stage::Answered(_) => Progress::Answered,
                Stage::Saved => Progress::Saved,
            },
            Some(_) | None => Progress::Nothing,
        }
    }

    /// The answer to attempt `number`, if it is in hand and not written yet.
    pub fn answer(&self, number: i64) -> Option<&R> {
        match &self.stage {
            Stage::Answered(answer) if self.number == number => Some(answer),
            Stage::Returned | Stage::Sent | Stage::Answered(_) | Stage::Saved => None,
        }
    }

    /// Whether something is still to be written: the answer, or that the attempt was never sent.
    pub fn is_unwritten(&self) -> bool {
        matches!(self.stage, Stage::Returned | Stage::Answered(_))
    }

    /// Whether it is over. Only this is forgotten after a time.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Saved)
    }
}

#[derive(Default)]
struct Pages {
    own: HashMap<String, Entry>,
    others: HashMap<String, Sighting>,
}

/// An attempt of ours, and since when it is over.
struct Entry {
    owner: Owner,
    own: Own<Reply>,
    saved: Option<Instant>,
}

/// An attempt of another process.
struct Sighting {
    number: i64,
    holder: String,
    since: Instant,
}

impl Journal {
    /// Notes, before it is written, that an attempt is given back unsent. The write may arrive long after
    /// we gave up on it: if the attempt were sent meanwhile, it would be sent again.
    pub fn returned(&self, attempt: &AttemptId) {
        self.0.lock().note(attempt, Stage::Returned, None);
    }

    /// Notes, before the first byte leaves, that an attempt is being sent.
    pub fn sent(&self, attempt: &AttemptId) {
        self.0.lock().note(attempt, Stage::Sent, None);
    }

    pub fn answered(&self, attempt: &AttemptId, reply: Reply) {
        self.0.lock().note(attempt, Stage::Answered(reply), None);
    }

    /// Notes that the answer is written, or has nowhere to be written any more.
    pub fn saved(&self, attempt: &AttemptId, now: Instant) {
        self.0.lock().note(attempt, Stage::Saved, Some(now));
    }

    /// The attempts of which something is still to be written: the answer, or that it was never sent.
    pub fn unwritten(&self) -> Vec<AttemptId> {
        let pages = self.0.lock();
        let open = pages.own.values().filter(|entry| entry.own.is_unwritten());
        open.map(|entry| AttemptId { owner: entry.owner.clone(), number: entry.own.number }).collect()
    }

    /// Forgets what is over for long enough, and what concerns objects that are not there any more: without one there is no
    /// status to decide from.
    pub fn prune(&self, is_there: impl Fn(&str) -> bool, now: Instant) {
        let mut pages = self.0.lock();
        pages.own.retain(|uid, Entry { saved, .. }| match saved {
            Some(saved) => now.duration_since(*saved) < SAVED_TTL,
            None => is_there(uid),
        });
        pages.others.retain(|uid, _| is_there(uid));
    }

    pub fn len(&self) -> usize {
        let pages = self.0.lock();
        pages.own.len() + pages.others.len()
    }

    pub fn progress(&self, AttemptId { owner, number }: &AttemptId) -> Progress {
        Own::progress(self.0.lock().own.get(&owner.uid).map(|entry| &entry.own), *number)
    }

    pub fn reply(&self, AttemptId { owner, number }: &AttemptId) -> Option<Reply> {
        self.0.lock().own.get(&owner.uid).and_then(|entry| entry.own.answer(*number)).cloned()
    }

    /// For how long this process has seen another's attempt unchanged. The first call starts the count.
    pub fn unchanged_for(&self, attempt: &AttemptId, holder: &str, now: Instant) -> Duration {
        let AttemptId { owner: Owner { uid, .. }, number } = attempt;
        let mut pages = self.0.lock();
        let new = || Sighting { number: *number, holder: holder.into(), since: now };
        let sighting = pages.others.entry(uid.clone()).or_insert_with(new);
        if sighting.number != *number || sighting.holder != holder {
            *sighting = new();
        }
        now.duration_since(sighting.since)
    }
}

impl Pages {
    fn note(&mut self, attempt: &AttemptId, stage: Stage<Reply>, saved: Option<Instant>) {
        let AttemptId { owner, number } = attempt.clone();
        self.own.insert(owner.uid.clone(), Entry { owner, own: Own { number, stage }, saved });
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may start somewhere on the clock")]
mod tests {
    use super::*;
    use crate::lifecycle::Acceptance;

    fn attempt(uid: &str, number: i64) -> AttemptId {
        AttemptId { owner: Owner { namespace: "n".into(), name: uid.into(), uid: uid.into() }, number }
    }

    #[test]
    fn an_attempt_is_remembered_from_its_first_byte_until_a_minute_after_it_was_saved() {
        let (journal, now) = (Journal::default(), Instant::now());
        assert_eq!(journal.progress(&attempt("u", 1)), Progress::Nothing);
        journal.sent(&attempt("u", 1));
        assert_eq!(journal.progress(&attempt("u", 1)), Progress::Sent);
        assert_eq!(journal.progress(&attempt("u", 2)), Progress::Nothing);
        journal.answered(&attempt("u", 1), Reply::Accepted(Acceptance::default()));
        assert_eq!(journal.progress(&attempt("u", 1)), Progress::Answered);
        journal.saved(&attempt("u", 1), now);
        assert_eq!(journal.progress(&attempt("u", 1)), Progress::Saved);
        journal.prune(|_| false, now + SAVED_TTL / 2);
        assert_eq!(journal.progress(&attempt("u", 1)), Progress::Saved);
        journal.prune(|_| true, now + SAVED_TTL);
        assert_eq!(journal.progress(&attempt("u", 1)), Progress::Nothing);
        assert_eq!(journal.len(), 0);
    }

    #[test]
    fn an_attempt_that_is_given_back_is_never_again_one_that_may_be_sent() {
        let journal = Journal::default();
        journal.returned(&attempt("u", 1));
        assert_eq!(journal.progress(&attempt("u", 1)), Progress::Returned);
        assert_eq!(journal.progress(&attempt("u", 2)), Progress::Nothing);
    }

    #[test]
    fn what_is_still_to_be_written_is_known_until_it_is_written_or_its_object_is_gone() {
        let (journal, now) = (Journal::default(), Instant::now());
        journal.returned(&attempt("a", 1));
        journal.sent(&attempt("b", 1));
        journal.answered(&attempt("c", 2), Reply::Accepted(Acceptance::default()));
        let open = |journal: &Journal| {
            let mut open: Vec<_> =
                journal.unwritten().into_iter().map(|open| (open.owner.uid, open.number)).collect();
            open.sort();
            open
        };
        assert_eq!(open(&journal), [("a".into(), 1), ("c".into(), 2)]);
        journal.saved(&attempt("a", 1), now);
        journal.prune(|uid| uid == "b", now);
        assert_eq!(open(&journal), []);
        assert_eq!(journal.progress(&attempt("b", 1)), Progress::Sent);
        assert_eq!(journal.progress(&attempt("c", 2)), Progress::Nothing);
    }

    #[test]
    fn somebody_elses_attempt_ages_only_while_it_stays_the_same() {
        let (journal, now) = (Journal::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(journal.unchanged_for(&attempt("u", 1), "a", now), Duration::ZERO);
        assert_eq!(journal.unchanged_for(&attempt("u", 1), "a", after(100)), Duration::from_secs(100));
        assert_eq!(journal.unchanged_for(&attempt("u", 2), "a", after(110)), Duration::ZERO);
        assert_eq!(journal.unchanged_for(&attempt("u", 2), "b", after(120)), Duration::ZERO);
        assert_eq!(journal.unchanged_for(&attempt("u", 2), "b", after(121)), Duration::from_secs(1));
        journal.prune(|uid| uid == "u", after(10_000));
        assert_eq!(journal.unchanged_for(&attempt("u", 2), "b", after(10_000)), Duration::from_secs(9880));
        journal.prune(|_| false, after(10_000));
        assert_eq!(journal.len(), 0);
    }
}
