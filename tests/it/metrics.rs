//! Numbers for machines and lines for people: the documented names, true counts, and nothing that is private.

use functiongraph_emulator::AccessKey;
use functiongraph_operator::api::{FunctionGraphProvider, Reason};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::json;
use std::collections::BTreeSet;
use testkit::{KEY, World, output, plane, until, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

const DOCUMENTED: [&str; 23] = [
    "build_info",
    "ready",
    "members",
    "owned",
    "provider_ready",
    "providers_without_series",
    "acceptance_seconds_count",
    "invocations_total",
    "attempts_total",
    "request_duration_seconds_count",
    "in_flight",
    "waiting",
    "throttled",
    "rate",
    "pending_oldest_seconds",
    "status_write_conflicts_total",
    "lost_answers_total",
    "reconcile_duration_seconds_count",
    "reconcile_errors_total",
    "watch_errors_total",
    "watch_silence_seconds",
    "namespace_served",
    "request_duration_seconds_bucket",
];

/// Name, labels and value.
type Sample = (String, Vec<(String, String)>, f64);

/// The samples of an OpenMetrics text; every line has to be one, or a comment.
fn samples(text: &str) -> Vec<Sample> {
    let (body, end) = text.rsplit_once("# EOF").expect("it ends with EOF");
    assert_eq!(end.trim(), "");
    let lines = body.lines().filter(|line| !line.starts_with("# "));
    lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}"))).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (name_and_labels, value) = line.rsplit_once(' ')?;
    let (name, labels) = match name_and_labels.split_once('{') {
        None => (name_and_labels, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
    };
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (key, value) = label.split_once('=')?;
        Some((key.to_owned(), value.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    });
    Some((is_name.then(|| name.to_owned())?, labels.collect::<Option<_>>()?, value.parse().ok()?))
}

/// The sum of all samples of our metric `name` that have these labels.
fn value(samples: &[Sample], name: &str, wanted: &[(&str, &str)]) -> f64 {
    let name = format!("functiongraph_operator_{name}");
    let has = |labels: &[(String, String)], (key, value): (&str, &str)| {
        labels.iter().any(|(found, of)| found == key && of == value)
    };
    let fitting = samples
        .iter()
        .filter(|(found, labels, _)| *found == name && wanted.iter().all(|label| has(labels, *label)));
    fitting.map(|(_, _, value)| value).sum()
}

#[tokio::test]
async fn the_numbers_have_their_documented_names_are_true_and_name_no_object() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    let names = ["private-good-1", "private-good-2", "private-good-3", "private-bad", "private-doubt"];
    world.fault(json!({"when": {"next": 1}, "action": {"status": {"status": 429}}}));
    for name in &names[..3] {
        world.invoke(name, json!({"function": {"name": "hello"}})).await;
        world.end(name).await;
    }
    world.invoke("private-bad", json!({"function": {"name": "nowhere"}})).await;
    world.end("private-bad").await;
    world.fault(json!({"when": "forever", "action": "dropAfter"}));
    world.invoke("private-doubt", json!({"function": {"name": "hello"}})).await;
    world.end("private-doubt").await;
    world.invoke("private-held", json!({"function": {"name": "hello"}, "suspend": true})).await;
    world.says("private-held", Reason::Suspended).await;
    // A provider that anybody can make up must not become a series.
    let lost = json!({"function": {"name": "hello"}, "providerRef": {"name": "private-provider"}});
    world.invoke("private-lost", lost).await;
    world.says("private-lost", Reason::WaitingForProvider).await;

    let url = format!("http://{}/metrics", operator.metrics().await);
    let answer = reqwest::get(url).await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = answer.text().await.unwrap();
    let samples = samples(&text);
    let value = |name: &str, wanted: &[(&str, &str)]| value(&samples, name, wanted);

    let found: BTreeSet<_> = samples.iter().map(|(name, _, _)| name.as_str()).collect();
    for name in DOCUMENTED {
        assert!(found.contains(format!("functiongraph_operator_{name}").as_str()), "{name} in {found:?}");
    }
    let labels: BTreeSet<_> =
        samples.iter().flat_map(|(_, labels, _)| labels).map(|(key, _)| key.as_str()).collect();
    let known = ["class", "code_class", "le", "outcome", "provider", "reason", "served_namespace", "version"];
    assert_eq!(labels, known.into_iter().chain(["watch"]).collect());
    let provider = format!("{}/default", world.namespace);
    let count = |name: &str, key: &str, value: &str| -> f64 {
        let (provider, other) = (("provider", provider.as_str()), (key, value));
        let labels = if key.is_empty() { vec![provider] } else { vec![provider, other] };
        self::value(&samples, name, &labels)
    };
    for (name, key, value, expected) in [
        ("invocations_total", "outcome", "Accepted", 3.0),
        ("invocations_total", "outcome", "Failed", 1.0),
        ("invocations_total", "outcome", "Unknown", 1.0),
        ("invocations_total", "", "", 5.0),
        ("attempts_total", "class", "Accepted", 3.0),
        ("attempts_total", "class", "Throttled", 1.0),
        ("attempts_total", "class", "Rejected", 1.0),
        ("attempts_total", "class", "Ambiguous", 1.0),
        ("attempts_total", "", "", 6.0),
        ("request_duration_seconds_count", "code_class", "2xx", 3.0),
        ("request_duration_seconds_count", "code_class", "4xx", 2.0),
        ("request_duration_seconds_count", "code_class", "none", 1.0),
        ("in_flight", "", "", 0.0),
        ("waiting", "", "", 0.0),
        ("throttled", "", "", 0.0),
        ("unknown", "", "", 1.0),
        ("provider_ready", "reason", "ProviderReady", 1.0),
        ("acceptance_seconds_count", "", "", 3.0),
        // What is suspended waits as it should.
        ("pending_oldest_seconds", "", "", 0.0),
    ] {
        let counted = count(name, key, value);
        assert!((counted - expected).abs() < 0.1, "{name} {value}: {counted}, not {expected}");
    }
    assert!(count("rate", "", "") >= 1.0);
    assert!(value("pending_oldest_seconds", &[("provider", "(missing)")]) > 0.0);
    for (name, label, expected) in [
        ("ready", None, 1.0),
        ("members", None, 1.0),
        ("waiting", Some(("provider", "(missing)")), 1.0),
        ("build_info", Some(("version", env!("CARGO_PKG_VERSION"))), 1.0),
        ("watch_errors_total", Some(("watch", "unfinished")), 0.0),
        ("namespace_served", Some(("served_namespace", &world.namespace)), 1.0),
    ] {
        let found = value(name, label.as_slice());
        assert!((found - expected).abs() < 0.1, "{name}: {found}, not {expected}");
    }
    for watch in ["unfinished", "unknown", "expiring", "providers"] {
        assert!(value("watch_silence_seconds", &[("watch", watch)]) < 70.0, "{watch}");
    }
    assert!(count("request_duration_seconds_sum", "code_class", "2xx") > 0.0);
    for entry in world.emulator.ledger() {
        assert!(!text.contains(&entry.request_id));
    }
    for private in ["private-", "urn:", "hello", "nowhere"] {
        assert!(!text.contains(private), "{private} in {text}");
    }
}

