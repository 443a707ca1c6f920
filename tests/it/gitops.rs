//! What Argo CD, Flux, Helm and quotas make of our objects: the files in `examples/with/`, put to work.

use crate::chart::CHART;
use functiongraph_operator::api::Reason;
use functiongraph_operator::api::invocation::Outcome;
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::api::{Api, Patch, PatchParams};
use mlua::{Lua, LuaSerdeExt, Table};
use serde_json::{Value, json};
use std::process::Output;
use testkit::control_plane::tool;
use testkit::{World, output, plane, text, until_some, within};
use tokio::process::Command;

/// The folder of the examples.
fn with(path: &str) -> String {
    format!("{}/examples/with/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// What a program said, which must have gone well.
fn well(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn plain(tag: &str) -> Value {
    json!({"function": {"name": "hello"}, "payload": {"tag": tag}})
}

/// Health and message of an object by the script of its kind, run as Argo CD does.
async fn health(world: &World, scripts: &ConfigMap, kind: &str, name: &str) -> (String, String) {
    let object = well(&world.kubectl(&["get", kind, name, "-o", "json"]).await);
    let object: Value = serde_json::from_str(&object).unwrap();
    let key = format!("resource.customizations.health.functiongraph.io_{}", object["kind"].as_str().unwrap());
    let script = &scripts.data.as_ref().unwrap()[&key];
    let lua = Lua::new();
    lua.globals().set("obj", lua.to_value(&object).unwrap()).unwrap();
    let health: Table = lua.load(script).eval().unwrap();
    (health.get("status").unwrap(), health.get("message").unwrap())
}

#[tokio::test]
async fn argo_cd_is_taught_what_is_healthy_and_what_is_not() {
    let world = World::new().await;
    world.provider().await;
    for (name, more) in [
        ("no-secret", json!({"credentials": {"accessKey": {"secretRef": {"name": "absent"}}}})),
        ("elsewhere", json!({"endpoint": "https://example.com"})),
    ] {
        world.provider_named(name, more).await;
    }
    // As the docs have it.
    well(&world.kubectl(&["create", "namespace", "argocd"]).await);
    well(&world.kubectl(&["create", "configmap", "argocd-cm", "--namespace", "argocd"]).await);
    let file = with("argo-cd/argocd-cm.yaml");
    let patch = ["patch", "configmap", "argocd-cm", "--namespace", "argocd", "--patch-file", &file];
    well(&world.kubectl(&patch).await);
    let scripts: ConfigMap = Api::namespaced(world.client.clone(), "argocd").get("argocd-cm").await.unwrap();
    let script = |kind| {
        &scripts.data.as_ref().unwrap()[&format!("resource.customizations.health.functiongraph.io_{kind}")]
    };
    assert_eq!(script("FunctionGraphProvider"), script("ClusterFunctionGraphProvider"));

    world.invoke("accepted", plain("accepted")).await;
    assert_eq!(health(&world, &scripts, "fninv", "accepted").await.0, "Progressing");
    let _operator = world.operator().await;
    world.end("accepted").await;
    world.invoke("failed", json!({"function": {"name": "nowhere"}})).await;
    world.end("failed").await;
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    world.invoke("unknown", plain("unknown")).await;
    assert_eq!(world.end("unknown").await.outcome, Some(Outcome::Unknown));
    let more = |field: &str, value: Value| {
        let mut spec = plain("more");
        spec[field] = value;
        spec
    };
    world.invoke("suspended", more("suspend", true.into())).await;
    world.says("suspended", Reason::Suspended).await;
    world.invoke("cancelled", more("cancel", true.into())).await;
    world.end("cancelled").await;
    world.invoke("waiting", more("providerRef", json!({"name": "no-secret"}))).await;
    world.says("waiting", Reason::WaitingForProvider).await;

    for (kind, name, expected, words) in [
        ("fninv", "accepted", "Healthy", "Accepted: FunctionGraph accepted the invocation as request"),
        ("fninv", "failed", "Degraded", "Rejected: "),
        ("fninv", "unknown", "Degraded", "OutcomeUnknown: "),
        ("fninv", "cancelled", "Degraded", "Cancelled: "),
        ("fninv", "suspended", "Suspended", "Suspended: "),
        ("fninv", "waiting", "Progressing", "WaitingForProvider: "),
        ("fgp", "default", "Healthy", "ProviderReady: "),
        ("fgp", "no-secret", "Progressing", "SecretNotFound: "),
        ("fgp", "elsewhere", "Degraded", "EndpointRefused: "),
    ] {
        let (found, message) = health(&world, &scripts, kind, name).await;
        assert_eq!(found, expected, "{name}: {message}");
        assert!(message.starts_with(words), "{name}: {message}");
    }
}

/// Helm 4 waits by kstatus, as Flux does.
#[tokio::test]
async fn helm_waits_for_an_invocation_and_fails_with_it() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let chart = with("helm");
    let helm = async |arguments: &[&str]| {
        let mut command = Command::from(plane().await.helm().unwrap());
        command.args(["--namespace", &world.namespace]).args(arguments);
        output(command, "").await
    };

    // The first attempt fails, so that there is something to wait for.
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 503, "retryAfter": "2"}}}));
    well(&helm(&["install", "shop", &chart, "--wait", "--timeout", "60s"]).await);
    let status = world.get("shop-1").await.status.unwrap();
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(2)));
    well(&helm(&["upgrade", "shop", &chart, "--wait", "--timeout", "60s"]).await);
    assert_eq!(world.get("shop-2").await.status.unwrap().outcome, Some(Outcome::Accepted));
    assert!(world.get_opt("shop-1").await.is_none());
    assert_eq!(world.accepted("with-helm").len(), 2);

    let failed =
        helm(&["install", "bad", &chart, "--set", "function=nowhere", "--wait", "--timeout", "60s"]).await;
    assert!(!failed.status.success());
    let said = text(&failed.stderr);
    for words in ["functioninvocation", "bad-1", "Failed"] {
        assert!(said.to_lowercase().contains(&words.to_lowercase()), "{said}");
    }
}

