//! Functions with code: a server that the emulator forwards to, and programs that it starts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use functiongraph_emulator::{Config, Function, Run};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Place, Seen, config};

/// A function in Python that does what its event says.
const PROGRAM: &str = r#"
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

inits = 0

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        global inits
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/init":
            inits += 1
            if "HANG" in os.environ:
                threading.Event().wait()
            return self.answer(int(os.environ.get("INIT", "200")), {})
        event = json.loads(body)
        for line in event.get("print", []):
            print(line)
        for line in event.get("complain", []):
            print(line, file=sys.stderr)
        if "exit" in event:
            os._exit(event["exit"])
        if "hang" in event:
            threading.Event().wait()
        if "once" in event and os.path.exists(event["once"]):
            return self.answer(200, "the second time")
        if "once" in event:
            open(event["once"], "w").close()
            return self.answer(500, {"errorMessage": "the first time"})
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower().startswith("x-cff")}
        self.answer(event.get("status", 200), {"event": event, "inits": inits, "pid": os.getpid(), "headers": headers})

    def answer(self, status, result):
        body = json.dumps(result).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

print("started")
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// An emulator whose function `hello` is the program.
struct Code {
    place: Place,
    folder: TempDir,
}

impl Code {
    async fn new(change: impl FnOnce(&mut Function)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program.py");
        fs::write(&path, PROGRAM).unwrap();
        let mut config = config();
        let hello = &mut config.functions[0];
        hello.run =
            Some(Run { command: vec!["python3".into(), path.to_str().unwrap().into()], ..Run::default() });
        hello.timeout = Duration::from_mins(1);
        change(hello);
        let config = Config { admin_listen: Some(([127, 0, 0, 1], 0).into()), ..config };
        Self { place: Place::with(config).await, folder }
    }

    /// Invokes the function and waits; returns the answer in its envelope.
    async fn call(&self, event: &Value) -> (Seen, Value) {
        let request = self.place.post("hello", "invocations", &event.to_string());
        let request = request.header("X-CFF-Request-Version", "v1").header("X-Cff-Log-Type", "tail");
        let seen = Seen::of(request).await;
        let result = seen.json()["result"].as_str().map(str::to_owned).unwrap_or_default();
        let result = serde_json::from_str(&result).unwrap_or(Value::String(result));
        (seen, result)
    }

