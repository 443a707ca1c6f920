//! What a test runs on: a namespace of a control plane, an emulator, and operator processes.

mod waits;

use crate::control_plane::ControlPlane;
use crate::{Evidence, Launch, NOBODY, plane};
use functiongraph_emulator::{AccessKey, Api as Emulated, Config, Emulator, Function, LedgerEntry};
use functiongraph_operator::api::{FunctionGraphProvider, FunctionInvocation};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The access key that the emulators know.
pub const KEY: (&str, &str) = ("TESTACCESSKEY0000001", "test-secret-key-000000000000000000000001");

/// The id of the emulators' project.
pub const PROJECT: &str = "7aad83af3e8d42e99ac194e8419e2c9b";

/// What one test runs on.
pub struct World {
    /// The test's own namespace.
    pub namespace: String,
    /// The test's own FunctionGraph.
    pub emulator: Emulator,
    /// The API server, as admin.
    pub client: Client,
    plane: &'static ControlPlane,
    /// What operators print and store; judged when all of this is over.
    pub evidence: Arc<Evidence>,
}

/// Access keys as an emulator is told of them.
pub fn access_keys(keys: &[(&str, &str)]) -> Vec<AccessKey> {
    let key = |&(id, secret): &(&str, &str)| AccessKey {
        id: id.into(),
        secret: secret.into(),
        security_token: None,
    };
    keys.iter().map(key).collect()
}

/// The Secret `key` with this secret access key.
pub fn secret(secret_access_key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"},
        "stringData": {"accessKeyID": KEY.0, "secretAccessKey": secret_access_key},
    })
}

/// The spec of a provider for an emulator, with the Secret `key`.
pub fn provider_spec(emulator: &Emulator) -> Value {
    json!({
        "region": "eu-de", "projectID": PROJECT, "endpoint": emulator.url(), "caBundle": emulator.ca_pem(),
        "credentials": {"accessKey": {"secretRef": {"name": "key"}}},
    })
}

// === impl World ===

