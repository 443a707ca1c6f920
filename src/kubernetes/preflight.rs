//! Checks before any work that the API server enforces the operator's guarantees.
//!
//! Without the status subresource, or without the rules on it, a claim would not be exclusive. Without a permission,
//! work would stop half-way. In both cases the operator must not start.

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

/// What to do about a missing CRD.
const INSTALL_CRDS: &str = "install the Helm chart with crds.install=true, or kubectl apply -f crds/";

/// What to do about another version of a CRD.
const UPGRADE_CRDS: &str = "upgrade the Helm chart with crds.install=true, or apply crds/ again";

/// What to do about a missing permission.
pub const GRANT_PERMISSION: &str = "grant it as the Helm chart does in templates/rbac*.yaml";

/// A permission: group, resource, subresource, verbs.
pub type Need = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// Permissions that every operator needs.
const NEEDS: [Need; 6] = [
    (api::GROUP, "functioninvocations", "", &["get", "list", "watch", "delete"]),
    (api::GROUP, "functioninvocations", "status", &["patch"]),
    (api::GROUP, "functiongraphproviders", "", &["get", "list", "watch"]),
    (api::GROUP, "functiongraphproviders", "status", &["patch"]),
    ("", "secrets", "", &["get"]),
    ("", "configmaps", "", &["get"]),
];

/// Additional permissions for an operator of the whole cluster.
const CLUSTER_NEEDS: [Need; 3] = [
    (api::GROUP, "clusterfunctiongraphproviders", "", &["get", "list", "watch"]),
    (api::GROUP, "clusterfunctiongraphproviders", "status", &["patch"]),
    ("", "namespaces", "", &["get"]),
];

/// Additional permission to mark objects.
const MARKING_NEEDS: [Need; 1] = [(api::GROUP, "functioninvocations", "", &["patch"])];

/// Optional permission: without it there are no Events.
pub const OPTIONAL_NEEDS: [Need; 1] = [("events.k8s.io", "events", "", &["create", "patch"])];

/// Optional permissions to check who may read the metrics.
pub const REVIEW_NEEDS: [Need; 2] = [
    ("authentication.k8s.io", "tokenreviews", "", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", "", &["create"]),
];

/// Optional permissions in the operator's own namespace: without them replicas do not share the work.
pub const LEASE_NEEDS: [Need; 1] =
    [("coordination.k8s.io", "leases", "", &["get", "list", "watch", "create", "update", "delete"])];

/// Which CRDs are missing or too old, one line each; empty if none is. `cluster` says whether the operator uses
/// cluster-scoped providers.
///
/// The CRDs come from the `OpenAPI` document of their group, which every user may read. The CRDs themselves would
/// need a cluster-wide permission.
pub async fn crds(client: &Client, cluster: bool) -> Result<Vec<String>, Error> {
    let used = |ours: &&CustomResourceDefinition| cluster || ours.spec.scope == "Namespaced";
    match served(client).await {
        Ok(served) => {
            Ok(api::crds().iter().filter(used).flat_map(|ours| differences(ours, &served)).collect())
        }
        Err(error) if error.is_forbidden() => Ok(vec![
            "permission to get /openapi/v3: grant the cluster role system:discovery, which every user has by default"
                .into(),
        ]),
        Err(error) => Err(error),
    }
}

/// Missing permissions that the operator needs in a namespace, or in the whole cluster. `marks` says whether objects
/// are marked before their first claim.
pub async fn missing(
    client: &Client,
    namespace: Option<&str>,
    marks: bool,
) -> Result<Vec<MissingPermission>, Error> {
    let cluster_needs: &[Need] = if namespace.is_none() { &CLUSTER_NEEDS } else { &[] };
    let marking_needs: &[Need] = if marks { &MARKING_NEEDS } else { &[] };
    permissions(client, namespace, &[&NEEDS, cluster_needs, marking_needs].concat()).await
}

/// A missing permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPermission {
    pub what: String,
    namespace: Option<String>,
}

/// The sentence that says what to do.
impl fmt::Display for MissingPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permission to {}", self.what)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        write!(f, ": {GRANT_PERMISSION}")
    }
}

/// Which of these permissions are missing in a namespace, or in the whole cluster.
pub async fn permissions(
    client: &Client,
    namespace: Option<&str>,
    needs: &[Need],
) -> Result<Vec<MissingPermission>, Error> {
    let mut missing = Vec::new();
    for &(group, resource, subresource, verbs) in needs {
        for verb in verbs {
            if !allowed(client, namespace, group, resource, subresource, verb).await? {
                let whole = [resource, subresource].join("/");
                let what = format!("{verb} {}", whole.trim_end_matches('/'));
                missing.push(MissingPermission { what, namespace: namespace.map(Into::into) });
            }
        }
    }
    Ok(missing)
}

/// The served `OpenAPI` document of our group; null if the group is not served.
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

/// Differences between our CRD and the served document that break a guarantee of the operator.
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
        return vec![format!("custom resource definition {name} is not installed: {INSTALL_CRDS}")];
    };
    let mut missing = Vec::new();
    let status = format!("/{}/{{name}}/status", ours.spec.names.plural);
    let mut paths = served["paths"].as_object().into_iter().flat_map(serde_json::Map::keys);
    if !paths.any(|path| path.ends_with(&status)) {
        missing.push(format!("the status subresource of {name}: {UPGRADE_CRDS}"));
    }
    let lacking = |what: &str, ours: BTreeSet<String>, theirs: &BTreeSet<String>| {
        ours.into_iter()
            .filter(|one| !theirs.contains(one))
            .map(|one| format!("{what} '{one}' of {name}: {UPGRADE_CRDS}"))
            .collect::<Vec<_>>()
    };
    let selectable_of_ours = wanted.selectable_fields.iter().flatten();
    let selectable_of_ours =
        selectable_of_ours.map(|field| field.json_path.trim_start_matches('.').to_owned());
    missing.extend(lacking("the selectable field", selectable_of_ours.collect(), &selectable(installed)));
    missing.extend(lacking("the rule", rules(&schema), &rules(installed)));
    let status = |schema: &Value| schema["properties"]["status"].clone();
    let narrower = narrower(&status(&schema), &status(installed), "status");
    missing.extend(narrower.into_iter().map(|what| format!("{what} of {name}: {UPGRADE_CRDS}")));
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

/// Fields, values and lengths that our schema allows and the installed one does not. The API server would drop or
/// refuse them at every write.
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

    /// The document that an API server makes of a CRD, as far as the check reads it.
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
    fn our_own_crds_pass() {
        for definition in api::crds() {
            assert_eq!(differences(definition, &served(definition)), Vec::<String>::new());
        }
    }

    #[test]
    fn a_crd_without_our_status_rules_or_subresource_is_refused() {
        let ours = &api::crds()[0];
        let mut theirs = served(ours);
        theirs["paths"] = json!({});
        let status = &mut theirs["components"]["schemas"]["it"]["properties"]["status"];
        let rules = status["x-kubernetes-validations"].take();
        assert_eq!(rules.as_array().unwrap().len(), 4);
        assert_eq!(differences(ours, &theirs).len(), 1 + 4);
    }

    #[test]
    fn a_crd_without_a_field_of_the_status_or_a_selectable_field_is_refused() {
        let ours = &api::crds()[0];
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
    fn a_crd_of_an_older_version_is_refused_if_it_would_refuse_a_write_of_this_version() {
        let ours = &api::crds()[0];
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
