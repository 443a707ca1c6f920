//! The command line: its output is enough for the first call.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use functiongraph_emulator::DEFAULT_CONFIG;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{PROJECT, Seen, client};

const BINARY: &str = env!("CARGO_BIN_EXE_functiongraph-emulator");

/// A running emulator that ends with its test.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        Self::logging_to(args, Stdio::null())
    }

    /// Uses free ports in place of the configured ones.
    fn logging_to(args: &[&str], log: Stdio) -> Self {
        let mut command = Command::new(BINARY);
        for address in ["LISTEN", "ADMIN_LISTEN", "LOCAL_LISTEN"] {
            command.env(format!("FUNCTIONGRAPH_EMULATOR_{address}"), "127.0.0.1:0");
        }
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The text after `label` in the output.
    fn printed(&mut self, label: &str) -> String {
        for line in self.stdout.by_ref().lines() {
            let line = line.unwrap();
            if let Some((_, rest)) = line.split_once(label) {
                return rest.trim_matches([' ', ',']).split([' ', ',']).next().unwrap().to_owned();
            }
        }
        panic!("{label} was not printed");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not killed: it ends the handlers that it has started.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_is_printed_at_the_start_is_enough_for_the_first_call() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().to_str().unwrap();
    let mut running = Running::start(&["--listen", "127.0.0.1:0", "--tls-dir", tls]);
    let url = running.printed("emulator at");
    let ca = running.printed("authority");
    let admin = running.printed("admin API");
    let token = running.printed("token");
    let account = running.printed("user");
    let urn = running.printed("function");
    let shown = running.printed("https://localhost");
    assert!(Path::new(&ca).starts_with(dir.path()));

    let http = client(&std::fs::read_to_string(&ca).unwrap(), |builder| builder);
    let project = urn.split(':').nth(3).unwrap();
    let path = format!("/v2/{project}/fgs/functions/{urn}/invocations-async");
    assert_eq!(format!("https://localhost{shown}"), format!("{url}{path}"));
    let call = http.post(format!("{url}{path}")).header("X-Auth-Token", token).body("{}");
    assert_eq!(Seen::of(call).await.status, 202);
    assert_eq!(account, "emulator");
    assert_eq!(Seen::of(http.get(admin)).await.json()[0]["function"], *urn);
}

#[tokio::test]
async fn nothing_that_is_handed_out_or_shown_is_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let tls = dir.path().join("tls");
    let mut running = Running::logging_to(
        &["--log", "trace", "--tls-dir", tls.to_str().unwrap()],
        std::fs::File::create(&log).unwrap().into(),
    );
    let url = running.printed("emulator at");
    let ca = running.printed("authority");
    let metadata = running.printed("metadata");
    let pod_identity = running.printed("pod identity");
    running.printed("curl");
    let http = client(&std::fs::read_to_string(&ca).unwrap(), |builder| builder);
    let user = json!({"name": "ci", "password": "emulator-password", "domain": {"name": "emulator"}});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let body = json!({"auth": {"identity": identity}}).to_string();
    let token = Seen::of(http.post(format!("{url}/v3/auth/tokens")).body(body)).await;
    let token = token.header("x-subject-token").unwrap();
    let listed = Seen::of(http.get(format!("{url}/v3/projects")).header("X-Auth-Token", token)).await;
    assert_eq!(listed.status, 200);
    let machine_token = metadata.replace("/openstack/latest/securitykey", "/meta-data/latest/api/token");
    let machine_token = http.put(machine_token).header("X-Metadata-Token-Ttl-Seconds", "60");
    let machine_token = Seen::of(machine_token).await.text;
    let key = Seen::of(http.get(metadata).header("X-Metadata-Token", &machine_token)).await.json();
    let pod = http.post(pod_identity).header("Authorization", "emulator-pod-token").body("{}");
    let pod = Seen::of(pod).await.json();
    drop(running);

    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("v3/tokens") && text.contains("metadata/securitykey"), "{text}");
    let (key, pod) = (&key["credential"], &pod["credentials"]);
    let made = [&key["secret"], &key["securitytoken"], &pod["secret_access_key"], &pod["security_token"]];
    let made = made.map(|value| value.as_str().unwrap());
    for secret in made.into_iter().chain([token, &machine_token, "emulator-password", "emulator-pod-token"]) {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn it_ends_well_when_it_is_asked_to_terminate() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(&["--listen", "127.0.0.1:0", "--tls-dir", dir.path().to_str().unwrap()]);
    running.printed("emulator at");
    let killed = Command::new("kill").arg(running.child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert!(running.child.wait().unwrap().success());
}

#[test]
fn the_default_configuration_is_printed_as_it_is_served() {
    let output = Command::new(BINARY).arg("--print-default-config").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), DEFAULT_CONFIG);
}

