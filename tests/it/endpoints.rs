//! Where a provider may lead, which functions it is for, and what happens when nobody answers there.

use functiongraph_emulator::{Config, Emulator};
use functiongraph_operator::api::invocation::{AttemptState, Outcome};
use functiongraph_operator::api::{
    Condition, ConditionStatus, ConditionType, FunctionGraphProvider, FunctionInvocation, Reason,
};
use kube::api::ListParams;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use std::task::Poll;
use testkit::{PATIENCE, World, message, ready};
use tokio::net::TcpListener;

#[tokio::test]
async fn t01_a_host_that_is_not_on_the_list_is_never_connected_to() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The operator is started with `localhost` on its list: the same place by another name is not on it.
    let endpoint = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    world.provider_with(json!({"endpoint": endpoint})).await;
    world.secret(testkit::KEY.1).await;
    let _operator = world.operator().await;
    world.invoke("nowhere", json!({"function": {"name": "hello"}})).await;

    let said = world.provider_says(Reason::EndpointRefused).await;
    assert_eq!(said.status, ConditionStatus::False);
    assert!(said.message.contains("127.0.0.1"), "{}", said.message);
    assert!(said.message.contains("--allowed-endpoint-hosts"), "{}", said.message);
    world.event("default", "EndpointRefused").await;
    let status = world.says("nowhere", Reason::WaitingForProvider).await;
    assert!(message(&status).contains("EndpointRefused"), "{}", message(&status));
    assert_eq!(status.attempts, None);
    let knock = std::future::poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_ready()));
    assert!(!knock.await, "it was connected to");
}

/// Ways to write a host so that a check sees another one than a connection: `PORT` is that of a listener on loopback.
const HOSTILE: [&str; 37] = [
    "https://functiongraph.eu-de.otc.t-systems.com@localhost:PORT",
    "https://localhost:PORT@127.0.0.1:PORT",
    "https://user:word@localhost:PORT",
    "https://@localhost:PORT",
    "https://localhost:PORT\\@functiongraph.eu-de.otc.t-systems.com",
    "https://localhost\\.otc.t-systems.com:PORT",
    "https://%6cocalhost:PORT",
    "https://localhost%2eotc.t-systems.com:PORT",
    "https://localhost%00.otc.t-systems.com:PORT",
    "https://localhost.:PORT",
    "https://127.0.0.1.:PORT",
    "https://127.0.0.1:PORT",
    "https://127.1:PORT",
    "https://2130706433:PORT",
    "https://0x7f000001:PORT",
    "https://0x7f.0.0.1:PORT",
    "https://0177.0.0.1:PORT",
    "https://017700000001:PORT",
    "https://0.0.0.0:PORT",
    "https://0:PORT",
    "https://[::1]:PORT",
    "https://[::]:PORT",
    "https://[::ffff:127.0.0.1]:PORT",
    "https://[0:0:0:0:0:ffff:7f00:1]:PORT",
    "https://[::127.0.0.1]:PORT",
    "https://[64:ff9b::7f00:1]:PORT",
    "https://[fe80::1%25lo]:PORT",
    "https://[::1%25lo]:PORT",
    "https://\u{2460}\u{2461}\u{2466}.0.0.1:PORT",
    "https://localhost\u{3002}:PORT",
    "https://loc\u{430}lhost:PORT",
    "https://\u{ff4c}ocalhost:PORT",
    "https://localhost:PORT/path",
    "https://localhost:PORT?functiongraph.eu-de.otc.t-systems.com",
    "https://localhost:PORT#.otc.t-systems.com",
    "https://localhost\t:PORT",
    "https://functiongraph.obs.myhuaweicloud.com:PORT",
];

