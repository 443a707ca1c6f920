//! The chart in other people's hands: as a dependency, through kustomize, from a copy without symbolic links, uninstalled after
//! its CRDs. With the real tools.

use super::{CHART, IMAGE, helm, home};
use functiongraph_operator::api::{FunctionGraphProvider, crds};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Output;
use testkit::control_plane::tool;
use testkit::{World, bare_plane, output, text, until, within};
use tokio::process::Command;

const WITH_PROVIDER: &str = "defaultProvider.secretName=functiongraph,defaultProvider.region=eu-de";

/// What Helm says without a cluster.
async fn offline(arguments: &[&str]) -> Output {
    let mut helm = Command::new(tool("helm").unwrap());
    helm.args(arguments);
    output(helm, "").await
}

/// What kustomize makes of rendered objects, as `kubectl kustomize` brings it.
async fn kustomized(folder: &Path, objects: &str) -> Output {
    fs::write(folder.join("all.yaml"), objects).unwrap();
    fs::write(folder.join("kustomization.yaml"), "resources: [all.yaml]\n").unwrap();
    let mut kubectl = Command::new(tool("kubectl").unwrap());
    kubectl.arg("kustomize").arg(folder);
    output(kubectl, "").await
}

/// A plugin of Helm that sends what is rendered through kustomize. The shell reads the script: Linux runs no file that
/// is open for writing ("Text file busy"), and a test beside this one may start a program while this file is open.
fn post_renderer(folder: &Path) {
    let plugin = folder.join("kustomize");
    fs::create_dir_all(&plugin).unwrap();
    let about = json!({
        "apiVersion": "v1", "type": "postrenderer/v1", "name": "kustomize", "version": "0.1.0",
        "runtime": "subprocess",
        "runtimeConfig": {"platformCommand": [{"command": "/bin/sh", "args": ["-eu", "${HELM_PLUGIN_DIR}/run"]}]},
    });
    fs::write(plugin.join("plugin.yaml"), about.to_string()).unwrap();
    let kubectl = tool("kubectl").unwrap();
    let script = format!(
        "cd \"$(mktemp -d '{}/XXXXXX')\"\ncat >all.yaml\n\
         echo '{{resources: [all.yaml], labels: [{{pairs: {{team: platform}}}}]}}' >kustomization.yaml\n\
         '{}' kustomize .\n",
        folder.display(),
        kubectl.display()
    );
    fs::write(plugin.join("run"), script).unwrap();
}

#[tokio::test]
async fn a_chart_that_depends_on_it_switches_it_on_and_off() {
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().join("parent");
    let charts = parent.join("charts");
    fs::create_dir_all(&charts).unwrap();
    let packed = offline(&["package", CHART, "--destination", charts.to_str().unwrap()]).await;
    assert!(packed.status.success(), "{}", text(&packed.stderr));
    let about = json!({
        "apiVersion": "v2", "name": "parent", "version": "0.1.0",
        "dependencies": [{
            "name": "functiongraph-operator", "version": env!("CARGO_PKG_VERSION"),
            "condition": "functiongraph-operator.enabled",
        }],
    });
    fs::write(parent.join("Chart.yaml"), about.to_string()).unwrap();
    let render = async |more: &str| {
        let set = format!("functiongraph-operator.{IMAGE},global.imageRegistry=mirror.example.com,{more}");
        let said = offline(&["template", "up", parent.to_str().unwrap(), "--set", &set]).await;
        assert!(said.status.success(), "{}", text(&said.stderr));
        text(&said.stdout)
    };
    let on = render("functiongraph-operator.enabled=true").await;
    assert!(on.contains("kind: CustomResourceDefinition"), "{on}");
    assert!(on.contains("image: mirror.example.com/functiongraph-operator:"), "{on}");
    let off = render("functiongraph-operator.enabled=false").await;
    assert!(!off.contains("kind:"), "{off}");
    // Nobody can take a default away from a dependency but with null.
    let user = "functiongraph-operator.podSecurityContext.runAsUser=null";
    assert!(on.contains("runAsUser: 65532") && !render(user).await.contains("runAsUser"));
}

