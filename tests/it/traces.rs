//! Traces, for those who want them: one span for each attempt, nothing private in it, and no harm when nobody listens.

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use functiongraph_operator::api::invocation::Outcome;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use testkit::{KEY, World};
use tokio::net::TcpListener;

/// A collector: its base URL, and the bodies that it got.
async fn collector() -> (String, Arc<Mutex<Vec<Bytes>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let shelf = Arc::clone(&received);
    let take = move |body: Bytes| async move { shelf.lock().unwrap().push(body) };
    let app = Router::new().route("/v1/traces", post(take));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

fn spans(bodies: &[Bytes]) -> Vec<Span> {
    let requests = bodies.iter().map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap());
    let resources = requests.flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

#[tokio::test]
async fn each_attempt_is_a_span_with_its_class_and_steps_and_without_anything_private() {
    let world = World::new().await;
    world.provider().await;
    let (url, received) = collector().await;
    let operator = world.operator().flags(&["--otlp-endpoint", &url]).await;
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 429}}}));
    let payload = json!({"text": "canary-traced-payload-4711"});
    world.invoke("traced", json!({"function": {"name": "hello"}, "payload": payload})).await;
    assert_eq!(world.end("traced").await.outcome, Some(Outcome::Accepted));
    let metrics = operator.ask("/metrics").await.1;
    assert!(operator.stop().await.success());

    let bodies = received.lock().unwrap().clone();
    let mut spans = spans(&bodies);
    spans.sort_by_key(|span| attribute(span, "functiongraph.attempt"));
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let of = |key: &str| attribute(span, key).unwrap_or_default();
            (of("functiongraph.attempt"), of("functiongraph.class"), of("http.response.status_code"))
        })
        .collect();
    let text = |texts: [&str; 3]| texts.map(ToOwned::to_owned).into();
    assert_eq!(told, [text(["1", "Throttled", "429"]), text(["2", "Accepted", "202"])]);
    for span in &spans {
        let steps: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(steps, ["prepared", "claimed", "sent", "answered", "recorded"]);
        assert!(span.events.is_sorted_by_key(|event| event.time_unix_nano));
        assert!(span.start_time_unix_nano <= span.events[0].time_unix_nano);
        assert_eq!(attribute(span, "functiongraph.invocation").as_deref(), Some("traced"));
        let keys: BTreeSet<_> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys.len(), 6, "{keys:?}");
    }
    // A request in the histogram leads to its trace.
    let id = u128::from_be_bytes(spans[1].trace_id.clone().try_into().unwrap());
    assert!(metrics.contains(&format!("trace_id=\"{id:032x}\"")), "{metrics}");
    for secret in [KEY.0, KEY.1, "canary-traced"] {
        let found =
            bodies.iter().any(|body| body.windows(secret.len()).any(|part| part == secret.as_bytes()));
        assert!(!found, "{secret} is in a trace");
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_disturbs_nothing_and_an_address_that_is_none_is_refused() {
    let world = World::new().await;
    world.provider().await;
    // Nothing listens on a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let operator = world.operator().flags(&["--otlp-endpoint", &format!("http://127.0.0.1:{port}")]).await;
    world.invoke("untraced", json!({"function": {"name": "hello"}})).await;
    assert_eq!(world.end("untraced").await.outcome, Some(Outcome::Accepted));
    assert!(operator.stop().await.success());

    let refused = world.operator().flags(&["--otlp-endpoint", "not a url"]).start();
    assert!(!refused.ended().await.success());
    assert!(world.logs().contains("--otlp-endpoint cannot be used"));
}
