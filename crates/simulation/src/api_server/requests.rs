//! Requests to the API server, and its answers.

use super::store::{Change, Key, Refusal, Result, Selector, Store};
use functiongraph_operator::api;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::watch;

/// A request, understood.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is done.
    pub verb: Verb,
    /// The kind, the namespace and the name, each empty where the request has none.
    pub key: Key,
    /// The subresource.
    pub subresource: Option<String>,
    query: HashMap<String, String>,
    /// The body, null if there is none.
    pub body: Value,
    metadata_only: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Replace,
    Patch,
    Delete,
    /// Asks if something is allowed.
    Review,
    /// Reads a document about the API.
    Describe,
}

/// An answer.
pub enum Answer {
    /// A status and an object.
    Object(StatusCode, Value),
    /// A watch that was opened.
    Watch(Watch),
}

/// An open watch.
pub struct Watch {
    plural: String,
    namespace: String,
    selector: Selector,
    /// The version of the last change that it has told.
    since: Option<u64>,
    /// Told when there may be something new.
    pub changed: watch::Receiver<()>,
    /// When it ends.
    pub timeout: Duration,
}

// === impl Request ===

impl Request {
    /// Reads a request.
    pub fn of(head: &http::request::Parts, body: &[u8]) -> Self {
        let query: HashMap<String, String> = form_urlencoded(head.uri.query().unwrap_or_default()).collect();
        let accept =
            head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        let (key, subresource) = match *path.as_slice() {
            ["api", _, "namespaces"] | ["apis", _, _, "namespaces"] => (("namespaces", "", ""), None),
            ["api", _, "namespaces", name] => (("namespaces", "", name), None),
            ["api", _, "namespaces", namespace, ref rest @ ..]
            | ["apis", _, _, "namespaces", namespace, ref rest @ ..] => of_kind(namespace, rest),
            ["api", _, ref rest @ ..] | ["apis", _, _, ref rest @ ..] => of_kind("", rest),
            _ => (("", "", ""), None),
        };
        let verb = match head.method {
            Method::GET if key.0.is_empty() => Verb::Describe,
            Method::GET if query.get("watch").is_some_and(|watch| watch == "true") => Verb::Watch,
            Method::GET if key.2.is_empty() => Verb::List,
            Method::GET => Verb::Get,
            Method::POST if key.0.ends_with("reviews") => Verb::Review,
            Method::POST => Verb::Create,
            Method::DELETE => Verb::Delete,
            Method::PUT => Verb::Replace,
            _ => Verb::Patch,
        };
        Self {
            verb,
            key: (key.0.into(), key.1.into(), key.2.into()),
            subresource: subresource.map(str::to_owned),
            query,
            body: serde_json::from_slice(body).unwrap_or_default(),
            metadata_only: accept.contains("PartialObjectMetadata"),
        }
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        matches!(self.verb, Verb::Create | Verb::Replace | Verb::Patch | Verb::Delete)
    }

    /// Carries it out.
    pub fn answer(&self, store: &Store) -> Answer {
        self.carry_out(store).unwrap_or_else(Answer::from)
    }

    fn carry_out(&self, store: &Store) -> Result<Answer> {
        let (plural, namespace, name) = &self.key;
        let selector = Selector::of(self.parameter("fieldSelector"), self.parameter("labelSelector"));
        let object = |object: &Value| Answer::Object(StatusCode::OK, self.shown(object));
        Ok(match self.verb {
            Verb::Describe if self.parameter("hash").is_empty() => Answer::Object(StatusCode::OK, index()),
            Verb::Describe => Answer::Object(StatusCode::OK, DESCRIPTION.clone()),
            Verb::Review => {
                Answer::Object(StatusCode::CREATED, json!({"spec": {}, "status": {"allowed": true}}))
            }
            Verb::Get => object(&*store.get(&self.key)?),
            Verb::List => self.list(store, &selector)?,
            Verb::Watch => {
                store.kind(plural)?;
                store.check_selector(plural, &selector)?;
                let since = self.parameter("resourceVersion").parse().ok().filter(|version| *version != 0);
                let seconds = self.parameter("timeoutSeconds").parse().unwrap_or(300);
                let timeout = Duration::from_secs(seconds);
                let changed = store.watch(plural)?;
                let (plural, namespace) = (plural.clone(), namespace.clone());
                Answer::Watch(Watch { plural, namespace, selector, since, changed, timeout })
            }
            Verb::Create => {
                let name = self.body["metadata"]["name"].as_str().unwrap_or(name);
                let key = (plural.clone(), namespace.clone(), name.to_owned());
                Answer::Object(StatusCode::CREATED, Value::clone(&*store.create(&key, self.body.clone())?))
            }
            Verb::Replace => object(&*store.replace(&self.key, &self.body)?),
            Verb::Patch => object(&*store.patch(&self.key, self.subresource.as_deref(), &self.body)?),
            Verb::Delete => {
                store.delete(&self.key, &self.body["preconditions"])?;
                Answer::Object(
                    StatusCode::OK,
                    json!({"apiVersion": "v1", "kind": "Status", "status": "Success"}),
                )
            }
        })
    }

