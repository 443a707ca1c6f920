//! Everything at one moment: the stored versions, what is on its way, the two processes; and what can happen next.

use crate::core::{Answer, Stand};
use functiongraph_operator::lifecycle::Memory;

/// One stored version of the object; its resourceVersion is its place in the list of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    pub stand: Stand,
    pub attempt: u8,
    pub holder: u8,
}

/// A status write on its way to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Write {
    pub from: u8,
    /// Its sender waits for the answer.
    pub awaited: bool,
    /// The version that it was decided from; none if it carries no resourceVersion.
    pub base: Option<u8>,
    pub version: Version,
}

/// A request on its way to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Post {
    pub from: u8,
    pub attempt: u8,
}

/// What a process remembers of its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Own {
    pub attempt: u8,
    pub stage: Stage,
}

/// How far it is with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It began to hand it back.
    Returned,
    /// It began to send it.
    Sent,
    /// It has the answer.
    Answered(Answer),
    /// It is over.
    Saved,
}

/// What a process is doing. `base` is the version that its next write is decided from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Nothing: the next look at the object decides.
    Nothing,
    /// It waits for the answer to its claim.
    Claiming { attempt: u8 },
    /// Its claim was not answered well: a live read shows who won.
    LookingAfterClaim { attempt: u8 },
    /// It owns an attempt that has not been sent.
    Owning { attempt: u8, base: u8 },
    /// It waits for the service.
    Sending { attempt: u8, base: u8 },
    /// It waits for the answer to a record.
    Recording { attempt: u8, answer: Answer },
    /// Its record was not answered well: a live read shows what stands.
    LookingAfterRecord { attempt: u8, answer: Answer },
    /// It waits for the answer to another write, which ends attempt `attempt`.
    Putting { attempt: u8 },
}

/// One process of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub holder: u8,
    pub own: Option<Own>,
    /// The oldest version that its cache may still hold.
    pub cache: u8,
    pub doing: Doing,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    pub versions: Vec<Version>,
    pub writes: Vec<Write>,
    pub posts: Vec<Post>,
    pub processes: [Process; 2],
    pub accepted: u8,
    pub next_holder: u8,
    pub crashes: u8,
    pub edits: u8,
    /// A settled object changed, and not from unknown to known.
    pub unsettled: bool,
}

/// One thing that happens. `process`, `write` and `post` are places in the lists of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A process looks at a version that it has cached, and acts; `late` if somebody else's claim on it has
    /// stood still for the takeover time.
    Look { process: u8, version: u8, late: bool },
    /// An idle process forgets an attempt that is over.
    Forget { process: u8 },
    /// The API server decides on a write; its sender hears of it or not.
    Commit { write: u8, heard: bool },
    /// A sender gives up on its write, which may still arrive if it is not lost.
    GiveUp { process: u8, lost: bool },
    /// A live read.
    Read { process: u8 },
    /// A live read fails.
    ReadFails { process: u8 },
    /// An owner sends.
    Send { process: u8 },
    /// An owner finds that it must not send: too late, suspended, stopping.
    HandBack { process: u8 },
    /// The service decides on a request; its sender hears of it or not.
    Serve { post: u8, accept: bool, heard: bool },
    /// A request never leaves, and its sender knows.
    NotSent { process: u8 },
    /// A sender gives up on its request, which may still arrive.
    TimeOut { process: u8 },
    /// A process dies and is started anew, with a cache as old as it gets.
    Crash { process: u8 },
    /// Somebody else edits the object.
    Edit,
}

// === impl Moment ===

impl Moment {
    pub fn current(&self) -> (u8, Version) {
        let last = self.versions.len() - 1;
        (u8::try_from(last).expect("few"), self.versions[last])
    }

    pub fn version(&self, index: u8) -> Version {
        self.versions[usize::from(index)]
    }

    pub fn late_writes(&self) -> usize {
        self.writes.iter().filter(|write| !write.awaited).count()
    }

    /// The process that waits for an answer under this name.
    pub fn process_of(&mut self, holder: u8) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.holder == holder)
    }
}

// === impl Process ===

impl Process {
    pub fn new(holder: u8) -> Self {
        Self { holder, own: None, cache: 0, doing: Doing::Nothing }
    }

    pub fn memory(self, attempt: u8) -> Memory {
        match self.own {
            Some(own) if own.attempt > attempt => Memory::Saved,
            Some(Own { attempt: n, stage }) if n == attempt => match stage {
                Stage::Returned => Memory::Returned,
                Stage::Sent => Memory::Sent,
                Stage::Answered(_) => Memory::Answered,
                Stage::Saved => Memory::Saved,
            },
            Some(_) | None => Memory::Nothing,
        }
    }

    pub fn remember(&mut self, attempt: u8, stage: Stage) {
        self.own = Some(Own { attempt, stage });
    }

    /// What follows when a write or its answer was lost.
    pub fn not_answered(&mut self) {
        self.doing = match self.doing {
            Doing::Claiming { attempt } => Doing::LookingAfterClaim { attempt },
            Doing::Recording { attempt, answer } => Doing::LookingAfterRecord { attempt, answer },
            Doing::Putting { .. } => Doing::Nothing,
            other => other,
        };
    }
}
