//! The operator's own core: what it decides and writes for every object that can come about. Each question is asked once.

use crate::object::{Answer, Clock, EVENTS, Facts, accepted, changed, facts, name, normal, reply, right};
use crate::world::{Act, Variant, World};
use functiongraph_operator::api::FunctionInvocation;
use functiongraph_operator::api::condition::Reason;
use functiongraph_operator::api::invocation::{
    Execution, ExecutionStatus, FunctionInvocationStatus, RESOLVE, SUBMITTED_AS, event_version,
};
use functiongraph_operator::kubernetes::ownership::{Ownership, ownership, owns};
use functiongraph_operator::lifecycle::{
    Conclusion, Evidence, Moment, Progress, Resolution, Step, TAKEOVER, Target, View, decide, record,
};
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// One state of the object, as the API server stores it: a place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object(u32);

/// Something that is written into a status beside what a decision says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Claim { holder: u8, endpoint: u8, event: u8 },
    HandBack,
    OtherEvent { event: u8 },
    NotAsClaimed { event: u8 },
    Answer(Answer),
    LookedUp,
    Executed,
    Vanished,
    Elsewhere,
    Stopping,
}

/// What a process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Todo {
    Nothing,
    Invoke {
        number: u8,
    },
    Save,
    HandBack(Object),
    /// To write this; `retry` if it is because the annotation says `Retry`.
    Put {
        object: Object,
        retry: bool,
    },
    LookUp,
    Follow,
    Stop,
}

/// A question to `decide`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    pub object: Object,
    pub holder: u8,
    pub progress: u8,
    /// A claim has not changed for the takeover time, and the list has been read.
    pub late: bool,
    pub clock: Clock,
}

#[derive(Default)]
struct Tables {
    objects: Vec<(Arc<FunctionInvocation>, Facts)>,
    known: HashMap<String, Object>,
    todos: HashMap<Asked, Todo>,
    writes: HashMap<(Object, What), Object>,
    acts: HashMap<(Object, Act), Option<Object>>,
}

/// The core of one world.
pub struct Core {
    world: World,
    variant: Variant,
    tables: RwLock<Tables>,
}

impl Object {
    /// The first one, where it does not matter which.
    pub const ANY: Self = Self(0);
}

// === impl Core ===

impl Core {
    pub fn new(world: World, variant: Variant) -> Self {
        Self { world, variant, tables: RwLock::default() }
    }

    /// The object as it is created.
    pub fn created(&self, uid: u8) -> Object {
        let delivery = if self.world.at_least_once.is_some() { "AtLeastOnce" } else { "AtMostOnce" };
        let completion = if self.world.followed { "Executed" } else { "Accepted" };
        let limit = self.world.at_least_once.unwrap_or(1);
        let mut annotations = HashMap::new();
        if let Some(note) = self.world.note {
            annotations.insert(RESOLVE, note.text());
        }
        if self.world.copied {
            annotations.insert(SUBMITTED_AS, "the-original");
        }
        let json = serde_json::json!({
            "apiVersion": "functiongraph.io/v1alpha1",
            "kind": "FunctionInvocation",
            "metadata": {
                "namespace": "n", "name": "o", "uid": uid.to_string(), "generation": 1,
                "creationTimestamp": right(), "annotations": annotations,
            },
            "spec": {
                "function": {"name": "f"},
                "deliveryPolicy": delivery,
                "completionPolicy": completion,
                "retryPolicy": {"backoffLimit": limit},
            },
        });
        let mut object: FunctionInvocation = serde_json::from_value(json).expect("an object");
        object.spec.payload = Some(serde_json::from_str(EVENTS[0]).expect("an event"));
        self.intern(object)
    }

    pub fn facts(&self, object: Object) -> Facts {
        self.tables.read().expect("no panic").objects[object.0 as usize].1
    }

    fn object(&self, object: Object) -> Arc<FunctionInvocation> {
        Arc::clone(&self.tables.read().expect("no panic").objects[object.0 as usize].0)
    }

    fn intern(&self, object: FunctionInvocation) -> Object {
        let text = serde_json::to_string(&object).expect("JSON");
        let facts = facts(&object);
        let mut tables = self.tables.write().expect("no panic");
        let next = Object(u32::try_from(tables.objects.len()).expect("few"));
        let Tables { objects, known, .. } = &mut *tables;
        *known.entry(text).or_insert_with(|| {
            objects.push((Arc::new(object), facts));
            next
        })
    }

