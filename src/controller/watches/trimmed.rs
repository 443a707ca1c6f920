//! Objects as a watch keeps them: trimmed while they are decoded, so that a list never holds more than one payload.

use super::{Watched, trim};
use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::watcher::Event;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// An object without the fields that no decision needs.
#[derive(Clone, Debug)]
pub struct Trimmed<K>(K);

impl<'de, K: Watched> Deserialize<'de> for Trimmed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = K::deserialize(deserializer)?;
        trim(&mut object);
        Ok(Self(object))
    }
}

impl<K: Watched> Resource for Trimmed<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// The event with the object itself.
pub fn unwrapped<K>(event: Event<Trimmed<K>>) -> Event<K> {
    match event {
        Event::Apply(Trimmed(object)) => Event::Apply(object),
        Event::Delete(Trimmed(object)) => Event::Delete(object),
        Event::Init => Event::Init,
        Event::InitApply(Trimmed(object)) => Event::InitApply(object),
        Event::InitDone => Event::InitDone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FunctionInvocation;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    #[test]
    fn what_is_decoded_has_neither_a_payload_nor_a_copy_of_it() {
        let object = json!({
            "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
            "metadata": {
                "name": "one", "resourceVersion": "1",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "functiongraph.io/resolve": "Fail",
                },
            },
            "spec": {"function": {"name": "hello"}, "payload": {"large": true}},
        });
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [object]}).to_string();
        let list: ObjectList<Trimmed<FunctionInvocation>> = serde_json::from_str(&list).unwrap();
        let event = format!(r#"{{"type": "ADDED", "object": {object}}}"#);
        let event: WatchEvent<Trimmed<FunctionInvocation>> = serde_json::from_str(&event).unwrap();
        let WatchEvent::Added(of_a_watch) = event else { panic!("{event:?}") };
        for Trimmed(object) in list.items.into_iter().chain([of_a_watch]) {
            assert!(matches!(object.spec.payload, Some(crate::api::invocation::Payload::Digest(_))));
            assert!(object.metadata.managed_fields.is_none());
            let annotations = object.metadata.annotations.unwrap();
            assert_eq!(annotations.keys().collect::<Vec<_>>(), ["functiongraph.io/resolve"]);
        }
    }
}
