//! Does what the documents say, as a reader would: every command of every page, in order, in a shell, with kubectl and Helm,
//! on a real API server with an operator and a local FunctionGraph.
//!
//! The pages are run as they are: nothing in them is replaced. Every provider is led to the emulator (`lead`), which knows
//! the credentials of the demo. There are no nodes, so that a Deployment makes no Pods: the operator that works
//! here runs beside the API server, and every Deployment is called rolled out. With nodes and Pods it is
//! `make e2e` that installs the chart.

use crate::console::{self, Block, Waiver};
use crate::documents::{pages, read, root};
use crate::lead::lead_to;
use functiongraph_emulator::Config;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use testkit::control_plane::{ADMIN, ControlPlane, Options, User, tool};
use testkit::{NOBODY, World, within};
use tokio::process::Command;

/// Pages that belong together, in the order in which somebody would follow them. The first installs what all others need,
/// and the last leaves it so.
const JOURNEY: [&str; 5] =
    ["docs/install.md", "docs/configure.md", "docs/upgrade.md", "docs/uninstall.md", "README.md"];

/// Those that install it: each gets an operator of its own, as it would a Pod.
const INSTALLING: [&str; 2] = ["docs/install.md", "README.md"];

/// Where these pages install the operator, and so where Secrets of cluster providers are.
const HOME: &str = "functiongraph";

/// Where a reader is: a folder with the checkout in it, and a namespace.
struct Place {
    folder: tempfile::TempDir,
    programs: PathBuf,
    key: (String, String),
}

// === impl Place ===