#[tokio::test]
async fn a_manifest_is_sent_once_however_often_it_is_applied_and_cannot_be_changed() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let manifest = |tag: &str, suspend: bool| {
        let mut spec = plain(tag);
        spec["suspend"] = suspend.into();
        let (version, kind) = ("functiongraph.io/v1alpha1", "FunctionInvocation");
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": "resize-42"}, "spec": spec})
            .to_string()
    };
    for how in [["apply", "-f", "-"].as_slice(), &["apply", "--server-side", "--force-conflicts", "-f", "-"]]
    {
        well(&world.kubectl_with(how, &manifest("git", false)).await);
        let ended = world.finished("resize-42").await;
        well(&world.kubectl_with(how, &manifest("git", false)).await);
        assert_eq!(world.get("resize-42").await.status, ended.status);
    }
    let refused = world.kubectl_with(&["apply", "-f", "-"], &manifest("changed", false)).await;
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains("payload is immutable: create a new FunctionInvocation"), "{said}");
    assert_eq!(world.seen(), 1);
}

#[tokio::test]
async fn the_operator_is_installed_by_argo_cd_and_flux_with_these_values() {
    let file = |path: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(with(path)).unwrap();
        text.split("---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
    };
    let argo_cd = file("argo-cd/operator.yaml")[0]["spec"]["source"]["helm"]["valuesObject"].clone();
    let flux = file("flux/operator.yaml")[1]["spec"]["values"].clone();
    assert_eq!(argo_cd, flux);
    let values = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(values.path(), argo_cd.to_string()).unwrap();
    let arguments = ["template", "fg", CHART, "--values", values.path().to_str().unwrap()];
    let mut helm = Command::new(tool("helm").unwrap());
    helm.args(arguments);
    let rendered = well(&output(helm, "").await);
    // Argo CD takes a hook for one of its own, and makes its object again with every sync.
    assert!(rendered.contains("\nkind: FunctionGraphProvider\n") && !rendered.contains("helm.sh/hook:"));
}

#[tokio::test]
async fn a_quota_refuses_one_too_many_and_says_so() {
    let world = World::new().await;
    well(&world.kubectl(&["apply", "-f", &with("quota/quota.yaml")]).await);
    // Nobody counts here but the API server: the controller's part is done by hand, one below the limit.
    let quotas = world.api::<ResourceQuota>();
    let hard = quotas.get("invocations").await.unwrap().spec.unwrap().hard.unwrap();
    let invocations = "count/functioninvocations.functiongraph.io";
    let used = json!({invocations: "99", "count/functiongraphproviders.functiongraph.io": "0"});
    let status = Patch::Merge(json!({"status": {"hard": hard, "used": used}}));
    quotas.patch_status("invocations", &PatchParams::default(), &status).await.unwrap();

    let create = async |name: &str| {
        let (version, kind) = ("functiongraph.io/v1alpha1", "FunctionInvocation");
        let object =
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": plain(name)});
        world.kubectl_with(&["create", "-f", "-"], &object.to_string()).await
    };
    let last = until_some(async || {
        let last = create("last").await;
        // It has not seen the count yet.
        (!text(&last.stderr).contains("status unknown for quota")).then_some(last)
    });
    well(&within(last).await);
    let refused = create("one-too-many").await;
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    let words = format!(
        "exceeded quota: invocations, requested: {invocations}=1, used: {invocations}=100, limited: {invocations}=100"
    );
    assert!(said.contains(&words), "{said}");
}
