//! Which processes of the operator share the work, and which of them owns what. Pure: time is an argument.
//!
//! Each process has a Lease and renews it. A member is a process whose Lease is renewed. Rendezvous hashing gives each object
//! one owner among the members, and each limit is divided among them.
//!
//! # Guarantees
//! * Members that know of the same members agree on every owner. When one comes or goes, only what it owns moves.
//! * A process that knows of others owns nothing from [`WORK_DURATION`] after it began its last successful renewal, as long as it
//!   can use Leases. The others do not own its share before [`LEASE_DURATION`] has passed.
//! * No two clocks are compared: a Lease is judged by how long it has not changed on the clock of the process that judges.
//!
//! # Caveats
//! Members may disagree for a moment, and one that cannot use Leases works alone. Then two attempt the same object, and
//! the claim decides. Nothing here keeps an invocation from being sent twice.

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// A Lease that has not changed for this long has expired. Five renewals in a row have failed by then, or the process is gone.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);

/// How often a member renews its Lease.
pub const RENEW_INTERVAL: Duration = Duration::from_millis(2500);

/// How long after its first renewal a process among others renews its Lease again, to begin with its share. That is long enough for
/// the others to see the first, as a rule. Where it is not, the claim decides who sends.
const JOIN_INTERVAL: Duration = Duration::from_millis(500);

/// A member takes no new work this long after it began its last successful renewal. The others count from the time when they
/// saw it, which is later.
pub const WORK_DURATION: Duration = Duration::from_secs(12);

/// A process whose renewals fail for this long works alone. It is longer than an overloaded API server needs, which would get more to
/// do by that.
const ALONE_DELAY: Duration = Duration::from_mins(1);

/// A Lease that has not changed for this long is deleted.
const ABANDONED_DELAY: Duration = Duration::from_mins(2);

/// Among others, a process begins with its share when the watch has shown this many of its renewals: the others have had the time
/// between them to see that it is there.
const SHOWN_TO_BEGIN: usize = 2;

/// The number of renewals that are remembered until the watch shows them. Fewer are made in [`LEASE_DURATION`].
const MAX_UNSEEN: usize = 16;

/// What a process knows of the Leases: its own, and those of the others.
#[derive(Debug)]
pub struct Membership {
    /// The name of its own Lease.
    name: String,
    leases: BTreeMap<String, Sighting>,
    standing: Standing,
    /// When the latest renewal of its own Lease began.
    renewed: Option<Instant>,
    /// When the first renewal began that failed since the latest successful one.
    failing: Option<Instant>,
    /// The renewals that the watch has not shown yet, oldest first.
    unseen: VecDeque<Renewal>,
    /// How many renewals the watch has shown since the process became a member.
    shown: usize,
    /// When the latest renewal began that the watch has shown. The watch has brought all changes until then.
    watched: Option<Instant>,
}

/// What a process is among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It may become a member.
    Open,
    /// It cannot use Leases.
    Refused,
    /// It takes no more work.
    Left,
}

/// A Lease, as the watch brought it.
#[derive(Debug)]
struct Sighting {
    version: String,
    /// When the watch brought this version.
    changed: Instant,
}

/// A renewal that the API server accepted.
#[derive(Debug)]
struct Renewal {
    version: String,
    /// When the request began.
    sent: Instant,
}

/// The members as one process knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// The names of their Leases, in order.
    names: Vec<String>,
    /// The place of this process among them.
    own: Option<usize>,
    /// When this process owns nothing any more; `None` if it knows of no other.
    until: Option<Instant>,
}

/// Whether a process owns something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It does.
    Ours,
    /// Another member does.
    Others,
    /// The process is no member at the moment.
    NoMember,
}

// === impl Membership ===

