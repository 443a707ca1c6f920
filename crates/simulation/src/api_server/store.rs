//! The objects of a cluster, their versions, and what has changed.

use super::schema::Schema;
use functiongraph_operator::api;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A kind of objects.
pub struct Kind {
    /// Its name in paths.
    pub plural: String,
    /// Its name.
    pub kind: String,
    /// Group and version.
    pub api_version: String,
    /// What its CRD says; `None` for a kind of Kubernetes' own.
    pub schema: Option<Schema>,
    /// The fields that may be selected.
    pub selectable: Vec<String>,
    /// Told of each change.
    changed: watch::Sender<()>,
}

/// Plural, namespace (empty for none) and name.
pub type Key = (String, String, String);

/// One change of one object.
#[derive(Clone)]
pub struct Change {
    /// The version that it made.
    pub version: u64,
    /// The object.
    pub key: Key,
    /// The object before; `None` for a new one.
    pub before: Option<Arc<Value>>,
    /// The object now; `None` for a deleted one.
    pub after: Option<Arc<Value>>,
}

/// An answer that is an error: status code, reason, message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub u16, pub &'static str, pub String);

/// What a store answers.
pub type Result<T> = std::result::Result<T, Refusal>;

/// What somebody does with a store, after each change of it.
type Observer = Box<dyn Fn(&Change) + Send + Sync>;

/// All objects.
pub struct Store {
    /// The kinds, by plural.
    pub kinds: BTreeMap<String, Kind>,
    /// What the clock of the API server shows.
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
    observer: Mutex<Option<Observer>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Arc<Value>>,
    changes: Vec<Change>,
    version: u64,
    /// Changes up to this version are forgotten.
    compacted: u64,
    created: u64,
    /// Objects that are stored as they were created: without the default of their status, which every read adds.
    bare: BTreeSet<Key>,
}

/// A selection by fields and labels: `name=value` and `name!=value`.
#[derive(Clone, Debug, Default)]
pub struct Selector(Vec<Term>);

#[derive(Clone, Debug)]
struct Term {
    /// The name of the field; `None` for a label.
    field: Option<String>,
    pointer: String,
    equal: bool,
    wanted: String,
}

/// A part of the objects.
pub struct Page {
    /// The objects.
    pub objects: Vec<Arc<Value>>,
    /// The version of the list.
    pub version: u64,
    /// Where the next part begins.
    pub next: Option<String>,
}

// === impl Selector ===

impl Selector {
    /// Reads selectors of fields and of labels.
    pub fn of(fields: &str, labels: &str) -> Self {
        let terms = |text: &str, of_labels: bool| {
            let terms = text.split(',').filter_map(|term| Term::of(term, of_labels));
            terms.collect::<Vec<_>>()
        };
        Self([terms(fields, false), terms(labels, true)].concat())
    }

    /// Whether an object is selected. A field that is not there counts as empty.
    pub fn selects(&self, object: &Value) -> bool {
        self.0.iter().all(|Term { pointer, equal, wanted, .. }| {
            let value = match object.pointer(pointer) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            (value == *wanted) == *equal
        })
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|term| term.field.as_deref())
    }
}

impl Term {
    fn of(text: &str, of_labels: bool) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        let (name, equal) = name.strip_suffix('!').map_or((name, true), |name| (name, false));
        let pointer = if of_labels {
            format!("/metadata/labels/{}", name.replace('~', "~0").replace('/', "~1"))
        } else {
            format!("/{}", name.replace('.', "/"))
        };
        let field = (!of_labels).then(|| name.to_owned());
        Some(Self { field, pointer, equal, wanted: value.trim_start_matches('=').to_owned() })
    }
}

// === impl Store ===

