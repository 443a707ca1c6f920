//! The definitions as users install and meet them: the files, the columns, the examples, the waiting.

use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation};
use functiongraph_operator::crds;
use kube::api::ListParams;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::{World, output, plane, text};
use tokio::process::Command;

fn files_in(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn the_files_are_what_the_code_says() {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let stored = files_in("crds").into_iter().map(|path| (name(&path), fs::read_to_string(&path).unwrap()));
    let stored: BTreeMap<_, _> = stored.collect();

    let generated: BTreeMap<_, _> = crds::files().unwrap().into_iter().collect();

    assert_eq!(stored.keys().collect::<Vec<_>>(), generated.keys().collect::<Vec<_>>());
    for (name, text) in generated {
        assert!(stored[&name] == text, "crds/{name} is stale: run make generate");
    }
}

/// The API server answers a text that does not match a pattern with the pattern.
#[test]
fn what_is_refused_is_refused_in_a_sentence_and_not_with_a_regular_expression() {
    for path in files_in("crds") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(" pattern: "), "{}: use a rule with a message", path.display());
    }
}

/// As the release workflow joins them.
#[tokio::test]
async fn the_files_one_after_another_are_a_manifest() {
    let world = World::new().await;
    let joined: String = files_in("crds").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let said = world.kubectl_with(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &joined).await;
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert_eq!(text(&said.stdout).lines().count(), files_in("crds").len(), "{}", text(&said.stdout));
}

#[tokio::test]
async fn every_example_is_accepted_by_the_api_server_without_a_warning() {
    let world = World::new().await;
    let examples = files_in("examples");
    assert!(!examples.is_empty());
    for path in examples {
        let path = path.to_str().unwrap();
        let said = world.kubectl(&["create", "--dry-run=server", "--validate=strict", "-f", path]).await;
        assert!(said.status.success(), "{path}: {}", text(&said.stderr));
        assert_eq!(text(&said.stderr), "", "{path}");
    }
}

/// The manifests of our kinds that stand in a text: what is fenced as YAML, document by document.
fn manifests_in(text: &str) -> Vec<String> {
    let fenced = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let documents = fenced.flat_map(|block| block.split("---\n").map(ToOwned::to_owned));
    documents.filter(|document| document.contains("apiVersion: functiongraph.io")).collect()
}

#[tokio::test]
async fn every_manifest_in_the_documents_is_accepted_by_the_api_server_without_a_warning() {
    let world = World::new().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("docs")];
    let mut pages = vec![root.join("README.md")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    let mut kinds = BTreeMap::<String, u32>::new();
    for page in pages {
        for manifest in manifests_in(&fs::read_to_string(&page).unwrap()) {
            let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
            let said = world.kubectl_with(&arguments, &manifest).await;
            let page = page.display();
            assert!(said.status.success(), "{page}: {}\n{manifest}", text(&said.stderr));
            assert_eq!(text(&said.stderr), "", "{page}");
            let kind = manifest.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap();
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(kinds.len(), 3, "{kinds:?}");
}

#[tokio::test]
async fn a_misspelt_field_is_refused_and_not_dropped() {
    let world = World::new().await;
    for (kind, field, spec) in [
        ("FunctionInvocation", "spec.retrys", json!({"function": {"name": "f"}, "retrys": 3})),
        ("FunctionInvocation", "spec.function.nmae", json!({"function": {"name": "f", "nmae": "g"}})),
        (
            "FunctionGraphProvider",
            "spec.insecure",
            json!({
                "region": "eu-de", "projectID": "p", "insecure": true,
                "credentials": {"token": {"secretRef": {"name": "t"}}},
            }),
        ),
    ] {
        let manifest = json!({
            "apiVersion": "functiongraph.io/v1alpha1", "kind": kind,
            "metadata": {"name": "misspelt"}, "spec": spec,
        });
        let said = world.kubectl_with(&["create", "-f", "-"], &manifest.to_string()).await;
        assert!(!said.status.success(), "{field} is taken");
        let expected = format!("unknown field \"{field}\"");
        assert!(text(&said.stderr).contains(&expected), "{}", text(&said.stderr));
    }
}

#[tokio::test]
async fn a_new_object_is_in_progress_before_any_controller_has_seen_it() {
    let world = World::new().await;
    world.provider().await;
    world.invoke("new", json!({"function": {"name": "hello"}})).await;

    let invocation = world.get("new").await;
    let provider = world.api::<FunctionGraphProvider>().get("default").await.unwrap();

    assert_eq!(invocation.status.unwrap().observed_generation, Some(-1));
    assert_eq!(provider.status.unwrap().observed_generation, Some(-1));
}

#[tokio::test]
async fn kubectl_shows_what_matters_in_columns_and_finds_objects_by_outcome() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    world.invoke("good", json!({"function": {"name": "hello"}, "payload": {"tag": "good"}})).await;
    world.invoke("bad", json!({"function": {"name": "nowhere", "qualifier": "!prod"}})).await;
    world.end("good").await;
    world.end("bad").await;

    let table = text(&world.kubectl(&["get", "fninv"]).await.stdout);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let header = ["NAME", "FUNCTION", "READY", "REASON", "REQUEST-ID", "ATTEMPTS", "AGE"];
    assert_eq!(rows[0], header, "{table}");
    assert_eq!(rows[1][..5], ["bad", "default:nowhere:!prod", "False", "Rejected", "1"], "{table}");
    let id = &world.accepted("good")[0].request_id;
    assert_eq!(rows[2][..6], ["good", "default:hello:latest", "True", "Accepted", id, "1"], "{table}");

    let wide = text(&world.kubectl(&["get", "fninv", "bad", "-o", "wide"]).await.stdout);
    for part in ["PROVIDER", "OUTCOME", "HTTP", "ERROR-CODE", "NEXT-ATTEMPT", "MESSAGE"] {
        assert!(wide.contains(part), "{wide}");
    }
    for part in ["default", "Failed", "404", "FSS.0404", "function 'nowhere' not exist"] {
        assert!(wide.contains(part), "{wide}");
    }
    let providers = text(&world.kubectl(&["get", "fgp"]).await.stdout);
    let row: Vec<&str> = providers.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["default", "eu-de", "True", "ProviderReady"], "{providers}");
    let all = text(&world.kubectl(&["get", "functiongraph", "-o", "name"]).await.stdout);
    assert_eq!(all.lines().count(), 3, "{all}");

    let failed = ListParams::default().fields("status.outcome=Failed");
    let found = world.api::<FunctionInvocation>().list(&failed).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].metadata.name.as_deref(), Some("bad"));
}