    /// `object` with a new status.
    fn with(&self, object: &FunctionInvocation, status: FunctionInvocationStatus) -> Object {
        self.intern(FunctionInvocation { status: Some(normal(status)), ..object.clone() })
    }

    /// `object` with the status of `other`.
    pub fn overwritten(&self, object: Object, other: Object) -> Object {
        self.intern(FunctionInvocation {
            status: self.object(other).status.clone(),
            ..FunctionInvocation::clone(&self.object(object))
        })
    }

    /// Whether `fresh` holds the claim that was written as `wanted`.
    pub fn owns(&self, wanted: Object, fresh: Object, unsent: bool) -> bool {
        let mine = self.object(wanted);
        owns(&mine, &self.object(fresh), mine.status.as_ref().expect("a claim"), unsent)
    }

    /// Whose the attempt in `mine` is, whose answer is to be recorded in `fresh`.
    pub fn ownership(&self, mine: Object, fresh: Object, answer: Answer) -> Ownership {
        let wanted = self.object(self.write(mine, What::Answer(answer)));
        ownership(&self.object(mine), &self.object(fresh), wanted.status.as_ref().expect("a status"))
    }

    /// Whether `event` may be sent for this object.
    pub fn is_other_event(&self, object: Object, event: u8) -> bool {
        changed(&View::of(&self.object(object), false), event).is_some()
    }

    /// What is to be done.
    pub fn todo(&self, asked: Asked) -> Todo {
        if let Some(todo) = self.tables.read().expect("no panic").todos.get(&asked) {
            return *todo;
        }
        let todo = self.decide(asked);
        self.tables.write().expect("no panic").todos.insert(asked, todo);
        todo
    }

    fn decide(&self, Asked { object, holder, progress, late, clock }: Asked) -> Todo {
        let object = self.object(object);
        let view = View::of(&object, self.world.lookup);
        let now = clock.now();
        let holder = name(holder);
        let progress = ALL_PROGRESS[usize::from(progress)];
        let unchanged_for = if late { TAKEOVER } else { Duration::ZERO };
        let step = decide(&view, &Moment { now, holder: &holder, progress, unchanged_for, looked_up: late });
        let put = |status| Todo::Put { object: self.with(&object, status), retry: false };
        let (ambiguous, noting) = (|view| record::ambiguous(view, "", now, 0), self.noting(view));
        match step {
            Step::Wait(_) | Step::Observe(_) | Step::Rest | Step::Delete => Todo::Nothing,
            Step::Invoke { number } => Todo::Invoke { number: u8::try_from(number).expect("few") },
            Step::Save => Todo::Save,
            Step::HandBack => Todo::HandBack(self.with(&object, record::handed_back(&view, now))),
            Step::TakeOver if self.variant == Variant::NobodyTakesOver => Todo::Nothing,
            Step::TakeOver if self.variant == Variant::TakeoverSends => put(record::handed_back(&view, now)),
            Step::GiveUpOwn | Step::TakeOver => put(self.counted(&view, ambiguous(&noting))),
            Step::Conclude(conclusion) => put(record::concluded(&noting, &conclusion, now)),
            Step::LookUp => Todo::LookUp,
            Step::Follow => Todo::Follow,
            Step::Stop => Todo::Stop,
            Step::Resolve(Resolution::Accepted(id)) if self.variant == Variant::TypedIdIsFollowed => {
                put(record::answered(&view, &accepted(&id), now, 0))
            }
            Step::Resolve(resolution) => Todo::Put {
                object: self.with(&object, record::resolved(&view, &resolution, now)),
                retry: resolution == Resolution::Retry,
            },
            Step::RefuseResolution if self.variant == Variant::AnyTextIsAnId => {
                let text = view.resolve.unwrap_or_default();
                put(record::resolved(&view, &Resolution::Accepted(text.into()), now))
            }
            Step::RefuseResolution => put(record::resolution_refused(&view, None, now)),
            Step::ForgetResolution => put(record::resolution_forgotten(&view, now)),
            Step::CorrectTimes => put(record::corrected(&view, now)),
            Step::Acknowledge => put(record::acknowledged(&view, now)),
            Step::Suspend => put(record::suspended(&view, now)),
            Step::Resume => put(record::resumed(&view, now)),
        }
    }