impl Membership {
    /// A process that is no member yet, with the name of its Lease.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self {
            name,
            leases: BTreeMap::new(),
            standing: Standing::Open,
            renewed: None,
            failing: None,
            unseen: VecDeque::new(),
            shown: 0,
            watched: None,
        }
    }

    /// The watch brought a Lease.
    pub fn seen(&mut self, name: String, version: String, now: Instant) {
        if name == self.name
            && let Some(place) = self.unseen.iter().position(|renewal| renewal.version == version)
        {
            // Changes come in order. So whatever another member wrote before this renewal began has come too.
            self.shown += place + 1;
            self.watched = self.unseen.drain(..=place).next_back().map(|renewal| renewal.sent);
        }
        let lease =
            self.leases.entry(name).or_insert_with(|| Sighting { version: String::new(), changed: now });
        if lease.version != version {
            *lease = Sighting { version, changed: now };
        }
    }

    /// The watch began again. These Leases exist.
    pub fn listed(&mut self, names: &BTreeSet<String>) {
        self.leases.retain(|name, _| names.contains(name));
    }

    /// A Lease was deleted.
    pub fn gone(&mut self, name: &str) {
        self.leases.remove(name);
    }

    /// The API server accepted a renewal that began at `sent`.
    pub fn renewed(&mut self, version: String, sent: Instant) {
        if self.standing == Standing::Refused {
            self.standing = Standing::Open;
        }
        if self.renewed.is_some_and(|last| sent.saturating_duration_since(last) >= WORK_DURATION) {
            // The process or the API server was away. The others have taken over, and the watch begins again too.
            self.unseen.clear();
            self.shown = 0;
        }
        (self.renewed, self.failing) = (Some(sent), None);
        self.unseen.push_back(Renewal { version, sent });
        if self.unseen.len() > MAX_UNSEEN {
            self.unseen.pop_front();
        }
    }

    /// A renewal that began at `sent` failed, although the API server can be reached. The process works alone when that lasts:
    /// if this happens to all, nobody would work otherwise.
    pub fn failed(&mut self, sent: Instant) {
        let since = *self.failing.get_or_insert(sent);
        if sent.saturating_duration_since(since) >= ALONE_DELAY {
            self.refused();
        }
    }

    /// The operator may not use Leases.
    pub fn refused(&mut self) {
        if self.standing == Standing::Open {
            self.standing = Standing::Refused;
        }
    }

    /// The process takes no more work.
    pub fn leave(&mut self) {
        self.standing = Standing::Left;
    }

    /// The members, this process among them if it is one.
    #[must_use]
    pub fn members(&self) -> Members {
        if self.standing == Standing::Refused || self.is_blind() {
            return Members { names: vec![self.name.clone()], own: Some(0), until: None };
        }
        let own_counts = self.standing == Standing::Open && self.watched.is_some();
        let counts = |(name, lease): (&String, &Sighting)| {
            let counts = if *name == self.name { own_counts } else { self.age(lease) < LEASE_DURATION };
            counts.then(|| name.clone())
        };
        let names: Vec<String> = self.leases.iter().filter_map(counts).collect();
        let begins = self.shown >= SHOWN_TO_BEGIN || names.len() == 1;
        let own = names.iter().position(|name| *name == self.name).filter(|_| begins);
        // While no other member is known, a renewal that fails keeps nobody from the work.
        let until = self.renewed.filter(|_| names.len() > 1).map(|sent| sent + WORK_DURATION);
        Members { names, own, until }
    }

    /// How long after the latest renewal began the next one is due.
    #[must_use]
    pub fn renew_interval(&self) -> Duration {
        // Only one of them is early: as long as the watch does not show it, the others are at their usual time.
        let joins = self.unseen.is_empty() && (1..SHOWN_TO_BEGIN).contains(&self.shown);
        if joins { JOIN_INTERVAL } else { RENEW_INTERVAL }
    }

    /// A Lease to delete, with the version that may be deleted: this process owns it.
    #[must_use]
    pub fn abandoned(&self, now: Instant) -> Option<(String, String)> {
        let members = self.members();
        let old = self.leases.iter().filter(|(_, lease)| self.age(lease) >= ABANDONED_DELAY);
        let mut ours = old.filter(|(name, _)| members.duty(name, now) == Duty::Ours);
        ours.next().map(|(name, lease)| (name.clone(), lease.version.clone()))
    }

    /// For how long a Lease has certainly not changed.
    fn age(&self, lease: &Sighting) -> Duration {
        self.watched.map_or(Duration::ZERO, |watched| watched.saturating_duration_since(lease.changed))
    }

    /// Whether the watch does not work: it has not shown what this process wrote. Nobody would own anything then.
    fn is_blind(&self) -> bool {
        let first = self.unseen.front().map(|renewal| renewal.sent);
        let waited = self.renewed.zip(first).map(|(latest, first)| latest.saturating_duration_since(first));
        self.standing == Standing::Open && waited.is_some_and(|waited| waited >= LEASE_DURATION)
    }
}

// === impl Members ===

impl Members {
    /// Whether this process owns something: an object by its uid, what belongs to a provider by its name.
    #[must_use]
    pub fn duty(&self, what: &str, now: Instant) -> Duty {
        match self.place(now) {
            None => Duty::NoMember,
            Some(_) if self.is_owner(what) => Duty::Ours,
            Some(_) => Duty::Others,
        }
    }

    /// Whether this process, which was one of the members `before`, becomes the owner of something. Whether its Lease is still
    /// valid does not matter.
    #[must_use]
    pub fn takes_over(&self, before: &Self, what: &str) -> bool {
        before.own.is_some() && !before.is_owner(what) && self.is_owner(what)
    }

    fn is_owner(&self, what: &str) -> bool {
        let owner = self.names.iter().enumerate().max_by_key(|(_, name)| weight(name, what));
        owner.is_some_and(|(place, _)| Some(place) == self.own)
    }

    /// This process's share of a limit. The shares of all members add up to the limit, if it is at least one for each.
    #[must_use]
    pub fn share(&self, limit: u32) -> u32 {
        let (Ok(count), Ok(own)) = (u32::try_from(self.names.len()), u32::try_from(self.own.unwrap_or(0)))
        else {
            return 1;
        };
        let count = count.max(1);
        (limit / count + u32::from(own < limit % count)).max(1)
    }

    /// How many members there are; 0 while this process is none.
    #[must_use]
    pub fn count(&self, now: Instant) -> usize {
        self.place(now).map_or(0, |_| self.names.len())
    }

    /// The place of this process among the members, while it is one.
    fn place(&self, now: Instant) -> Option<usize> {
        self.own.filter(|_| self.until.is_none_or(|until| now < until))
    }

    /// Whether the same members own the same as with `other`.
    #[must_use]
    pub fn divides_like(&self, other: &Self) -> bool {
        (&self.names, self.own) == (&other.names, other.own)
    }
}

/// The weight of a member for what it may own: the first eight bytes of SHA-256. The member with the most weight is the
/// owner. Every version of the operator computes the same.
fn weight(member: &str, what: &str) -> u64 {
    // No name has this byte, so no two pairs of names are the same text.
    let text = Sha256::new().chain_update(member).chain_update([0]).chain_update(what);
    let digest: [u8; 32] = text.finalize().into();
    digest.iter().take(8).fold(0, |weight, byte| weight << 8 | u64::from(*byte))
}
