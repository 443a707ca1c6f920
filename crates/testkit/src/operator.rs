//! Operator processes: started, asked, stopped, killed.

use crate::control_plane::{ADMIN, ControlPlane};
use crate::process::tail;
use crate::{Evidence, Log, PATIENCE, signal, until, until_some, within};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs, io};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// Where cargo tells tests and benchmarks, while it runs them, which operator it has built for them. There is no other
/// way to find one: what is in `target` may be old.
const PROGRAM: &str = "CARGO_BIN_EXE_functiongraph-operator";

/// Why an operator does not work.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Its process.
    #[error("cannot start the operator")]
    Start(#[from] io::Error),
    /// It ended, and should not have.
    #[error("the operator ended by itself ({status}); the end of its log:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// It lives and does not work.
    #[error("the operator was not ready within {} s ({missing}); the end of its log:\n{log}", PATIENCE.as_secs())]
    NotReady {
        /// What it says that it lacks.
        missing: String,
        /// The last lines of its log.
        log: String,
    },
}

/// An operator that is about to be started. Awaited, it is started, and works.
#[must_use]
pub struct Launch<'a> {
    plane: &'a ControlPlane,
    evidence: Option<Arc<Evidence>>,
    program: Option<PathBuf>,
    kubeconfig: PathBuf,
    scope: Vec<String>,
    flags: Vec<String>,
    environment: Vec<(OsString, OsString)>,
}

// === impl Launch ===

impl<'a> Launch<'a> {
    /// One for the whole cluster, with all rights, and with a log in the folder of the control plane.
    pub fn new(plane: &'a ControlPlane) -> Self {
        Self {
            plane,
            evidence: None,
            program: None,
            kubeconfig: plane.kubeconfig(ADMIN).expect("a kubeconfig"),
            scope: Vec::new(),
            flags: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn evidence(self, evidence: &Arc<Evidence>) -> Self {
        Self { evidence: Some(Arc::clone(evidence)), ..self }
    }

    /// Another program than the one that cargo has built for this test or benchmark.
    pub fn program(self, program: &Path) -> Self {
        Self { program: Some(program.into()), ..self }
    }

    /// For one namespace.
    pub fn namespaced(self, namespace: &str) -> Self {
        Self { scope: vec!["--namespaces".into(), namespace.into()], ..self }
    }

    /// For the whole cluster, with Secrets of cluster-scoped providers in this namespace.
    pub fn cluster_wide(self, own_namespace: &str) -> Self {
        Self { scope: vec!["--own-namespace".into(), own_namespace.into()], ..self }
    }

    /// At home in a namespace, with the rights of the ServiceAccount that the chart makes there. It serves the whole cluster
    /// unless a flag says otherwise.
    pub fn at_home(self, namespace: &str) -> Self {
        let admins = self.plane.kubeconfig(ADMIN).expect("a kubeconfig");
        let text = std::fs::read_to_string(&admins).expect("it is there");
        let mut config: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let user = &mut config["users"][0]["user"];
        user["as"] = format!("system:serviceaccount:{namespace}:functiongraph-operator").into();
        user["as-groups"] = serde_json::json!(["system:serviceaccounts", "system:authenticated"]);
        // Beside the other, because it names the authority's file without a folder.
        let own = admins.with_file_name(format!("at-home-in-{namespace}.kubeconfig"));
        std::fs::write(&own, config.to_string()).expect("a file");
        self.cluster_wide(namespace).kubeconfig(&own)
    }

    /// With the rights of a user of the control plane.
    pub fn user(self, user: &str) -> Self {
        let kubeconfig = self.plane.kubeconfig(user).expect("a kubeconfig");
        self.kubeconfig(&kubeconfig)
    }

    /// With another way to the API server.
    pub fn kubeconfig(self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.into(), ..self }
    }

    /// With more flags.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// With more in its environment.
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it, without waiting until it works.
    pub fn start(self) -> Operator {
        self.try_start().unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }

    /// The same, for a caller that has somebody to tell of an error.
    ///
    /// # Errors
    /// When the process cannot be created.
    pub fn try_start(self) -> Result<Operator, OperatorError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Self { plane, evidence, program, kubeconfig, scope, flags, environment } = self;
        let built =
            || env::var_os(PROGRAM).unwrap_or_else(|| panic!("{PROGRAM} is not set: run this with cargo"));
        let program = program.unwrap_or_else(|| built().into());
        let mut command = Command::new(program);
        let log = if let Some(evidence) = evidence {
            evidence.hear(&mut command)
        } else {
            let name = format!("operator-{}.log", NUMBER.fetch_add(1, Ordering::Relaxed));
            Log::of(&mut command, plane.folder().join(name), None)
        };
        let process = command
            .args(["run", "--allowed-endpoint-hosts=localhost", "--default-endpoint-hosts=false"])
            .args(["--probe-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--kubeconfig"])
            .arg(kubeconfig)
            .args(scope)
            .args(flags)
            .envs(environment)
            .process_group(0) // Ctrl-C is for the owner, who may still need it to end well
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().expect("it has just been started");
        Ok(Operator { _leash: leash(pid)?, process: Mutex::new(process), pid, log })
    }
}

impl<'a> IntoFuture for Launch<'a> {
    type Output = Operator;
    type IntoFuture = Pin<Box<dyn Future<Output = Operator> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async {
            let operator = self.start();
            operator.ready().await;
            operator
        })
    }
}