#[test]
fn a_configuration_that_cannot_be_read_is_named_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("functions.yaml");
    std::fs::write(&file, "tokens: [t]\nfunctoins: []\n").unwrap();
    let output = Command::new(BINARY).arg("--config").arg(&file).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    let expected =
        format!("error: {}: not a configuration of the emulator: line 2 column 1: ", file.display());
    assert!(text.starts_with(&expected) && text.contains("functoins"), "{text}");
}

#[test]
fn a_failure_to_start_is_one_line_with_its_cause() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(BINARY)
        .args(["--listen", &address, "--tls-dir", dir.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with(&format!("error: cannot listen on {address}: ")), "{text}");
}

#[test]
fn what_joins_a_cluster_is_printed_with_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("authority");
    let print = || {
        let arguments = ["--print-cluster-config", "emulator.example", "--tls-dir", tls.to_str().unwrap()];
        Command::new(BINARY).args(arguments).output().unwrap()
    };
    let nothing = print();
    assert!(!nothing.status.success());
    let error = String::from_utf8(nothing.stderr).unwrap();
    assert!(error.contains("authority/ca.crt: No such file"), "{error}");
    drop(Running::start(&["--tls-dir", tls.to_str().unwrap()]).printed("authority"));
    let printed = String::from_utf8(print().stdout).unwrap();
    let documents: Vec<serde_json::Value> =
        printed.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect();
    assert_eq!(documents[0]["stringData"]["accessKeyID"], "EMULATORACCESSKEY001");
    let provider = &documents[1]["spec"];
    assert_eq!(provider["endpoint"], "https://emulator.example:8443");
    let authority = std::fs::read_to_string(tls.join("ca.crt")).unwrap();
    assert_eq!(provider["caBundle"].as_str(), Some(&*authority));
    assert!(printed.contains("--allowed-endpoint-hosts emulator.example"), "{printed}");
}

#[tokio::test]
async fn a_handler_next_to_the_configuration_file_runs_wherever_the_emulator_was_started() {
    let desk = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    std::fs::copy(examples.join("handler.py"), desk.path().join("handler.py")).unwrap();
    let file = desk.path().join("functions.yaml");
    let function = "{name: count, run: {command: [python3, handler.py]}}";
    std::fs::write(&file, format!("tokens: [t]\nfunctions: [{function}]\n")).unwrap();
    let tls = desk.path().join("tls");
    let mut running =
        Running::start(&["--config", file.to_str().unwrap(), "--tls-dir", tls.to_str().unwrap()]);
    let url = running.printed("emulator at");
    let http = client(&std::fs::read_to_string(running.printed("authority")).unwrap(), |builder| builder);
    let call = http.post(format!("{url}/v2/{PROJECT}/fgs/functions/count/invocations"));
    let seen = Seen::of(call.header("X-Auth-Token", "t").body(r#"{"b":1,"a":2}"#)).await;
    assert_eq!((seen.status, seen.json()), (200, json!({"fields": ["a", "b"]})), "{}", seen.text);
}
