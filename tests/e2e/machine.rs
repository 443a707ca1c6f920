//! What the story plays on: the programs, the images, and a cluster, be it a node of our own or somebody else's.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};
use tempfile::TempDir;
use testkit::control_plane::tool;
use tokio::process::Command;

const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");

/// Where `tools/image.sh` puts images that have no other name.
const REGISTRY: &str = "localhost";

/// What is tested.
pub struct Images {
    /// `repository:tag`.
    pub operator: String,
    /// `repository:tag`.
    pub emulator: String,
    /// The files to give to a node.
    files: Vec<PathBuf>,
}

/// A cluster, and the programs that are used on it.
pub struct Machine {
    /// Its admin's.
    pub client: Client,
    /// The file for kubectl and Helm.
    kubeconfig: PathBuf,
    // Dropped in this order: the node lies in the folder.
    node: Option<Node>,
    /// Where files of the test lie; removed at its end.
    pub folder: TempDir,
}

/// A node of our own; it ends with this value, and with this process.
struct Node(PathBuf);

/// The images: those that are named, else those of this checkout, which are built.
pub async fn images() -> Images {
    let version = env!("CARGO_PKG_VERSION");
    let named = |variable: &str, name: &str| {
        env::var(variable).unwrap_or_else(|_| format!("{REGISTRY}/{name}:{version}"))
    };
    let operator = named("E2E_IMAGE", "functiongraph-operator");
    let emulator = named("E2E_EMULATOR_IMAGE", "functiongraph-emulator");
    if foreign_cluster().is_some() {
        return Images { operator, emulator, files: Vec::new() };
    }
    run(&mut script("tools/image.sh")).await;
    let folder = PathBuf::from(run(script("tools/image.sh").arg("--print-dir")).await.trim());
    Images { operator, emulator, files: vec![folder.join("operator.tar"), folder.join("emulator.tar")] }
}

fn foreign_cluster() -> Option<PathBuf> {
    env::var_os("E2E_KUBECONFIG").map(PathBuf::from)
}

fn script(path: &str) -> Command {
    let mut command = Command::new(Path::new(CHECKOUT).join(path));
    command.current_dir(CHECKOUT).stdin(Stdio::null());
    command
}

/// Runs a program that must succeed; returns what it printed. What it says beside that is shown at once.
pub async fn run(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().await;
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

// === impl Machine ===

impl Machine {
    /// The cluster of `E2E_KUBECONFIG`, or a node with the images.
    pub async fn start(images: &Images) -> Self {
        // Another one may be installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("functiongraph-e2e-").tempdir().expect("a folder");
        let (kubeconfig, node) = if let Some(kubeconfig) = foreign_cluster() {
            (kubeconfig, None)
        } else {
            let node = Node::start(folder.path().join("node"), &images.files).await;
            (node.0.join("kubeconfig"), Some(node))
        };
        let file = Kubeconfig::read_from(&kubeconfig).expect("a kubeconfig");
        let config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a config");
        let client = Client::try_from(config).expect("a client");
        Self { client, kubeconfig, node, folder }
    }

    /// Whether the Pods run on this machine, so that their processes can be seen.
    pub fn has_own_node(&self) -> bool {
        self.node.is_some()
    }

    fn program<S: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(tool(name).expect("make tools has been run"));
        // What a person has set for their own Helm is none of our business.
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.folder.path().join("helm"));
        }
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .args(arguments)
            .current_dir(CHECKOUT)
            .stdin(Stdio::null());
        command
    }

    /// Runs Helm; returns what it printed.
    pub async fn helm<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        run(&mut self.program("helm", arguments)).await
    }

    /// Runs kubectl; returns what it printed.
    pub async fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        run(&mut self.program("kubectl", arguments)).await
    }

    /// Runs kubectl where it must fail; returns what it said.
    pub async fn kubectl_refused<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.program("kubectl", arguments).output().await.expect("kubectl");
        assert!(!output.status.success(), "kubectl should have failed: {output:?}");
        String::from_utf8(output.stderr).expect("text")
    }
}

// === impl Node ===

impl Node {
    async fn start(folder: PathBuf, images: &[PathBuf]) -> Self {
        run(&mut script("tools/build.sh")).await;
        run(script("tools/build.sh").arg("node")).await;
        run(script("tools/node/up.sh").arg(&folder).args(images)).await;
        Self(folder)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut down = Blocking::new(Path::new(CHECKOUT).join("tools/node/down.sh"));
        down.arg(&self.0);
        if std::thread::panicking() && env::var_os("E2E_KEEP").is_some() {
            let kept = env::temp_dir().join(format!("functiongraph-e2e-logs-{}", std::process::id()));
            std::fs::create_dir_all(&kept).expect("a folder for logs");
            for logs in ["log", "pods.log"] {
                let copied = Blocking::new("cp").arg("-r").arg(self.0.join(logs)).arg(&kept).status();
                assert!(copied.is_ok(), "{copied:?}");
            }
            eprintln!("the node's logs are in {}", kept.display());
        }
        let removed = down.status();
        assert!(
            removed.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "the node is not removed"
        );
    }
}
