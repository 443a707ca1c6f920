//! Cuts a status to the limits of the CRD's schema. The API server would refuse the whole status because of one text
//! that is too long.

use crate::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The status schema of each kind.
static STATUSES: LazyLock<BTreeMap<&str, &JSONSchemaProps>> = LazyLock::new(|| {
    let of = |version: &'static CustomResourceDefinitionVersion| {
        version.schema.as_ref()?.open_api_v3_schema.as_ref()?.properties.as_ref()?.get("status")
    };
    let all = api::crds().iter();
    all.filter_map(|crd| Some((&*crd.spec.names.kind, crd.spec.versions.first().and_then(of)?))).collect()
});

/// Cuts each text and list in the status of a kind to its maximum length.
pub fn status(kind: &str, status: &mut Value) {
    if let Some(schema) = STATUSES.get(kind) {
        cut(status, schema);
    }
}

fn cut(value: &mut Value, schema: &JSONSchemaProps) {
    let most = |most: Option<i64>| most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(most(schema.max_length)) {
                text.truncate(end);
            }
        }
        Value::Array(items) => {
            items.truncate(most(schema.max_items));
            if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
                for value in items {
                    cut(value, item);
                }
            }
        }
        Value::Object(fields) => {
            for (name, schema) in schema.properties.iter().flatten() {
                if let Some(value) = fields.get_mut(name) {
                    cut(value, schema);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn t21_every_text_is_cut_to_its_field() {
        let long = "ä".repeat(10_000);
        let mut written = json!({
            "requestID": long, "error": {"message": long, "code": long}, "result": {"body": long, "logTail": long},
            "candidateRequestIDs": vec![long.clone(); 9], "conditions": vec![json!({"message": long}); 20],
            "observedGeneration": 1, "outcome": null,
        });
        status("FunctionInvocation", &mut written);
        let length = |pointer: &str| written.pointer(pointer).unwrap().as_str().unwrap().chars().count();
        for (pointer, expected) in [
            ("/requestID", 64),
            ("/error/message", 1024),
            ("/result/body", 8192),
            ("/result/logTail", 4096),
            ("/candidateRequestIDs/4", 64),
            ("/conditions/0/message", 2048),
        ] {
            assert_eq!(length(pointer), expected, "{pointer}");
        }
        assert_eq!(
            (written["candidateRequestIDs"].as_array().unwrap().len(), &written["observedGeneration"]),
            (5, &json!(1))
        );
        let mut provider = json!({"projectID": long, "endpoint": long});
        status("ClusterFunctionGraphProvider", &mut provider);
        assert_eq!(provider["projectID"].as_str().unwrap().chars().count(), 64);
    }
}