    /// Waits until an execution is in one of these states, and returns its record.
    async fn until(&self, id: &Value, statuses: &[&str]) -> Value {
        let query = format!("async-invocations?request_id={}", id.as_str().unwrap());
        loop {
            let record = self.place.get("hello", &query).await.json()["invocations"][0].clone();
            if statuses.contains(&record["status"].as_str().unwrap()) {
                return record;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn submit(&self, event: &Value) -> Value {
        self.place.submit("hello", &event.to_string()).await.json()["request_id"].clone()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

/// Whether a process exists.
fn is_alive(pid: &Value) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A process that ended and was not waited for is a zombie.
    Path::new(&format!("/proc/{pid}")).exists() && !stat.contains(") Z ")
}

#[tokio::test]
async fn a_program_gets_the_event_and_its_headers_and_gives_result_and_log() {
    let code = Code::new(|hello| hello.memory = 256).await;
    let event = json!({"print": ["thinking"], "complain": ["hmm"]});
    let (seen, result) = code.call(&event).await;
    assert_eq!(
        (&seen.json()["status"], &result["event"], &result["inits"]),
        (&json!(200), &event, &json!(1))
    );
    let id = seen.json()["request_id"].clone();
    let headers = &result["headers"];
    for (name, value) in [
        ("x-cff-request-id", id.as_str().unwrap()),
        ("x-cff-memory", "256"),
        ("x-cff-timeout", "60"),
        ("x-cff-func-version", "latest"),
        ("x-cff-func-name", "hello"),
        ("x-cff-package", "default"),
        ("x-cff-region", "eu-de"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let log = seen.json()["log"].as_str().unwrap().to_owned();
    for line in ["started", "thinking", "hmm"] {
        assert!(log.contains(&format!("\n{line}\n")), "{line}: {log}");
    }
    assert_eq!(seen.header("x-is-func-err"), Some("false"));

    let (seen, again) = code.call(&json!({})).await;
    assert_eq!(
        (&again["inits"], &again["pid"]),
        (&json!(1), &result["pid"]),
        "the same process, initialized once"
    );
    assert!(!seen.json()["log"].as_str().unwrap().contains("thinking"), "a log belongs to its run");
}

#[tokio::test]
async fn what_the_code_answers_and_how_it_ends_is_what_the_caller_sees() {
    let code = Code::new(|_| {}).await;
    let (seen, result) = code.call(&json!({"status": 500})).await;
    assert_eq!((&seen.json()["status"], seen.header("x-func-err-code")), (&json!(500), Some("4002")));
    assert_eq!(result["event"]["status"], 500, "its own words");
    let first = result["pid"].clone();
    let (seen, result) = code.call(&json!({"print": ["goodbye"], "exit": 3})).await;
    assert_eq!(seen.header("x-is-func-err"), Some("true"));
    assert_eq!(result["errorMessage"], "the function's process ended: exit status: 3");
    assert!(seen.json()["log"].as_str().unwrap().contains("goodbye"));
    let (_, result) = code.call(&json!({})).await;
    assert!(result["pid"] != first && result["inits"] == 1, "another process: {result}");
}

#[tokio::test]
async fn an_event_in_the_queue_is_carried_out_although_nobody_asks() {
    let code = Code::new(|hello| hello.queue_latency = Duration::from_millis(20)).await;
    let touched = code.path("touched");
    code.submit(&json!({"once": touched})).await;
    while !Path::new(&touched).exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_failure_is_recorded_and_retried_as_the_settings_say() {
    for (attempts, status) in [(0, "FAIL"), (1, "SUCCESS")] {
        let code = Code::new(|hello| {
            let config = json!({"max_async_retry_attempts": attempts});
            hello.async_invoke_config = Some(serde_json::from_value(config).unwrap());
        })
        .await;
        let id = code.submit(&json!({"once": code.path("once")})).await;
        let record = code.until(&id, &["FAIL", "SUCCESS"]).await;
        assert_eq!(record["status"], status, "{attempts}");
        if attempts == 0 {
            let message =
                r#"the function answered 500 Internal Server Error: {"errorMessage": "the first time"}"#;
            assert_eq!((&record["error_code"], &record["error_message"]), (&json!(4002), &json!(message)));
        }
    }
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_killed_and_the_next_one_starts_anew() {
    let code = Code::new(|hello| hello.timeout = Duration::from_secs(3)).await;
    let (_, result) = code.call(&json!({})).await;
    let pid = result["pid"].clone();
    let id = code.submit(&json!({"hang": true})).await;
    let record = code.until(&id, &["FAIL", "SUCCESS"]).await;
    assert_eq!(
        (&record["error_code"], &record["error_message"]),
        (&json!(4010), &json!("function invocation timeout"))
    );
    while is_alive(&pid) {
        tokio::task::yield_now().await;
    }
    let (_, result) = code.call(&json!({})).await;
    assert_ne!(result["pid"], pid);
}

#[tokio::test]
async fn instances_are_processes_and_share_events_as_the_function_says() {
    let code = Code::new(|hello| {
        hello.concurrency = 2;
        hello.concurrent_num = 2.try_into().unwrap();
    })
    .await;
    let events: Vec<Value> = {
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(code.submit(&json!({"hang": true})).await);
        }
        ids
    };
    for id in &events[..4] {
        code.until(id, &["RUNNING"]).await;
    }
    code.until(&events[4], &["WAIT"]).await;
    let busy = Seen::of(code.place.post("hello", "invocations", "{}")).await;
    busy.assert_error(429, "FSS.0429", "Too many requests.");
    // A cancellation by force ends what runs on the same instance, and makes room.
    let cancel = json!({"request_id": events[0], "type": "force"}).to_string();
    assert_eq!(Seen::of(code.place.post("hello", "cancel", &cancel)).await.status, 200);
    let first = code.until(&events[0], &["FAIL"]).await;
    assert_eq!(first["error_code"], 4208);
    code.until(&events[1], &["FAIL"]).await;
    code.until(&events[2], &["RUNNING"]).await;
    code.until(&events[4], &["RUNNING"]).await;
}

#[tokio::test]
async fn code_that_does_not_start_fails_the_invocation_and_says_why() {
    let init = |status: &str| BTreeMap::from([("INIT".to_owned(), status.to_owned())]);
    for (change, message) in [
        (
            Run { command: vec!["/nowhere/at-all".into()], ..Run::default() },
            "cannot start \"/nowhere/at-all\"",
        ),
        (
            Run { command: vec!["false".into()], ..Run::default() },
            "the function's process ended: exit status: 1",
        ),
        (Run { env: init("503"), ..Run::default() }, "POST /init was answered with 503"),
    ] {
        let code = Code::new(|hello| {
            let own = hello.run.clone().unwrap();
            hello.run =
                Some(if change.command.is_empty() { Run { command: own.command, ..change } } else { change });
        })
        .await;
        let (seen, result) = code.call(&json!({})).await;
        assert_eq!(seen.header("x-func-err-code"), Some("4201"), "{message}");
        assert!(result["errorMessage"].as_str().unwrap().starts_with(message), "{result}");
    }
    let code = Code::new(|hello| {
        hello.init_timeout = Duration::from_millis(1);
        hello.run.as_mut().unwrap().env = BTreeMap::from([("HANG".to_owned(), "1".to_owned())]);
    })
    .await;
    assert_eq!(code.call(&json!({})).await.0.header("x-func-err-code"), Some("4211"));
    // A server without an initialization need not have the path.
    let code = Code::new(|hello| hello.run.as_mut().unwrap().env = init("404")).await;
    assert_eq!(code.call(&json!({})).await.1["inits"], 1);
}

#[tokio::test]
async fn processes_end_with_the_emulator_and_with_their_function() {
    let code = Code::new(|_| {}).await;
    let pid = code.call(&json!({})).await.1["pid"].clone();
    assert!(is_alive(&pid));
    let gone = code
        .place
        .http
        .delete(code.place.project_url("functions/hello"))
        .header("X-Auth-Token", crate::support::TOKEN);
    assert_eq!(Seen::of(gone).await.status, 204);
    while is_alive(&pid) {
        tokio::task::yield_now().await;
    }
    let code = Code::new(|_| {}).await;
    let pid = code.call(&json!({})).await.1["pid"].clone();
    code.place.emulator.stop().await;
    while is_alive(&pid) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_runs_already_is_initialized_once_for_all_its_events() {
    let program = Code::new(|_| {}).await;
    // The program as a server that the emulator did not start.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = tokio::process::Command::new("python3");
    let _server = server
        .arg(program.path("program.py"))
        .env("PORT", port.to_string())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
    let code = Code::new(|hello| {
        hello.run = None;
        hello.forward = Some(format!("http://127.0.0.1:{port}"));
    })
    .await;
    for _ in 0..2 {
        let (seen, result) = code.call(&json!({"k": "v"})).await;
        assert_eq!(
            (&seen.json()["status"], &result["inits"], &result["event"]["k"]),
            (&json!(200), &json!(1), &json!("v"))
        );
    }
}

#[tokio::test]
async fn the_admin_api_cannot_name_what_runs() {
    let code = Code::new(|_| {}).await;
    let url = format!("{}/admin/functions", code.place.emulator.admin_url().unwrap());
    let put = async |name: &str, body: Value| {
        Seen::of(code.place.http.put(format!("{url}/{name}")).body(body.to_string())).await
    };
    for (name, body, field) in [
        ("hello", json!({"run": {"command": ["id"]}}), "run"),
        ("new", json!({"run": {"command": ["id"]}}), "run"),
        ("hello", json!({"forward": "http://127.0.0.1:1"}), "forward"),
    ] {
        let seen = put(name, body).await;
        let message = format!("`{field}` can be set in the configuration file only\n");
        assert_eq!((seen.status, seen.text), (400, message), "{name}");
    }
    let own: Value = put("hello", json!({"disabled": true})).await.json();
    assert_eq!(own["run"]["command"][0], "python3");
    let same = json!({"run": own["run"], "disabled": false});
    assert_eq!(put("hello", same).await.status, 200, "what is there already can be sent back");
}

/// The programs that the documents show.
#[tokio::test]
async fn the_examples_in_python_and_for_node_work() {
    for (program, file) in [("python3", "handler.py"), ("node", "handler.js")] {
        let path = format!("{}/examples/{file}", env!("CARGO_MANIFEST_DIR"));
        let command = vec![program.into(), path];
        let code = Code::new(|hello| hello.run = Some(Run { command, ..Run::default() })).await;
        let (seen, result) = code.call(&json!({"b": 1, "a": 2})).await;
        assert_eq!(result, json!({"fields": ["a", "b"]}), "{program}: {}", seen.text);
        let log = seen.json()["log"].as_str().unwrap().to_owned();
        assert!(
            log.contains("initialized hello") && log.contains("counting 2 fields for"),
            "{program}: {log}"
        );
    }
}
