//! The steps of the story, each a thing that a user of the chart does or suffers.

use crate::cloud::{AUDIENCE, Cloud, HOST, IDENTITY_PROVIDER, NAMESPACE as CLOUD, SLOW};
use crate::judge::{self, invocations, invoke, settled, under_load, until};
use crate::machine::{Images, Machine};
use crate::release::{self, Release};
use crate::show::note;
use functiongraph_operator::api::FunctionGraphProvider;
use functiongraph_operator::api::invocation::Outcome;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::PROJECT;
use testkit::examples::{self, Board, Manifests};

/// Where the operator is installed, with a default provider.
const HOME: &str = "fg-e2e-operator";
/// Where the examples are.
const TEAM: &str = "fg-e2e-team";
/// Where there is load.
const LOAD: &str = "fg-e2e-load";
/// Where a second operator serves, which is killed.
const LONE: &str = "fg-e2e-lone";

const KEY: (&str, &str) = ("EMULATORACCESSKEY001", "emulator-secret-key-0000000000000000001");

/// All that the steps work with.
pub struct World {
    machine: Machine,
    images: Images,
    cloud: Cloud,
    chart: PathBuf,
}

/// What is known of the operator that was killed.
pub struct Killed {
    /// The name by which it claims.
    holder: String,
}

// === impl World ===

impl World {
    /// Namespaces in which only Pods of the strictest standard may run, a FunctionGraph, and the chart.
    pub async fn start(machine: Machine, images: Images) -> Self {
        for namespace in [CLOUD, HOME, TEAM, LOAD, LONE] {
            let labels = json!({
                "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
            });
            let metadata = json!({"name": namespace, "labels": labels});
            apply(&machine, &[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})]).await;
        }
        let cloud = Cloud::start(&machine, &images).await;
        let chart = release::package(&machine).await;
        Self { machine, images, cloud, chart }
    }

    fn main(&self) -> Release<'_> {
        Release::new(&self.machine, "functiongraph-operator", HOME)
    }

    fn lone(&self) -> Release<'_> {
        Release::new(&self.machine, "lone-functiongraph-operator", LONE)
    }

    /// What every release is told: where the images are, and that the emulator is a good place for a provider.
    fn values(&self, more: &Value) -> Value {
        let (repository, tag) = self.images.operator.rsplit_once(':').expect("repository:tag");
        let mut values = json!({
            "image": {"repository": repository, "tag": tag},
            "settings": {"allowedEndpointHosts": [HOST], "tokenAudience": AUDIENCE, "secretPollSeconds": 1},
            "rbac": {"tokenServiceAccounts": [{"namespace": TEAM, "names": ["deployer"]}]},
            "defaultProvider": {"endpoint": self.cloud.url, "caBundle": self.cloud.ca},
        });
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            values[key] = value;
        }
        values
    }

    /// A Secret and a provider `default` for a namespace.
    async fn provider(&self, namespace: &str) {
        let metadata = |name: &str| json!({"name": name, "namespace": namespace});
        let provider = json!({
            "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionGraphProvider", "metadata": metadata("default"),
            "spec": {
                "region": "eu-de", "projectID": PROJECT, "endpoint": self.cloud.url, "caBundle": self.cloud.ca,
                "credentials": {"accessKey": {"secretRef": {"name": "functiongraph"}}},
            },
        });
        apply(&self.machine, &[secret(namespace), provider]).await;
    }
}

fn secret(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "functiongraph", "namespace": namespace},
        "stringData": {
            "accessKeyID": KEY.0, "secretAccessKey": KEY.1, "region": "eu-de", "projectID": PROJECT,
        },
    })
}

async fn apply(machine: &Machine, objects: &[Value]) {
    let file = machine.folder.path().join("objects.json");
    fs::write(&file, examples::list(objects)).expect("a file");
    machine.kubectl(["apply", "--filename", file.to_str().expect("UTF-8")]).await;
}

// === the steps ===