#[tokio::test]
async fn kubectl_wait_ends_on_success_and_on_failure() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let wait = async |name: &str, condition: &str, timeout: &str| {
        let (name, condition) = (format!("fninv/{name}"), format!("--for=condition={condition}"));
        world.kubectl(&["wait", &condition, &format!("--timeout={timeout}"), &name]).await
    };
    world.invoke("good", json!({"function": {"name": "hello"}})).await;
    world.invoke("bad", json!({"function": {"name": "nowhere"}})).await;
    for name in ["good", "bad"] {
        let said = wait(name, "Finished", "30s").await;
        assert!(said.status.success(), "{name}: {}", text(&said.stderr));
    }
    assert!(wait("good", "Ready", "30s").await.status.success());
    assert!(!wait("bad", "Ready", "0s").await.status.success());
    assert!(wait("bad", "Stalled", "30s").await.status.success());
}

/// A chart with one invocation of `function`, in a folder of its own.
fn chart(function: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Chart.yaml"), "apiVersion: v2\nname: job\nversion: 0.1.0\n").unwrap();
    fs::create_dir(folder.path().join("templates")).unwrap();
    let manifest: Value = json!({
        "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
        "metadata": {"name": format!("{{{{ .Release.Name }}}}-{function}")},
        "spec": {"function": {"name": function}, "payload": {"tag": function}},
    });
    fs::write(folder.path().join("templates/invocation.yaml"), manifest.to_string()).unwrap();
    folder
}

#[tokio::test]
async fn helm_waits_for_the_acceptance_and_fails_with_the_invocation() {
    let world = World::new().await;
    world.provider().await;
    // Nobody is there yet to look at the object: Helm has to wait, not to take it for done.
    let install = async |function: &str| {
        let folder = chart(function);
        let mut command = Command::from(plane().await.helm().unwrap());
        command.args(["install", function]).arg(folder.path());
        command.args(["--namespace", &world.namespace, "--wait", "--timeout", "40s"]);
        let config = tempfile::tempdir().unwrap();
        command.env("HELM_CONFIG_HOME", config.path()).env("HELM_CACHE_HOME", config.path());
        output(command, "").await
    };
    let (good, _operator) = tokio::join!(install("hello"), async {
        world.appears("hello-hello").await;
        world.operator().await
    });
    assert!(good.status.success(), "{}", text(&good.stderr));
    assert_eq!(world.accepted("hello").len(), 1);

    let bad = install("nowhere").await;
    assert!(!bad.status.success(), "{}", text(&bad.stdout));
    assert!(text(&bad.stderr).contains("nowhere-nowhere"), "{}", text(&bad.stderr));
}