    fn list(&self, store: &Store, selector: &Selector) -> Result<Answer> {
        let (plural, namespace, _) = &self.key;
        let limit = self.parameter("limit").parse().ok();
        let from = self.query.get("continue").map(String::as_str);
        let page = store.list(plural, namespace, selector, limit, from)?;
        let kind = store.kind(plural)?;
        let mut metadata = json!({"resourceVersion": page.version.to_string()});
        if let Some(next) = page.next {
            metadata["continue"] = next.into();
        }
        let items: Vec<Value> = page.objects.iter().map(|object| self.shown(object)).collect();
        let (kind, version) = if self.metadata_only {
            ("PartialObjectMetadataList".into(), "meta.k8s.io/v1")
        } else {
            (format!("{}List", kind.kind), kind.api_version.as_str())
        };
        let list = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "items": items});
        Ok(Answer::Object(StatusCode::OK, list))
    }

    fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    fn shown(&self, object: &Value) -> Value {
        if self.metadata_only {
            let metadata = &object["metadata"];
            return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        }
        object.clone()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plural, namespace, name) = &self.key;
        write!(f, "{:?} {plural}", self.verb)?;
        if let Some(subresource) = &self.subresource {
            write!(f, "/{subresource}")?;
        }
        if !namespace.is_empty() || !name.is_empty() {
            write!(f, " {namespace}/{name}")?;
        }
        Ok(())
    }
}

/// Kind, namespace, name, and subresource.
type Path<'a> = ((&'a str, &'a str, &'a str), Option<&'a str>);

fn of_kind<'a>(namespace: &'a str, rest: &[&'a str]) -> Path<'a> {
    match *rest {
        [plural] => ((plural, namespace, ""), None),
        [plural, name] => ((plural, namespace, name), None),
        [plural, name, subresource] => ((plural, namespace, name), Some(subresource)),
        _ => (("", "", ""), None),
    }
}

/// The index of the documents about the API.
fn index() -> Value {
    let url = "/openapi/v3/apis/functiongraph.io/v1alpha1?hash=1";
    json!({"paths": {"apis/functiongraph.io/v1alpha1": {"serverRelativeURL": url}}})
}

/// The document about our group.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(description);

fn description() -> Value {
    let (mut paths, mut schemas) = (json!({}), json!({}));
    for crd in api::crds() {
        let (version, names) = (&crd.spec.versions[0], &crd.spec.names);
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let mut schema = serde_json::to_value(schema).unwrap_or_default();
        schema["x-kubernetes-group-version-kind"] = json!([{"kind": names.kind}]);
        let selectable = version.selectable_fields.iter().flatten();
        schema["x-kubernetes-selectable-fields"] =
            selectable.map(|field| json!({"fieldPath": field.json_path.trim_start_matches('.')})).collect();
        schemas[&names.kind] = schema;
        paths[format!("/apis/functiongraph.io/v1alpha1/{}/{{name}}/status", names.plural)] = json!({});
    }
    json!({"paths": paths, "components": {"schemas": schemas}})
}

/// The decoded pairs of a query.
fn form_urlencoded(query: &str) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned()
}

// === impl Answer ===

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::Object(status, failure(&refusal))
    }
}

/// An error as Kubernetes writes it.
pub fn failure(Refusal(code, reason, message): &Refusal) -> Value {
    let kind = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure"});
    let mut failure = kind;
    failure["code"] = (*code).into();
    failure["reason"] = (*reason).into();
    failure["message"] = message.as_str().into();
    failure
}

/// A line of a watch. The type comes first, as in Kubernetes: readers rely on it.
pub fn event(name: &str, object: &Value) -> String {
    format!("{{\"type\":\"{name}\",\"object\":{object}}}\n")
}

// === impl Watch ===

impl Watch {
    /// The events since the last call. An error is the last.
    pub fn events(&mut self, store: &Store) -> Result<Vec<String>> {
        let Some(since) = self.since else { return self.first(store) };
        let changes = store.changes(since)?;
        if let Some(last) = changes.last() {
            self.since = Some(last.version);
        }
        Ok(changes.iter().filter_map(|change| self.event(change)).collect())
    }

    /// All objects that there are, and the mark of their end.
    fn first(&mut self, store: &Store) -> Result<Vec<String>> {
        let page = store.list(&self.plural, &self.namespace, &self.selector, None, None)?;
        self.since = Some(page.version);
        let mut events: Vec<_> = page.objects.iter().map(|object| event("ADDED", object)).collect();
        events.push(self.bookmark(store, &json!({"k8s.io/initial-events-end": "true"}))?);
        Ok(events)
    }

    /// An event that tells only how far the watch has come.
    pub fn bookmark(&self, store: &Store, annotations: &Value) -> Result<String> {
        let kind = store.kind(&self.plural)?;
        let metadata = json!({"resourceVersion": self.since.unwrap_or_default().to_string(), "annotations": annotations});
        let object = json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata});
        Ok(event("BOOKMARK", &object))
    }

    fn event(&self, Change { version, key, before, after }: &Change) -> Option<String> {
        if key.0 != self.plural || !(self.namespace.is_empty() || key.1 == self.namespace) {
            return None;
        }
        let selected =
            |object: &Option<Arc<Value>>| object.clone().filter(|object| self.selector.selects(object));
        let (name, object) = match (selected(before), selected(after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => {
                let mut last = Value::clone(&before);
                last["metadata"]["resourceVersion"] = version.to_string().into();
                return Some(event("DELETED", &last));
            }
        };
        Some(event(name, &object))
    }
}
