//! Processes: run to their end, sent a signal, reported with the end of their logs.

use crate::within;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The lines of a log that go into an error: enough for the cause and what led to it.
const LAST_LINES: usize = 15;

/// Runs a program to its end, with something to read.
pub async fn output(mut command: Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("it reads");
    drop(stdin);
    within(child.wait_with_output()).await.expect("it ends")
}

/// The text of a stream of bytes.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends a process a signal by name, as in `KILL`, `TERM`, `STOP`, `CONT`.
pub fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = text(&fs::read(log).unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