/// A running operator. It ends with this value.
pub struct Operator {
    // Dropped first: it must not take the end of the operator for that of its owner.
    _leash: Child,
    process: Mutex<Child>,
    pid: u32,
    log: Log,
}

// === impl Operator ===

impl Operator {
    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has printed.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits until it has logged `message`.
    pub async fn logged(&self, message: &str) {
        within(until(async || self.log.lines().iter().any(|line| line["message"] == message))).await;
    }

    /// Where it answers probes.
    pub async fn probes(&self) -> SocketAddr {
        within(until_some(async || self.log.address("probes"))).await
    }

    /// Where it answers scrapes.
    pub async fn metrics(&self) -> SocketAddr {
        within(until_some(async || self.log.address("metrics"))).await
    }

    /// The answer of its port for probes, or for `/metrics` of that for metrics: status and text.
    pub async fn ask(&self, path: &str) -> (u16, String) {
        let address = if path == "/metrics" { self.metrics().await } else { self.probes().await };
        get(address, path).await.expect("the operator answers")
    }

    /// Waits until it works.
    pub async fn ready(&self) {
        self.until_ready().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The same, for a caller that has somebody to tell of an error.
    ///
    /// # Errors
    /// When it ends or does not become ready.
    pub async fn until_ready(&self) -> Result<(), OperatorError> {
        let mut missing = String::new();
        let works = until_some(async || {
            match self.process.lock().await.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Some(Err(self.ended_with(status))),
                Err(error) => return Some(Err(error.into())),
            }
            let answer = async { get(self.log.address("probes")?, "/readyz").await };
            match answer.await {
                Some((200, _)) => return Some(Ok(())),
                Some((_, text)) => missing = text.trim().replace('\n', ", "),
                None => missing = "its port is not open yet".into(),
            }
            None
        });
        let waited = tokio::time::timeout(PATIENCE, works).await;
        waited.unwrap_or_else(|_| Err(OperatorError::NotReady { missing, log: tail(self.log.path()) }))
    }

    /// What keeps it from working, once that is told and `fits`.
    pub async fn lacks(&self, fits: impl Fn(&str) -> bool) -> String {
        let told = until_some(async || {
            let (status, text) = self.ask("/readyz").await;
            (status == 503 && fits(&text)).then_some(text)
        });
        within(told).await
    }

    /// The sum of all samples of a metric whose line holds each of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.ask("/metrics").await;
        assert_eq!(status, 200);
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>().expect("a number"))
            .sum()
    }

    /// A figure of its memory in KiB, by the kernel's name: `VmRSS`, or `VmHWM`, the most that it ever was.
    pub fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let figure = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        figure.and_then(|figure| figure.trim().trim_end_matches(" kB").parse().ok()).expect("a number")
    }

    /// The processor time that it has used.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("it runs");
        let (_, after) = stat.rsplit_once(')').expect("its name");
        // utime and stime, in ticks of a hundredth of a second (USER_HZ on every Linux we know).
        let fields = after.split_whitespace().skip(11).take(2);
        Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().expect("a number") * 10).sum())
    }

    /// Sends it a signal by name, as in `KILL`, `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        signal(self.pid, name);
    }

    /// Waits until it ends, however long that takes.
    ///
    /// # Errors
    /// When the system does not tell.
    pub async fn exit(&self) -> io::Result<ExitStatus> {
        self.process.lock().await.wait().await
    }

    /// Waits until it ends, which it does soon.
    pub async fn ended(&self) -> ExitStatus {
        within(self.exit()).await.expect("it ends")
    }

    /// The error for a caller that did not expect this end.
    pub fn ended_with(&self, status: ExitStatus) -> OperatorError {
        OperatorError::Ended { status, log: tail(self.log.path()) }
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(&self) {
        self.end_by("KILL").await;
    }

    /// Stops it as a rolling update does, and waits for its end.
    pub async fn stop(&self) -> ExitStatus {
        self.end_by("TERM").await
    }

    async fn end_by(&self, signal: &str) -> ExitStatus {
        if matches!(self.process.lock().await.try_wait(), Ok(None)) {
            self.log.keep_metrics();
            self.signal(signal);
        }
        self.ended().await
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if matches!(self.process.get_mut().try_wait(), Ok(None)) {
            self.log.keep_metrics();
        }
    }
}

/// A process that kills the operator when the process that holds its standard input is gone, however that ended.
fn leash(pid: u32) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", r#"read -r _ || kill -KILL "$0""#, &pid.to_string()])
        .stdin(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let answer = reqwest::get(format!("http://{address}{path}")).await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[tokio::test]
    async fn an_operator_is_killed_when_its_owner_is_gone() {
        let mut operator = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let mut leash = leash(operator.id().unwrap()).unwrap();
        // What the end of the owner does to its pipes.
        drop(leash.stdin.take());
        assert_eq!(within(operator.wait()).await.unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn a_leash_that_is_dropped_kills_nobody() {
        let mut operator = Command::new("cat").stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let pid = operator.id().unwrap();
        for _ in 0..20 {
            drop(leash(pid).unwrap());
        }
        // It ends by itself.
        drop(operator.stdin.take());
        assert!(within(operator.wait()).await.unwrap().success());
    }
}