impl Place {
    fn new(plane: &ControlPlane, config: &Config, namespace: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(root()).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            if name != "target" && !name.to_str().unwrap().starts_with('.') {
                symlink(entry.path(), folder.path().join(name)).unwrap();
            }
        }
        let programs = folder.path().join(".bin");
        fs::create_dir(&programs).unwrap();
        for name in ["kubectl", "helm"] {
            symlink(tool(name).unwrap(), programs.join(name)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_functiongraph-operator"), programs.join("functiongraph-operator"))
            .unwrap();
        let kubeconfig = fs::read_to_string(plane.kubeconfig(ADMIN).unwrap()).unwrap();
        let mut kubeconfig: Value = serde_saphyr::from_str(&kubeconfig).unwrap();
        let authority = &mut kubeconfig["clusters"][0]["cluster"]["certificate-authority"];
        *authority = plane.folder().join(authority.as_str().unwrap()).to_str().unwrap().into();
        kubeconfig["contexts"][0]["context"]["namespace"] = namespace.into();
        fs::write(folder.path().join(".kubeconfig"), kubeconfig.to_string()).unwrap();
        let key = &config.access_keys[0];
        Self { folder, programs, key: (key.id.clone(), key.secret.clone()) }
    }

    /// What a command prints, or what is wrong with it.
    async fn run(&self, command: &console::Command) -> Result<String, String> {
        let path = format!("{}:{}", self.programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{}", command.text)])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.folder.path().join(".kubeconfig"))
            .env("CLOUD_SDK_AK", &self.key.0)
            .env("CLOUD_SDK_SK", &self.key.1)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ended = within(shell.output()).await.map_err(|error| error.to_string())?;
        let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
        let shows_an_error = command.output.iter().any(|line| line.to_lowercase().starts_with("error"));
        if ended.status.success() == shows_an_error {
            return Err(format!("{}, and printed:\n{printed}", ended.status));
        }
        let missing = console::missing(&command.output, &printed);
        if missing.is_empty() {
            return Ok(printed);
        }
        Err(format!("did not print:\n{}\nbut:\n{printed}", missing.join("\n")))
    }

    /// Runs the blocks of a page up to the first command that does not do what the page shows.
    async fn follow(&self, page: &Path) -> Result<usize, String> {
        let mut done = 0;
        for block in console::blocks(&read(page)).into_iter().filter(|block| block.waiver.is_none()) {
            for command in &block.commands {
                let place = format!("{}:{}: {}", page.display(), command.line, command.text);
                self.run(command).await.map_err(|why| format!("{place}\n{why}"))?;
                done += 1;
            }
        }
        Ok(done)
    }
}

/// Calls every Deployment rolled out, for want of nodes: Helm and kubectl wait for that.
async fn roll_out(client: Client) {
    let deployments: Api<Deployment> = Api::all(client.clone());
    let mut seen = pin!(watcher(deployments, watcher::Config::default()).default_backoff().applied_objects());
    while let Some(seen) = seen.next().await {
        let Ok(Deployment { metadata, spec, status }) = seen else { continue };
        let (Some(name), Some(namespace)) = (metadata.name, metadata.namespace) else { continue };
        if status.and_then(|status| status.observed_generation) == metadata.generation {
            continue;
        }
        let pods = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let status = json!({
            "observedGeneration": metadata.generation, "replicas": pods, "updatedReplicas": pods,
            "readyReplicas": pods, "availableReplicas": pods,
            "conditions": [
                {"type": "Available", "status": "True"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        });
        let patch = Patch::Merge(json!({"status": status}));
        let there: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
        // One that is deleted meanwhile needs none.
        let _ = there.patch_status(&name, &PatchParams::default(), &patch).await;
    }
}

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let targets = read(&root().join("Makefile"));
    let (mut run, mut waived) = (0, 0);
    for page in pages() {
        for Block { line, waiver, commands } in console::blocks(&read(&page)) {
            let place = format!("{}:{line}", page.display());
            assert!(!commands.is_empty(), "{place} has no command: begin its lines with `$ `");
            match waiver {
                None => run += 1,
                Some(Waiver::NotRun(why)) => {
                    assert!(why.len() > 10, "{place}: say why it is not run");
                    waived += 1;
                }
                Some(Waiver::RunBy(what)) => {
                    let target = what.strip_prefix("make ").and_then(|rest| rest.split(' ').next());
                    let there = match target {
                        Some(target) => targets.contains(&format!("\n{target}:")),
                        None => what.starts_with("tests/") && root().join(&what).is_file(),
                    };
                    assert!(there, "{place}: there is no {what}");
                    run += 1;
                }
            }
        }
        for kind in ["```sh\n", "```bash\n", "```shell\n"] {
            assert!(!read(&page).contains(kind), "{}: fence commands as console", page.display());
        }
    }
    assert!(run > waived, "{run} blocks are run, {waived} are not");
}

#[tokio::test]
async fn every_command_in_the_documents_does_what_the_page_shows() {
    let users = vec![User::new(NOBODY, &[])];
    let options = Options { users, audit: true, controller_manager: true, ..Options::default() };
    let plane: &ControlPlane = Box::leak(Box::new(ControlPlane::start(options).await.unwrap()));
    let demo = testkit::examples::emulator_config().unwrap();
    let known = demo.clone();
    let world = World::on(plane, |config| {
        (config.functions, config.access_keys, config.tokens) =
            (known.functions, known.access_keys, known.tokens);
    })
    .await;
    plane.apply_yaml(&lead_to(&world.emulator).await.to_string()).await.unwrap();
    tokio::spawn(roll_out(world.client.clone()));

    let mut pages = pages();
    let journey: Vec<_> = JOURNEY.iter().map(|page| root().join(page)).collect();
    pages.retain(|page| !journey.contains(page));
    let (mut done, mut wrong) = (0, Vec::new());
    // In one folder and one namespace: what one page leaves there, the next uses.
    let desk = Place::new(plane, &demo, "default");
    let mut _operator = None;
    for page in &journey {
        if INSTALLING.iter().any(|name| page.ends_with(name)) {
            _operator = Some(world.operator().at_home(HOME).start());
        }
        match desk.follow(page).await {
            Ok(commands) => done += commands,
            Err(why) => panic!("{why}"), // what comes after it cannot be judged
        }
    }
    for (number, page) in pages.iter().enumerate() {
        let namespace = format!("{}-{number}", world.namespace);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        plane.apply_yaml(&object.to_string()).await.unwrap();
        match Place::new(plane, &demo, &namespace).follow(page).await {
            Ok(commands) => done += commands,
            Err(why) => wrong.push(why),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(done > 20, "{done} commands");
}
