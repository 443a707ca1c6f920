//! A running program that makes calls with one of the SDKs.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Folder of the programs.
pub const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk");

/// One of the SDKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    Go,
    Node,
    /// A client in Go for Open Telekom Cloud, with calls of its own.
    Otc,
}

/// A running program. It ends when this is dropped.
pub struct Sdk {
    pub language: Language,
    child: Child,
    asked: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

/// The SDK's result for an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Called {
    /// The exception for an answer of the service, with the SDK's four fields.
    Refused { status: u16, code: Option<String>, message: String, request_id: Option<String> },
    /// The status and the fields that are set, with their names in the API.
    Done { status: u16, fields: Value },
    /// The SDK itself failed.
    Threw { threw: String },
}

impl Language {
    /// Huawei Cloud's SDKs.
    pub const ALL: [Self; 3] = [Self::Python, Self::Go, Self::Node];

    /// The program and its arguments.
    fn command(self) -> Command {
        match self {
            Self::Python => {
                let mut command = Command::new(installed(self, "bin/python"));
                command.arg(Path::new(SOURCES).join("python/driver.py"));
                command
            }
            Self::Go | Self::Otc => Command::new(installed(self, "driver")),
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(Path::new(SOURCES).join("node/driver.js"));
                command
            }
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The hash of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(bytes)))
}

/// A file that `make sdks` has put into the user's cache. `tools/sdks.sh` names its folder after its sources.
pub fn installed(language: Language, file: &str) -> PathBuf {
    let (sdk, made_from) = match language {
        Language::Python => ("python", &["requirements.txt"][..]),
        Language::Go => ("go", &["go.mod", "go.sum", "main.go", "sample/sample.go.txt"][..]),
        Language::Node => ("node", &["package.json", "package-lock.json"][..]),
        Language::Otc => ("otc", &["go.mod", "go.sum", "main.go"][..]),
    };
    let source = |name: &&str| fs::read(Path::new(SOURCES).join(sdk).join(name)).unwrap();
    let hash = sha256(&made_from.iter().flat_map(source).collect::<Vec<u8>>());
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").unwrap_or_else(|| set("HOME").unwrap().join(".cache"));
    let path = cache.join("functiongraph-operator").join(format!("sdk-{sdk}-{}", &hash[..12])).join(file);
    assert!(path.exists(), "{} is missing: run `make sdks`", path.display());
    path
}

impl Sdk {
    /// Starts a program with only these environment variables and a home of its own, because the SDKs write there and
    /// read settings from both.
    pub fn start(language: Language, home: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = language.command();
        command.env_clear().env("HOME", home).envs(environment.iter().copied());
        if language == Language::Node {
            command.env("NODE_PATH", installed(language, "node_modules"));
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { language, asked: child.stdin.take(), said, child }
    }

    /// Makes a call. Parameters have their names in the API; the parameter `body` is the body.
    pub fn call(&mut self, call: &str, parameters: &Value) -> Called {
        let question = json!({"call": call, "parameters": parameters});
        let asked = self.asked.as_mut().unwrap();
        writeln!(asked, "{question}").unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        let read = serde_json::from_str(&line);
        read.unwrap_or_else(|error| panic!("{}, {call}: {error}: {line:?}", self.language))
    }

    /// Makes a call that succeeds with this status, and returns its fields.
    #[track_caller]
    pub fn done(&mut self, status: u16, call: &str, parameters: &Value) -> Value {
        match self.call(call, parameters) {
            Called::Done { status: seen, fields } if seen == status => fields,
            other => panic!("{}, {call}: {other:?}", self.language),
        }
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        drop(self.asked.take());
        let _ = self.child.wait();
    }
}
