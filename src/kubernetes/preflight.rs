//! Checks before any work that the API server will enforce what the operator relies on.
//!
//! Without the status subresource, or without our rules on it, a claim would not be exclusive; without a
//! permission, work would stop half way. In either case the operator must not begin.

use super::{Error, bounded, found};
use crate::api;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeSet;

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

/// What is missing, one line each; empty if nothing is. `namespace` is the only one watched, if any.
///
/// # Errors
/// When the API server did not answer or had trouble of its own.
pub async fn missing(client: &Client, namespace: Option<&str>) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    // Where a single namespace is served, nothing of the cluster's is used.
    let used = |ours: &CustomResourceDefinition| namespace.is_none() || ours.spec.scope == "Namespaced";
    for ours in api::definitions().into_iter().filter(used) {
        let name = ours.name_any();
        match found(bounded(definitions.get(&name)).await) {
            Ok(None) => missing
                .push(format!("custom resource definition {name} is not installed: kubectl apply -f crds/")),
            Ok(Some(theirs)) => missing.extend(differences(&ours, &theirs)),
            Err(error) if super::answer(&error).is_some_and(|s| s.code == 403) => missing
                .push(format!("permission to get customresourcedefinitions {name}: see deploy/rbac.yaml")),
            Err(error) => return Err(error),
        }
    }
    let cluster_needs = CLUSTER_NEEDS.into_iter().filter(|_| namespace.is_none());
    for (group, resource, subresource, verbs) in NEEDS.into_iter().chain(cluster_needs) {
        for verb in verbs {
            if !allowed(client, namespace, group, resource, subresource, verb).await? {
                let whole = [resource, subresource].join("/");
                missing.push(format!(
                    "permission to {verb} {}{}: see deploy/rbac.yaml",
                    whole.trim_end_matches('/'),
                    namespace.map(|n| format!(" in namespace {n}")).unwrap_or_default()
                ));
            }
        }
    }
    Ok(missing)
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

/// What our definition has and the installed one lacks, as far as the operator's promises rest on it.
fn differences(ours: &CustomResourceDefinition, theirs: &CustomResourceDefinition) -> Vec<String> {
    let name = ours.name_any();
    let mut missing = Vec::new();
    let Some(wanted) = ours.spec.versions.first() else { return missing };
    let Some(installed) = theirs.spec.versions.iter().find(|v| v.name == wanted.name && v.served) else {
        return vec![format!(
            "version {} of custom resource definition {name}: apply crds/ anew",
            wanted.name
        )];
    };
    if installed.subresources.as_ref().is_none_or(|s| s.status.is_none()) {
        missing.push(format!("the status subresource of {name}: apply crds/ anew"));
    }
    let lacking = |what: &str, ours: BTreeSet<String>, theirs: &BTreeSet<String>| {
        ours.into_iter()
            .filter(|one| !theirs.contains(one))
            .map(|one| format!("{what} '{one}' of {name}: apply crds/ anew"))
            .collect::<Vec<_>>()
    };
    missing.extend(lacking("the selectable field", selectable(wanted), &selectable(installed)));
    missing.extend(lacking("the rule", rules(wanted), &rules(installed)));
    missing.extend(lacking("the field", fields(wanted), &fields(installed)));
    missing
}

fn selectable(version: &CustomResourceDefinitionVersion) -> BTreeSet<String> {
    version.selectable_fields.iter().flatten().map(|field| field.json_path.clone()).collect()
}

fn root(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

fn status(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    root(version)?.properties.as_ref()?.get("status")
}

/// The rules on the whole object and on its status.
fn rules(version: &CustomResourceDefinitionVersion) -> BTreeSet<String> {
    [root(version), status(version)]
        .into_iter()
        .flatten()
        .flat_map(|schema| schema.x_kubernetes_validations.iter().flatten())
        .map(|rule| rule.rule.clone())
        .collect()
}

/// The fields of the status: a definition that lacks one would drop what we write into it.
fn fields(version: &CustomResourceDefinitionVersion) -> BTreeSet<String> {
    status(version)
        .and_then(|schema| schema.properties.as_ref())
        .map(|properties| properties.keys().map(|key| format!("status.{key}")).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_definitions_lack_nothing() {
        for definition in api::definitions() {
            assert_eq!(differences(&definition, &definition), Vec::<String>::new());
        }
    }

    #[test]
    fn a_definition_without_our_status_rules_or_subresource_is_refused() {
        let ours = &api::definitions()[0];
        let mut theirs = ours.clone();
        theirs.spec.versions[0].subresources = None;
        let schema = theirs.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        let status = schema.properties.as_mut().unwrap().get_mut("status").unwrap();
        let rules = status.x_kubernetes_validations.take().unwrap().len();
        assert_eq!(rules, 4);
        assert_eq!(differences(ours, &theirs).len(), 1 + rules);
    }
}
