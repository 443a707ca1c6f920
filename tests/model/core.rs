//! The operator's own core as a table: what it decides and writes, for every status that it can write.

use functiongraph_operator::api::invocation::{
    AttemptState, ErrorClass, FunctionInvocationSpec, FunctionInvocationStatus, Outcome,
};
use functiongraph_operator::lifecycle::{
    Acceptance, Memory, Moment, Origin, Reply, State, Step, TAKEOVER, Target, Trouble, View, decide, record,
};
use jiff::Timestamp;
use std::time::Duration;

/// The holder in the statuses of the table.
const HOLDER: &str = "holder";

/// A status as far as decisions differ by it: an index into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stand(u8);

impl Stand {
    /// Nothing is written yet.
    pub const FRESH: Self = Self(0);
}

/// Something that is written into a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A claim.
    Claim,
    /// A claim goes back unsent.
    HandBack,
    /// An attempt is given up as in doubt.
    InDoubt,
    /// An attempt ended.
    Answer(Answer),
}

/// How an attempt ended, for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// 202.
    Accepted,
    /// 429.
    Refused,
    /// It never left.
    NotSent,
    /// No answer.
    Silence,
}

const WHATS: [What; 7] = [
    What::Claim,
    What::HandBack,
    What::InDoubt,
    What::Answer(Answer::Accepted),
    What::Answer(Answer::Refused),
    What::Answer(Answer::NotSent),
    What::Answer(Answer::Silence),
];

/// Whose claim it is that somebody looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The onlooker's own, and what it remembers.
    Own(Memory),
    /// Somebody else's, and whether it has stood still for the takeover time.
    Others {
        /// It has.
        late: bool,
    },
}

const WHOSE: [Whose; 7] = [
    Whose::Own(Memory::Nothing),
    Whose::Own(Memory::Returned),
    Whose::Own(Memory::Sent),
    Whose::Own(Memory::Answered),
    Whose::Own(Memory::Saved),
    Whose::Others { late: false },
    Whose::Others { late: true },
];

/// What is known of an object that stands like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Of its last attempt.
    pub attempt: Option<AttemptState>,
    /// Of the whole.
    pub outcome: Option<Outcome>,
}

/// The table.
pub struct Core {
    meanings: Vec<Meaning>,
    steps: Vec<[Step; WHOSE.len()]>,
    writes: Vec<[Option<Stand>; WHATS.len()]>,
}

// === impl Core ===

impl Core {
    /// Asks the core about everything, beginning with an object that has no status.
    pub fn ask() -> Self {
        let spec: FunctionInvocationSpec =
            serde_json::from_value(serde_json::json!({"function": {"name": "f"}})).expect("a spec");
        let mut statuses = vec![FunctionInvocationStatus::default()];
        let mut core = Self { meanings: Vec::new(), steps: Vec::new(), writes: Vec::new() };
        while let Some(status) = statuses.get(core.meanings.len()).cloned() {
            core.meanings.push(meaning(&status));
            core.steps.push(WHOSE.map(|whose| step(&spec, &status, whose)));
            core.writes.push(WHATS.map(|what| {
                let written = write(&spec, &status, what)?;
                let known = statuses.iter().position(|other| meaning(other) == meaning(&written));
                let index = known.unwrap_or_else(|| {
                    statuses.push(written);
                    statuses.len() - 1
                });
                Some(Stand(u8::try_from(index).expect("few")))
            }));
        }
        core
    }

    /// What `decide` says.
    pub fn step(&self, stand: Stand, whose: Whose) -> &Step {
        let column = WHOSE.iter().position(|other| *other == whose).expect("all are listed");
        &self.steps[usize::from(stand.0)][column]
    }

    /// What `record` writes over an object that stands like this.
    pub fn write(&self, stand: Stand, what: What) -> Stand {
        let column = WHATS.iter().position(|other| *other == what).expect("all are listed");
        self.writes[usize::from(stand.0)][column].expect("the shell never writes that here")
    }

    /// What is known of an object that stands like this.
    pub fn meaning(&self, stand: Stand) -> Meaning {
        self.meanings[usize::from(stand.0)]
    }
}

fn meaning(status: &FunctionInvocationStatus) -> Meaning {
    let attempt = status.attempt.as_ref().and_then(|attempt| attempt.state);
    Meaning { attempt, outcome: status.outcome }
}

fn view<'a>(spec: &'a FunctionInvocationSpec, status: &'a FunctionInvocationStatus) -> View<'a> {
    View {
        spec,
        status,
        uid: "uid",
        origin: Origin::New,
        generation: 1,
        created: Timestamp::UNIX_EPOCH,
        deleting: false,
        resolve: None,
        lookup: false,
    }
}

fn step(spec: &FunctionInvocationSpec, status: &FunctionInvocationStatus, whose: Whose) -> Step {
    let (holder, memory, unchanged_for) = match whose {
        Whose::Own(memory) => (HOLDER, memory, Duration::ZERO),
        Whose::Others { late: false } => ("other", Memory::Nothing, Duration::ZERO),
        Whose::Others { late: true } => ("other", Memory::Nothing, TAKEOVER),
    };
    let now = Timestamp::UNIX_EPOCH;
    decide(&view(spec, status), &Moment { now, holder, memory, unchanged_for, looked_up: false })
}

/// `None` where the shell writes no such thing: only claims of what is open, only ends of what is claimed or
/// in doubt.
fn write(
    spec: &FunctionInvocationSpec,
    status: &FunctionInvocationStatus,
    what: What,
) -> Option<FunctionInvocationStatus> {
    let (view, now) = (view(spec, status), Timestamp::UNIX_EPOCH);
    let fits = match State::of(status) {
        State::Fresh | State::Open { .. } => what == What::Claim,
        State::Claimed { .. } => what != What::Claim,
        State::Settled(Outcome::Unknown) => matches!(what, What::Answer(_)),
        State::Settled(_) | State::Doubtful { .. } | State::Accepted => false,
    };
    // Chance zero makes every pause zero: a retry may follow at any moment.
    fits.then(|| match what {
        What::Claim => {
            let target =
                Target { endpoint: "there".into(), urn: "urn".into(), event_version: "event".into() };
            record::claimed(&view, 1, HOLDER, &target, now)
        }
        What::HandBack => record::handed_back(&view, now),
        What::InDoubt => record::ambiguous(&view, "model", now, 0),
        What::Answer(answer) => record::answered(&view, &reply(answer), now, 0),
    })
}

fn reply(answer: Answer) -> Reply {
    let (class, http_status) = match answer {
        Answer::Accepted => {
            return Reply::Accepted(Acceptance { request_id: Some("id".into()), ..Acceptance::default() });
        }
        Answer::Refused => (ErrorClass::Throttled, Some(429)),
        Answer::NotSent => (ErrorClass::NotSent, None),
        Answer::Silence => (ErrorClass::Ambiguous, None),
    };
    Reply::Trouble(Trouble {
        class,
        http_status,
        code: None,
        message: String::new(),
        gateway_request_id: None,
        retry_after: None,
    })
}
