//! Checks before any work that the API server will enforce what the operator relies on.
//!
//! Without the status subresource, or without our rules on it, a claim would not be exclusive; without a
//! permission, work would stop half way. In either case the operator must not begin.

use super::{Error, bounded};
use crate::api::{self, FunctionInvocation};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// What to do about a definition that is not there.
const INSTALL: &str = "install the Helm chart with crds.install=true, or kubectl apply -f crds/";

/// What to do about one that is not ours.
const ANEW: &str = "upgrade the Helm chart with crds.install=true, or apply crds/ again";

/// What to do about a permission.
pub const GRANT: &str = "grant what the Helm chart does in templates/rbac*.yaml";

/// A need of the operator: group, resource, subresource, verbs.
type Need = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// What the operator does with the API wherever it works.
const NEEDS: [Need; 6] = [
    (api::GROUP, "functioninvocations", "", &["get", "list", "watch", "delete"]),
    (api::GROUP, "functioninvocations", "status", &["patch"]),
    (api::GROUP, "functiongraphproviders", "", &["get", "list", "watch"]),
    (api::GROUP, "functiongraphproviders", "status", &["patch"]),
    ("", "secrets", "", &["get"]),
    ("", "configmaps", "", &["get"]),
];

/// What it needs besides where it serves the whole cluster.
const CLUSTER_NEEDS: [Need; 3] = [
    (api::GROUP, "clusterfunctiongraphproviders", "", &["get", "list", "watch"]),
    (api::GROUP, "clusterfunctiongraphproviders", "status", &["patch"]),
    ("", "namespaces", "", &["get"]),
];

/// What it needs besides where it marks objects.
const MARKING_NEEDS: [Need; 1] = [(api::GROUP, "functioninvocations", "", &["patch"])];

/// What it does not need, and tells people less without.
const COURTESIES: [Need; 1] = [("events.k8s.io", "events", "", &["create", "patch"])];

/// What it needs besides where the API server judges who may read the metrics.
const REVIEW_NEEDS: [Need; 2] = [
    ("authentication.k8s.io", "tokenreviews", "", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", "", &["create"]),
];

/// Which definitions are missing or too old, one line each; empty if none is. `cluster`: whether cluster-scoped providers
/// are used.
///
/// The definitions are read from the `OpenAPI` document of their group, which every user may read: the right to read
/// the definitions themselves would be one of the whole cluster.
///
/// # Errors
/// When the API server did not answer or had trouble of its own.
pub async fn definitions(client: &Client, cluster: bool) -> Result<Vec<String>, Error> {
    let used = |ours: &&CustomResourceDefinition| cluster || ours.spec.scope == "Namespaced";
    match served(client).await {
        Ok(served) => {
            Ok(api::definitions().iter().filter(used).flat_map(|ours| differences(ours, &served)).collect())
        }
        Err(error) if error.is_forbidden() => Ok(vec![
            "permission to get /openapi/v3: grant the cluster role system:discovery, which everybody has by default"
                .into(),
        ]),
        Err(error) => Err(error),
    }
}

/// The permissions without which it cannot work in a namespace, or in the whole cluster, and that it does not have.
/// `marks`: whether objects are marked before they are claimed.
///
/// # Errors
/// When the API server did not answer or had trouble of its own.
pub async fn lacking(client: &Client, namespace: Option<&str>, marks: bool) -> Result<Vec<Lacking>, Error> {
    let cluster_needs: &[Need] = if namespace.is_none() { &CLUSTER_NEEDS } else { &[] };
    let marking_needs: &[Need] = if marks { &MARKING_NEEDS } else { &[] };
    permissions(client, namespace, &[&NEEDS, cluster_needs, marking_needs].concat()).await
}

/// The same of what it does not need for its work there.
///
/// # Errors
/// As [`lacking`].
pub async fn courtesies(client: &Client, namespace: Option<&str>) -> Result<Vec<Lacking>, Error> {
    permissions(client, namespace, &COURTESIES).await
}

/// The same of what it needs to have the API server judge who may read the metrics.
///
/// # Errors
/// As [`lacking`].
pub async fn reviews(client: &Client) -> Result<Vec<Lacking>, Error> {
    permissions(client, None, &REVIEW_NEEDS).await
}

/// A permission that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Verb and resource.
    pub what: String,
    namespace: Option<String>,
}

/// The sentence that says what to do.
impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permission to {}", self.what)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        write!(f, ": {GRANT}")
    }
}

