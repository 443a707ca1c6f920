//! What operators print and store in a test: kept while it runs, and searched for secrets and payloads at its end.
//!
//! No test has to do anything for it. A [`crate::World`] and its operators hold the [`Evidence`]; when the last of
//! them is gone, it is judged, and what was found fails the test. Secrets and payloads are known from what was written
//! to the API server by anybody, and from the emulator; so is what was stored: every version of every status and every
//! Event, also of objects that are gone.

use crate::Log;
use crate::control_plane::{ADMIN, ControlPlane};
use functiongraph_operator::api::GROUP;
use functiongraph_operator::clock;
use k8s_openapi::ByteString;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::process::Command;

/// How every canary begins: a word with it in a payload, a ConfigMap or a Secret must not turn up anywhere else.
const CANARY: &str = "canary-";

/// What gives a secret away that no test has planted: the beginning of a JWT, and of a key in PEM.
const ALWAYS: [&str; 2] = ["eyJhbGciOi", "PRIVATE KEY-----"];

/// Values of a Secret that are none.
const PUBLIC: [&str; 3] = ["accessKeyID", "domainName", "userName"];

/// Where kubectl keeps what its user wrote.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Shorter ones would be found in words that mean no harm.
const SHORTEST: usize = 8;

/// So much of a secret is searched for: what leaks may be cut.
const LONGEST: usize = 32;

/// What is kept of one test.
pub struct Evidence {
    namespace: String,
    /// Logs and metrics of its operators.
    folder: tempfile::TempDir,
    operators: AtomicU32,
    /// What was written to its API server, and where it begins.
    written: PathBuf,
    since: u64,
    /// Goes into every payload.
    marker: String,
    planted: Mutex<BTreeSet<String>>,
}

// === impl Evidence ===

impl Evidence {
    /// For a test in this namespace and those whose names begin with it.
    pub fn new(namespace: &str, plane: &ControlPlane, users: &[&str]) -> Arc<Self> {
        let written = plane.written().expect("the control plane keeps what is written");
        let tokens = users.iter().chain([&ADMIN]).map(|user| {
            let config = plane.kube_config_as(user).expect("a user of the control plane");
            config.auth_info.token.expect("a token").expose_secret().to_owned()
        });
        Arc::new(Self {
            namespace: namespace.to_owned(),
            folder: tempfile::tempdir().expect("a folder for logs"),
            operators: AtomicU32::new(0),
            since: std::fs::metadata(&written).map_or(0, |file| file.len()),
            written,
            marker: format!("{CANARY}{:016x}", clock::chance()),
            planted: Mutex::new(tokens.collect()),
        })
    }

    /// A word that must not turn up anywhere else, for payloads.
    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// Must not turn up anywhere.
    pub fn plant(&self, secrets: impl IntoIterator<Item = String>) {
        self.planted.lock().unwrap().extend(secrets);
    }

