//! More ways to act on a [`World`] and to look at it, for the tests of this binary alone.

use crate::cel::PROJECT;
use crate::world::{Operator, World, plane, within};
use functiongraph_emulator::Api as Emulated;
use functiongraph_operator::api::{
    Condition, ConditionStatus, ConditionType, FunctionGraphProvider, FunctionInvocation,
    FunctionInvocationStatus, Reason,
};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

impl World {
    /// Adds a fault to the emulator, in its own JSON.
    pub fn fault(&self, fault: Value) {
        self.emulator.add_fault(serde_json::from_value(fault).expect("a fault"));
    }

    /// How many requests the emulator has seen, the operator's own checks of credentials left out.
    pub fn seen(&self) -> u64 {
        self.emulator.requests().seen - self.checks()
    }

    /// How often the operator has checked a credential.
    pub fn checks(&self) -> u64 {
        self.calls(Emulated::ListFunctions) + self.calls(Emulated::ListFunctionsV1)
    }

    /// How often an API of the emulator was called.
    pub fn calls(&self, api: impl Into<Emulated>) -> u64 {
        self.emulator.requests().calls.get(&api.into()).copied().unwrap_or_default()
    }

    /// The invocation as it is now.
    pub async fn get(&self, name: &str) -> FunctionInvocation {
        self.api().get(name).await.expect("the object is there")
    }

    /// The invocation as it is now, if there is one.
    pub async fn get_opt(&self, name: &str) -> Option<FunctionInvocation> {
        self.api().get_opt(name).await.expect("the API server answers")
    }

    /// Waits until there is no invocation of this name any more.
    pub async fn disappears(&self, name: &str) {
        let gone = |object: Option<&FunctionInvocation>| object.is_none();
        within(await_condition(self.api(), name, gone)).await.expect("the watch works");
    }

    /// Waits until there is an invocation of this name.
    pub async fn appears(&self, name: &str) {
        let there = |object: Option<&FunctionInvocation>| object.is_some();
        within(await_condition(self.api(), name, there)).await.expect("the watch works");
    }

    /// The status of the invocation once it has an outcome.
    pub async fn end(&self, name: &str) -> FunctionInvocationStatus {
        self.finished(name).await.status.expect("a status")
    }

    /// The status of the invocation once its `Ready` condition has this reason.
    pub async fn says(&self, name: &str, reason: Reason) -> FunctionInvocationStatus {
        let says = move |object: Option<&FunctionInvocation>| {
            object.and_then(|o| o.status.as_ref()).is_some_and(|status| ready(status).1 == Some(reason))
        };
        self.until(name, says).await.status.expect("a status")
    }

    /// The status of the invocation once the message of its `Ready` condition holds `words`.
    pub async fn tells(&self, name: &str, words: &str) -> FunctionInvocationStatus {
        let words = words.to_owned();
        let tells = move |object: Option<&FunctionInvocation>| {
            object.and_then(|o| o.status.as_ref()).is_some_and(|status| message(status).contains(&words))
        };
        self.until(name, tells).await.status.expect("a status")
    }

    /// The status of the invocation once an attempt was answered and another is scheduled.
    pub async fn scheduled(&self, name: &str) -> FunctionInvocationStatus {
        let scheduled = |object: Option<&FunctionInvocation>| {
            object.and_then(|o| o.status.as_ref()).is_some_and(|status| status.next_attempt_time.is_some())
        };
        self.until(name, scheduled).await.status.expect("a status")
    }

    /// The `Ready` condition of the provider `default` once it has this reason.
    pub async fn provider_says(&self, reason: Reason) -> Condition {
        self.provider_named_says("default", reason).await
    }

    /// The same of another provider.
    pub async fn provider_named_says(&self, name: &str, reason: Reason) -> Condition {
        let find = |provider: &FunctionGraphProvider| {
            let conditions = &provider.status.as_ref()?.conditions;
            Condition::find(conditions, ConditionType::Ready).filter(|c| c.reason == reason).cloned()
        };
        let says = move |object: Option<&FunctionGraphProvider>| object.and_then(find).is_some();
        let object = within(await_condition(self.api(), name, says)).await.expect("the watch works");
        object.as_ref().and_then(find).expect("the condition is there")
    }

    /// The Event about an object with this reason, once it is there.
    pub async fn event(&self, about: &str, reason: &str) -> Event {
        let events = watcher(self.api::<Event>(), watcher::Config::default()).applied_objects();
        let found = events.filter_map(async |event| event.ok().filter(|event| is_about(event, about)));
        let wanted = found.filter(|event| std::future::ready(event.reason.as_deref() == Some(reason)));
        within(std::pin::pin!(wanted).next()).await.expect("a watch does not end")
    }