/// `helm install` with nothing but the name of a Secret, on top of what leads to the emulator.
pub async fn install(world: &World) {
    apply(&world.machine, &[secret(HOME)]).await;
    let flags = ["--set", "defaultProvider.secretName=functiongraph"];
    world.main().apply("install", &world.chart, &world.values(&json!({})), &flags).await;

    invoke(&world.machine.client, HOME, "first", "resize").await;
    let verdict = settled(&world.machine.client, &world.cloud, HOME, "first").await;
    assert_eq!(verdict.accepted, 1, "the provider of the chart has been used");
}

/// What the person on duty looks at.
pub async fn look_around(world: &World) {
    let main = world.main();
    assert_eq!(main.ready().await, 1);
    assert_eq!(main.probe("readyz").await, "ok\n");
    assert_eq!(main.probe("healthz").await, "ok\n");
    let metrics = main.metrics().await;
    assert!(metrics.trim_end().ends_with("# EOF") && metrics.contains("functiongraph_"), "{metrics}");

    let pods = main.pods().await;
    let log = main.log(&pods[0]).await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    assert!(lines.iter().any(|line| line["message"] == "working"), "{log}");
    assert!(!log.contains(KEY.1), "the secret key is in the log");

    let forbidden = ["run", "forbidden", "--image=none", "--privileged", "--namespace", HOME];
    let refused = world.machine.kubectl_refused(forbidden).await;
    assert!(refused.contains("PodSecurity"), "the standard is not enforced: {refused}");
}

/// Every example of the repository, as `make demo ONCE=1` shows them.
pub async fn examples(world: &World) {
    let mut examples = Manifests::read(Path::new(examples::FOLDER)).expect("the examples");
    // The emulator's image has no Python.
    examples.keep(|plan| !plan.slow && plan.needs.is_none());
    examples.point_at(&world.cloud.url, &world.cloud.ca);
    for object in examples.foundations.iter_mut().chain(&mut examples.invocations) {
        object["metadata"]["namespace"] = TEAM.into();
    }
    apply(&world.machine, &examples.foundations).await;
    apply(&world.machine, &examples.invocations).await;

    let api = invocations(&world.machine.client, TEAM);
    let mut board = Board::new(examples.plans.clone());
    let mut deeds = examples.deeds();
    let settled = async {
        while !board.is_settled() {
            let objects = api.list(&ListParams::default()).await.expect("a list").items;
            let objects: Vec<_> = objects.into_iter().map(Arc::new).collect();
            for (name, row) in board.update(&objects) {
                if deeds.get(&name).is_some_and(|deed| deed.when == row.reason) {
                    let patch = Patch::Merge(deeds.remove(&name).expect("a deed").patch);
                    api.patch(&name, &PatchParams::default(), &patch).await.expect("what a person does");
                }
            }
            board.accepted(world.cloud.ledger().await);
            tokio::time::sleep(judge::LOOK).await; // polls a cluster: nothing to await
        }
    };
    let waited = tokio::time::timeout(judge::PATIENCE, settled).await;
    assert!(waited.is_ok(), "{:#?}", board.mismatches());
    note(&format!("{} examples", board.examples()));
}

/// A provider without any secret: the operator makes tokens of a ServiceAccount, IAM takes the cluster's word.
pub async fn service_account(world: &World) {
    let metadata = |name: &str| json!({"name": name, "namespace": TEAM});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("deployer")});
    let oidc = json!({"serviceAccountRef": {"name": "deployer"}, "idpID": IDENTITY_PROVIDER});
    let provider = json!({
        "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionGraphProvider", "metadata": metadata("federated"),
        "spec": {
            "region": "eu-de", "endpoint": world.cloud.url, "iamEndpoint": world.cloud.url, "caBundle": world.cloud.ca,
            "credentials": {"oidc": oidc},
        },
    });
    let invocation = json!({
        "apiVersion": "functiongraph.io/v1alpha1", "kind": "FunctionInvocation", "metadata": metadata("federated"),
        "spec": {"function": {"name": "resize"}, "payload": {"tag": "federated"}, "providerRef": {"name": "federated"}},
    });
    apply(&world.machine, &[account, provider, invocation]).await;
    let api = invocations(&world.machine.client, TEAM);
    until("the invocation of the ServiceAccount is accepted", async || {
        let object = api.get("federated").await.expect("the invocation");
        object.status.is_some_and(|status| status.outcome == Some(Outcome::Accepted))
    })
    .await;
    let providers: Api<FunctionGraphProvider> = Api::namespaced(world.machine.client.clone(), TEAM);
    let status = providers.get("federated").await.expect("the provider").status.expect("a status");
    assert!(status.credential_expiration_time.is_some(), "keys that were made end some time");
}