#[tokio::test]
async fn t01_no_hostile_url_leads_to_a_connection() {
    let world = World::new().await;
    world.secret(testkit::KEY.1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Machines without IPv6 have nowhere to be led to.
    let other = TcpListener::bind(("::1", port)).await.ok();
    for (number, url) in HOSTILE.into_iter().enumerate() {
        let (url, name) = (url.replace("PORT", &port.to_string()), format!("hostile-{number}"));
        world.provider_named(&name, json!({"endpoint": url})).await;
        let reference = json!({"name": name});
        world.invoke(&name, json!({"function": {"name": "hello"}, "providerRef": reference})).await;
    }
    let clouds = "--allowed-endpoint-hosts=functiongraph.{region}.otc.t-systems.com,.myhuaweicloud.eu";
    let _operator = world.operator().flags(&[clouds]).await;

    for (number, url) in HOSTILE.into_iter().enumerate() {
        let name = format!("hostile-{number}");
        let refused = |object: Option<&FunctionGraphProvider>| {
            let conditions = object.and_then(|o| o.status.as_ref()).map(|status| &status.conditions);
            let ready = conditions.and_then(|all| Condition::find(all, ConditionType::Ready));
            ready.is_some_and(|ready| ready.reason == Reason::EndpointRefused)
        };
        let waiting = await_condition(world.api(), &name, refused);
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{url} is not refused");
        assert_eq!(world.says(&name, Reason::WaitingForProvider).await.attempts, None, "{url}");
    }
    for listener in [Some(listener), other].into_iter().flatten() {
        let knock = std::future::poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_ready()));
        assert!(!knock.await, "somebody was connected to");
    }
    assert_eq!(world.seen(), 0);
}