    /// Lets an operator that is about to be started say all it has to say, and keeps it.
    pub fn hear(self: &Arc<Self>, command: &mut Command) -> Log {
        let number = self.operators.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("operator-{number}.log"));
        Log::of(command.env("FUNCTIONGRAPH_OPERATOR_LOG", "debug"), path, Some(Arc::clone(self)))
    }

    /// What all operators have printed.
    pub fn logs(&self) -> String {
        self.kept(".log").collect()
    }

    /// The metrics of each operator that has ended.
    pub fn metrics(&self) -> Vec<String> {
        self.kept(".metrics").collect()
    }

    fn kept(&self, ending: &'static str) -> impl Iterator<Item = String> {
        self.files().into_iter().filter(move |(name, _)| name.ends_with(ending)).map(|(_, text)| text)
    }

    /// Names and texts of what is kept, in the order of their names.
    fn files(&self) -> Vec<(String, String)> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let read = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned())
        };
        paths.iter().map(read).collect()
    }

    /// The requests that have written something about this test.
    pub fn writes(&self) -> Vec<Value> {
        let mut text = Vec::new();
        let mut file = File::open(&self.written).expect("the file with what was written");
        file.seek(SeekFrom::Start(self.since)).and_then(|_| file.read_to_end(&mut text)).expect("its lines");
        let of_cluster = r#""resource":"clusterfunctiongraphproviders""#;
        let ours = format!(r#""namespace":"{}"#, self.namespace);
        // The namespace itself, or one that is called after it.
        let is_ours = |line: &str| {
            line.split(&ours).skip(1).any(|rest| rest.starts_with(['"', '-'])) || line.contains(of_cluster)
        };
        let text = String::from_utf8_lossy(&text);
        // The last line may be on its way: somebody else's.
        text.lines().filter(|line| is_ours(line)).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Where a secret or a payload was found.
    pub fn findings(&self) -> Vec<String> {
        let mut hidden = Hidden(self.planted.lock().unwrap().clone());
        hidden.0.insert(self.marker.clone());
        hidden.0.extend(ALWAYS.map(ToOwned::to_owned));
        let mut places = self.files();
        for mut write in self.writes() {
            let object = write["requestObject"].take();
            let of = |key: &str| write["objectRef"][key].as_str().unwrap_or_default();
            match (of("resource"), of("subresource")) {
                ("secrets", _) => hidden.secret(&object),
                ("configmaps", _) => texts(&object["data"]).for_each(|(_, text)| hidden.payload(text)),
                ("serviceaccounts", "token") => {
                    let token = write["responseObject"]["status"]["token"].as_str();
                    // All begin alike.
                    hidden.0.extend(token.and_then(|token| Some(token.rsplit_once('.')?.1.to_owned())));
                }
                (kind, part) if kind == "events" || of("apiGroup") == GROUP => {
                    hidden.words(&object["spec"]["payload"].to_string());
                    let name = object["metadata"]["name"].as_str().unwrap_or(of("name"));
                    let place = format!("{kind}/{name} {part} of {}", of("namespace"));
                    places.push((place, stored(object).to_string()));
                }
                _ => {}
            }
        }
        let looks = hidden.looks();
        places.iter().flat_map(|(place, text)| find(place, text, &looks)).collect()
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        let findings = self.findings();
        if findings.is_empty() {
            return;
        }
        let what = format!("{} leaked into\n{}", self.namespace, findings.join("\n"));
        // A second panic would hide the first.
        if std::thread::panicking() {
            eprintln!("{what}");
        } else {
            panic!("{what}");
        }
    }
}

/// What was written, without what its author wrote there and without what a function has returned.
fn stored(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("spec");
    }
    for (holder, field) in [("/status", "result"), ("/metadata/annotations", APPLIED)] {
        if let Some(fields) = object.pointer_mut(holder).and_then(Value::as_object_mut) {
            fields.remove(field);
        }
    }
    object
}

/// What must not turn up.
struct Hidden(BTreeSet<String>);

// === impl Hidden ===

impl Hidden {
    /// The values of a Secret.
    fn secret(&mut self, object: &Value) {
        for part in ["data", "stringData"] {
            for (key, text) in texts(&object[part]) {
                let bytes = serde_json::from_value::<ByteString>(text.into()).ok().filter(|_| part == "data");
                let value =
                    bytes.map_or(text.to_owned(), |bytes| String::from_utf8_lossy(&bytes.0).into_owned());
                self.words(&value);
                if !PUBLIC.contains(&key) {
                    self.payload(&value);
                }
            }
        }
    }

    /// A text, if it is long enough to be told from others, and the canaries in it.
    fn payload(&mut self, text: &str) {
        self.words(text);
        if text.len() >= SHORTEST {
            self.0.insert(text.to_owned());
        }
    }

    /// The canaries in a text.
    fn words(&mut self, text: &str) {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        for word in text.split(|c: char| !is_part(c)) {
            if word.starts_with(CANARY) {
                self.0.insert(word.to_owned());
            }
        }
    }

    /// How all of that may look: as it is, in JSON, in JSON in JSON, in base64 alone and within more, as numbers.
    fn looks(&self) -> BTreeSet<String> {
        let mut looks = BTreeSet::new();
        for secret in &self.0 {
            let secret: String = secret.trim().chars().take(LONGEST).collect();
            let escaped = |text: &str| json!(text).to_string().trim_matches('"').to_owned();
            let once = escaped(&secret);
            looks.extend([escaped(&once), once]);
            for shift in 0..3 {
                let bytes = [b"...".get(..shift).unwrap_or_default(), secret.as_bytes()].concat();
                let whole = json!(ByteString(bytes)).as_str().unwrap_or_default().to_owned();
                // The ends share their letters with what stands around them.
                let sure = whole.get(if shift == 0 { 0 } else { 4 }..whole.len() - 4);
                looks.extend(sure.filter(|sure| sure.len() >= SHORTEST).map(ToOwned::to_owned));
            }
            looks.insert(secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "));
            looks.insert(secret);
        }
        looks
    }
}

/// The fields of an object that are strings.
fn texts(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    object.as_object().into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// Where any of this first stands in a text.
fn find(place: &str, text: &str, looks: &BTreeSet<String>) -> Vec<String> {
    let found = looks.iter().filter_map(|look| text.find(look.as_str()).map(|at| (at, look)));
    let told = found.map(|(at, look)| {
        let line = 1 + text.get(..at).map_or(0, |before| before.matches('\n').count());
        let around = text.get(text.floor_char_boundary(at.saturating_sub(200))..).unwrap_or_default();
        let around: String = around.chars().take(400).collect();
        format!("{place}:{line}: {look:?} in {around:?}")
    });
    told.collect()
}