#[tokio::test]
async fn a_provider_says_why_it_is_not_ready_and_has_no_series_once_it_is_deleted() {
    let world = World::new().await;
    world.provider().await;
    let operator = world.operator().await;
    world.invoke("one", json!({"function": {"name": "hello"}})).await;
    world.end("one").await;
    let provider = format!("{}/default", world.namespace);
    let numbers = async || samples(&operator.ask("/metrics").await.1);
    let (name, labels) = ("attempts_total", [("provider", provider.as_str()), ("class", "Accepted")]);
    assert!(value(&numbers().await, name, &labels) > 0.5);

    world.api::<Secret>().delete("key", &DeleteParams::default()).await.unwrap();
    let refused = json!({"spec": {"credentials": {"accessKey": {"secretRef": {"name": "elsewhere"}}}}});
    world.change::<FunctionGraphProvider>("default", refused).await;
    let of = |numbers: &[Sample]| -> Vec<Sample> {
        let ours = |(_, labels, _): &&Sample| labels.iter().any(|(_, value)| *value == provider);
        numbers.iter().filter(ours).cloned().collect()
    };
    let reason = |numbers: &[Sample]| {
        let ready = of(numbers).into_iter().find(|(name, ..)| name.ends_with("provider_ready"));
        ready.map(|(_, labels, value)| (labels.last().unwrap().1.clone(), value))
    };
    within(until(async || reason(&numbers().await) == Some(("SecretNotFound".into(), 0.0)))).await;
    let providers = world.api::<FunctionGraphProvider>();
    providers.delete("default", &DeleteParams::default()).await.unwrap();
    within(until(async || of(&numbers().await).is_empty())).await;
}