#[tokio::test]
async fn what_is_rendered_goes_through_kustomize() {
    let folder = tempfile::tempdir().unwrap();
    let rendered = super::rendered("system", &["--set", WITH_PROVIDER]).await;
    let built = kustomized(folder.path(), &rendered).await;
    assert!(built.status.success(), "{}", text(&built.stderr));
    let built = text(&built.stdout);
    assert!(built.contains("\nkind: FunctionGraphProvider\n") && !built.contains("helm.sh/hook"), "{built}");
}

#[tokio::test]
async fn a_post_renderer_sees_each_object_once_and_the_release_goes_after_its_crds() {
    let plane = bare_plane().await;
    let client = plane.client().unwrap();
    home(&client, "team", true).await;
    let folder = tempfile::tempdir().unwrap();
    post_renderer(folder.path());
    let set = format!("{IMAGE},{WITH_PROVIDER}");
    let mut install = Command::from(plane.helm().unwrap());
    install.args(["install", "fg", CHART, "--namespace", "team", "--set", &set]);
    install.args(["--post-renderer", "kustomize"]).env("HELM_PLUGINS", folder.path());
    let said = output(install, "").await;
    assert!(said.status.success(), "{}", text(&said.stderr));
    let providers: Api<FunctionGraphProvider> = Api::namespaced(client.clone(), "team");
    assert_eq!(providers.get("default").await.unwrap().labels()["team"], "platform");

    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definitions.list(&ListParams::default()).await.unwrap() {
        let name = definition.name_any();
        definitions.delete(&name, &DeleteParams::default()).await.unwrap();
        // Without its finalizer it is gone at once. The API server's own cleanup has taken more than two minutes where many
        // API servers shared a machine.
        let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        if let Err(error) = definitions.patch(&name, &PatchParams::default(), &freed).await {
            assert!(matches!(&error, kube::Error::Api(status) if status.code == 404), "{name}: {error}");
        }
    }
    let left = async || definitions.list(&ListParams::default()).await.unwrap().items;
    within(until(async || left().await.is_empty())).await;
    helm(&plane, &["uninstall", "fg", "--namespace", "team"]).await.unwrap();
    assert_eq!(helm(&plane, &["list", "--namespace", "team", "--short"]).await.unwrap().trim(), "");
}

#[tokio::test]
async fn a_copy_without_symbolic_links_says_that_it_lacks_the_crds() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("functiongraph-operator");
    let mut cp = Command::new("cp");
    cp.arg("-RP").args([Path::new(CHART), &copy]);
    assert!(output(cp, "").await.status.success());
    // As git writes a link where the file system has none.
    let link = copy.join("files/crds");
    let target = fs::read_link(&link).unwrap();
    fs::remove_file(&link).unwrap();
    fs::write(&link, target.to_str().unwrap()).unwrap();
    let copy = copy.to_str().unwrap();
    for arguments in [["template", "fg", copy].as_slice(), &["lint", copy]] {
        let said = offline(&[arguments, &["--set", IMAGE]].concat()).await;
        let words = text(&said.stdout) + &text(&said.stderr);
        assert!(!said.status.success() && words.contains("has no CRDs"), "{arguments:?}: {words}");
    }
    let without = format!("{IMAGE},crds.install=false");
    assert!(offline(&["template", "fg", copy, "--set", &without]).await.status.success());
}

#[tokio::test]
async fn what_the_chart_tells_artifact_hub_is_so() {
    let chart: Value =
        serde_saphyr::from_str(&fs::read_to_string(format!("{CHART}/Chart.yaml")).unwrap()).unwrap();
    let list = |name: &str| -> Vec<Value> {
        let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap();
        serde_saphyr::from_str(text).unwrap()
    };
    let names =
        |kind: &Value, name: &Value| (kind.as_str().unwrap().to_owned(), name.as_str().unwrap().to_owned());
    let mut told: Vec<_> = list("crds").iter().map(|crd| names(&crd["kind"], &crd["name"])).collect();
    let mut known: Vec<_> = crds().iter().map(|crd| (crd.spec.names.kind.clone(), crd.name_any())).collect();
    told.sort();
    known.sort();
    assert_eq!(told, known);
    let world = World::new().await;
    for example in list("crdsExamples") {
        let said = world.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &example.to_string()).await;
        assert!(said.status.success() && said.stderr.is_empty(), "{example}: {}", text(&said.stderr));
    }
}
