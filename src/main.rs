//! Parses the command line, then `run` or `crd`; nothing else.

use clap::Parser;
use functiongraph_operator::args::{Cli, Command};
use functiongraph_operator::{controller, crds};
use std::error::Error;
use std::process::ExitCode;

// glibc keeps the memory of every peak; this allocator returns it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let result: Result<(), Box<dyn Error>> = match Cli::parse().command {
        // As a task, because tokio runs the future of `main` on none of its workers (see the documentation of `tokio::main`).
        Command::Run(args) => match tokio::spawn(controller::run(*args)).await {
            Ok(ended) => ended.map_err(Into::into),
            Err(panicked) => Err(panicked.into()),
        },
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