/// Which of these permissions are missing.
async fn permissions(
    client: &Client,
    namespace: Option<&str>,
    needs: &[Need],
) -> Result<Vec<Lacking>, Error> {
    let mut missing = Vec::new();
    for &(group, resource, subresource, verbs) in needs {
        for verb in verbs {
            if !allowed(client, namespace, group, resource, subresource, verb).await? {
                let whole = [resource, subresource].join("/");
                let what = format!("{verb} {}", whole.trim_end_matches('/'));
                missing.push(Lacking { what, namespace: namespace.map(Into::into) });
            }
        }
    }
    Ok(missing)
}

/// The `OpenAPI` document of our group as it is served; null if nothing of it is.
async fn served(client: &Client) -> Result<Value, Error> {
    let index = get(client, "/openapi/v3").await?;
    let path = format!("apis/{}", FunctionInvocation::api_version(&()));
    match index["paths"][path]["serverRelativeURL"].as_str() {
        Some(url) => get(client, url).await,
        None => Ok(Value::Null),
    }
}

async fn get(client: &Client, url: &str) -> Result<Value, Error> {
    let request = http::Request::get(url).body(Vec::new());
    let request = request.map_err(|error| Error::Call(kube::Error::HttpError(error)))?;
    bounded(client.request(request)).await
}