/// New Pods replace old ones in the middle of the work: nobody notices.
pub async fn upgrade(world: &World) {
    world.provider(LOAD).await;
    let before = names(&world.main().pods().await);
    let values = world.values(&json!({"podAnnotations": {"example.com/release": "2"}}));
    let upgrade = async {
        let flags = ["--set", "defaultProvider.secretName=functiongraph"];
        world.main().apply("upgrade", &world.chart, &values, &flags).await;
        world.main().until_pods(1).await;
    };
    under_load(&world.machine.client, LOAD, "rolled", upgrade).await;
    let after = names(&world.main().pods().await);
    assert!(before.is_disjoint(&after), "no Pod was replaced: {before:?}, {after:?}");
    unharmed(world, "rolled").await;
}

/// More operators, then fewer: they share the work, and what leaves has finished its part.
pub async fn scale(world: &World) {
    let scaled = async {
        for count in [3, 1] {
            let values = world.values(&json!({"replicaCount": count}));
            let flags = ["--set", "defaultProvider.secretName=functiongraph"];
            world.main().apply("upgrade", &world.chart, &values, &flags).await;
            world.main().until_pods(count).await;
            until("all of them are ready", async || usize::try_from(world.main().ready().await) == Ok(count))
                .await;
            let divided = format!("functiongraph_operator_members {count}\n");
            until("they divide the work", async || world.main().metrics().await.contains(&divided)).await;
        }
    };
    under_load(&world.machine.client, LOAD, "scaled", scaled).await;
    unharmed(world, "scaled").await;
}

/// All of them were accepted, once.
async fn unharmed(world: &World, prefix: &str) {
    let verdict = settled(&world.machine.client, &world.cloud, LOAD, prefix).await;
    assert!(verdict.unknown.is_empty(), "unknown: {:?}", verdict.unknown);
    assert!(verdict.accepted > 0);
    note(&format!(
        "{} invocations accepted once, none unknown, by {} operators",
        verdict.accepted,
        verdict.holders.len()
    ));
}

/// A second operator, for one namespace and with Roles only, dies while its requests are on their way.
pub async fn kill(world: &World) -> Killed {
    world.provider(LONE).await;
    let lone = world.lone();
    let values = world.values(&json!({
        "watchNamespaces": [LONE], "crds": {"install": false}, "defaultProvider": {"enabled": false}, "rbac": {"aggregateRoles": false},
        "settings": {"allowedEndpointHosts": [HOST], "secretPollSeconds": 1},
    }));
    lone.apply("install", &world.chart, &values, &[]).await;
    let pods = lone.pods().await;
    let log = lone.log(&pods[0]).await;
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let holder = lines.find_map(|line| line["holder"].as_str().map(ToOwned::to_owned)).expect("its name");

    let client = &world.machine.client;
    for number in 0..30 {
        invoke(client, LONE, &format!("killed-{number}"), SLOW).await;
    }
    // The operator of the cluster takes its share of them.
    let api = invocations(client, LONE);
    until("it has requests on their way", async || {
        let objects = api.list(&ListParams::default()).await.expect("a list").items;
        let of_it = objects.iter().filter_map(|object| object.status.as_ref()).filter(|status| {
            let attempt = status.attempt.as_ref();
            status.outcome.is_none()
                && attempt.is_some_and(|attempt| attempt.holder.as_deref() == Some(&holder))
        });
        of_it.count() >= 3
    })
    .await;
    if world.machine.has_own_node() {
        kill_the_process_of(&pods[0]);
        until("the kubelet has started it anew", async || {
            let pods = lone.pods().await;
            let statuses = pods[0].status.as_ref().and_then(|status| status.container_statuses.clone());
            statuses.is_some_and(|containers| containers[0].restart_count == 1 && containers[0].ready)
        })
        .await;
    } else {
        let name = pods[0].name_any();
        let force = ["--namespace", LONE, "--force", "--grace-period=0"];
        world.machine.kubectl(["delete", "pod", &name].iter().chain(&force)).await;
    }
    Killed { holder }
}