#[tokio::test]
async fn health_is_told_apart_from_readiness_and_nothing_else_is_served() {
    let world = World::new().await;
    let operator = world.operator().await;
    assert_eq!(operator.ask("/healthz").await, (200, "ok\n".into()));
    assert_eq!(operator.ask("/readyz").await, (200, "ok\n".into()));
    assert_eq!(operator.ask("/").await.0, 404);
    assert_eq!(operator.ask("/debug/pprof").await.0, 404);
    let elsewhere = format!("http://{}/metrics", operator.probes().await);
    assert_eq!(reqwest::get(elsewhere).await.unwrap().status(), 404);
    let elsewhere = format!("http://{}/readyz", operator.metrics().await);
    assert_eq!(reqwest::get(elsewhere).await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_end_of_the_operator() {
    let world = World::new().await;
    let operator = world.operator().await;
    let mut half = TcpStream::connect(operator.metrics().await).await.unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").await.unwrap();
    // Connections are accepted in turn: after this answer the half of a request is in the server's hands.
    operator.ask("/metrics").await;
    assert!(operator.stop().await.success());
    drop(half);
}

#[tokio::test]
async fn no_payload_and_no_secret_is_ever_logged_not_even_at_the_highest_level() {
    let security_token = "canary-security-token-1c55";
    let temporary = ("TEMPORARYKEY00000001", "canary-secret-key-0000000000000000000002");
    let world = World::with(|config| {
        config.access_keys.push(AccessKey {
            id: temporary.0.into(),
            secret: temporary.1.into(),
            security_token: Some(security_token.into()),
        });
    })
    .await;
    world.provider().await;
    let secret = json!({"stringData": {
        "accessKeyID": temporary.0, "secretAccessKey": temporary.1, "securityToken": security_token,
    }});
    world.create::<Secret>("temporary", secret).await.unwrap();
    world.create::<Secret>("token", json!({"stringData": {"token": "test-token"}})).await.unwrap();
    let credentials = [
        ("temporary", json!({"accessKey": {"secretRef": {"name": "temporary"}}})),
        ("token", json!({"token": {"secretRef": {"name": "token"}}})),
    ];
    for (name, credentials) in credentials {
        world.provider_named(name, json!({"credentials": credentials})).await;
    }
    world.config_map("event", "event", r#"{"from": "canary-config-map-77aa"}"#).await;
    let operator = world.operator().flags(&["--log=trace"]).await;
    let payload = json!({"text": "canary-payload-90fe"});
    for provider in ["default", "temporary", "token"] {
        let reference = json!({"name": provider});
        let source = json!({"configMapKeyRef": {"name": "event", "key": "event"}});
        for (name, function, more) in [
            ("inline", "hello", json!({"payload": payload})),
            ("from", "hello", json!({"payloadFrom": source})),
            ("bad", "nowhere", json!({"payload": payload})),
        ] {
            let name = format!("{name}-{provider}");
            let mut spec = json!({"function": {"name": function}, "providerRef": reference});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            world.invoke(&name, spec).await;
            world.end(&name).await;
        }
    }
    assert_eq!(world.emulator.ledger().len(), 6);
    assert!(operator.stop().await.success());

    let logs = world.logs();
    // Others are heard at DEBUG at most.
    assert!(logs.contains("DEBUG") && logs.contains("answer"), "the log is at its highest level");
    let mut config = Command::from(plane().await.kubectl());
    config.args(["config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"]);
    let own_token = String::from_utf8(output(config, "").await.stdout).unwrap();
    let canaries =
        [KEY.1, temporary.1, security_token, "test-token", "canary-payload", "canary-config-map", &own_token];
    for canary in canaries {
        assert!(!canary.is_empty());
        let line = logs.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary} is in the log");
    }
}
