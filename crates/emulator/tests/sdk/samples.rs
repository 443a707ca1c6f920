//! The sample programs of the API reference (support.huaweicloud.com, `functiongraph_06_0126`, March 2024),
//! unchanged.
//!
//! `python/sample.py` and `go/sample/sample.go.txt` are as published. The test changes their text before it runs
//! them:
//!
//! * The name of a region replaces the placeholder.
//! * The Go sample lacks an import of `os` and does not compile without it.
//! * The second half of each test names a function, because no sample does. In Go the name comes from the
//!   environment; without it the request is the published one.

use std::fs;
use std::path::Path;
use std::process::Command;

use functiongraph_emulator::{AccessKey, Api, Config, Emulator, Function, IdentityApi};
use serde_json::{Value, json};

use crate::driver::{Language, SOURCES, installed, sha256};
use crate::place::PROJECT;

/// A region that the SDKs know.
const REGION: &str = "cn-north-4";

async fn emulator() -> Emulator {
    let access_keys = vec![AccessKey { id: "AK".into(), secret: "SK".into(), security_token: None }];
    let functions = vec![Function::named("hello")];
    let region = REGION.to_owned();
    Emulator::start(Config { region, functions, access_keys, ..Config::default() }).await.unwrap()
}

fn urn() -> String {
    format!("urn:fss:{REGION}:{PROJECT}:function:default:hello")
}

/// Runs a sample with the environment that its comments require, and with the SDK's variables for the emulator's
/// endpoints and authority. Returns the printed lines.
fn run(mut command: Command, function: &str, emulator: &Emulator, home: &Path) -> Vec<String> {
    let ca = home.join("ca.crt");
    fs::write(&ca, emulator.ca_pem()).unwrap();
    let output = command
        .env_clear()
        .env("HOME", home)
        .env("FUNCTION_URN", function)
        .env("CLOUD_SDK_AK", "AK")
        .env("CLOUD_SDK_SK", "SK")
        .env("HUAWEICLOUD_SDK_REGION_FUNCTIONGRAPH_CN_NORTH_4", emulator.url())
        .env("HUAWEICLOUD_SDK_IAM_ENDPOINT", emulator.url())
        .env("REQUESTS_CA_BUNDLE", &ca) // Python
        .env("SSL_CERT_FILE", &ca) // Go, where that is Linux
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sample_is_refused_as_published_and_accepted_with_a_function() {
    let sample = fs::read_to_string(Path::new(SOURCES).join("python/sample.py")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let run = |text: String, emulator: &Emulator| {
        let program = home.path().join("sample.py");
        fs::write(&program, text.replace("<YOUR REGION>", REGION)).unwrap();
        let mut command = Command::new(installed(Language::Python, "bin/python"));
        command.arg(program);
        run(command, "", emulator, home.path())
    };

    let emulator = emulator().await;
    let lines = run(sample.clone(), &emulator);
    let [status, request_id, code, message] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&**status, request_id.len()), ("404", 32));
    assert_eq!((&**code, &**message), ("FSS.1051", "Not found the function"));
    assert_eq!(
        emulator.requests().calls[&Api::Identity(IdentityApi::Projects)],
        1,
        "it looks for its project"
    );

    let line = "request = AsyncInvokeFunctionRequest()";
    let meant = format!("request = AsyncInvokeFunctionRequest(function_urn=\"{}\")", urn());
    assert!(sample.contains(line));
    let lines = run(sample.replace(line, &meant), &emulator);
    let ledger = emulator.ledger();
    assert_eq!(
        serde_json::from_str::<Value>(&lines[0]).unwrap(),
        json!({"request_id": ledger[0].request_id})
    );
    // A text inside a text, as in the sample: the event is not what its author meant.
    assert_eq!(ledger[0].body_sha256, sha256(br#"{"body": "{\"k\":\"v\"}"}"#));
}

#[cfg_attr(
    target_os = "macos",
    ignore = "there Go asks the system and nobody else which authorities to trust"
)]
#[tokio::test(flavor = "multi_thread")]
async fn the_go_sample_is_refused_as_published_and_accepted_with_a_function() {
    let home = tempfile::tempdir().unwrap();
    let sample = || Command::new(installed(Language::Go, "sample"));

    let emulator = emulator().await;
    let lines = run(sample(), "", &emulator, home.path());
    let error: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&error["status_code"], &error["error_code"]), (&json!(404), &json!("FSS.1051")));
    assert_eq!(error["error_message"], "Not found the function");
    assert_eq!(error["request_id"].as_str().map(str::len), Some(32));

    let lines = run(sample(), &urn(), &emulator, home.path());
    let ledger = emulator.ledger();
    let answer = format!("AsyncInvokeFunctionResponse {{\"request_id\":\"{}\"}}", ledger[0].request_id);
    assert_eq!(lines[0], answer);
    assert_eq!(ledger[0].body_sha256, sha256(b"{\"body\":\"{\\\"k\\\":\\\"v\\\"}\"}\n"));
}
