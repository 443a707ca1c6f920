//! What the demo runs on: a control plane, a FunctionGraph, and the operator.

use functiongraph_emulator::{Config, Emulator};
use functiongraph_operator::crds;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs, io};
use testkit::control_plane::{ControlPlane, Options, StartError};
use testkit::{Launch, Operator, OperatorError, examples};

/// How long the operator may finish what is on its way: longer than the one second that it takes here.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Why the demo has nothing to run on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API.
    #[error(transparent)]
    ControlPlane(#[from] StartError),
    /// The way into it.
    #[error(transparent)]
    Access(#[from] testkit::control_plane::AccessError),
    /// What is installed before the operator.
    #[error(transparent)]
    Definitions(#[from] crds::Error),
    /// The emulator's configuration.
    #[error("examples/demo/emulator.yaml cannot be used")]
    EmulatorConfig(#[from] functiongraph_emulator::ConfigError),
    /// The emulator.
    #[error("the local FunctionGraph did not start")]
    Emulator(#[from] functiongraph_emulator::StartError),
    /// The operator was not built from the sources as they are.
    #[error("{} is missing or older than its sources: run `make demo`, or `cargo build` before (with --release if the demo is)", .0.display())]
    NotBuilt(PathBuf),
    /// The operator.
    #[error(transparent)]
    Operator(#[from] OperatorError),
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

/// A FunctionGraph with the functions and faults of the examples, on free ports.
///
/// # Errors
/// When its configuration cannot be served.
pub async fn emulator() -> Result<Emulator, Error> {
    let any = ([127, 0, 0, 1], 0).into();
    let config = Config { listen: any, admin_listen: Some(any), ..examples::emulator_config()? };
    Ok(Emulator::start(config).await?)
}

/// Whether a program can be started on this machine.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// An operator that works.
///
/// # Errors
/// When it was not built, ends, or does not become ready.
pub async fn operator(plane: &ControlPlane) -> Result<Operator, Error> {
    let program = beside_the_demo().map_err(OperatorError::Start)?;
    if !is_current(&program).unwrap_or_default() {
        return Err(Error::NotBuilt(program));
    }
    let launch = Launch::new(plane).program(&program).flags(&["--log-format=text"]);
    let operator = launch.environment("NO_COLOR", "1").try_start()?; // for the log
    operator.until_ready().await?;
    Ok(operator)
}

/// Lets it finish what is on its way.
pub async fn stop(operator: Operator) {
    // Dropped, it is killed: this is only the polite way.
    let _ = tokio::time::timeout(STOPPED_WITHIN, operator.stop()).await;
}

/// Copies the operator's log to where it stays.
///
/// # Errors
/// When there is no room for it.
pub fn keep_log(operator: &Operator) -> io::Result<PathBuf> {
    let copy = tempfile::Builder::new().prefix("functiongraph-operator-").suffix(".log").tempfile()?;
    fs::copy(operator.log().path(), copy.path())?;
    let (_, path) = copy.keep().map_err(|error| error.error)?;
    Ok(path)
}

/// Where cargo puts the operator: the demo itself is in the folder `examples` there.
fn beside_the_demo() -> io::Result<PathBuf> {
    let demo = env::current_exe()?;
    let folder = demo.ancestors().nth(2).unwrap_or(Path::new("."));
    Ok(folder.join("functiongraph-operator"))
}

/// Whether no source has changed since a program was built. Cargo lists the sources of each in a file beside it.
fn is_current(program: &Path) -> io::Result<bool> {
    let built = fs::metadata(program)?.modified()?;
    let sources = fs::read_to_string(program.with_extension("d"))?;
    for source in sources.split_whitespace().skip(1) {
        if fs::metadata(source)?.modified()? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_program_that_is_older_than_a_source_is_not_current() {
        let folder = tempfile::tempdir().unwrap();
        let (program, source) = (folder.path().join("program"), folder.path().join("main.rs"));
        assert!(is_current(&program).is_err(), "it was not built");
        for path in [&source, &program] {
            fs::write(path, "").unwrap();
        }
        let list = format!("{}: {}\n", program.display(), source.display());
        fs::write(program.with_extension("d"), list).unwrap();
        for (changed, current) in [(100, true), (300, false)] {
            for (path, seconds) in [(&source, changed), (&program, 200)] {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
                fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
            }
            assert_eq!(is_current(&program).unwrap(), current);
        }
    }
}
