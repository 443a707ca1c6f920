//! One release of the chart, as its user sees it: installed, changed and removed with Helm, looked at through the API.

use crate::judge::until;
use crate::machine::Machine;
use http::Request;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// How long Helm and the deletion of Pods may take on a busy machine.
const PATIENCE: &str = "240s";

/// A release, installed or not.
pub struct Release<'a> {
    machine: &'a Machine,
    /// Its name; that of its Deployment too, as it contains the chart's.
    pub name: &'static str,
    /// Where.
    pub namespace: &'static str,
}

/// Packages the chart as it is published.
pub async fn package(machine: &Machine) -> PathBuf {
    let folder = machine.folder.path().to_str().expect("a name in UTF-8");
    machine.helm(["package", "charts/functiongraph-operator", "--destination", folder]).await;
    machine.folder.path().join(concat!("functiongraph-operator-", env!("CARGO_PKG_VERSION"), ".tgz"))
}

// === impl Release ===

impl<'a> Release<'a> {
    pub fn new(machine: &'a Machine, name: &'static str, namespace: &'static str) -> Self {
        Self { machine, name, namespace }
    }

    /// Installs or upgrades it, and waits until it works, as `helm … --wait` sees it.
    pub async fn apply(&self, verb: &str, chart: &Path, values: &Value, flags: &[&str]) {
        let file = self.machine.folder.path().join(format!("{}.json", self.name));
        fs::write(&file, values.to_string()).expect("a file");
        let (chart, file) = (chart.to_str().expect("UTF-8"), file.to_str().expect("UTF-8"));
        let common = ["--namespace", self.namespace, "--values", file, "--wait", "--timeout", PATIENCE];
        self.machine.helm([verb, self.name, chart].iter().chain(&common).chain(flags)).await;
    }

    /// Removes it, and waits until its Pods are gone.
    pub async fn uninstall(&self) {
        let flags = ["--namespace", self.namespace, "--wait", "--timeout", PATIENCE];
        self.machine.helm(["uninstall", self.name].iter().chain(&flags)).await;
        self.until_pods(0).await;
    }

    /// Its Pods, those that end too.
    pub async fn pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.machine.client.clone(), self.namespace);
        let own = ListParams::default().labels(&format!("app.kubernetes.io/instance={}", self.name));
        api.list(&own).await.expect("a list").items
    }

    /// Waits until it has so many Pods, with those that end.
    pub async fn until_pods(&self, count: usize) {
        until(&format!("{} has {count} Pods", self.name), async || self.pods().await.len() == count).await;
    }

    /// How many of its Pods are ready.
    pub async fn ready(&self) -> i32 {
        let api: Api<Deployment> = Api::namespaced(self.machine.client.clone(), self.namespace);
        let deployment = api.get(self.name).await.expect("its Deployment");
        deployment.status.and_then(|status| status.ready_replicas).unwrap_or_default()
    }

    /// What a Pod has logged.
    pub async fn log(&self, pod: &Pod) -> String {
        let api: Api<Pod> = Api::namespaced(self.machine.client.clone(), self.namespace);
        api.logs(&pod.name_any(), &LogParams::default()).await.expect("its log")
    }

    /// What a Pod of it answers to a probe; the API server reaches it there.
    pub async fn probe(&self, path: &str) -> String {
        let pod = self.pods().await.first().expect("a Pod").name_any();
        self.ask(&format!("pods/{pod}:8081/proxy/{path}")).await
    }

    /// Its metrics, behind their Service.
    pub async fn metrics(&self) -> String {
        self.ask(&format!("services/http:{}-metrics:metrics/proxy/metrics", self.name)).await
    }

    async fn ask(&self, path: &str) -> String {
        let url = format!("/api/v1/namespaces/{}/{path}", self.namespace);
        let request = Request::get(url).body(Vec::new()).expect("a request");
        self.machine.client.request_text(request).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}
