//! The recipes of docs/recipes.md: their scripts are run with the real kubectl and with no more rights than they say.

use functiongraph_operator::api::invocation::Outcome;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use testkit::control_plane::{ADMIN, tool};
use testkit::{World, output, plane, text};
use tokio::process::Command;

fn recipe(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/with").join(path)
}

/// The documents of a file.
fn documents(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(recipe(path)).unwrap();
    text.split("---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

/// A folder in which a script finds kubectl, with the rights of the ServiceAccount `invoker` and the test's namespace.
struct Pod {
    folder: tempfile::TempDir,
}

// === impl Pod ===

impl Pod {
    async fn new(world: &World) -> Self {
        let rights = recipe("job/rights.yaml");
        let said = world.kubectl(&["apply", "-f", rights.to_str().unwrap()]).await;
        assert!(said.status.success(), "{}", text(&said.stderr));
        let token = text(&world.kubectl(&["create", "token", "invoker"]).await.stdout);
        let plane = plane().await;
        let kubeconfig = fs::read_to_string(plane.kubeconfig(ADMIN).unwrap()).unwrap();
        let mut kubeconfig: Value = serde_saphyr::from_str(&kubeconfig).unwrap();
        let authority = &mut kubeconfig["clusters"][0]["cluster"]["certificate-authority"];
        *authority = plane.folder().join(authority.as_str().unwrap()).to_str().unwrap().into();
        kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
        kubeconfig["contexts"][0]["context"]["namespace"] = world.namespace.as_str().into();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config"), kubeconfig.to_string()).unwrap();
        std::os::unix::fs::symlink(tool("kubectl").unwrap(), folder.path().join("kubectl")).unwrap();
        Self { folder }
    }

    /// Whether a program ended well, and what it printed.
    async fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
        let folder = self.folder.path();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut program = Command::new(arguments[0]);
        program.args(&arguments[1..]).env("PATH", path).env("KUBECONFIG", folder.join("config"));
        program.env("HOME", folder).envs(environment.iter().copied());
        let said = output(program, "").await;
        (said.status.success(), text(&said.stdout) + &text(&said.stderr))
    }

    /// The invocation of the recipe, of another function.
    fn invocation_of(&self, function: &str) -> String {
        let manifest = fs::read_to_string(recipe("job/invocation.yaml")).unwrap();
        let file = self.folder.path().join(format!("{function}.yaml"));
        fs::write(&file, manifest.replace("name: hello", &format!("name: {function}"))).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_pipeline_fails_when_its_invocation_fails_and_repeats_nothing() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let pod = Pod::new(&world).await;
    let script = recipe("job/invoke.sh");
    let invoke = async |function: &str, name: &str| {
        let arguments = ["sh", script.to_str().unwrap(), &pod.invocation_of(function)];
        pod.run(&arguments, &[("NAME", name), ("TIMEOUT", "60s")]).await
    };
    for _ in 0..2 {
        let (well, said) = invoke("hello", "good-1").await;
        assert!(well && said.contains("Accepted: FunctionGraph accepted"), "{said}");
    }
    assert_eq!(world.accepted("from-a-job").len(), 1);

    let (well, said) = invoke("nowhere", "bad-1").await;
    assert!(!well && said.contains("Failed: FunctionGraph answered 404"), "{said}");

    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 500}}}));
    let (well, said) = invoke("hello", "unknown-1").await;
    assert!(!well && said.contains("Unknown: "), "{said}");
}

#[tokio::test]
async fn a_scheduled_invocation_needs_these_rights_and_is_sent_once_however_often_its_pod_starts() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let pod = Pod::new(&world).await;
    let manifest = recipe("job/cronjob.yaml");
    let dry = ["create", "--dry-run=server", "--validate=strict", "-f", manifest.to_str().unwrap()];
    let said = world.kubectl(&dry).await;
    assert!(said.status.success() && said.stderr.is_empty(), "{}", text(&said.stderr));

    let template = &documents("job/cronjob.yaml")[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let container = &template["containers"][0];
    assert_eq!(template["serviceAccountName"], "invoker");
    let folder = recipe("job");
    let command: Vec<_> =
        container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let command: Vec<_> =
        command.iter().map(|word| word.replace("/invoke/", &format!("{}/", folder.display()))).collect();
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    // The first Pod is gone, a second one starts.
    for _ in 0..2 {
        let (well, said) = pod.run(&command, &[("NAME", "nightly-29746980"), ("TIMEOUT", "60s")]).await;
        assert!(well, "{said}");
    }
    assert_eq!(world.accepted("from-a-job").len(), 1);
    assert_eq!(world.get("nightly-29746980").await.status.unwrap().outcome, Some(Outcome::Accepted));
}

#[tokio::test]
async fn a_workflow_ends_with_every_outcome_and_its_manifest_is_taken() {
    let template =
        documents("argo-workflows/workflow.yaml").remove(0)["spec"]["templates"][0]["resource"].take();
    let outcomes = |condition: &str| -> Vec<Outcome> {
        let text = template[condition].as_str().unwrap();
        let names = text.strip_prefix("status.outcome in (").and_then(|rest| rest.strip_suffix(')')).unwrap();
        names.split(", ").map(|name| serde_json::from_value(name.into()).unwrap()).collect()
    };
    // Every outcome is in one of them: a workflow would wait for ever for one that is missing.
    let (well, badly) = (outcomes("successCondition"), outcomes("failureCondition"));
    let good = |outcome: &Outcome| match outcome {
        Outcome::Accepted | Outcome::Executed => true,
        Outcome::Failed | Outcome::Unknown | Outcome::Cancelled => false,
    };
    assert!(well.iter().all(good) && !badly.iter().any(good) && well.len() + badly.len() == 5);
    let world = World::new().await;
    let manifest = template["manifest"].as_str().unwrap().replace("{{workflow.name}}", "resize-x7k2p");
    for _ in 0..2 {
        let said = world.kubectl_with(&["apply", "-f", "-"], &manifest).await;
        assert!(said.status.success(), "{}", text(&said.stderr));
    }
}

#[tokio::test]
async fn a_task_of_tekton_fails_when_its_invocation_fails_and_runs_nothing_that_a_parameter_holds() {
    let world = World::new().await;
    world.provider().await;
    let _operator = world.operator().await;
    let pod = Pod::new(&world).await;
    let task = &documents("tekton/task.yaml")[0];
    let script = pod.folder.path().join("script");
    fs::write(&script, task["spec"]["steps"][0]["script"].as_str().unwrap()).unwrap();
    let result = pod.folder.path().join("result");
    let run = async |name: &str, function: &str, payload: &str| {
        let environment = [
            ("NAME", name),
            ("FUNCTION", function),
            ("PAYLOAD", payload),
            ("TIMEOUT", "60s"),
            ("RESULT", result.to_str().unwrap()),
        ];
        pod.run(&["sh", script.to_str().unwrap()], &environment).await
    };
    let (well, said) =
        run("run-1", "hello", r#"{"tag": "tekton", "a": "$(touch stolen) `id` ${HOME}"}"#).await;
    assert!(well, "{said}");
    let sent = world.get("run-1").await.spec.payload.unwrap();
    assert_eq!(serde_json::to_value(&sent).unwrap()["a"], "$(touch stolen) `id` ${HOME}");
    let id = world.get("run-1").await.status.unwrap().request_id.unwrap();
    assert_eq!(fs::read_to_string(&result).unwrap(), id);
    let (well, said) = run("run-2", "nowhere", "{}").await;
    assert!(!well && said.contains("Failed: "), "{said}");
}