#[tokio::test]
async fn t07_authorities_that_cannot_be_read_are_told_and_can_be_corrected() {
    let world = World::new().await;
    world.secret(testkit::KEY.1).await;
    world.provider_with(json!({"caBundle": "not a certificate"})).await;
    let _operator = world.operator().await;
    world.invoke("trusting", json!({"function": {"name": "hello"}})).await;

    let said = world.provider_says(Reason::EndpointRefused).await;
    assert!(said.message.contains("caBundle"), "{}", said.message);

    let right = json!({"spec": {"caBundle": world.emulator.ca_pem()}});
    world.change::<FunctionGraphProvider>("default", right).await;
    assert_eq!(world.end("trusting").await.outcome, Some(Outcome::Accepted));
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_told_with_the_field_that_changes_it() {
    let world = World::new().await;
    world.secret(testkit::KEY.1).await;
    world.provider_with(json!({"caBundle": null})).await;
    let _operator = world.operator().await;
    world.invoke("distrust", json!({"function": {"name": "hello"}})).await;
    let said = world.provider_says(Reason::EndpointUnreachable).await;
    assert!(said.message.contains("Add it to spec.caBundle of the provider."), "{}", said.message);
    world.tells("distrust", "is not ready (EndpointUnreachable)").await;
    assert_eq!(world.seen(), 0);
}

#[tokio::test]
async fn t07_an_endpoint_that_cannot_prove_itself_gets_nothing_until_its_authority_is_trusted() {
    let world = World::new().await;
    let stranger = World::new().await;
    world.secret(testkit::KEY.1).await;
    world.provider_with(json!({"caBundle": stranger.emulator.ca_pem()})).await;
    let _operator = world.operator().await;
    world.invoke("distrust", json!({"function": {"name": "hello"}})).await;

    let said = world.provider_says(Reason::EndpointUnreachable).await;
    assert!(said.message.contains("certificate"), "{}", said.message);
    let status = world.tells("distrust", "is not ready (EndpointUnreachable)").await;
    assert_eq!((status.attempts, world.seen(), world.checks()), (None, 0, 0));

    let right = json!({"spec": {"caBundle": world.emulator.ca_pem()}});
    world.change::<FunctionGraphProvider>("default", right).await;
    let status = world.end("distrust").await;
    assert_eq!((status.outcome, status.attempts), (Some(Outcome::Accepted), Some(1)));
    assert_eq!((world.seen(), stranger.seen(), stranger.checks()), (1, 0, 0));
}

#[tokio::test]
async fn t03_what_the_provider_is_not_for_is_denied_before_anything_is_sent() {
    let world = World::new().await;
    world.secret(testkit::KEY.1).await;
    world.provider_with(json!({"allowedFunctions": ["default:resize-*:*", "default:hello:latest"]})).await;
    let _operator = world.operator().await;
    let urn = |region: &str, project: &str| format!("urn:fss:{region}:{project}:function:default:hello");
    let project = "7aad83af3e8d42e99ac194e8419e2c9b";
    let denied: [(&str, Value, &str); 4] = [
        ("not-listed", json!({"name": "disabled"}), "does not allow the function default:disabled:latest"),
        ("no-alias", json!({"name": "hello", "qualifier": "!prod"}), "default:hello:!prod"),
        ("elsewhere", json!({"urn": urn("eu-nl", project)}), "region eu-nl"),
        ("anothers", json!({"urn": urn("eu-de", "0123456789abcdef")}), "project 0123456789abcdef"),
    ];
    for (name, function, _) in &denied {
        world.invoke(name, json!({"function": function})).await;
    }
    world.invoke("allowed", json!({"function": {"name": "hello"}})).await;

    for (name, _, words) in &denied {
        let status = world.end(name).await;
        assert_eq!(ready(&status), (Some(ConditionStatus::False), Some(Reason::AccessDenied)), "{name}");
        assert_eq!((status.outcome, status.attempts), (Some(Outcome::Failed), None), "{name}");
        assert!(message(&status).contains(words), "{name}: {}", message(&status));
        world.event(name, "AccessDenied").await;
    }
    assert_eq!(world.end("allowed").await.outcome, Some(Outcome::Accepted));
    assert_eq!(world.seen(), 1);
}

/// How many attempts all invocations through the provider `default` have made, once none is under way.
async fn attempts(world: &World) -> i64 {
    let listed = ListParams::default().fields("spec.providerRef.name=default");
    let objects = world.api::<FunctionInvocation>().list(&listed).await.unwrap().items;
    let mut sum = 0;
    for object in objects {
        let name = object.metadata.name.unwrap();
        let settled = |object: Option<&FunctionInvocation>| {
            let attempt = object.and_then(|o| o.status.as_ref()).and_then(|s| s.attempt.as_ref());
            attempt.is_none_or(|attempt| attempt.state != Some(AttemptState::Claimed))
        };
        let object = world.until(&name, settled).await;
        sum += object.status.and_then(|status| status.attempts).unwrap_or_default();
    }
    sum
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_left_alone_for_a_while_and_found_again_when_it_is_back() {
    let authority = tempfile::tempdir().unwrap();
    let mut same = Config::default();
    let mut world = World::with(|config| {
        config.tls.dir = Some(authority.path().to_owned());
        same = config.clone();
    })
    .await;
    world.provider().await;
    let operator = world.operator().await;
    world.provider_says(Reason::ProviderReady).await;
    let port = world.emulator.url().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    same.listen.set_port(port);
    let elsewhere = Emulator::start(Config { listen: Config::default().listen, ..same.clone() });
    let gone = std::mem::replace(&mut world.emulator, elsewhere.await.unwrap());
    gone.stop().await;
    let names: Vec<String> = (0..12).map(|n| format!("stranded-{n}")).collect();
    let patience = json!({"backoffLimit": 100, "maxDelaySeconds": 1});
    for name in &names {
        let payload = json!({"tag": name});
        let spec = json!({"function": {"name": "hello"}, "payload": payload, "retryPolicy": patience});
        world.invoke(name, spec).await;
    }

    let said = world.provider_says(Reason::EndpointUnreachable).await;
    assert_eq!(said.status, ConditionStatus::False);
    world.event("default", "EndpointUnreachable").await;
    let before = attempts(&world).await;
    assert!((5..=12).contains(&before), "{before} attempts");
    assert!(operator.metric("functiongraph_operator_throttled", &["/default"]).await > 0.5);
    // Another provider of the same namespace is not concerned, and shows that the operator did not stand still.
    world.provider_named("other", json!({})).await;
    let action = json!({"status": {"status": 429, "errorCode": "APIG.0308", "retryAfter": "3"}});
    world.fault(json!({"when": {"next": 1}, "action": action}));
    let reference = json!({"name": "other"});
    world.invoke("beside", json!({"function": {"name": "hello"}, "providerRef": reference})).await;
    assert_eq!(world.end("beside").await.outcome, Some(Outcome::Accepted));
    assert_eq!(attempts(&world).await, before, "nothing is claimed while the endpoint is left alone");

    world.emulator = Emulator::start(same).await.unwrap();
    for name in &names {
        let status = world.end(name).await;
        assert_eq!(status.outcome, Some(Outcome::Accepted), "{name}");
        assert_eq!(world.accepted(name).len(), 1, "{name}");
    }
    assert_eq!(world.seen(), 12);
    assert_eq!(world.provider_says(Reason::ProviderReady).await.status, ConditionStatus::True);
}
