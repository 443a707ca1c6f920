//! What an example says about itself in annotations: where it ends, what its status then holds, by which call it went,
//! and what a person does on the way.

use serde_json::Value;

/// The reason in which it ends, or `Deleted`.
const EXPECT: &str = "demo-expect";

/// YAML, optional: what stands in its status then, see [`missing`].
const STATUS: &str = "demo-status";

/// Optional: the call of the API by which FunctionGraph accepted it, such as `v2/invocations-async`.
const CALL: &str = "demo-call";

/// The reason at which a person does something.
const WHEN: &str = "demo-when";

/// YAML: what that person does, as a merge patch of the object.
const PATCH: &str = "demo-patch";

/// `true` if nobody should have to wait for it.
const SLOW: &str = "demo-slow";

/// Optional: the program on this machine that it needs.
const NEEDS: &str = "demo-needs";

/// Stands in an expected status for any text but the empty one.
const ANY: &str = "*";

/// What becomes of one example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The reason in which it ends.
    pub reason: String,
    /// What stands in its status then.
    pub status: Value,
    /// The call that FunctionGraph's ledger must then show for the id in its status.
    pub call: Option<String>,
    /// What a person does on the way.
    pub deed: Option<Deed>,
    /// Whether nobody should have to wait for it.
    pub slow: bool,
    /// The program that the emulator must be able to start for it.
    pub needs: Option<String>,
}

/// What a person does to an object, once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deed {
    /// When it gives this reason.
    pub when: String,
    /// As a merge patch.
    pub patch: Value,
}

// === impl Plan ===

impl Plan {
    /// Reads it; `None` if the object does not say where it ends.
    ///
    /// # Errors
    /// When an annotation is not the YAML that it should be.
    pub fn of(object: &Value) -> Result<Option<Self>, serde_saphyr::Error> {
        let annotations = &object["metadata"]["annotations"];
        let text = |name: &str| annotations[format!("functiongraph.io/{name}")].as_str();
        let yaml = |name| serde_saphyr::from_str::<Value>(text(name).unwrap_or("{}"));
        let Some(reason) = text(EXPECT) else { return Ok(None) };
        let deed = match text(WHEN) {
            Some(when) => Some(Deed { when: when.into(), patch: yaml(PATCH)? }),
            None => None,
        };
        let slow = text(SLOW) == Some("true");
        let [call, needs] = [CALL, NEEDS].map(|name| text(name).map(ToOwned::to_owned));
        Ok(Some(Self { reason: reason.into(), status: yaml(STATUS)?, call, deed, slow, needs }))
    }
}

/// The first thing in `expected` that is not so in `found`, in words. An object may hold more than is expected of it.
pub fn missing(expected: &Value, found: &Value) -> Option<String> {
    difference("status", expected, found)
}

fn difference(place: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), _) => expected
            .iter()
            .find_map(|(key, expected)| difference(&format!("{place}.{key}"), expected, &found[key])),
        (Value::String(any), Value::String(text)) if any == ANY && !text.is_empty() => None,
        // 128 and 128.0 are the same to whoever writes an example.
        (Value::Number(_), Value::Number(_)) if expected.as_f64() == found.as_f64() => None,
        _ if expected == found => None,
        _ => Some(format!("{place} should be {expected}, and is {found}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(annotations: &Value) -> Option<Plan> {
        Plan::of(&json!({"metadata": {"annotations": annotations}})).unwrap()
    }

    #[test]
    fn an_object_without_an_end_has_no_plan() {
        assert_eq!(plan(&json!({})), None);
        assert_eq!(Plan::of(&json!({"metadata": {}})).unwrap(), None);
    }

    #[test]
    fn end_status_and_deed_are_read() {
        let found = plan(&json!({
            "functiongraph.io/demo-expect": "Cancelled", "functiongraph.io/demo-status": "{attempts: 1}",
            "functiongraph.io/demo-when": "Running", "functiongraph.io/demo-patch": "spec: {cancel: true}",
            "functiongraph.io/demo-slow": "true", "functiongraph.io/demo-call": "v2/invocations",
            "functiongraph.io/demo-needs": "python3",
        }));
        let deed = Deed { when: "Running".into(), patch: json!({"spec": {"cancel": true}}) };
        let (reason, status) = ("Cancelled".into(), json!({"attempts": 1}));
        let [call, needs] = ["v2/invocations", "python3"].map(|text| Some(text.into()));
        assert_eq!(found, Some(Plan { reason, status, call, deed: Some(deed), slow: true, needs }));
    }

    #[test]
    fn an_annotation_that_is_not_yaml_is_an_error() {
        let annotations = json!({"functiongraph.io/demo-expect": "A", "functiongraph.io/demo-status": "{"});
        assert!(Plan::of(&json!({"metadata": {"annotations": annotations}})).is_err());
    }

    #[test]
    fn what_is_expected_must_be_there_and_more_may_be() {
        let found = json!({"id": "x", "empty": "", "result": {"body": "{}", "memory": 128.0}});
        for expected in [
            json!({}),
            json!({"id": "*"}),
            json!({"id": "x", "result": {"memory": 128}}),
            json!({"result": {"body": "{}"}}),
        ] {
            assert_eq!(missing(&expected, &found), None, "{expected}");
        }
        for expected in [
            json!({"id": "y"}),
            json!({"empty": "*"}),
            json!({"nothing": "*"}),
            json!({"result": {"memory": 256}}),
            json!({"result": {"body": {"a": 1}}}),
        ] {
            assert!(missing(&expected, &found).is_some(), "{expected}");
        }
        let said = missing(&json!({"result": {"memory": 256}}), &found).unwrap();
        assert_eq!(said, "status.result.memory should be 256, and is 128.0");
    }
}
