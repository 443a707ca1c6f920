//! What a control plane promises to the demo, the tests and the benchmarks that stand on it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test may fail like the test itself"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use testkit::control_plane::{ControlPlane, Options, User};

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: notes.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: notes, singular: note, kind: Note}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
";
const NOTE: &str = "{apiVersion: example.com/v1, kind: Note, metadata: {name: first, namespace: default}}";

async fn start() -> ControlPlane {
    ControlPlane::start(Options::default()).await.unwrap()
}

async fn names(client: Client) -> kube::Result<Vec<String>> {
    let list = Api::<Namespace>::all(client).list(&kube::api::ListParams::default()).await?;
    Ok(list.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
}

fn configmap(name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object
}

/// Repeats until the condition holds; a test that waits for ever is stopped by its own limit.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), polling).await.expect("the condition never held");
}

#[tokio::test]
async fn kubectl_and_a_new_kind_of_object_work_at_once() {
    let plane = start().await;
    plane.apply_yaml(CRD).await.unwrap();
    plane.apply_yaml(NOTE).await.unwrap();
    let output = plane.kubectl().args(["get", "ns,notes", "-A", "-o", "name"]).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(
        listed.contains("namespace/default\n") && listed.contains("note.example.com/first\n"),
        "{listed}"
    );
}

#[tokio::test]
async fn a_refused_object_comes_with_the_reason() {
    let plane = start().await;
    let error =
        plane.apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: Upper}}").await.unwrap_err();
    assert!(error.to_string().contains("Invalid value: \"Upper\""), "{error}");
}

#[tokio::test]
async fn users_may_do_what_is_granted_and_nothing_else() {
    let users = vec![User::new("auditor", &["auditors"])];
    let plane = ControlPlane::start(Options { users, ..Options::default() }).await.unwrap();
    assert!(plane.client_as("nobody").is_err());
    let refused = names(plane.client_as("auditor").unwrap()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_forbidden()));

    let grant = ["create", "clusterrolebinding", "audit", "--clusterrole=cluster-admin", "--group=auditors"];
    assert!(plane.kubectl().args(grant).status().unwrap().success());
    // The authorizer learns of the grant through a watch.
    until(async || names(plane.client_as("auditor").unwrap()).await.is_ok()).await;
}

#[tokio::test]
async fn two_run_side_by_side_and_know_nothing_of_each_other() {
    let (one, two) = tokio::join!(start(), start());
    one.apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: only-here}}").await.unwrap();
    assert!(names(one.client().unwrap()).await.unwrap().contains(&"only-here".to_owned()));
    assert!(!names(two.client().unwrap()).await.unwrap().contains(&"only-here".to_owned()));
}

#[tokio::test]
async fn an_outage_of_the_api_server_keeps_address_and_data() {
    let plane = start().await;
    let api = Api::<ConfigMap>::default_namespaced(plane.client().unwrap());
    api.create(&PostParams::default(), &configmap("kept")).await.unwrap();
    plane.stop_apiserver();
    assert!(api.get("kept").await.is_err());
    plane.start_apiserver().await.unwrap();
    api.get("kept").await.unwrap();
    plane.restart_apiserver().await.unwrap();
    api.get("kept").await.unwrap();
}

#[tokio::test]
async fn what_is_written_is_kept_on_request_across_an_outage() {
    assert_eq!(start().await.written(), None);
    let plane = ControlPlane::start(Options { audit: true, ..Options::default() }).await.unwrap();
    let api = Api::<ConfigMap>::default_namespaced(plane.client().unwrap());
    for name in ["before", "after"] {
        api.create(&PostParams::default(), &configmap(name)).await.unwrap();
        plane.restart_apiserver().await.unwrap();
    }
    plane.apply_yaml("{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}").await.unwrap();
    let token = plane.kubectl().args(["--namespace=default", "create", "token", "robot"]).output().unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let kept = async || std::fs::read_to_string(plane.written().unwrap()).unwrap();
    until(async || kept().await.contains(token.trim())).await;
    for name in ["before", "after"] {
        let body = format!(r#""metadata":{{"name":"{name}""#);
        assert!(
            kept().await.lines().any(|line| line.contains("requestObject") && line.contains(&body)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn more_flags_reach_the_api_server_also_after_an_outage() {
    let apiserver_flags = vec!["--feature-gates=WatchList=false".to_owned()];
    let plane = ControlPlane::start(Options { apiserver_flags, ..Options::default() }).await.unwrap();
    let path = "/api/v1/namespaces?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                &allowWatchBookmarks=true&timeoutSeconds=1";
    for _ in 0..2 {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let refused = plane.client().unwrap().request_text(request).await.unwrap_err();
        assert!(matches!(&refused, kube::Error::Api(status) if status.is_invalid()), "{refused}");
        plane.restart_apiserver().await.unwrap();
    }
}

#[tokio::test]
async fn with_a_controller_manager_deleted_namespaces_go_away() {
    let options = Options { controller_manager: true, ..Options::default() };
    let plane = ControlPlane::start(options).await.unwrap();
    plane.apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: brief}}").await.unwrap();
    let namespaces = Api::<Namespace>::all(plane.client().unwrap());
    namespaces.delete("brief", &DeleteParams::default()).await.unwrap();
    until(async || namespaces.get_opt("brief").await.unwrap().is_none()).await;
}

#[tokio::test]
async fn stopping_leaves_no_process_and_no_folder() {
    let plane = start().await;
    let folder = plane.folder().to_owned();
    assert_ne!(processes_in(&folder), 0);
    plane.stop();
    assert_eq!(processes_in(&folder), 0);
    assert!(!folder.exists());
}

#[tokio::test]
async fn nothing_survives_a_parent_that_is_killed() {
    let mut parent =
        Command::new(env!("CARGO_BIN_EXE_control-plane")).stdout(Stdio::piped()).spawn().unwrap();
    let line = BufReader::new(parent.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let folder = Path::new(line.strip_prefix("export KUBECONFIG=").unwrap()).parent().unwrap();
    assert_ne!(processes_in(folder), 0);
    parent.kill().unwrap(); // SIGKILL
    parent.wait().unwrap();
    until(async || processes_in(folder) == 0 && !folder.exists()).await;
}

/// Processes whose working folder is the control plane's: its servers and the shells that hold them.
fn processes_in(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    // As text: the link to a folder that is gone ends in " (deleted)".
    let inside = |link: PathBuf| link.to_str().unwrap().starts_with(folder);
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(inside)).count()
}
