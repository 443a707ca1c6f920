//! Everything at one moment: the stored versions, what is on its way, the two processes; and what can happen next.

use crate::core::Object;
use crate::object::{Answer, Clock};
use crate::world::Act;
use functiongraph_operator::context::journal::{Own, Stage};
use functiongraph_operator::lifecycle::Progress;

/// Any version that is not the current one.
const OUTDATED: u8 = u8::MAX;

/// A status write on its way to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Write {
    pub from: u8,
    /// Its sender waits for the answer.
    pub awaited: bool,
    /// The version that it was decided from; none if it carries no resourceVersion.
    pub base: Option<u8>,
    pub object: Object,
    /// It acts upon an annotation that says `Retry`.
    pub retry: bool,
}

/// A request on its way to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Post {
    pub from: u8,
    pub uid: u8,
    pub number: u8,
}

/// What was prepared for an attempt: where it goes, and the event if that is in a ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prepared {
    pub endpoint: u8,
    pub event: u8,
}

/// What a process is doing. `mine` is the object as the process has it, `base` the version that it has it from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Nothing: the next look at the object decides.
    Nothing,
    /// It waits for the answer to its claim.
    Claiming { wrote: Object, prepared: Prepared },
    /// Its claim was not answered well: a live read shows who won.
    LookingAfterClaim { wrote: Object, prepared: Prepared },
    /// It owns an attempt that has not been sent.
    Owning { mine: Object, base: u8, prepared: Prepared },
    /// It waits for the service.
    Sending { mine: Object, base: u8 },
    /// It waits for the answer to a record.
    Recording { mine: Object, answer: Answer },
    /// Its record was not answered well: a live read shows what is there.
    LookingAfterRecord { mine: Object, answer: Answer },
    /// It waits for the answer to another write.
    Putting { mine: Object },
}

/// One process of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub holder: u8,
    /// Its journal, by uid.
    pub own: [Option<Own<Answer>>; 2],
    /// The oldest version that its cache may still hold.
    pub cache: u8,
    pub doing: Doing,
}

/// What no process knows: what is true, and what has gone wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// How often the service accepted, by uid.
    pub accepted: [u8; 2],
    /// Which attempts it accepted: a bit for each.
    pub attempts: u16,
    /// How often a user asked for another attempt of something ambiguous, by uid.
    pub asked: [u8; 2],
    /// How often the operator heard that, by uid.
    pub heard: [u8; 2],
    /// Which events were sent, by uid: a bit for each.
    pub events: [u8; 2],
    /// A user has resolved an attempt, so that the status says what the user says.
    pub resolved: bool,
    /// What has gone wrong: a bit for each [`Fault`].
    pub faults: u8,
}

/// Something that must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A finished object changed, and not from unknown to known.
    Unsettled = 1,
    /// The API server's rules refuse a write, and will do so for ever.
    Refused = 2,
    /// A request does not go to where the status says, or somebody else is asked about it.
    Astray = 4,
    /// What is sent is not what the status says.
    OtherEvent = 8,
    /// The execution of a request is asked about that was not answered to us.
    NotOurRequest = 16,
    /// Something is sent that must not be.
    Unwanted = 32,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The versions of the object that a cache may hold; the resourceVersion is the place in this list.
    pub versions: Vec<Object>,
    pub writes: Vec<Write>,
    pub posts: Vec<Post>,
    pub processes: [Process; 2],
    /// Where the provider leads.
    pub leads_to: u8,
    /// The event in the ConfigMap.
    pub source: u8,
    pub truth: Truth,
    pub next_holder: u8,
    pub crashes: u8,
    pub acts: u8,
}

