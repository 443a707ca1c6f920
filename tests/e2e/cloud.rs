//! The local FunctionGraph as a Pod: what it is made of, and its admin API, reached through the API server.

use crate::machine::{Images, Machine};
use functiongraph_emulator::{Config, Emulator, Function, IdentityProvider, LedgerEntry, Tls};
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use testkit::examples;

/// Its namespace.
pub const NAMESPACE: &str = "fg-e2e-cloud";

/// The name of its Service, as Pods of any cluster can resolve it.
pub const HOST: &str = "functiongraph-emulator.fg-e2e-cloud.svc.cluster.local";

/// Answers when a function of this name has been accepted for three seconds.
pub const SLOW: &str = "slow";

/// Answers after one second: whoever is stopped has requests on their way.
pub const STEADY: &str = "steady";

/// The id of the cluster as an identity provider, and the audience of the tokens that it makes for it.
pub const IDENTITY_PROVIDER: &str = "this-cluster";
/// See there.
pub const AUDIENCE: &str = "functiongraph";

/// A running one.
pub struct Cloud {
    client: Client,
    /// Its endpoint.
    pub url: String,
    /// The authority that its certificate is from.
    pub ca: String,
}

// === impl Cloud ===

impl Cloud {
    /// Starts it, with the faults that the examples are about.
    pub async fn start(machine: &Machine, images: &Images) -> Self {
        let client = machine.client.clone();
        let mut config = examples::emulator_config().expect("a config");
        let late = |name, latency| Function { answer_latency: latency, ..Function::named(name) };
        config.functions.push(late(SLOW, Duration::from_secs(3)));
        config.functions.push(late(STEADY, Duration::from_secs(1)));
        config.identity.identity_providers.push(IdentityProvider {
            issuer: Some(issuer(&client).await),
            audience: Some(AUDIENCE.into()),
            jwks: Some(get(&client, "/openid/v1/jwks").await),
            ..IdentityProvider::named(IDENTITY_PROVIDER)
        });
        config.listen = ([0, 0, 0, 0], 8443).into();
        config.admin_listen = Some(([0, 0, 0, 0], 8444).into());
        let authority = machine.folder.path().join("authority");
        config.tls = Tls { dir: Some(authority.clone()), names: vec![HOST.into()] };
        make_authority(&config).await;
        let read = |name| fs::read_to_string(authority.join(name)).expect("the authority's files");
        let (ca, key) = (read("ca.crt"), read("ca.key"));
        config.tls.dir = Some("/authority".into());

        let manifest = machine.folder.path().join("emulator.json");
        let objects = objects(&images.emulator, &config, &ca, &key);
        fs::write(&manifest, objects.to_string()).expect("a file");
        let file = manifest.to_str().expect("a name in UTF-8");
        machine.kubectl(["apply", "--filename", file]).await;
        let place = ["--namespace", NAMESPACE, "--timeout", "180s"];
        machine
            .kubectl(["rollout", "status", "deployment/functiongraph-emulator"].iter().chain(&place))
            .await;
        Self { client, url: format!("https://{HOST}:8443"), ca }
    }

    /// Everything that it has accepted.
    pub async fn ledger(&self) -> Vec<LedgerEntry> {
        serde_json::from_value(get(&self.client, &admin("ledger")).await).expect("a ledger")
    }
}

fn admin(what: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/services/http:functiongraph-emulator:admin/proxy/admin/{what}")
}

async fn get(client: &Client, path: &str) -> Value {
    let request = Request::get(path).body(Vec::new()).expect("a request");
    let text = client.request_text(request).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("JSON")
}

/// What the cluster's ServiceAccount tokens say they are from.
async fn issuer(client: &Client) -> String {
    let configuration = get(client, "/.well-known/openid-configuration").await;
    configuration["issuer"].as_str().expect("an issuer").to_owned()
}

/// The emulator itself makes the files, at its first start.
async fn make_authority(config: &Config) {
    let free = ([127, 0, 0, 1], 0).into();
    let config = Config { listen: free, admin_listen: None, ..config.clone() };
    Emulator::start(config).await.expect("the emulator starts").stop().await;
}

fn objects(image: &str, config: &Config, ca: &str, key: &str) -> Value {
    let labels = json!({"app": "functiongraph-emulator"});
    let metadata = json!({"name": "functiongraph-emulator", "namespace": NAMESPACE, "labels": labels});
    let container = json!({
        "name": "emulator", "image": image, "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "FUNCTIONGRAPH_EMULATOR_CONFIG", "value": "/config/emulator.yaml"}],
        "ports": [{"name": "api", "containerPort": 8443}, {"name": "admin", "containerPort": 8444}],
        "readinessProbe": {"tcpSocket": {"port": "api"}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/config"}, {"name": "authority", "mountPath": "/authority"},
        ],
    });
    let pod = json!({
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": "functiongraph-emulator"}},
            {"name": "authority", "secret": {"secretName": "functiongraph-emulator"}},
        ],
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"emulator.yaml": serde_json::to_string(config).expect("JSON")}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "stringData": {"ca.crt": ca, "ca.key": key}},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": [
            {"name": "api", "port": 8443, "targetPort": "api"},
            {"name": "admin", "port": 8444, "targetPort": "admin"},
        ]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }},
    ]})
}
