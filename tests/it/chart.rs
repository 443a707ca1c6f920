//! The Helm chart, installed on a real API server as a user does it.

mod tools;

use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use testkit::control_plane::{ControlPlane, tool};
use testkit::{bare_plane, enforced, established, output, text};
use tokio::process::Command;

/// Where the chart is.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/functiongraph-operator");

/// What the chart must be told: no image of ours is published.
pub const IMAGE: &str = "image.repository=registry.example.com/functiongraph-operator";

/// What the chart renders for a release of its own name.
pub async fn rendered(namespace: &str, arguments: &[&str]) -> String {
    let mut helm = Command::new(tool("helm").unwrap());
    helm.args(["template", "functiongraph-operator", CHART, "--namespace", namespace, "--set", IMAGE]);
    helm.args(arguments);
    let said = output(helm, "").await;
    assert!(said.status.success(), "{}", text(&said.stderr));
    text(&said.stdout)
}

/// What Helm says: on success what it prints, else why not.
pub async fn helm(plane: &ControlPlane, arguments: &[&str]) -> Result<String, String> {
    let mut helm = Command::from(plane.helm().unwrap());
    helm.args(arguments);
    let said = output(helm, "").await;
    if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
}

/// Makes a namespace with the Secret `functiongraph`, which says the region too if asked.
async fn home(client: &Client, name: &str, region: bool) {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let mut data = json!({"accessKeyID": "TESTACCESSKEY0000001", "secretAccessKey": "a-secret"});
    if region {
        data["region"] = "eu-de".into();
        data["projectID"] = "7aad83af3e8d42e99ac194e8419e2c9b".into();
    }
    let secret = json!({"metadata": {"name": "functiongraph"}, "stringData": data});
    let secrets: Api<Secret> = Api::namespaced(client.clone(), name);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_packaged_chart_installs_with_a_secrets_name_alone_and_leaves_what_is_the_users() {
    let plane = bare_plane().await;
    let client = plane.client().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    helm(&plane, &["package", CHART, "--destination", folder]).await.unwrap();
    let package = format!("{folder}/functiongraph-operator-{}.tgz", env!("CARGO_PKG_VERSION"));
    home(&client, "bare", false).await;
    home(&client, "team", true).await;
    let set = &format!("{IMAGE},defaultProvider.secretName=functiongraph");
    let install = async |namespace: &str| {
        helm(&plane, &["install", "fg", &package, "--namespace", namespace, "--set", set]).await
    };
    let upgrade = async || {
        helm(&plane, &["upgrade", "fg", &package, "--namespace", "team", "--set", set]).await.unwrap()
    };
    let uninstall = async || helm(&plane, &["uninstall", "fg", "--namespace", "team"]).await.unwrap();
    let providers: Api<FunctionGraphProvider> = Api::namespaced(client.clone(), "team");

    // A mistake is told with both ways out of it, and leaves nothing behind.
    let said = install("bare").await.unwrap_err();
    for way in
        ["--set defaultProvider.region=eu-de", "give the Secret functiongraph in namespace bare a key region"]
    {
        assert!(said.contains(way), "{said}");
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    assert_eq!(definitions.list(&ListParams::default()).await.unwrap().items.len(), 0);

    let said = install("team").await.unwrap();
    assert!(said.contains("kubectl get fgp -n team default -o wide"), "{said}");
    let made = providers.get("default").await.unwrap();
    assert_eq!(made.spec.region, "eu-de");
    assert_eq!(made.spec.project_id.as_deref(), Some("7aad83af3e8d42e99ac194e8419e2c9b"));
    established(&plane).await;
    let invocations: Api<FunctionInvocation> = Api::namespaced(client.clone(), "team");
    let kept = json!({"metadata": {"name": "kept"}, "spec": {"function": {"name": "hello"}}});
    invocations.create(&PostParams::default(), &serde_json::from_value(kept).unwrap()).await.unwrap();

    // The first upgrade takes the provider over, the second finds it where it belongs: it is never replaced.
    for _ in 0..2 {
        upgrade().await;
        let now = providers.get("default").await.unwrap();
        assert_eq!(now.uid(), made.uid(), "the provider was replaced");
        assert!(!now.annotations().contains_key("helm.sh/hook"), "{:?}", now.annotations());
    }

    // Back to where it was a hook.
    helm(&plane, &["rollback", "fg", "1", "--namespace", "team"]).await.unwrap();
    let hook = providers.get("default").await.unwrap();

    // Removed while it is one: it stays, and the next installation takes it over.
    uninstall().await;
    install("team").await.unwrap();
    assert_eq!(providers.get("default").await.unwrap().uid(), hook.uid(), "the provider was replaced");

    uninstall().await;
    assert!(providers.get_opt("default").await.unwrap().is_none(), "a provider is left behind");
    assert_eq!(definitions.list(&ListParams::default()).await.unwrap().items.len(), 3);
    enforced(&plane).await;
    assert!(invocations.get_opt("kept").await.unwrap().is_some(), "an invocation is gone");

    // And back: what was left is taken over.
    install("team").await.unwrap();
    assert!(providers.get_opt("default").await.unwrap().is_some());
    assert!(invocations.get_opt("kept").await.unwrap().is_some());
}

#[tokio::test]
async fn every_setting_of_the_chart_is_one_that_the_operator_knows() {
    let values = json!({
        "projectedTokens": [{"path": "a", "audience": "a"}],
        "settings": {
            "allowedEndpointHosts": ["a.example"], "defaultEndpointHosts": false, "tokenAudience": "a", "ownIdentityProviders": ["a"],
            "strict503": true, "restoreGuard": true, "eventsOnSuccess": true, "log": "info",
            "maxConcurrentReconciles": 1, "secretPollSeconds": 1,
            "otlpEndpoint": "http://collector:4318", "refusedNetworks": ["10.0.0.0/8"],
        },
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values.to_string()).unwrap();
    let arguments = ["-s", "templates/deployment.yaml", "--values", file.path().to_str().unwrap()];
    let deployment = rendered("functiongraph", &arguments).await;
    let mut operator = Command::new(env!("CARGO_BIN_EXE_functiongraph-operator"));
    operator.args(["run", "--help"]);
    let help = text(&output(operator, "").await.stdout);
    let names: Vec<_> = deployment.split("name: FUNCTIONGRAPH_OPERATOR_").skip(1).collect();
    assert!(names.len() >= 10, "{deployment}");
    for name in names {
        let name = format!("FUNCTIONGRAPH_OPERATOR_{}", name.lines().next().unwrap());
        assert!(help.contains(&format!("[env: {name}=")), "{name}: {help}");
    }
}

#[tokio::test]
async fn t15_a_released_chart_installs_its_image_by_digest() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("functiongraph-operator");
    let release = async |image: &str| {
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/release.sh"));
        script.args(["chart", image]).arg(&folder).arg("https://git.example.com/team/operator");
        output(script, "").await
    };
    let said = release("registry.example.com/functiongraph-operator:0.1.0").await;
    assert!(!said.status.success() && text(&said.stderr).contains("is no image by digest"), "{said:?}");
    let image =
        format!("registry.example.com:5000/functiongraph-operator@sha256:{}", "0123456789abcdef".repeat(4));
    let said = release(&image).await;
    assert!(said.status.success(), "{}", text(&said.stderr));
    let mut helm = Command::new(tool("helm").unwrap());
    helm.args(["template", "fg"]).arg(&folder).args(["--namespace", "system"]);
    let rendered = text(&output(helm, "").await.stdout);
    assert!(rendered.contains(&format!("image: {image}\n")), "{rendered}");
    assert!(rendered.contains("kind: CustomResourceDefinition"), "the CRDs are missing: {rendered}");

    // It says where it is from.
    let chart = std::fs::read_to_string(folder.join("Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&chart).unwrap();
    assert_eq!(chart["home"], "https://git.example.com/team/operator");
    let told = |name: &str| -> Value {
        let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap();
        serde_saphyr::from_str(text).unwrap()
    };
    assert_eq!(told("images")[0]["image"], image);
    assert!(told("links").as_array().unwrap().len() > 1 && told("changes").is_array(), "{chart}");
    let mut helm = Command::new(tool("helm").unwrap());
    helm.args(["lint", "--strict"]).arg(&folder);
    let linted = output(helm, "").await;
    assert!(linted.status.success() && !text(&linted.stdout).contains("[INFO]"), "{}", text(&linted.stdout));
}