async fn allowed(
    client: &Client,
    namespace: Option<&str>,
    group: &str,
    resource: &str,
    subresource: &str,
    verb: &str,
) -> Result<bool, Error> {
    let attributes = ResourceAttributes {
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: Some(subresource).filter(|s| !s.is_empty()).map(Into::into),
        namespace: namespace.map(Into::into),
        verb: Some(verb.into()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = bounded(api.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// What our definition has and the served document lacks, as far as the operator's promises rest on it.
fn differences(ours: &CustomResourceDefinition, served: &Value) -> Vec<String> {
    let name = ours.name_any();
    let Some(wanted) = ours.spec.versions.first() else { return Vec::new() };
    let schema = wanted.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let Ok(schema) = serde_json::to_value(schema) else { return Vec::new() };
    let mut schemas =
        served["components"]["schemas"].as_object().into_iter().flat_map(serde_json::Map::values);
    let ours_in = |schema: &&Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.into_iter().flatten().any(|kind| kind["kind"] == ours.spec.names.kind.as_str())
    };
    let Some(installed) = schemas.find(ours_in) else {
        return vec![format!("custom resource definition {name} is not installed: {INSTALL}")];
    };
    let mut missing = Vec::new();
    let status = format!("/{}/{{name}}/status", ours.spec.names.plural);
    let mut paths = served["paths"].as_object().into_iter().flat_map(serde_json::Map::keys);
    if !paths.any(|path| path.ends_with(&status)) {
        missing.push(format!("the status subresource of {name}: {ANEW}"));
    }
    let lacking = |what: &str, ours: BTreeSet<String>, theirs: &BTreeSet<String>| {
        ours.into_iter()
            .filter(|one| !theirs.contains(one))
            .map(|one| format!("{what} '{one}' of {name}: {ANEW}"))
            .collect::<Vec<_>>()
    };
    let selectable_of_ours = wanted.selectable_fields.iter().flatten();
    let selectable_of_ours =
        selectable_of_ours.map(|field| field.json_path.trim_start_matches('.').to_owned());
    missing.extend(lacking("the selectable field", selectable_of_ours.collect(), &selectable(installed)));
    missing.extend(lacking("the rule", rules(&schema), &rules(installed)));
    let status = |schema: &Value| schema["properties"]["status"].clone();
    let narrower = narrower(&status(&schema), &status(installed), "status");
    missing.extend(narrower.into_iter().map(|what| format!("{what} of {name}: {ANEW}")));
    missing
}

fn selectable(schema: &Value) -> BTreeSet<String> {
    let fields = schema["x-kubernetes-selectable-fields"].as_array().into_iter().flatten();
    fields.filter_map(|field| field["fieldPath"].as_str()).map(ToOwned::to_owned).collect()
}

/// The rules on the whole object and on its status.
fn rules(schema: &Value) -> BTreeSet<String> {
    [schema, &schema["properties"]["status"]]
        .into_iter()
        .flat_map(|schema| schema["x-kubernetes-validations"].as_array().into_iter().flatten())
        .filter_map(|rule| rule["rule"].as_str())
        .map(ToOwned::to_owned)
        .collect()
}

/// What our schema of a field allows and the installed one does not: fields, values, lengths. The API server would drop
/// or refuse what this version writes there, again and again.
fn narrower(ours: &Value, installed: &Value, path: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let values = |schema: &Value| schema["enum"].as_array().cloned().unwrap_or_default();
    let known = values(installed);
    for value in values(ours).iter().filter(|value| !known.is_empty() && !known.contains(value)) {
        missing.push(format!("the value {value} of the field '{path}'"));
    }
    let longest = |schema: &Value| schema["maxLength"].as_u64();
    if let (Some(ours), Some(installed)) = (longest(ours), longest(installed))
        && installed < ours
    {
        missing.push(format!("a length of {ours} characters for the field '{path}'"));
    }
    for (key, ours) in ours["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match &installed["properties"][key] {
            Value::Null => missing.push(format!("the field '{path}'")),
            installed => missing.extend(narrower(ours, installed, &path)),
        }
    }
    if ours["items"].is_object() {
        missing.extend(narrower(&ours["items"], &installed["items"], &format!("{path}[]")));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The document that an API server makes of a definition, as far as it is read here.
    fn served(definition: &CustomResourceDefinition) -> Value {
        let CustomResourceDefinition { spec, .. } = definition;
        let version = &spec.versions[0];
        let mut schema = serde_json::to_value(&version.schema).unwrap()["openAPIV3Schema"].take();
        schema["x-kubernetes-group-version-kind"] = json!([{"kind": spec.names.kind}]);
        let selectable = version.selectable_fields.iter().flatten();
        schema["x-kubernetes-selectable-fields"] =
            selectable.map(|field| json!({"fieldPath": field.json_path.trim_start_matches('.')})).collect();
        let path = format!("/apis/functiongraph.io/v1alpha1/{}/{{name}}/status", spec.names.plural);
        json!({"paths": {path: {}}, "components": {"schemas": {"it": schema}}})
    }

    #[test]
    fn our_own_definitions_lack_nothing() {
        for definition in api::definitions() {
            assert_eq!(differences(&definition, &served(&definition)), Vec::<String>::new());
        }
    }

    #[test]
    fn a_definition_without_our_status_rules_or_subresource_is_refused() {
        let ours = &api::definitions()[0];
        let mut theirs = served(ours);
        theirs["paths"] = json!({});
        let status = &mut theirs["components"]["schemas"]["it"]["properties"]["status"];
        let rules = status["x-kubernetes-validations"].take();
        assert_eq!(rules.as_array().unwrap().len(), 4);
        assert_eq!(differences(ours, &theirs).len(), 1 + 4);
    }

    #[test]
    fn a_definition_without_a_field_of_the_status_or_one_that_is_selected_by_is_refused() {
        let ours = &api::definitions()[0];
        let mut theirs = served(ours);
        let schema = &mut theirs["components"]["schemas"]["it"];
        schema["x-kubernetes-selectable-fields"] = json!([]);
        schema["properties"]["status"]["properties"].as_object_mut().unwrap().remove("attempt");
        let lacks = differences(ours, &theirs);
        assert!(lacks.iter().any(|line| line.starts_with("the field 'status.attempt' of")), "{lacks:?}");
        assert!(
            lacks.iter().any(|line| line.starts_with("the selectable field 'status.outcome'")),
            "{lacks:?}"
        );
        assert_eq!(differences(ours, &Value::Null).len(), 1);
    }

    #[test]
    fn a_definition_of_an_older_version_is_refused_where_it_would_refuse_what_this_version_writes() {
        let ours = &api::definitions()[0];
        let mut theirs = served(ours);
        let status = &mut theirs["components"]["schemas"]["it"]["properties"]["status"]["properties"];
        status["attempt"]["properties"].as_object_mut().unwrap().remove("endpoint");
        status["outcome"]["enum"].as_array_mut().unwrap().retain(|value| value != "Executed");
        let reasons = &mut status["conditions"]["items"]["properties"]["reason"]["enum"];
        reasons.as_array_mut().unwrap().retain(|value| value != "Queued");
        status["resolution"]["maxLength"] = 64.into();
        let lacks = differences(ours, &theirs);
        for what in [
            "the field 'status.attempt.endpoint'",
            "the value \"Executed\" of the field 'status.outcome'",
            "the value \"Queued\" of the field 'status.conditions[].reason'",
            "a length of 73 characters for the field 'status.resolution'",
        ] {
            assert!(lacks.iter().any(|line| line.starts_with(what)), "{what}: {lacks:?}");
        }
        assert_eq!(lacks.len(), 4);
    }
}