/// One thing that happens. `process`, `write` and `post` are places in the lists of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A process looks at a version that it has cached, and acts.
    Look {
        process: u8,
        version: u8,
        /// A claim of somebody else has not changed for the takeover time, and the list has been read.
        late: bool,
        clock: Clock,
        /// What FunctionGraph's list shows: nothing, a request, or that nobody knows of ours any more.
        list: List,
    },
    /// An idle process forgets an attempt.
    Forget { process: u8, uid: u8 },
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
    /// An owner finds that it must not send: too late, suspended, stopping, or another event.
    HandBack { process: u8 },
    /// The service decides on a request; its sender hears of it or not.
    Serve { post: u8, accept: bool, heard: bool },
    /// A request never leaves, and its sender knows.
    NotSent { process: u8 },
    /// A sender gives up on its request, which may still arrive.
    TimeOut { process: u8 },
    /// One reconcile ends in the middle (it took too long, or panicked); the process lives on.
    CutShort { process: u8 },
    /// A process dies and is started again, with a cache as old as it gets.
    Crash { process: u8 },
    /// Somebody else does something.
    Act { act: Act },
}

/// What FunctionGraph's list of executions shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Nothing,
    Request,
    Gone,
}

// === impl Moment ===

impl Moment {
    pub fn current(&self) -> (u8, Object) {
        let last = self.versions.len() - 1;
        (u8::try_from(last).expect("few"), self.versions[last])
    }

    pub fn version(&self, index: u8) -> Object {
        self.versions[usize::from(index)]
    }

    pub fn late_writes(&self) -> usize {
        self.writes.iter().filter(|write| !write.awaited).count()
    }

    /// The process that waits for an answer under this name.
    pub fn process_of(&mut self, holder: u8) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.holder == holder)
    }

    /// Drops what cannot have an effect any more, so that moments that differ by nothing are one: versions that no cache
    /// holds, and what a write that was decided from an old version says, because it will be refused.
    pub fn tidy(&mut self, lag: u8) {
        let old = self.current().0;
        let dropped = old.saturating_sub(lag);
        self.versions.drain(..usize::from(dropped));
        let moved = |base: u8| if base == old { old - dropped } else { OUTDATED };
        for process in &mut self.processes {
            process.cache = process.cache.saturating_sub(dropped);
            if let Doing::Owning { base, .. } | Doing::Sending { base, .. } = &mut process.doing {
                *base = moved(*base);
            }
        }
        for write in self.writes.iter_mut().filter(|write| write.base.is_some()) {
            write.base = write.base.map(moved);
            if write.base == Some(OUTDATED) {
                (write.object, write.retry) = (Object::ANY, false);
            }
        }
        self.writes.retain(|write| write.awaited || write.base != Some(OUTDATED));
        self.writes.sort_unstable();
    }
}

// === impl Truth ===

impl Truth {
    pub fn note(&mut self, fault: Fault, is_so: bool) {
        self.faults |= if is_so { fault as u8 } else { 0 };
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.faults & fault as u8 != 0
    }

    pub fn accept(&mut self, uid: u8, number: u8) {
        self.accepted[usize::from(uid)] += 1;
        self.attempts |= 1 << (8 * uid + number);
    }

    pub fn was_accepted(&self, uid: u8, number: u8) -> bool {
        self.attempts & 1 << (8 * uid + number) != 0
    }
}

// === impl Process ===

impl Process {
    pub fn new(holder: u8) -> Self {
        Self { holder, own: [None; 2], cache: 0, doing: Doing::Nothing }
    }

    pub fn progress(&self, uid: u8, number: u8) -> Progress {
        Own::progress(self.own[usize::from(uid)].as_ref(), number.into())
    }

    pub fn remember(&mut self, uid: u8, number: u8, stage: Stage<Answer>) {
        self.own[usize::from(uid)] = Some(Own { number: number.into(), stage });
    }

    /// What follows when a write or its answer was lost.
    pub fn not_answered(&mut self) {
        self.doing = match self.doing {
            Doing::Claiming { wrote, prepared } => Doing::LookingAfterClaim { wrote, prepared },
            Doing::Recording { mine, answer } => Doing::LookingAfterRecord { mine, answer },
            Doing::Putting { .. } => Doing::Nothing,
            other => other,
        };
    }
}