/// Kills the operator itself, behind the back of Kubernetes: the process of the program in the Pod's control group.
fn kill_the_process_of(pod: &Pod) {
    let uid = pod.uid().expect("a uid");
    let text = |process: &Path, file| fs::read(process.join(file)).unwrap_or_default();
    let processes =
        fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let pid = processes
        .filter(|process| text(process, "cmdline").starts_with(b"/functiongraph-operator\0"))
        .find(|process| String::from_utf8_lossy(&text(process, "cgroup")).contains(&uid))
        .unwrap_or_else(|| panic!("no process of the Pod {uid}"));
    let pid = pid.file_name().expect("a number").to_owned();
    let killed = std::process::Command::new("kill").arg("-KILL").arg(pid).status().expect("kill is there");
    assert!(killed.success());
}

/// Two minutes after its death: what it had not finished is unknown, everything else is accepted, nothing twice.
pub async fn after_the_kill(world: &World, killed: Killed) {
    let verdict = settled(&world.machine.client, &world.cloud, LONE, "killed").await;
    let foreign: Vec<_> = verdict.unknown.iter().filter(|(_, holder)| *holder != killed.holder).collect();
    assert!(foreign.is_empty(), "unknown, and not the dead operator's: {foreign:?}");
    note(&format!("{} accepted once, {} unknown", verdict.accepted, verdict.unknown.len()));
}

/// What waits while nobody is there is sent when somebody is.
pub async fn reinstall(world: &World) {
    world.main().uninstall().await;
    for number in 0..5 {
        invoke(&world.machine.client, HOME, &format!("waiting-{number}"), "resize").await;
    }
    let flags = ["--set", "defaultProvider.secretName=functiongraph"];
    world.main().apply("install", &world.chart, &world.values(&json!({})), &flags).await;
    let verdict = settled(&world.machine.client, &world.cloud, HOME, "waiting").await;
    assert_eq!((verdict.accepted, verdict.unknown.len()), (5, 0));
}

/// Without the chart there is no operator, and all that people have written and were told.
pub async fn uninstall(world: &World) {
    let count = async || {
        let mut all = 0;
        for namespace in [HOME, TEAM, LOAD, LONE] {
            all += invocations(&world.machine.client, namespace)
                .list(&ListParams::default())
                .await
                .expect("a list")
                .items
                .len();
        }
        all
    };
    let before = count().await;
    world.lone().uninstall().await;
    world.main().uninstall().await;
    assert_eq!(count().await, before);
    let definitions = world.machine.kubectl(["get", "crd", "--output", "name"]).await;
    assert_eq!(
        definitions.lines().filter(|name| name.ends_with(".functiongraph.io")).count(),
        3,
        "{definitions}"
    );
    let kinds = "validatingadmissionpolicy,validatingadmissionpolicybinding";
    let policy = world.machine.kubectl(["get", kinds, "--output", "name"]).await;
    assert_eq!(
        policy.lines().filter(|name| name.ends_with("/functioninvocations.functiongraph.io")).count(),
        2,
        "{policy}"
    );
    note(&format!("{before} invocations are still there"));
    if !world.machine.has_own_node() {
        world.machine.kubectl(["delete", "namespace", CLOUD, HOME, TEAM, LOAD, LONE]).await;
    }
}

fn names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}
