//! The command line: what it prints is enough to make the first call.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use functiongraph_emulator::DEFAULT_CONFIG;

use crate::support::{Seen, client};

const BINARY: &str = env!("CARGO_BIN_EXE_functiongraph-emulator");

/// A running emulator that does not outlive its test.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        let command = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.env("FUNCTIONGRAPH_EMULATOR_ADMIN_LISTEN", "127.0.0.1:0").spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The word behind `label` in what it prints.
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
        let _ = self.child.kill();
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
