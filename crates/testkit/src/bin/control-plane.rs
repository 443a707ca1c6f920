//! Runs a throw-away Kubernetes API until Ctrl-C.

use std::{
    error::Error,
    io::{Write as _, stderr, stdout},
    process::ExitCode,
};

use testkit::control_plane::{ADMIN, ControlPlane, Options};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let _ = writeln!(stderr(), "{text}"); // where else to complain
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = serve() => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Ends only with an error; dropped, it takes the control plane along.
async fn serve() -> Result<(), Box<dyn Error>> {
    let plane = ControlPlane::start(Options { controller_manager: true, ..Options::default() }).await?;
    // The only line, so that a script can read it.
    writeln!(stdout(), "export KUBECONFIG={}", plane.kubeconfig(ADMIN)?.display())?;
    std::future::pending().await
}
