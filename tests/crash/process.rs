//! One operator process that can be killed, stopped and replaced, with any kubeconfig.

use crate::evidence::Log;
use crate::world::{World, plane, within};
use serde_json::Value;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// A running operator. It ends with this value.
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    log: Log,
}

// === impl Process ===

impl Process {
    /// Starts one for the namespace of `world` and waits until it works.
    pub async fn start(world: &World) -> Self {
        let kubeconfig = plane().await.kubeconfig(control_plane::ADMIN).expect("a kubeconfig");
        let process = Self::spawn(world, &kubeconfig);
        process.ready().await;
        process
    }

    /// Starts one that finds its API server through `kubeconfig`.
    pub fn spawn(world: &World, kubeconfig: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_functiongraph-operator"));
        let log = world.evidence.hear(&mut command);
        let child = command
            .args(["run", "--allowed-endpoint-hosts=localhost", "--probe-listen=127.0.0.1:0"])
            .args(["--metrics-listen=127.0.0.1:0"])
            .args(["--secret-poll-seconds=1", "--namespaces", &world.namespace, "--kubeconfig"])
            .arg(kubeconfig)
            .kill_on_drop(true)
            .spawn()
            .expect("the operator starts");
        let pid = child.id().expect("it runs");
        Self { child: Mutex::new(child), pid, log }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until it works.
    pub async fn ready(&self) {
        self.logged("working").await;
    }

    /// Waits until it has logged `message`.
    pub async fn logged(&self, message: &str) {
        let told = async {
            while !self.lines().any(|line| line["message"] == message) {
                tokio::time::sleep(Duration::from_millis(10)).await; // polls a file: nothing to await
            }
        };
        within(told).await;
    }

    /// The lines of its log.
    pub fn lines(&self) -> impl Iterator<Item = Value> {
        let lines: Vec<_> = self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter()
    }

    /// What its port for probes answers, or for `/metrics` that for metrics: status and text.
    pub async fn ask(&self, path: &str) -> (u16, String) {
        self.logged("starting").await;
        let port = if path == "/metrics" { "metrics" } else { "probes" };
        let address = self.log.address(port).expect("its address");
        let answer = reqwest::get(format!("http://{address}{path}")).await.expect("the operator answers");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    }

    /// Its number in the system.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal by name, as in `KILL`, `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        signal(self.pid, name);
    }

    /// Waits for its end.
    pub async fn ended(&self) -> ExitStatus {
        within(self.child.lock().await.wait()).await.expect("it ends")
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(&self) {
        self.log.keep_metrics();
        self.signal("KILL");
        self.ended().await;
    }

    /// Stops it as a rolling update does, and waits for its end.
    pub async fn stop(&self) -> ExitStatus {
        self.log.keep_metrics();
        self.signal("TERM");
        self.ended().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.log.keep_metrics();
        if std::thread::panicking() {
            eprintln!("--- operator {}\n{}", self.pid, self.log());
        }
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(sent.expect("kill is there").success());
}
