//! A forward proxy between the operator and FunctionGraph, chosen by the owner of the provider.

use functiongraph_operator::api::invocation::Outcome;
use functiongraph_operator::api::{ConditionStatus, FunctionGraphProvider, Reason};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::{Arc, Mutex};
use testkit::{KEY, World, message};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A proxy that opens tunnels, or answers each request for one with a status.
struct Proxy {
    url: String,
    /// The first line of each request.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, status, Arc::clone(&heard)));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut client: TcpStream, status: &'static str, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let line = String::from_utf8(head).unwrap().lines().next().unwrap().to_owned();
    asked.lock().unwrap().push(line.clone());
    let answer = format!("HTTP/1.1 {status}\r\n\r\n");
    client.write_all(answer.as_bytes()).await.unwrap();
    if status.starts_with("200") {
        let mut server = TcpStream::connect(line.split(' ').nth(1).unwrap()).await.unwrap();
        // Either side may end the tunnel at any moment.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn every_request_of_a_provider_goes_through_the_proxy_that_it_names() {
    let world = World::new().await;
    let proxy = Proxy::start("200 Connection established").await;
    world.secret(KEY.1).await;
    // Without a project, so that the identity service is asked too.
    let spec = json!({"proxy": {"url": proxy.url}, "projectID": null, "iamEndpoint": world.emulator.url()});
    world.provider_with(spec).await;
    let _operator = world.operator().await;
    world.invoke("through", json!({"function": {"name": "hello"}, "payload": {"tag": "through"}})).await;
    assert_eq!(world.end("through").await.outcome, Some(Outcome::Accepted));
    assert_eq!(world.accepted("through").len(), 1);
    let expected = format!("CONNECT {} HTTP/1.1", world.emulator.url().trim_start_matches("https://"));
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|line| *line == expected), "{asked:?}");

    // An edit counts at once: the tunnel of before is not used again.
    let closed = Proxy::start("403 Forbidden").await;
    let (seen, before) = (world.seen(), asked.len());
    let patch = Patch::Merge(json!({"spec": {"proxy": {"url": closed.url}}}));
    world.api::<FunctionGraphProvider>().patch("default", &PatchParams::default(), &patch).await.unwrap();
    let said = world.provider_says(Reason::EndpointUnreachable).await;
    assert_eq!(said.status, ConditionStatus::False);
    let told = "the proxy opened no tunnel: unsuccessful. Check spec.proxy of the provider";
    assert!(said.message.contains(told), "{}", said.message);
    world.invoke("held", json!({"function": {"name": "hello"}, "payload": {"tag": "held"}})).await;
    let held = world.says("held", Reason::WaitingForProvider).await;
    assert!(message(&held).contains("EndpointUnreachable"), "{}", message(&held));
    assert_eq!((world.seen(), proxy.asked().len()), (seen, before));
    assert!(!closed.asked().is_empty());
}

#[tokio::test]
async fn t01_a_proxy_that_is_not_on_the_list_of_hosts_is_never_connected_to() {
    let world = World::new().await;
    let proxy = Proxy::start("200 Connection established").await;
    world.secret(KEY.1).await;
    // The operator is started with `localhost` on its list.
    let url = proxy.url.replace("localhost", "127.0.0.1");
    world.provider_with(json!({"proxy": {"url": url}})).await;
    let _operator = world.operator().await;
    let said = world.provider_says(Reason::EndpointRefused).await;
    let told = "The host 127.0.0.1 of the proxy is not on the operator's list of allowed endpoint hosts.";
    assert!(said.message.starts_with(told), "{}", said.message);
    assert_eq!((proxy.asked(), world.emulator.requests().seen), (Vec::new(), 0));
}
