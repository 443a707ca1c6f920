//! What is measured: operator processes and the floor, on a control plane and an emulator.

use crate::in_parallel;
use functiongraph::{Client as Cloud, ClientOptions, Credential, FunctionUrn, Invocation, Kind, Protocol};
use functiongraph_emulator::{Api as FunctionGraph, Config, Emulator, Function, RateLimit};
use functiongraph_operator::api::{
    self, FunctionGraphProvider, FunctionInvocation, FunctionInvocationStatus,
};
use functiongraph_operator::crds;
use functiongraph_operator::kubernetes::Clients;
use functiongraph_operator::lifecycle::{Acceptance, Reply, Target, View, record};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::control_plane::{ControlPlane, Options};
use testkit::{KEY, Launch, Operator, PROJECT, access_keys, provider_spec, secret};

/// Warnings, and of the rest what says where the ports are.
const LOG: &str = "--log=warn,functiongraph_operator::controller=info";

/// Everything that is measured against.
pub struct Stage {
    plane: ControlPlane,
    client: Client,
    emulator: Emulator,
    made: AtomicUsize,
    /// The client of the others who call the same functions.
    others: Cloud,
}

/// What a floor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Claims before it sends: the least that keeps the promise.
    Safe,
    /// Sends, and writes once: after a crash or a lost write it sends again.
    Naive,
}

/// An object of the latency run.
pub struct Sample {
    tag: String,
    created: Timestamp,
}

/// Calls to the API server for our objects, by its own count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    pub status_patches: u64,
    pub others: u64,
    pub lists: u64,
}

impl Calls {
    pub fn since(&self, before: &Self) -> Self {
        Self {
            status_patches: self.status_patches - before.status_patches,
            others: self.others - before.others,
            lists: self.lists - before.lists,
        }
    }