    /// How many Events there are about an object.
    pub async fn count_events(&self, about: &str) -> usize {
        let events = self.api::<Event>().list(&kube::api::ListParams::default()).await.expect("a list");
        events.items.iter().filter(|event| is_about(event, about)).count()
    }

    /// Waits until an operator of this test has logged a line that `fits`.
    pub async fn logged(&self, fits: impl Fn(&Value) -> bool) {
        let told = async {
            while !self.log_lines().iter().any(&fits) {
                tokio::time::sleep(Duration::from_millis(20)).await; // polls a file: nothing to await
            }
        };
        within(told).await;
    }

    /// The lines that operators of this test have logged.
    pub fn log_lines(&self) -> Vec<Value> {
        self.logs().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What time it is for the API server, in whole seconds.
    pub async fn server_time(&self) -> Timestamp {
        let map: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "clock-"}})).unwrap();
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let map = self.api().create(&dry_run, &map).await.expect("the API server answers");
        map.creation_timestamp().expect("it is stamped").0
    }

    /// Waits until the API server's clock says that an invocation was created more than `age` ago.
    pub async fn is_older_than(&self, name: &str, age: SignedDuration) {
        let created = self.get(name).await.creation_timestamp().expect("it is stamped").0;
        let grown = async {
            while self.server_time().await.duration_since(created) <= age {
                tokio::time::sleep(Duration::from_millis(100)).await; // polls a clock: nothing to await
            }
        };
        within(grown).await;
    }

    /// What kubectl answers in the test's namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, "").await
    }

    /// The same, with something to read.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::from(plane().await.kubectl());
        command.args(["--namespace", &self.namespace]).args(arguments);
        output(command, input).await
    }

    /// Lets the provider `default` stop executions.
    pub async fn allow_cancel(&self) {
        self.change::<FunctionGraphProvider>("default", json!({"spec": {"allowCancel": true}})).await;
    }

    /// Calls an API of the emulator as somebody else does, with a token.
    pub async fn call(&self, function: &str, api: &str, body: &Value) {
        let authority =
            reqwest::Certificate::from_pem(self.emulator.ca_pem().as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder().tls_certs_merge([authority]).build().expect("a client");
        let url = format!("{}/v2/{PROJECT}/fgs/functions/{function}/{api}", self.emulator.url());
        let request = client.post(url).header("X-Auth-Token", "test-token").body(body.to_string());
        let answer = request.header("Content-Type", "application/json").send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.expect("a text"));
    }

    /// The object with one field of its status forced to something, as an admin may do.
    pub async fn force_status(&self, name: &str, status: Value) -> Result<FunctionInvocation, kube::Error> {
        let patch = kube::api::Patch::Merge(serde_json::json!({"status": status}));
        let api: Api<FunctionInvocation> = self.api();
        api.patch_status(name, &kube::api::PatchParams::default(), &patch).await
    }
}

impl Operator {
    /// What keeps it from working, once that is told and `fits`.
    pub async fn lacks(&self, fits: impl Fn(&str) -> bool) -> String {
        let told = async {
            loop {
                let (status, text) = self.ask("/readyz").await;
                if status == 503 && fits(&text) {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(20)).await; // polls an address: nothing to await
            }
        };
        within(told).await
    }

    /// The sum of all samples of a metric whose line holds each of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.ask("/metrics").await;
        assert_eq!(status, 200);
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>().expect("a number"))
            .sum()
    }
}

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

/// Status and reason of a condition, if it is there.
pub fn condition(
    status: &FunctionInvocationStatus,
    type_: ConditionType,
) -> (Option<ConditionStatus>, Option<Reason>) {
    let found = Condition::find(&status.conditions, type_);
    (found.map(|c| c.status), found.map(|c| c.reason))
}

/// Status and reason of the condition `Ready`.
pub fn ready(status: &FunctionInvocationStatus) -> (Option<ConditionStatus>, Option<Reason>) {
    condition(status, ConditionType::Ready)
}

/// The message of the condition `Ready`.
pub fn message(status: &FunctionInvocationStatus) -> &str {
    Condition::find(&status.conditions, ConditionType::Ready).map_or("", |c| &c.message)
}

fn is_about(event: &Event, name: &str) -> bool {
    event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name)
}
