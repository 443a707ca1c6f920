//! What the demo stands on: a control plane, a FunctionGraph, and the operator, each started and stopped in order.

use crate::faults;
use control_plane::{ADMIN, AccessError, ControlPlane, Options, StartError};
use functiongraph_emulator::{Config, Emulator};
use functiongraph_operator::{clock, crds};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, fs, io};
use tokio::process::{Child, ChildStdin, Command};

/// Ties the operator to this process: it must not outlive it.
const LEASH: &str = include_str!("operator.sh");

/// The functions and credentials of the local FunctionGraph.
const EMULATOR: &str = include_str!("emulator.yaml");

/// The operator works a second after its start; a busy machine may need a while longer.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// How long the operator may finish what is on its way: longer than the one second that it takes here.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Lines of the operator's log that an error shows.
const LAST_LINES: usize = 10;

/// Why the demo has nothing to stand on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API.
    #[error(transparent)]
    ControlPlane(#[from] StartError),
    /// The way into it.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// What is installed before the operator.
    #[error(transparent)]
    Definitions(#[from] crds::Error),
    /// The emulator's configuration.
    #[error("examples/demo/emulator.yaml cannot be used")]
    EmulatorConfig(#[from] functiongraph_emulator::ConfigError),
    /// The emulator.
    #[error("the local FunctionGraph did not start")]
    Emulator(#[from] functiongraph_emulator::StartError),
    /// The operator was not built.
    #[error("{} is missing: run `make demo`, or `cargo build` before (with --release if the demo is)", .0.display())]
    NotBuilt(PathBuf),
    /// The operator's files, port or process.
    #[error("cannot start the operator")]
    Start(#[source] io::Error),
    /// The operator ended, and should not have.
    #[error("the operator ended by itself ({status}); the end of its log:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The operator lives and does not work.
    #[error("the operator was not ready within {} s ({missing}); the end of its log:\n{log}", READY_WITHIN.as_secs())]
    NotReady {
        /// What it says that it lacks.
        missing: String,
        /// The last lines of its log.
        log: String,
    },
}

/// The operator as a process of its own.
pub struct Operator {
    process: Child,
    /// Dropped, it stops the operator. Taken out of `process`, whose `wait` would drop it.
    leash: Option<ChildStdin>,
    probes: SocketAddr,
    /// Where it serves its metrics.
    pub metrics: SocketAddr,
    log: PathBuf,
}

/// A Kubernetes API with everything that is installed before the operator.
///
/// # Errors
/// When its programs are missing or it does not come up.
pub async fn control_plane() -> Result<ControlPlane, Error> {
    let plane = ControlPlane::start(Options::default()).await?;
    plane.apply_yaml(&crds::manifest()?).await?;
    Ok(plane)
}

/// A FunctionGraph with its faults, on free ports.
///
/// # Errors
/// When its configuration cannot be served.
pub async fn emulator() -> Result<Emulator, Error> {
    let any = ([127, 0, 0, 1], 0).into();
    let config = Config { listen: any, admin_listen: Some(any), ..Config::from_yaml(EMULATOR)? };
    let emulator = Emulator::start(config).await?;
    for fault in faults::all() {
        emulator.add_fault(fault);
    }
    Ok(emulator)
}

// === impl Operator ===

impl Operator {
    /// Starts it, and waits until it works.
    ///
    /// # Errors
    /// When it was not built, ends, or does not become ready.
    pub async fn start(plane: &ControlPlane) -> Result<Self, Error> {
        let program = beside_the_demo().map_err(Error::Start)?;
        if !program.is_file() {
            return Err(Error::NotBuilt(program));
        }
        let kubeconfig = plane.kubeconfig(ADMIN)?;
        let mut operator = Self::spawn(&program, &kubeconfig, plane.folder()).map_err(Error::Start)?;
        operator.ready().await?;
        Ok(operator)
    }

    fn spawn(program: &Path, kubeconfig: &Path, folder: &Path) -> io::Result<Self> {
        // Nobody else takes the ports in the moment until the operator has them.
        let (probes, metrics) = {
            let any = "127.0.0.1:0";
            let (one, other) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
            (one.local_addr()?, other.local_addr()?)
        };
        let log = folder.join("operator.log");
        let mut process = Command::new("sh")
            .args(["-c", LEASH, "operator"])
            .arg(program)
            .args(["run", "--allowed-endpoint-hosts=localhost", "--log-format=text"])
            .arg(format!("--probe-listen={probes}"))
            .arg(format!("--metrics-listen={metrics}"))
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .env("NO_COLOR", "1") // for the log
            .process_group(0) // Ctrl-C is for the demo, which then stops the operator
            .kill_on_drop(true)
            .spawn()?;
        let leash = process.stdin.take();
        Ok(Self { process, leash, probes, metrics, log })
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let url = format!("http://{}/readyz", self.probes);
        let start = clock::monotonic();
        loop {
            if let Some(status) = self.process.try_wait().map_err(Error::Start)? {
                return Err(Error::Ended { status, log: self.last_words() });
            }
            let missing = match reqwest::get(&url).await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(_) => "its port is not open yet".into(),
            };
            if start.elapsed() > READY_WITHIN {
                let missing = missing.lines().collect::<Vec<_>>().join(", ");
                return Err(Error::NotReady { missing, log: self.last_words() });
            }
            tokio::time::sleep(Duration::from_millis(50)).await; // an address: there is nothing to wait on
        }
    }

    /// Comes back only if the operator ends, which it should not.
    pub async fn ended(&mut self) -> Error {
        match self.process.wait().await {
            Ok(status) => Error::Ended { status, log: self.last_words() },
            Err(error) => Error::Start(error),
        }
    }

    /// Where its log is, as long as the control plane runs, in whose folder it is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Copies the log to where it stays.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn keep_log(&self) -> io::Result<PathBuf> {
        let copy = tempfile::Builder::new().prefix("functiongraph-operator-").suffix(".log").tempfile()?;
        fs::copy(&self.log, copy.path())?;
        let (_, path) = copy.keep().map_err(|error| error.error)?;
        Ok(path)
    }

    /// Lets it finish what is on its way.
    pub async fn stop(mut self) {
        drop(self.leash.take());
        // Dropped, it is killed: this is only the polite way.
        let _ = tokio::time::timeout(STOPPED_WITHIN, self.process.wait()).await;
    }
}

/// Where cargo puts the operator: the demo itself is in the folder `examples` there.
fn beside_the_demo() -> io::Result<PathBuf> {
    let demo = env::current_exe()?;
    let folder = demo.ancestors().nth(2).unwrap_or(Path::new("."));
    Ok(folder.join("functiongraph-operator"))
}
