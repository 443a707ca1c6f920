//! T18: the ports for probes and metrics hold against whoever connects to them.

use futures::future::join_all;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use std::net::SocketAddr;
use testkit::{World, text, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// How much more memory an attack on a port may cost, in KiB.
const MEMORY_KIB: u64 = 16 * 1024;

/// Connections of the attack, and the size of the header that none of them finishes.
const CONNECTIONS: usize = 1000;
const HEADER: usize = 400_000;

/// Begins a request that it never finishes, and holds the connection until the server ends it.
async fn half_open(to: SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    // Another address than that of the test's own requests, as an attacker has.
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let Ok(mut stream) = socket.connect(to).await else { return };
    let header = [b"GET /healthz HTTP/1.1\r\nHost: it\r\nX: ".as_slice(), &vec![b'x'; HEADER]].concat();
    // The server may end it at any moment.
    let _ = stream.write_all(&header).await;
    let _ = stream.read(&mut [0; 1]).await;
}

#[tokio::test]
async fn t18_connections_that_never_finish_a_request_take_no_memory_and_keep_no_probe_waiting() {
    let world = World::new().await;
    let operator = world.operator().await;
    for port in [operator.probes().await, operator.metrics().await] {
        let before = operator.memory_kib("VmRSS");
        let attack = join_all((0..CONNECTIONS).map(|_| half_open(port)));
        let flat = || {
            let grown = operator.memory_kib("VmRSS").saturating_sub(before);
            assert!(grown < MEMORY_KIB, "{CONNECTIONS} connections took {grown} KiB");
        };
        let answers = async {
            loop {
                assert_eq!(operator.ask("/healthz").await, (200, "ok\n".into()));
                assert_eq!(operator.ask("/readyz").await, (200, "ok\n".into()));
                assert_eq!(operator.ask("/metrics").await.0, 200);
                flat();
            }
        };
        tokio::select! {
            _ = within(attack) => {}
            () = answers => {}
        }
        flat();
    }
}

#[tokio::test]
async fn t18_metrics_are_for_those_whom_the_cluster_allows_where_that_is_asked_for() {
    let world = World::new().await;
    for name in ["reader", "nobody"] {
        world.create::<ServiceAccount>(name, json!({})).await.unwrap();
    }
    let role = json!({
        "metadata": {"name": world.namespace}, "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
    });
    let role = serde_json::from_value::<ClusterRole>(role).unwrap();
    let binding = json!({
        "metadata": {"name": world.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": world.namespace},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": world.namespace}],
    });
    let binding = serde_json::from_value::<ClusterRoleBinding>(binding).unwrap();
    Api::all(world.client.clone()).create(&PostParams::default(), &role).await.unwrap();
    Api::all(world.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    let token = async |name: &str| {
        let said = world.kubectl(&["create", "token", name]).await;
        text(&said.stdout).trim().to_owned()
    };
    let operator = world.operator().flags(&["--metrics-auth"]).await;
    let metrics = format!("http://{}/metrics", operator.metrics().await);
    let scrape = async |authorization: Option<String>| {
        let request = reqwest::Client::new().get(&metrics);
        let request = match authorization {
            Some(value) => request.header("Authorization", value),
            None => request,
        };
        let answer = request.send().await.expect("the operator answers");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    };
    let (nobody, reader) = (token("nobody").await, token("reader").await);
    assert_eq!(scrape(None).await.0, 401);
    assert_eq!(scrape(Some("Bearer nonsense".into())).await.0, 401);
    assert_eq!(scrape(Some(format!("Basic {reader}"))).await.0, 401);
    // Twice, because the second verdict is a remembered one.
    for _ in 0..2 {
        assert_eq!(scrape(Some(format!("Bearer {nobody}"))).await, (403, String::new()));
        let (status, text) = scrape(Some(format!("Bearer {reader}"))).await;
        assert_eq!(status, 200);
        assert!(text.trim_end().ends_with("# EOF"), "{text}");
    }
    assert_eq!(operator.ask("/readyz").await.0, 200, "probes need no token");
}
