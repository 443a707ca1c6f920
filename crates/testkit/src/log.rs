//! What one operator prints.

use crate::Evidence;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// How long a stopped operator may delay its end.
const METRICS_TIMEOUT: Duration = Duration::from_secs(10);

/// The log of one operator, in a file.
pub struct Log {
    path: PathBuf,
    /// Nothing is judged before the last of its logs is gone.
    evidence: Option<Arc<Evidence>>,
}

// === impl Log ===

impl Log {
    /// Lets a process that is about to be started print into a file.
    pub(crate) fn of(command: &mut Command, path: PathBuf, evidence: Option<Arc<Evidence>>) -> Self {
        let file = File::options().create(true).append(true).open(&path).expect("a log");
        command.stdout(Stdio::from(file.try_clone().expect("a log"))).stderr(file);
        Self { path, evidence }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was printed so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.path).expect("the log")
    }

    /// Its lines, but for those that are not JSON.
    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The address that was logged under this name, if one was: as JSON or as text.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        let text = self.text();
        [format!("\"{name}\":\""), format!("{name}=")].iter().find_map(|key| {
            let (_, value) = text.split_once(key)?;
            value.split_once(['"', ' ', '\n'])?.0.parse().ok()
        })
    }

    /// Keeps the metrics of the operator as evidence, as they are now, if it still answers.
    pub(crate) fn keep_metrics(&self) {
        let ask = || {
            self.evidence.as_ref()?;
            let mut stream = TcpStream::connect_timeout(&self.address("metrics")?, METRICS_TIMEOUT).ok()?;
            stream.set_read_timeout(Some(METRICS_TIMEOUT)).ok()?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
            let mut text = Vec::new();
            stream.read_to_end(&mut text).ok()?;
            Some(text)
        };
        if let Some(text) = ask() {
            std::fs::write(self.path.with_extension("metrics"), text).expect("a file for metrics");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_json_and_in_text_and_only_when_its_line_goes_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Log { path: file.path().into(), evidence: None };
        for (text, found) in [
            ("{\"probes\":\"127.0.0.1:81\",\"metrics\":\"127.0.0.1:82\"}\n", true),
            ("INFO starting probes=127.0.0.1:81 metrics=127.0.0.1:82\n", true),
            ("INFO starting probes=127.0.0.1:81 metrics=127.0.0.1:82", false),
            ("INFO starting\n", false),
        ] {
            std::fs::write(&log.path, text).unwrap();
            assert_eq!(log.address("metrics"), found.then_some(([127, 0, 0, 1], 82).into()), "{text}");
        }
    }
}