impl Store {
    /// An empty cluster with our CRDs.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let own = [
            ("namespaces", "Namespace", "v1"),
            ("secrets", "Secret", "v1"),
            ("configmaps", "ConfigMap", "v1"),
        ]
        .into_iter()
        .chain([("events", "Event", "events.k8s.io/v1"), ("leases", "Lease", "coordination.k8s.io/v1")])
        .map(|(plural, kind, api_version)| Kind {
            plural: plural.into(),
            kind: kind.into(),
            api_version: api_version.into(),
            schema: None,
            selectable: Vec::new(),
            changed: watch::Sender::default(),
        });
        let ours = api::crds().iter().map(|crd| {
            let version = &crd.spec.versions[0];
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            let selectable = version.selectable_fields.iter().flatten();
            Kind {
                plural: crd.spec.names.plural.clone(),
                kind: crd.spec.names.kind.clone(),
                api_version: format!("{}/{}", crd.spec.group, version.name),
                schema: Some(Schema::of(&serde_json::to_value(schema).expect("a schema"))),
                selectable: selectable
                    .map(|field| field.json_path.trim_start_matches('.').to_owned())
                    .collect(),
                changed: watch::Sender::default(),
            }
        });
        Self {
            kinds: own.chain(ours).map(|kind| (kind.plural.clone(), kind)).collect(),
            now: Box::new(now),
            state: Mutex::new(State { version: 100, ..State::default() }),
            observer: Mutex::default(),
        }
    }

    /// Calls `observer` after each change, from now on.
    pub fn observe(&self, observer: impl Fn(&Change) + Send + Sync + 'static) {
        *lock(&self.observer) = Some(Box::new(observer));
    }

    /// The time by the API server's clock.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Tells of the changes of a kind.
    pub fn watch(&self, plural: &str) -> Result<watch::Receiver<()>> {
        Ok(self.kind(plural)?.changed.subscribe())
    }

    /// The current version.
    pub fn version(&self) -> u64 {
        lock(&self.state).version
    }

    /// Forgets all changes so far, as etcd does after a while.
    pub fn compact(&self) {
        let mut state = lock(&self.state);
        state.compacted = state.version;
        state.changes.clear();
    }

    /// The object.
    pub fn get(&self, key: &Key) -> Result<Arc<Value>> {
        lock(&self.state).objects.get(key).cloned().ok_or_else(|| not_found(key))
    }

    /// The objects of a kind in a namespace (`""` for all).
    pub fn list(
        &self,
        plural: &str,
        namespace: &str,
        selector: &Selector,
        limit: Option<usize>,
        from: Option<&str>,
    ) -> Result<Page> {
        self.check_selector(plural, selector)?;
        let state = lock(&self.state);
        let (version, after) = match from {
            None => (state.version, None),
            Some(from) => {
                let (version, after) = from.split_once(':').ok_or_else(|| bad("continue"))?;
                (version.parse().map_err(|_| bad("continue"))?, after.split_once('/'))
            }
        };
        let objects = state.at(version).ok_or_else(expired)?;
        let mut found = objects.into_iter().filter(|((kind, of, name), object)| {
            kind == plural
                && (namespace.is_empty() || of == namespace)
                && after.is_none_or(|after| (of.as_str(), name.as_str()) > after)
                && selector.selects(object)
        });
        let (mut page, mut last) = (Vec::new(), None);
        for (key, object) in found.by_ref().take(limit.unwrap_or(usize::MAX)) {
            page.push(object);
            last = Some(key);
        }
        let next = last.filter(|_| found.next().is_some());
        let next = next.map(|(_, namespace, name)| format!("{version}:{namespace}/{name}"));
        Ok(Page { objects: page, version, next })
    }

    /// What has changed since a version, among the objects that are selected. The version of the last change comes
    /// with it.
    pub fn changes(&self, since: u64) -> Result<Vec<Change>> {
        let state = lock(&self.state);
        if since < state.compacted {
            return Err(expired());
        }
        let first = state.changes.partition_point(|change| change.version <= since);
        Ok(state.changes[first..].to_vec())
    }

    /// Whether a kind's objects can be selected so.
    pub fn check_selector(&self, plural: &str, selector: &Selector) -> Result<()> {
        let kind = self.kind(plural)?;
        let is_known = |name: &str| {
            ["metadata.name", "metadata.namespace"].contains(&name)
                || kind.selectable.iter().any(|known| known == name)
        };
        match selector.fields().find(|name| !is_known(name)) {
            Some(name) => Err(Refusal(400, "BadRequest", format!("field label not supported: {name}"))),
            None => Ok(()),
        }
    }

    /// The kind.
    pub fn kind(&self, plural: &str) -> Result<&Kind> {
        let missing = || Refusal(404, "NotFound", "the server could not find the requested resource".into());
        self.kinds.get(plural).ok_or_else(missing)
    }

    /// Creates an object.
    pub fn create(&self, key: &Key, mut object: Value) -> Result<Arc<Value>> {
        let kind = self.kind(&key.0)?;
        let mut state = lock(&self.state);
        let own = object["metadata"].take();
        let mut metadata = json!({
            "name": key.2,
            "uid": format!("00000000-0000-4000-8000-{:012}", state.created + 1),
            "creationTimestamp": self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "generation": 1,
        });
        if !key.1.is_empty() {
            metadata["namespace"] = key.1.as_str().into();
        }
        for name in ["labels", "annotations"] {
            if let Some(value) = own.get(name).filter(|value| !value.is_null()) {
                metadata[name] = value.clone();
            }
        }
        object["metadata"] = metadata;
        object["apiVersion"] = kind.api_version.as_str().into();
        object["kind"] = kind.kind.as_str().into();
        if kind.schema.is_some()
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        kind.complete(&mut object);
        kind.check(key, &object, None)?;
        if state.objects.contains_key(key) {
            return Err(Refusal(409, "AlreadyExists", format!("{} \"{}\" already exists", key.0, key.2)));
        }
        state.created += 1;
        if object.get("status").is_some() {
            state.bare.insert(key.clone());
        }
        Ok(self.put(state, key, None, Some(object)).expect("it was created"))
    }

    /// Merges a patch into an object, or into its status only.
    pub fn patch(&self, key: &Key, subresource: Option<&str>, patch: &Value) -> Result<Arc<Value>> {
        self.change(key, subresource, |object| merge(object, patch))
    }

    /// Replaces an object.
    pub fn replace(&self, key: &Key, object: &Value) -> Result<Arc<Value>> {
        self.change(key, None, |old| old.clone_from(object))
    }

    fn change(
        &self,
        key: &Key,
        subresource: Option<&str>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>> {
        let kind = self.kind(&key.0)?;
        let mut state = lock(&self.state);
        let before = state.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        let mut object = Value::clone(&before);
        change(&mut object);
        let version = &object["metadata"]["resourceVersion"];
        if !version.is_null() && *version != before["metadata"]["resourceVersion"] {
            return Err(conflict(key));
        }
        object["apiVersion"] = before["apiVersion"].clone();
        object["kind"] = before["kind"].clone();
        let mut metadata = before["metadata"].clone();
        if subresource.is_some() {
            let status = object.get("status").cloned();
            object = Value::clone(&before);
            set(&mut object, "status", status);
        } else {
            for name in ["labels", "annotations"] {
                set(&mut metadata, name, object["metadata"].get(name).cloned());
            }
            if kind.schema.is_some() {
                set(&mut object, "status", before.get("status").cloned());
            }
        }
        object["metadata"] = metadata;
        kind.complete(&mut object);
        if kind.schema.is_some() && object["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or_default();
            object["metadata"]["generation"] = (generation + 1).into();
        }
        // A write that changes nothing makes no new version. It is checked all the same.
        kind.check(key, &object, Some(&before))?;
        if !state.bare.remove(key) && object == *before {
            return Ok(before);
        }
        Ok(self.put(state, key, Some(before), Some(object)).expect("it is there"))
    }

    /// Deletes an object, if it is the one that is meant.
    pub fn delete(&self, key: &Key, preconditions: &Value) -> Result<()> {
        let state = lock(&self.state);
        let before = state.objects.get(key).cloned().ok_or_else(|| not_found(key))?;
        for name in ["uid", "resourceVersion"] {
            let wanted = &preconditions[name];
            if !wanted.is_null() && *wanted != before["metadata"][name] {
                return Err(conflict(key));
            }
        }
        self.put(state, key, Some(before), None);
        Ok(())
    }

    /// The one place that changes an object.
    fn put(
        &self,
        mut state: std::sync::MutexGuard<'_, State>,
        key: &Key,
        before: Option<Arc<Value>>,
        after: Option<Value>,
    ) -> Option<Arc<Value>> {
        state.version += 1;
        let version = state.version;
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = version.to_string().into();
            Arc::new(object)
        });
        if let Some(object) = &after {
            state.objects.insert(key.clone(), Arc::clone(object));
        } else {
            state.bare.remove(key);
            state.objects.remove(key);
        }
        let change = Change { version, key: key.clone(), before, after: after.clone() };
        state.changes.push(change.clone());
        drop(state);
        if let Some(observer) = &*lock(&self.observer) {
            observer(&change);
        }
        if let Some(kind) = self.kinds.get(&key.0) {
            kind.changed.send_replace(());
        }
        after
    }
}

