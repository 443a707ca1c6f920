//! What exists is read an object at a time where the API server streams lists, and in small pages elsewhere: nobody
//! fills the operator's memory by creating many large objects.

use crate::judge::{accepted, invoke, sound};
use crate::proxy::Proxy;
use crate::silent::plane_of_pages;
use serde_json::json;
use testkit::control_plane::ControlPlane;
use testkit::{World, plane};

/// The objects that are there when the operator starts, in the order in which they are read: small ones, large ones, and
/// the size of the large ones' events.
const OBJECTS: (usize, usize, usize) = (60, 40, 100_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t12_lists_are_streamed_where_the_api_server_offers_it() {
    let plane = plane().await;
    let requests = read_by_a_new_operator(plane).await;
    let streamed = |request: &&String| request.contains("sendInitialEvents=true");
    assert_eq!(requests.iter().filter(streamed).count(), 4, "{requests:#?}");
    let only_streamed = requests.iter().all(|request| request.contains("watch=true"));
    assert_eq!(only_streamed, streams_lists(plane).await, "{requests:#?}");
}

/// Whether this API server streams lists: from Kubernetes 1.34 on, unless somebody has switched it off.
async fn streams_lists(plane: &ControlPlane) -> bool {
    let list = "/api/v1/namespaces?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let request = http::Request::get(list).body(Vec::new()).expect("a request");
    let client = kube::Client::try_from(plane.kube_config()).expect("a client");
    match client.request_text(request).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.is_invalid() => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t12_lists_are_read_in_small_pages_where_it_does_not() {
    let requests = read_by_a_new_operator(plane_of_pages().await).await;
    let streamed = |request: &&String| request.contains("sendInitialEvents=true");
    assert_eq!(requests.iter().filter(streamed).count(), 4, "tried once: {requests:#?}");
    // While objects are small, pages grow. What then becomes too large is given up and asked for in smaller pages.
    let pages: Vec<_> = requests.iter().filter_map(|request| page(request)).collect();
    assert!(pages.iter().any(|(limit, _)| *limit > 16), "{requests:#?}");
    let smaller = |(limit, from): &(usize, &str)| pages.iter().any(|(l, f)| f == from && l < limit);
    assert!(pages.iter().any(smaller), "{requests:#?}");
}

/// How many objects a request asks for, and after which.
fn page(request: &str) -> Option<(usize, &str)> {
    let (_, parameters) = request.split_once("&limit=")?;
    let (limit, from) = parameters.split_once("&continue=")?;
    Some((limit.parse().ok()?, from))
}

/// The lists and watches that an operator asks for that starts among many objects.
async fn read_by_a_new_operator(plane: &'static ControlPlane) -> Vec<String> {
    let world = World::on(plane, |_| {}).await;
    world.provider().await;
    let (small, large, bytes) = OBJECTS;
    for (name, count, bytes) in [("a", small, 100), ("b", large, bytes)] {
        for number in 0..count {
            let payload = json!({"text": "x".repeat(bytes)});
            let spec = json!({"function": {"name": "hello"}, "suspend": true, "payload": payload});
            world.invoke(&format!("{name}-{number}"), spec).await;
        }
    }
    invoke(&world, "c").await;
    let proxy = Proxy::before(plane, &[]).await;
    let operator = world.operator().kubeconfig(&proxy.kubeconfig()).start();
    operator.logged("working").await;
    let read = operator.log().lines().iter().find_map(|line| line["unfinished"].as_u64());
    assert_eq!(read, Some((small + large + 1) as u64), "all of them are read");
    accepted(&world, 1).await;
    let requests = proxy.reads.requests();
    sound(&operator);
    assert!(operator.stop().await.success());
    requests
}
