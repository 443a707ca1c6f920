//! What a test stands on: a namespace of the shared control plane, an emulator, and operator processes.

use crate::evidence::{Evidence, Log};
use control_plane::{ADMIN, ControlPlane, Options, User};
use functiongraph_emulator::{AccessKey, Config, Emulator, Function, LedgerEntry};
use functiongraph_operator::api::{ClusterFunctionGraphProvider, FunctionGraphProvider, FunctionInvocation};
use functiongraph_operator::definitions;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{Condition, await_condition, conditions};
use kube::{Api, Client, CustomResourceExt, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

/// Longer than any wait that succeeds, on a machine that is busy with other tests. The longest is for a
/// breaker to close, half a minute and more.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The access key that the emulators know.
pub const KEY: (&str, &str) = ("TESTACCESSKEY0000001", "test-secret-key-000000000000000000000001");

/// A user of the control plane without any rights at first.
pub const NOBODY: &str = "nobody";

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

/// The control plane of this binary, with everything in `crds/` installed.
pub async fn plane() -> &'static ControlPlane {
    PLANE.get_or_init(new_plane).await
}

/// A new control plane with everything in `crds/` installed.
pub async fn new_plane() -> ControlPlane {
    installed(bare_plane().await).await
}

/// This control plane, once everything in `crds/` is installed.
pub async fn installed(plane: ControlPlane) -> ControlPlane {
    plane.apply_yaml(&definitions::manifest().expect("a manifest")).await.expect("it is accepted");
    enforced(&plane).await;
    plane
}

/// Waits until the API server refuses what the admission policy refuses, which it does some time after it has taken the
/// policy.
pub async fn enforced(plane: &ControlPlane) {
    let name = "is-the-policy-enforced";
    let (api_version, kind) = (FunctionInvocation::api_version(&()), FunctionInvocation::kind(&()));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let object = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": name},
        "spec": {"function": {"name": "hello"}, "suspend": true},
    });
    for object in [namespace, object] {
        plane.apply_yaml(&object.to_string()).await.expect("it is accepted");
    }
    let api: Api<FunctionInvocation> = Api::namespaced(plane.client().expect("its client"), name);
    let (dry_run, event) = (PatchParams::default().dry_run(), Patch::Merge(json!({"spec": {"payload": {}}})));
    let refused = async {
        while api.patch(name, &dry_run, &event).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await; // polls an answer: nothing to await
        }
    };
    within(refused).await;
    api.delete(name, &DeleteParams::default()).await.expect("it goes");
}

/// Waits until the definitions are served.
pub async fn established(plane: &ControlPlane) {
    let definitions: Api<_> = Api::all(plane.client().expect("its client"));
    for name in [
        FunctionInvocation::crd_name(),
        FunctionGraphProvider::crd_name(),
        ClusterFunctionGraphProvider::crd_name(),
    ] {
        let established = await_condition(definitions.clone(), name, conditions::is_crd_established());
        within(established).await.expect("a definition is established");
    }
}

/// A control plane with a user without rights.
pub async fn bare_plane() -> ControlPlane {
    start_plane(&[]).await
}

/// The same, with more flags for its API server.
pub async fn start_plane(flags: &[&str]) -> ControlPlane {
    let users = vec![User::new(NOBODY, &[])];
    let apiserver_flags = flags.iter().map(ToString::to_string).collect();
    let options = Options { users, audit: true, apiserver_flags, ..Options::default() };
    ControlPlane::start(options).await.expect("the control plane starts")
}

/// Waits for what must happen soon.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

/// What a test stands on.
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

// === impl World ===