    /// What is stored after `what` was written over `object`.
    pub fn write(&self, object: Object, what: What) -> Object {
        if let Some(written) = self.tables.read().expect("no panic").writes.get(&(object, what)) {
            return *written;
        }
        let written = self.with(&self.object(object), self.compose(object, what));
        self.tables.write().expect("no panic").writes.insert((object, what), written);
        written
    }

    fn compose(&self, object: Object, what: What) -> FunctionInvocationStatus {
        let object = self.object(object);
        let (view, now) = (View::of(&object, self.world.lookup), Clock::Right.now());
        let noting = self.noting(view);
        match what {
            What::Claim { holder, endpoint, event } => {
                let number = view.status.attempt.as_ref().and_then(|attempt| attempt.number);
                let target = Target {
                    endpoint: endpoint.to_string(),
                    urn: "urn".into(),
                    event_version: event_version(EVENTS[usize::from(event)].as_bytes()),
                };
                record::claimed(&noting, number.unwrap_or_default() + 1, &name(holder), &target, now)
            }
            What::HandBack => record::handed_back(&view, now),
            What::OtherEvent { event } => {
                record::concluded(&noting, &changed(&view, event).expect("another event"), now)
            }
            What::NotAsClaimed { event } => {
                record::not_as_claimed(&view, &changed(&view, event).expect("another event"), now)
            }
            // Chance zero makes every pause zero: a retry may follow at any moment.
            What::Answer(answer) => self.counted(&view, record::answered(&noting, &reply(answer), now, 0)),
            What::LookedUp => {
                let seen = Evidence { request_ids: Vec::new(), sentence: String::new() };
                record::looked_up(&view, seen, now)
            }
            What::Executed => {
                let success = Execution { status: Some(ExecutionStatus::Success), ..Execution::default() };
                record::executed(&view, &success, now)
            }
            What::Vanished => record::concluded(&view, &Conclusion::Unfollowed(String::new()), now),
            What::Elsewhere => record::following(&view, Reason::DestinationChanged, String::new(), now),
            What::Stopping => record::stopping(&view, now),
        }
    }

    /// The view as far as a write notes the annotation.
    fn noting<'a>(&self, view: View<'a>) -> View<'a> {
        let noted = self.variant != Variant::AnnotationIsNotNoted;
        View { resolve: view.resolve.filter(|_| noted), ..view }
    }

    fn counted(&self, view: &View<'_>, status: FunctionInvocationStatus) -> FunctionInvocationStatus {
        let counted = self.variant != Variant::AmbiguousIsNotCounted;
        let failed_attempts = if counted { status.failed_attempts } else { view.status.failed_attempts };
        FunctionInvocationStatus { failed_attempts, ..status }
    }

    /// The object after somebody else has done something to it; `None` where that changes nothing.
    pub fn act(&self, object: Object, act: Act) -> Option<Object> {
        if let Some(changed) = self.tables.read().expect("no panic").acts.get(&(object, act)) {
            return *changed;
        }
        let mut changed = FunctionInvocation::clone(&self.object(object));
        let annotations = changed.metadata.annotations.get_or_insert_default();
        match act {
            Act::Annotate(note) => drop(annotations.insert(RESOLVE.into(), note.text().into())),
            Act::Unannotate => drop(annotations.remove(RESOLVE)),
            Act::Suspend(suspend) => changed.spec.suspend = suspend,
            Act::Cancel => changed.spec.cancel = true,
            Act::Delete => {
                let json = serde_json::json!(right());
                changed.metadata.deletion_timestamp = serde_json::from_value(json).expect("a time");
            }
            Act::EditEvent => {
                let other = EVENTS[1 - usize::from(self.facts(object).event)];
                changed.spec.payload = Some(serde_json::from_str(other).expect("an event"));
            }
            Act::Recreate | Act::EditSource | Act::EditProvider | Act::Touch => {}
        }
        let changed = self.intern(changed);
        let changed = (changed != object).then_some(changed);
        self.tables.write().expect("no panic").acts.insert((object, act), changed);
        changed
    }
}

const ALL_PROGRESS: [Progress; 5] =
    [Progress::Nothing, Progress::Returned, Progress::Sent, Progress::Answered, Progress::Saved];

/// The progress as a question holds it.
pub fn progress(progress: Progress) -> u8 {
    progress as u8
}
