//! The log: one message a line, what is wrong as a warning, and the cause down to the first.

use functiongraph_operator::api::Reason;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use testkit::World;
use testkit::control_plane::ADMIN;

/// A line with two messages cannot be read as this.
#[derive(Deserialize)]
struct Line {
    #[expect(dead_code, reason = "only its number matters")]
    message: IgnoredAny,
}

#[tokio::test]
async fn a_provider_that_is_not_ready_is_a_warning_and_every_line_has_one_message() {
    let world = World::new().await;
    world.provider_with(json!({})).await;
    let operator = world.operator().await;
    world.provider_says(Reason::SecretNotFound).await;
    operator.logged("a provider is not ready").await;
    world.secret(testkit::KEY.1).await;
    world.provider_says(Reason::ProviderReady).await;
    operator.logged("a provider is ready").await;

    let of =
        |message: &str| operator.log().lines().into_iter().find(|line| line["message"] == message).unwrap();
    let (waits, ready) = (of("a provider is not ready"), of("a provider is ready"));
    assert_eq!((&waits["level"], &waits["reason"]), (&json!("WARN"), &json!("SecretNotFound")));
    assert!(waits["why"].as_str().unwrap().starts_with("Secret key does not exist"), "{waits}");
    assert_eq!((&ready["level"], &ready["reason"]), (&json!("INFO"), &json!("ProviderReady")));
    for line in operator.log().text().lines().filter(|line| line.starts_with('{')) {
        assert!(serde_json::from_str::<Line>(line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn an_operator_that_cannot_reach_the_api_server_says_why() {
    let world = World::new().await;
    let path = testkit::plane().await.kubeconfig(ADMIN).unwrap();
    let config: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap().trim_end_matches('/');
    let port = server.rsplit_once(':').unwrap().1;
    let other = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem();
    std::fs::write(path.with_file_name("other.crt"), other).unwrap();
    for (name, field, value, expected) in [
        ("refused", "/clusters/0/cluster/server", "https://127.0.0.1:1".to_owned(), "Connection refused"),
        ("unknown", "/clusters/0/cluster/server", format!("https://no.invalid:{port}"), "lookup address"),
        ("distrusted", "/clusters/0/cluster/certificate-authority", "other.crt".into(), "certificate"),
        ("stranger", "/users/0/user/token", "nonsense".into(), "401 Unauthorized"),
    ] {
        let mut config = config.clone();
        *config.pointer_mut(field).unwrap() = value.into();
        // Beside the other, because it names the authority's file without a folder.
        let kubeconfig = path.with_file_name(format!("{name}.kubeconfig"));
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let operator = world.operator().kubeconfig(&kubeconfig).start();
        let said = operator.lacks(|said| said.contains("the request to the API server failed")).await;
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!said.contains("Status {") && !said.contains("ServiceError"), "{name}: {said}");
        assert_eq!(said.matches("client error (Connect)").count(), usize::from(name != "stranger"), "{said}");
        assert_eq!(
            operator.log().text().matches("client error (Connect)").count(),
            usize::from(name != "stranger")
        );
    }
}
