//! Builds the library that gives a simulation its own time.

use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let source = "src/virtual_time.c";
    println!("cargo::rerun-if-changed={source}");
    let Some(folder) = std::env::var_os("OUT_DIR") else { return ExitCode::FAILURE };
    let library = Path::new(&folder).join("virtual_time.so");
    println!("cargo::rustc-env=VIRTUAL_TIME={}", library.display());
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(library).arg(source);
    match compiler.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