    pub fn total(&self) -> u64 {
        self.status_patches + self.others + self.lists
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same with more flags for the API server.
    pub async fn with(apiserver_flags: &[&str]) -> Self {
        let apiserver_flags = apiserver_flags.iter().map(ToString::to_string).collect();
        let options = Options { apiserver_flags, ..Options::default() };
        let plane = ControlPlane::start(options).await.expect("the control plane starts");
        let config = plane.kube_config();
        let client = Clients::new(config).expect("a client").calls;
        plane.apply_yaml(&crds::manifest().expect("a manifest")).await.expect("it is accepted");
        let emulator = Emulator::start(Config {
            functions: vec![
                Function { answer_latency: Duration::from_millis(5), ..Function::named("hello") },
                Function {
                    latency: Duration::from_hours(1),
                    timeout: Duration::from_hours(2),
                    ..Function::named("long")
                },
                Function::named("busy"),
                Function::named("failing"),
                Function::named("silent"),
            ],
            access_keys: access_keys(&[KEY]),
            ..Config::default()
        })
        .await
        .expect("the emulator starts");
        for (function, action) in [
            ("busy", json!({"status": {"status": 429, "errorCode": "FSS.0429"}})),
            ("failing", json!({"status": {"status": 500}})),
            ("silent", json!({"hang": {}})),
        ] {
            let fault = json!({"when": "forever", "function": function, "action": action});
            emulator.add_fault(serde_json::from_value(fault).expect("a fault"));
        }
        let others = cloud(&emulator);
        Self { plane, client, emulator, made: AtomicUsize::new(0), others }
    }

    pub async fn namespace(&self, name: &str) -> String {
        let namespace = serde_json::from_value::<Namespace>(json!({"metadata": {"name": name}})).unwrap();
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace");
        name.into()
    }

    pub async fn provider(&self, namespace: &str, per_second: u32, in_flight: u32) {
        let secret = serde_json::from_value(secret(KEY.1)).unwrap();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        secrets.create(&PostParams::default(), &secret).await.expect("a secret");
        let mut spec = provider_spec(&self.emulator);
        spec["limits"] = json!({"maxRequestsPerSecond": per_second, "maxInFlight": in_flight});
        let provider = FunctionGraphProvider::new("default", serde_json::from_value(spec).unwrap());
        let providers: Api<FunctionGraphProvider> = Api::namespaced(self.client.clone(), namespace);
        providers.create(&PostParams::default(), &provider).await.expect("a provider");
    }

    fn object(namespace: &str, number: usize, bytes: usize) -> (String, FunctionInvocation) {
        let tag = format!("{namespace}/{number}");
        let object = json!({"apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
            "metadata": {"name": format!("i{number}")}, "spec": {
                "function": {"name": "hello"}, "activeDeadlineSeconds": 86400,
                "payload": {"tag": tag, "text": "x".repeat(bytes)}}});
        (tag, serde_json::from_value(object).unwrap())
    }

    pub async fn create_many(&self, namespace: &str, count: usize, bytes: usize) -> Vec<FunctionInvocation> {
        let api: Api<FunctionInvocation> = Api::namespaced(self.client.clone(), namespace);
        self.made.fetch_add(count, Ordering::Relaxed);
        let parameters = PostParams::default();
        in_parallel(0..count, 16, |number| {
            let (_, object) = Self::object(namespace, number, bytes);
            let (api, parameters) = (&api, &parameters);
            async move { api.create(parameters, &object).await.expect("an object") }
        })
        .await
    }

    /// Creates objects with this spec.
    pub async fn create_of(&self, namespace: &str, count: usize, spec: &Value) {
        let api: Api<FunctionInvocation> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        in_parallel(0..count, 16, |_| {
            let object = json!({"apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
                "metadata": {"generateName": "i-"}, "spec": spec});
            let object = serde_json::from_value(object).unwrap();
            let (api, parameters) = (&api, &parameters);
            async move { api.create(parameters, &object).await.expect("an object") }
        })
        .await;
    }

    pub async fn create_timed(&self, namespace: &str, number: usize) -> Sample {
        let api: Api<FunctionInvocation> = Api::namespaced(self.client.clone(), namespace);
        let (tag, object) = Self::object(namespace, number, 64);
        api.create(&PostParams::default(), &object).await.expect("an object");
        self.made.fetch_add(1, Ordering::Relaxed);
        Sample { tag, created: Timestamp::now() }
    }

    /// Milliseconds from the creation of a sample to its acceptance; the emulator reads the same clock.
    pub fn wait_of(&self, sample: &Sample) -> f64 {
        let ledger = self.emulator.ledger();
        let entry =
            ledger.iter().find(|entry| entry.tag.as_ref() == Some(&sample.tag)).expect("it was accepted");
        entry.time.duration_since(sample.created).as_secs_f64() * 1000.0
    }

    /// Sends an event to a function, as somebody else would.
    pub async fn send(&self, function: &str, number: usize) {
        let credential = Credential::access_key(KEY.0, KEY.1, None).expect("a credential");
        let urn: FunctionUrn =
            format!("urn:fss:eu-de:{PROJECT}:function:default:{function}:latest").parse().unwrap();
        let invocation = Invocation {
            urn: &urn,
            kind: Kind::Async,
            protocol: Protocol::V2,
            event: json!({"tag": format!("others/{number}")}).to_string().into_bytes().into(),
            instance_memory_mb: None,
        };
        let timeout = Duration::from_secs(30);
        self.others.invoke(invocation, &credential, Timestamp::now(), timeout).await.expect("an answer");
    }

    /// Claim, send, record, and nothing else. The naive one sends first and writes once.
    pub async fn floor(&self, objects: Vec<FunctionInvocation>, workers: usize, floor: Floor) {
        let cloud = cloud(&self.emulator);
        let credential = Credential::access_key(KEY.0, KEY.1, None).expect("a credential");
        let urn: FunctionUrn =
            format!("urn:fss:eu-de:{PROJECT}:function:default:hello:latest").parse().unwrap();
        in_parallel(objects, workers, |mut object| {
            let (cloud, credential, urn) = (&cloud, &credential, &urn);
            async move {
                let event_version = object.spec.payload.as_ref().unwrap().digest().version;
                let endpoint = cloud.endpoint().to_string();
                let target = Target { endpoint, urn: urn.to_string(), event_version };
                let claim = record::claimed(&View::of(&object, false), 1, "floor", &target, Timestamp::now());
                match floor {
                    Floor::Safe => object = self.patch(&object, &claim).await,
                    Floor::Naive => object.status = Some(claim),
                }
                let event = object.spec.payload.take().unwrap().into_event().0.unwrap();
                let timeout = Duration::from_secs(30);
                let invocation = Invocation {
                    urn,
                    kind: Kind::Async,
                    protocol: Protocol::V2,
                    event: event.into(),
                    instance_memory_mb: None,
                };
                let answer = cloud.invoke(invocation, credential, Timestamp::now(), timeout).await;
                let request_id = answer.expect("an answer").request_id;
                let reply = Reply::Accepted(Acceptance { request_id, ..Acceptance::default() });
                let status = record::answered(&View::of(&object, false), &reply, Timestamp::now(), 0);
                self.patch(&object, &status).await;
            }
        })
        .await;
    }

    /// Puts the rules (CEL) into the CRD of invocations, or takes them out, and waits until that counts.
    pub async fn rules(&self, wanted: bool) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let ours = api::crds().iter().find(|crd| crd.spec.names.kind == "FunctionInvocation").expect("a CRD");
        let mut spec = serde_json::to_value(&ours.spec).unwrap();
        if !wanted {
            drop_rules(&mut spec);
        }
        let patch = Patch::Merge(json!({"spec": {"versions": spec["versions"]}}));
        crds.patch(&ours.name_any(), &PatchParams::default(), &patch).await.expect("a CRD");
        let against_them = json!({"apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation",
            "metadata": {"generateName": "refused-"}, "spec": {"function": {"name": "hello"}, "activeDeadlineSeconds": 10}});
        let against_them = serde_json::from_value(against_them).unwrap();
        let api: Api<FunctionInvocation> = Api::namespaced(self.client.clone(), "default");
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        while api.create(&dry, &against_them).await.is_err() != wanted {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn patch(
        &self,
        object: &FunctionInvocation,
        status: &FunctionInvocationStatus,
    ) -> FunctionInvocation {
        let api: Api<FunctionInvocation> =
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let body = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": status});
        api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(body))
            .await
            .expect("a write")
    }

    /// Starts an operator of one namespace.
    pub fn operator(&self, namespace: &str) -> Operator {
        Launch::new(&self.plane).namespaced(namespace).flags(&[LOG]).start()
    }

    /// Starts an operator of the whole cluster.
    pub fn operator_everywhere(&self) -> Operator {
        Launch::new(&self.plane).flags(&[LOG]).start()
    }

    /// Waits until every object of the namespace has an outcome.
    pub async fn until_settled(&self, namespace: &str) {
        let api: Api<FunctionInvocation> = Api::namespaced(self.client.clone(), namespace);
        // From the API server's cache: a look must not cost what is measured.
        let unfinished = ListParams::default().fields("status.outcome=").match_any();
        while !api.list_metadata(&unfinished).await.expect("a list").items.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn settled(&self) -> usize {
        let api: Api<FunctionInvocation> = Api::all(self.client.clone());
        api.list_metadata(&ListParams::default().fields("status.outcome!=").match_any())
            .await
            .expect("a list")
            .items
            .len()
    }

    async fn api_metrics(&self) -> String {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        self.client.request_text(request).await.expect("metrics")
    }

    /// CPU time of the API server, by its own count.
    pub async fn api_cpu(&self) -> Duration {
        let text = self.api_metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
        Duration::from_secs_f64(value.and_then(|value| value.parse().ok()).unwrap_or_default())
    }

    /// The API server's own count.
    pub async fn api_calls(&self) -> Calls {
        let text = self.api_metrics().await;
        let mut calls = Calls::default();
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let Some((labels, value)) = line.rsplit_once(' ') else { continue };
            let has = |label: &str| labels.contains(label);
            let ours = has("group=\"functiongraph.io\"")
                || has("resource=\"events\"")
                || has("resource=\"secrets\"");
            if !ours || has("verb=\"WATCH\"") || has("verb=\"POST\"") && has("functioninvocations") {
                continue;
            }
            let count: u64 = value.parse().unwrap_or_default();
            if has("subresource=\"status\"") && has("verb=\"PATCH\"") && has("functioninvocations") {
                calls.status_patches += count;
            } else if has("verb=\"LIST\"") {
                calls.lists += count;
            } else {
                calls.others += count;
            }
        }
        calls
    }

    pub fn limit(&self, per_second: Option<u32>) {
        self.emulator.set_rate_limit(per_second.map(|n| RateLimit {
            requests_per_second: NonZeroU32::new(n).unwrap(),
            burst: None,
            retry_after: None,
        }));
    }

    /// Events that the emulator was asked to take, refused ones too.
    pub fn requests(&self) -> u64 {
        let counted = [FunctionGraph::InvokeAsync, FunctionGraph::Invoke, FunctionGraph::InvokeReserved];
        counted.into_iter().map(|api| self.calls_of(api)).sum()
    }

    /// Calls of one API that the emulator has seen.
    pub fn calls_of(&self, api: FunctionGraph) -> u64 {
        self.emulator.requests().calls.get(&api).copied().unwrap_or_default()
    }

    pub async fn until_asked(&self, requests: u64) {
        while self.requests() < requests {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Tags that stand in the ledger more than once.
    pub fn duplicates(&self) -> usize {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for entry in self.emulator.ledger() {
            *counts.entry(entry.tag.unwrap_or_default()).or_default() += 1;
        }
        counts.values().filter(|count| **count > 1).count()
    }
}

/// A client for the emulator.
fn cloud(emulator: &Emulator) -> Cloud {
    let endpoint = emulator.url().parse().expect("an endpoint");
    let options = ClientOptions { ca_bundle_pem: Some(emulator.ca_pem().into()), ..ClientOptions::default() };
    Cloud::new(endpoint, options).expect("a client")
}

fn drop_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(drop_rules);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_rules),
        _ => {}
    }
}
