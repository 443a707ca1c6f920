//! What must hold after every step, and at the end.

use crate::api_server::store::{Change, Selector, Store};
use crate::history::History;
use crate::lock;
use crate::plan::TEAM;
use functiongraph_emulator::InProcess;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// An invocation that nothing is wrong with takes no longer, whatever other tenants do: the slowest function takes 100 s.
const MOST_DELAY: SignedDuration = SignedDuration::from_mins(4);

/// Watches over a simulation.
pub struct Promises {
    history: Arc<History>,
    cloud: InProcess,
    state: Mutex<State>,
    /// Told when a promise is broken.
    pub broken: Notify,
}

#[derive(Default)]
struct State {
    /// Objects by the tag in their event.
    objects: BTreeMap<String, Object>,
    /// The uid of the object that has a request id, while the object exists.
    ids: BTreeMap<String, String>,
    /// Entries of the ledger that were looked at.
    seen: usize,
    broken: Option<String>,
    /// The number of changes of invocations.
    changes: usize,
}

/// What is known of one object.
#[derive(Default)]
struct Object {
    name: String,
    uid: String,
    /// How often it may be sent again after an ambiguous attempt: under `AtLeastOnce`.
    retries: usize,
    /// The request ids that FunctionGraph has accepted.
    accepted: Vec<String>,
    /// How often a user has asked for another attempt, after which the retries count from zero.
    asked: usize,
    /// Whether a user has said what became of an attempt.
    resolved: bool,
    /// The number of attempts that were claimed.
    claims: usize,
    /// Whether it was held by its spec when it was claimed last.
    held: bool,
}

// === impl Promises ===

impl Promises {
    /// Watches over a cloud. It has to be told of the changes of a cluster.
    pub fn new(history: Arc<History>, cloud: InProcess) -> Self {
        Self { history, cloud, state: Mutex::default(), broken: Notify::new() }
    }

    /// The first promise that was broken.
    pub fn first_broken(&self) -> Option<String> {
        lock(&self.state).broken.clone()
    }

    /// The number of invocations that were created.
    pub fn invocations(&self) -> usize {
        lock(&self.state).objects.len()
    }

    /// How often an invocation has changed.
    pub fn changes(&self) -> usize {
        lock(&self.state).changes
    }

    /// A promise is broken.
    pub fn break_one(&self, promise: &str, about: &str) {
        let line = format!("{promise}: {about}");
        self.history.note("BROKEN", &line);
        lock(&self.state).broken.get_or_insert(line);
        self.broken.notify_one();
    }

    /// Looks at what FunctionGraph has accepted meanwhile.
    pub fn look_at_cloud(&self) {
        let ledger = self.cloud.ledger();
        let mut broken = Vec::new();
        let mut state = lock(&self.state);
        let new = ledger.get(state.seen..).unwrap_or_default();
        state.seen = ledger.len();
        for entry in new {
            let tag = entry.tag.clone().unwrap_or_default();
            let Some(object) = state.objects.get_mut(&tag) else {
                broken.push(("every request carries the event of an object", format!("tag {tag}")));
                continue;
            };
            object.accepted.push(entry.request_id.clone());
            let (times, name) = (object.accepted.len(), &object.name);
            self.history.note("cloud", format!("accepted {name} as {}, time {times}", entry.request_id));
            if object.held {
                broken.push((
                    "what is suspended, cancelled or deleted when it is claimed is not sent",
                    name.clone(),
                ));
            }
            if times > object.claims || times > (1 + object.retries) * (1 + object.asked) {
                broken.push((
                    "FunctionGraph accepts no more than it is asked for",
                    format!("{name}, {times} times"),
                ));
            }
        }
        drop(state);
        for (promise, about) in broken {
            self.break_one(promise, &about);
        }
    }

    /// Looks at a change in the cluster.
    pub fn look_at(&self, change: &Change) {
        if change.key.0 != "functioninvocations" {
            return;
        }
        self.look_at_cloud();
        lock(&self.state).changes += 1;
        let mut state = lock(&self.state);
        let Some(after) = &change.after else {
            // Nobody can know the request ids of objects that are gone, so a user can name one.
            let gone = change.before.as_deref().map(|gone| text(gone, "/metadata/uid")).unwrap_or_default();
            state.ids.retain(|_, uid| uid != gone);
            return;
        };
        let tag = after["spec"]["payload"]["tag"].as_str().unwrap_or_default();
        let object = state.objects.entry(tag.to_owned()).or_insert_with(|| Object {
            name: format!("{} ({tag})", change.key.2),
            uid: text(after, "/metadata/uid").to_owned(),
            retries: retries(&after["spec"]),
            ..Object::default()
        });
        let broken = object.look_at(change.before.as_deref(), after);
        let name = object.name.clone();
        drop(state);
        for promise in broken {
            self.break_one(promise, &name);
        }
        let (id, uid) = (text(after, "/status/requestID"), text(after, "/metadata/uid"));
        if !id.is_empty() && lock(&self.state).ids.entry(id.to_owned()).or_insert(uid.to_owned()) != uid {
            self.break_one("a request id belongs to one object at a time", &name);
        }
    }