// === impl State ===

impl State {
    /// All objects as they were at a version; `None` if that is forgotten.
    fn at(&self, version: u64) -> Option<BTreeMap<Key, Arc<Value>>> {
        if version < self.compacted {
            return None;
        }
        let mut objects = self.objects.clone();
        for change in self.changes.iter().rev().filter(|change| change.version > version) {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        Some(objects)
    }
}

// === impl Kind ===

impl Kind {
    fn complete(&self, object: &mut Value) {
        let Some(schema) = &self.schema else { return };
        // The API server looks after these itself.
        let own: Map<String, Value> = ["apiVersion", "kind", "metadata"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), object.as_object_mut()?.remove(name)?)))
            .collect();
        schema.complete(object);
        if let Some(fields) = object.as_object_mut() {
            fields.extend(own);
        }
    }

    fn check(&self, key: &Key, object: &Value, old: Option<&Value>) -> Result<()> {
        let faults = self.schema.as_ref().map(|schema| schema.faults(object, old)).unwrap_or_default();
        if faults.is_empty() {
            return Ok(());
        }
        let message = format!("{} \"{}\" is invalid: {}", self.kind, key.2, faults.join("; "));
        Err(Refusal(422, "Invalid", message))
    }
}

/// Merges as RFC 7386 says.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Some(target) = into.as_object_mut() else { return };
    for (name, value) in fields {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    match value.filter(|value| !is_empty(value)) {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
}

fn not_found((plural, _, name): &Key) -> Refusal {
    Refusal(404, "NotFound", format!("{plural} \"{name}\" not found"))
}

fn conflict((plural, _, name): &Key) -> Refusal {
    let message =
        format!("Operation cannot be fulfilled on {plural} \"{name}\": the object has been modified");
    Refusal(409, "Conflict", message)
}

fn bad(what: &str) -> Refusal {
    Refusal(400, "BadRequest", format!("{what} is not valid"))
}

fn expired() -> Refusal {
    Refusal(410, "Expired", "The provided resource version is too old".into())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
