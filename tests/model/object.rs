//! What the statuses of the model hold: few values for each thing that decisions depend on, and none for the others.

use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::condition::{Condition, ConditionStatus, ConditionType, Reason};
use functiongraph_operator::api::invocation::{
    AttemptState, ErrorClass, FunctionInvocationStatus, Outcome, event_version,
};
use functiongraph_operator::lifecycle::decide::{FOLLOWED, changed_event};
use functiongraph_operator::lifecycle::{Acceptance, Conclusion, Reply, State, Trouble, View, later};
use jiff::Timestamp;
use std::time::Duration;

/// The two events that there are.
pub const EVENTS: [&str; 2] = [r#"{"event":0}"#, r#"{"event":1}"#];

/// The number of a request that a user names, and of one that is somebody else's.
pub const TYPED: u32 = 77_777_777;
const FOREIGN: u32 = 99_999_999;

/// A value of the annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    Retry,
    Fail,
    Id,
    Typo,
}

/// What a process takes the time to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// Long before everything that is written.
    Early,
    /// That at which everything is written.
    Right,
    /// After every deadline.
    Late,
}

/// How an attempt ended, for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// 202, with the number of the request.
    Accepted(u32),
    /// 429.
    Refused,
    /// It never left.
    NotSent,
    /// No answer.
    Silence,
}

/// What the model needs to know of an object.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Facts {
    pub uid: u8,
    pub number: u8,
    pub holder: Option<u8>,
    pub state: Option<AttemptState>,
    pub outcome: Option<Outcome>,
    /// Where the attempt went, as the status says.
    pub endpoint: Option<u8>,
    /// The event that was claimed first, as the status says.
    pub claimed: Option<u8>,
    /// The event in the spec.
    pub event: u8,
    /// The number of the request in the status; 0 if it is none.
    pub id: Option<u32>,
    pub note: Option<Note>,
    /// `suspend`, `cancel` or a deletion: nothing may be sent.
    pub held: bool,
    pub is_claimed: bool,
    /// An attempt that may have been accepted, which nobody has resolved.
    pub is_ambiguous: bool,
    /// The condition says that FunctionGraph did not accept it.
    pub denies: bool,
    /// The status says that the provider leads elsewhere.
    pub says_elsewhere: bool,
}

impl Note {
    pub fn text(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Fail => "Fail",
            Self::Id => "77777777-0000-4000-8000-000000000000",
            Self::Typo => "Failed",
        }
    }
}

impl Clock {
    pub fn now(self) -> Timestamp {
        match self {
            Self::Early => right().saturating_sub(Duration::from_hours(24)).expect("a time"),
            Self::Right => right(),
            Self::Late => later(right(), FOLLOWED * 2),
        }
    }
}

impl Answer {
    /// Somebody else's request, as if it were our own.
    pub const FOREIGN: Self = Self::Accepted(FOREIGN);
}

pub fn right() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

pub fn name(holder: u8) -> String {
    holder.to_string()
}

pub fn changed(view: &View<'_>, event: u8) -> Option<Conclusion> {
    changed_event(view, &event_version(EVENTS[usize::from(event)].as_bytes()))
}

pub fn accepted(id: &str) -> Reply {
    Reply::Accepted(Acceptance { request_id: Some(id.into()), ..Acceptance::default() })
}

pub fn reply(answer: Answer) -> Reply {
    let (class, http_status) = match answer {
        Answer::Accepted(number) => return accepted(&format!("{number:08}-0000-4000-8000-000000000000")),
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

/// A status without what no decision follows from. All times are the same, so that a clock alone tells early from late.
pub fn normal(mut status: FunctionInvocationStatus) -> FunctionInvocationStatus {
    let same = |time: &mut Option<Timestamp>| *time = time.map(|_| right());
    for time in [
        &mut status.start_time,
        &mut status.accepted_time,
        &mut status.cancel_time,
        &mut status.completion_time,
        &mut status.next_attempt_time,
    ] {
        same(time);
    }
    if let Some(attempt) = &mut status.attempt {
        same(&mut attempt.claim_time);
    }
    if let Some(error) = &mut status.error {
        same(&mut error.time);
        error.message = None;
    }
    for condition in &mut status.conditions {
        condition.last_transition_time = right();
        condition.message.clear();
    }
    FunctionInvocationStatus { attempts: None, throttled_attempts: None, function: None, ..status }
}

pub fn facts(object: &FunctionInvocation) -> Facts {
    let view = View::of(object, false);
    let status = view.status;
    let attempt = status.attempt.clone().unwrap_or_default();
    let digit = |text: &str| text.parse().expect("a number");
    let event = |version: &str| {
        let place = EVENTS.iter().position(|event| event_version(event.as_bytes()) == version);
        u8::try_from(place.expect("an event")).expect("two")
    };
    let says = |type_| Condition::find(&status.conditions, type_);
    let notes = [Note::Retry, Note::Fail, Note::Id, Note::Typo];
    Facts {
        uid: digit(view.uid),
        number: u8::try_from(attempt.number.unwrap_or_default()).expect("few"),
        holder: attempt.holder.as_deref().and_then(|holder| holder.parse().ok()),
        state: attempt.state,
        outcome: status.outcome,
        endpoint: attempt.endpoint.as_deref().map(digit),
        claimed: status.event_version.as_deref().map(event),
        event: event(&object.spec.payload.as_ref().expect("an event").digest().version),
        id: status.request_id.as_deref().map(|id| id.get(..8).and_then(|id| id.parse().ok()).unwrap_or(0)),
        note: view.resolve.and_then(|text| notes.into_iter().find(|note| note.text() == text)),
        held: object.spec.suspend || object.spec.cancel || view.deleting,
        is_claimed: matches!(State::of(status), State::Claimed { .. }),
        is_ambiguous: match State::of(status) {
            State::Ambiguous { .. } => true,
            State::Finished(outcome) => {
                outcome == Outcome::Unknown && attempt.state != Some(AttemptState::Accepted)
            }
            State::Fresh | State::Claimed { .. } | State::Open { .. } | State::Accepted => false,
        },
        denies: says(ConditionType::Accepted).is_some_and(|said| said.status == ConditionStatus::False),
        says_elsewhere: says(ConditionType::Ready).is_some_and(|r| r.reason == Reason::DestinationChanged),
    }
}