    /// Looks at the end. `is_peaceful` says whether nothing could keep the team's objects from a good one.
    pub fn look_at_end(&self, store: &Store, is_peaceful: bool) {
        self.look_at_cloud();
        for (promise, about) in Self::unfinished(store) {
            self.break_one(promise, &about);
        }
        let page = store.list("functioninvocations", TEAM, &Selector::default(), None, None).expect("a list");
        for object in page.objects.iter().filter(|_| is_peaceful) {
            if let Some(why) = bad_end(object) {
                let name = text(object, "/metadata/name");
                self.break_one("a tenant delays and changes nothing of another's", &format!("{name} {why}"));
            }
        }
    }

    /// Looks at what a replica says of itself in the end: that all replicas are there, that it holds nothing any more, and that
    /// it remembers nothing but of objects that are not finished.
    pub fn look_at_metrics(&self, metrics: &str, replicas: usize, store: &Store) {
        let page = store.list("functioninvocations", "", &Selector::default(), None, None).expect("a list");
        let is_over = page.objects.iter().all(|object| is_final(text(object, "/status/outcome")));
        let values =
            metrics.lines().filter_map(|line| line.strip_prefix("functiongraph_operator_")?.split_once(' '));
        for (name, value) in values {
            let expected = match name.split('{').next().unwrap_or_default() {
                "members" => replicas,
                "in_flight" | "waiting" | "followed" => 0,
                "remembered" if is_over => 0,
                _ => continue,
            };
            if value != expected.to_string() {
                self.break_one("a replica holds nothing in the end", &format!("{name} is {value}"));
            }
        }
    }

    /// What is not as it must be in the end.
    pub fn unfinished(store: &Store) -> Vec<(&'static str, String)> {
        let page = store.list("functioninvocations", "", &Selector::default(), None, None).expect("a list");
        let mut broken = Vec::new();
        for object in page.objects {
            let name = text(&object, "/metadata/name").to_owned();
            let outcome = text(&object, "/status/outcome");
            let is_acknowledged = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            // Objects with another outcome are not watched any more.
            if !is_final(outcome) && !is_acknowledged {
                broken.push(("every edit is acknowledged", name.clone()));
            }
            let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            let is_suspended = object["spec"]["suspend"] == true
                && conditions.into_iter().any(|condition| condition["type"] == "Suspended");
            if outcome.is_empty() && !is_suspended {
                broken.push(("everything ends, unless it is suspended", name));
            }
        }
        broken
    }
}

// === impl Object ===

impl Object {
    /// The promises that a change breaks.
    fn look_at(&mut self, before: Option<&Value>, after: &Value) -> Vec<&'static str> {
        let mut broken = Vec::new();
        let old = |path| before.map(|before| text(before, path)).unwrap_or_default();
        let new = |path| text(after, path);
        let changed = |path| old(path) != new(path);
        if new("/metadata/uid") != self.uid {
            broken.push("an event belongs to one object");
        }
        let resolve = "/metadata/annotations/functiongraph.io~1resolve";
        if changed(resolve) {
            let is_ambiguous =
                old("/status/attempt/state") == "Ambiguous" || old("/status/outcome") == "Unknown";
            self.asked += usize::from(is_ambiguous && new(resolve) == "Retry");
            self.resolved |= !new(resolve).is_empty();
        }
        let number = |object: &Value| object.pointer("/status/attempt/number").and_then(Value::as_u64);
        if number(after) != before.and_then(number) {
            self.claims += 1;
            self.held = after["spec"]["suspend"] == true || after["spec"]["cancel"] == true;
        }
        let id = "/status/requestID";
        let is_known = self.accepted.iter().any(|accepted| accepted == new(id));
        if changed(id) && !new(id).is_empty() && new("/status/requestIDSource") == "Response" && !is_known {
            broken.push("a request id is from the answer to the object's own attempt");
        }
        let state = "/status/attempt/state";
        let is_sure = |text: &str| ["Rejected", "NotSent"].contains(&text);
        let asked_for_less = self.accepted.is_empty() || self.resolved || self.retries > 0;
        if changed(state) && is_sure(new(state)) && !asked_for_less {
            broken.push("what the status is sure of is true: it says that nothing was accepted");
        }
        let outcome = "/status/outcome";
        if changed(outcome)
            && ["Accepted", "Executed"].contains(&new(outcome))
            && self.accepted.is_empty()
            && !self.resolved
        {
            broken.push("what the status is sure of is true: it says that it was accepted");
        }
        broken
    }
}

/// What is wrong with the end of an object that nothing was wrong with.
fn bad_end(object: &Value) -> Option<String> {
    let time = |path| text(object, path).parse::<Timestamp>().ok();
    let outcome = text(object, "/status/outcome");
    let expected = object["spec"]["completionPolicy"].as_str().unwrap_or_default();
    if outcome != expected {
        return Some(format!("ended as {outcome}, not as {expected}"));
    }
    let took = time("/status/completionTime")?.duration_since(time("/metadata/creationTimestamp")?);
    (took > MOST_DELAY).then(|| format!("took {took:#}"))
}

fn is_final(outcome: &str) -> bool {
    !["", "Unknown"].contains(&outcome)
}

fn retries(spec: &Value) -> usize {
    let limit = spec["retryPolicy"]["backoffLimit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    if spec["deliveryPolicy"] == "AtLeastOnce" { limit.unwrap_or_default() } else { 0 }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}
