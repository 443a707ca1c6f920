//! Parses the command line, then `run` or `crd`; nothing else.

use clap::Parser;
use functiongraph_operator::args::{Cli, Command};
use functiongraph_operator::{controller, crds};
use std::error::Error;
use std::process::ExitCode;

// glibc keeps the memory of every peak; this allocator returns it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: the operator waits most of its time, and threads that wake each other cost it a fifth of its CPU time
// (benches/results.md).
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result: Result<(), Box<dyn Error>> = match Cli::parse().command {
        Command::Run(args) => controller::run(*args).await.map_err(Into::into),
        Command::Crd(args) => crds::write(args.output_dir.as_deref()).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crds::complain(&*error);
            ExitCode::FAILURE
        }
    }
}