impl World {
    /// A fresh namespace, and an emulator with the functions `hello` and `disabled`.
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
        let mut config = Config {
            functions: vec![
                Function::named("hello"),
                Function { disabled: true, ..Function::named("disabled") },
            ],
            access_keys: vec![AccessKey { id: KEY.0.into(), secret: KEY.1.into(), security_token: None }],
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
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object from JSON.
    ///
    /// # Errors
    /// What the API server says against it.
    pub async fn create<K>(&self, name: &str, mut value: Value) -> Result<K, kube::Error>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
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
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
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
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"},
            "stringData": {"accessKeyID": KEY.0, "secretAccessKey": secret_access_key},
        });
        let parameters = PatchParams::apply("test").force();
        self.api::<Secret>().patch("key", &parameters, &Patch::Apply(secret)).await.expect("a secret");
    }

    /// The provider `default`, with `more` merged into its spec.
    pub async fn provider_with(&self, more: Value) {
        self.provider_named("default", more).await;
    }

    /// The same by another name.
    pub async fn provider_named(&self, name: &str, more: Value) {
        let mut spec = json!({
            "region": "eu-de", "projectID": "7aad83af3e8d42e99ac194e8419e2c9b",
            "endpoint": self.emulator.url(), "caBundle": self.emulator.ca_pem(),
            "credentials": {"accessKey": {"secretRef": {"name": "key"}}},
        });
        for (field, value) in more.as_object().cloned().unwrap_or_default() {
            spec[field] = value;
        }
        self.create::<FunctionGraphProvider>(name, json!({"spec": spec})).await.expect("a provider");
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

    /// The invocation once `condition` holds.
    pub async fn until(
        &self,
        name: &str,
        condition: impl Condition<FunctionInvocation>,
    ) -> FunctionInvocation {
        let waiting = tokio::time::timeout(PATIENCE, await_condition(self.api(), name, condition));
        if let Ok(object) = waiting.await {
            return object.expect("the watch works").expect("the object is there");
        }
        let object: FunctionInvocation = self.api().get(name).await.expect("the object is there");
        panic!("{name} did not get there; its status: {:#?}", object.status);
    }

    /// The invocation once it has an outcome.
    pub async fn finished(&self, name: &str) -> FunctionInvocation {
        self.until(name, |object: Option<&FunctionInvocation>| {
            object.and_then(|o| o.status.as_ref()).is_some_and(|s| s.outcome.is_some())
        })
        .await
    }

    /// What the emulator accepted with this `tag` in the event.
    pub fn accepted(&self, tag: &str) -> Vec<LedgerEntry> {
        self.emulator.ledger().into_iter().filter(|entry| entry.tag.as_deref() == Some(tag)).collect()
    }

    /// Starts an operator for this namespace, and waits until it works.
    pub async fn operator(&self) -> Operator {
        self.operator_with(&[]).await
    }

    /// The same, with more flags.
    pub async fn operator_with(&self, flags: &[&str]) -> Operator {
        let operator = self.operator_starting(flags).await;
        operator.ready().await;
        operator
    }

    /// The same, without waiting until it works.
    #[expect(clippy::unused_async, reason = "awaited like its siblings")]
    pub async fn operator_starting(&self, flags: &[&str]) -> Operator {
        self.operator_as(ADMIN, flags)
    }

    /// The same, with the rights of a user of the control plane.
    pub fn operator_as(&self, user: &str, flags: &[&str]) -> Operator {
        self.spawn(user, &["--namespaces", &self.namespace], flags, &[])
    }

    /// The same as admin, with variables in its environment.
    pub fn operator_in(&self, environment: &[(&str, OsString)], flags: &[&str]) -> Operator {
        self.spawn(ADMIN, &["--namespaces", &self.namespace], flags, environment)
    }

    /// An operator for the whole cluster, at home in the test's namespace.
    pub async fn operator_of_the_cluster(&self, user: &str, flags: &[&str]) -> Operator {
        let operator = self.spawn(user, &["--own-namespace", &self.namespace], flags, &[]);
        operator.ready().await;
        operator
    }

    /// One that is at home in another namespace, with the rights of the ServiceAccount that the chart makes there, without
    /// waiting until it works. It serves the whole cluster unless a flag says otherwise.
    pub fn operator_at_home(&self, namespace: &str, flags: &[&str]) -> Operator {
        let admins = self.plane.kubeconfig(ADMIN).expect("a kubeconfig");
        let config = std::fs::read_to_string(&admins).expect("a kubeconfig");
        let (before, after) = config.rsplit_once('}').expect("the token of its user");
        let who = json!({
            "as": format!("system:serviceaccount:{namespace}:functiongraph-operator"),
            "as-groups": ["system:serviceaccounts", "system:authenticated"],
        });
        let who = who.to_string();
        let config = format!("{before}, {}}}{after}", &who[1..who.len() - 1]);
        // Beside the other, because it names the authority's file without a folder.
        let own = admins.with_file_name(format!("at-home-in-{namespace}.kubeconfig"));
        std::fs::write(&own, config).expect("a file");
        self.spawn_with(&own, &["--own-namespace", namespace], flags, &[])
    }

    fn spawn(
        &self,
        user: &str,
        place: &[&str],
        flags: &[&str],
        environment: &[(&str, OsString)],
    ) -> Operator {
        let kubeconfig = self.plane.kubeconfig(user).expect("a kubeconfig");
        self.spawn_with(&kubeconfig, place, flags, environment)
    }

    fn spawn_with(
        &self,
        kubeconfig: &Path,
        place: &[&str],
        flags: &[&str],
        environment: &[(&str, OsString)],
    ) -> Operator {
        // `make test` names a release for the tests of memory.
        let own = || env!("CARGO_BIN_EXE_functiongraph-operator").into();
        let mut command = Command::new(std::env::var_os("TEST_OPERATOR").unwrap_or_else(own));
        let log = self.evidence.hear(&mut command);
        let process = command
            .args(["run", "--allowed-endpoint-hosts=localhost", "--probe-listen=127.0.0.1:0"])
            .args(["--metrics-listen=127.0.0.1:0"])
            .args(["--secret-poll-seconds=1", "--kubeconfig"])
            .arg(kubeconfig)
            .args(place)
            .args(flags)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true)
            .spawn()
            .expect("the operator starts");
        Operator { process, log }
    }

    /// What all operators of this test logged.
    pub fn logs(&self) -> String {
        self.evidence.logs()
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

/// One operator process.
pub struct Operator {
    process: Child,
    log: Log,
}

// === impl Operator ===

impl Operator {
    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// Where it answers probes.
    pub async fn probes(&self) -> SocketAddr {
        self.address("probes").await
    }

    /// Where it answers scrapes.
    pub async fn metrics(&self) -> SocketAddr {
        self.address("metrics").await
    }

    /// The address that it has logged under this name, once it has.
    async fn address(&self, of: &str) -> SocketAddr {
        let told = async {
            loop {
                if let Some(address) = self.log.address(of) {
                    return address;
                }
                tokio::time::sleep(Duration::from_millis(10)).await; // polls a file: nothing to await
            }
        };
        within(told).await
    }

    /// The answer of its port for probes, or for `/metrics` of that for metrics: status and text.
    pub async fn ask(&self, path: &str) -> (u16, String) {
        let address = if path == "/metrics" { self.metrics().await } else { self.probes().await };
        let answer = reqwest::get(format!("http://{address}{path}")).await.expect("the operator answers");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    }

    /// Waits until it works.
    pub async fn ready(&self) {
        let works = async {
            while self.ask("/readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await; // polls an address: nothing to await
            }
        };
        within(works).await;
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> ExitStatus {
        within(self.process.wait()).await.expect("it ends")
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(mut self) {
        self.log.keep_metrics();
        self.process.kill().await.expect("it can be killed");
    }

    /// Sends it a signal by name, as in `TERM`, `STOP`, `CONT`.
    pub async fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await.expect("kill is there");
        assert!(sent.success());
    }

    /// Stops it as a rolling update does, and waits for its end.
    pub async fn stop(mut self) -> ExitStatus {
        self.log.keep_metrics();
        self.signal("TERM").await;
        within(self.process.wait()).await.expect("it ends")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.log.keep_metrics();
    }
}