impl World {
    /// A new namespace, and an emulator with the functions `hello` and `disabled`.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with changes to the emulator's configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(plane().await, change).await
    }

    /// The same, on another control plane.
    pub async fn on(plane: &'static ControlPlane, change: impl FnOnce(&mut Config)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let client = plane.client().expect("a client");
        let namespace = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let object = serde_json::from_value::<Namespace>(json!({"metadata": {"name": namespace}})).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &object).await.expect("a namespace");
        let disabled = Function { disabled: true, ..Function::named("disabled") };
        let mut config = Config {
            functions: vec![Function::named("hello"), disabled],
            access_keys: access_keys(&[KEY]),
            tokens: vec!["test-token".into()],
            ..Config::default()
        };
        change(&mut config);
        let emulator = Emulator::start(config).await.expect("the emulator starts");
        let evidence = Evidence::new(&namespace, plane, &[NOBODY]);
        Self { namespace, emulator, client, plane, evidence }
    }

    /// The objects of a kind in the test's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object from JSON.
    ///
    /// # Errors
    /// What the API server says against it.
    pub async fn create<K>(&self, name: &str, mut value: Value) -> Result<K, kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        value["metadata"]["name"] = name.into();
        value["apiVersion"] = K::api_version(&()).into();
        value["kind"] = K::kind(&()).into();
        self.api().create(&PostParams::default(), &serde_json::from_value(value).unwrap()).await
    }

    /// Merges JSON into an object.
    pub async fn change<K>(&self, name: &str, value: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        let patch = Patch::Merge(value);
        self.api().patch(name, &PatchParams::default(), &patch).await.expect("the change is accepted")
    }

    /// The Secret `key` with the right access key, and the provider `default` that uses it.
    pub async fn provider(&self) {
        self.secret(KEY.1).await;
        self.provider_with(json!({})).await;
    }

    /// The Secret `key` with this secret access key, made or replaced.
    pub async fn secret(&self, secret_access_key: &str) {
        let (parameters, secret) = (PatchParams::apply("test").force(), secret(secret_access_key));
        self.api::<Secret>().patch("key", &parameters, &Patch::Apply(secret)).await.expect("a secret");
    }

    /// The provider `default`, with `more` merged into its spec.
    pub async fn provider_with(&self, more: Value) {
        self.provider_named("default", more).await;
    }

    /// The same by another name.
    pub async fn provider_named(&self, name: &str, more: Value) {
        let mut spec = provider_spec(&self.emulator);
        for (field, value) in more.as_object().cloned().unwrap_or_default() {
            spec[field] = value;
        }
        self.create::<FunctionGraphProvider>(name, json!({"spec": spec})).await.expect("a provider");
    }

    /// Lets the provider `default` stop executions.
    pub async fn allow_cancel(&self) {
        self.change::<FunctionGraphProvider>("default", json!({"spec": {"allowCancel": true}})).await;
    }

    /// A ConfigMap with one key.
    pub async fn config_map(&self, name: &str, key: &str, text: &str) {
        self.create::<ConfigMap>(name, json!({"data": {key: text}})).await.expect("a config map");
    }

    /// Creates an invocation. Its payload gets a word that must not turn up anywhere else.
    pub async fn invoke(&self, name: &str, mut spec: Value) -> FunctionInvocation {
        if let Some(payload) = spec.get_mut("payload").and_then(Value::as_object_mut) {
            payload.insert("canary".into(), self.evidence.marker().into());
        }
        self.create(name, json!({"spec": spec})).await.expect("the invocation is accepted by the API server")
    }

    /// The invocation as it is now.
    pub async fn get(&self, name: &str) -> FunctionInvocation {
        self.api().get(name).await.expect("the object is there")
    }

    /// The invocation as it is now, if there is one.
    pub async fn get_opt(&self, name: &str) -> Option<FunctionInvocation> {
        self.api().get_opt(name).await.expect("the API server answers")
    }

    /// The object with one field of its status forced to something, as an admin may do.
    ///
    /// # Errors
    /// What the API server says against it.
    pub async fn force_status(&self, name: &str, status: Value) -> Result<FunctionInvocation, kube::Error> {
        let patch = Patch::Merge(json!({"status": status}));
        self.api().patch_status(name, &PatchParams::default(), &patch).await
    }

    /// What kubectl answers in the test's namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, "").await
    }

    /// The same, with something to read.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = tokio::process::Command::from(self.plane.kubectl());
        command.args(["--namespace", &self.namespace]).args(arguments);
        crate::output(command, input).await
    }

    /// An operator for this namespace; another choice of [`Launch`] makes it one for the cluster.
    pub fn operator(&self) -> Launch<'static> {
        let launch = Launch::new(self.plane).evidence(&self.evidence).namespaced(&self.namespace);
        launch.flags(&["--secret-poll-seconds=1"])
    }

    /// What all operators of this test logged.
    pub fn logs(&self) -> String {
        self.evidence.logs()
    }

    /// The lines that operators of this test have logged.
    pub fn log_lines(&self) -> Vec<Value> {
        self.logs().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Adds a fault to the emulator, in its own JSON.
    pub fn fault(&self, fault: Value) {
        self.emulator.add_fault(serde_json::from_value(fault).expect("a fault"));
    }

    /// What the emulator accepted with this `tag` in the event.
    pub fn accepted(&self, tag: &str) -> Vec<LedgerEntry> {
        self.emulator.ledger().into_iter().filter(|entry| entry.tag.as_deref() == Some(tag)).collect()
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
}

impl Drop for World {
    fn drop(&mut self) {
        self.evidence.plant(self.emulator.secrets());
        if std::thread::panicking() {
            eprintln!("--- operators of {}\n{}", self.namespace, self.logs());
        }
    }
}
