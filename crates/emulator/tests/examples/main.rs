//! The examples of the client crate, run against the emulator as its README says.
#![expect(clippy::unwrap_used, reason = "a test stops at what must not happen")]

#[expect(dead_code, reason = "its `main` is for the terminal")]
#[path = "../../../functiongraph/examples/invoke.rs"]
mod invoke;
#[expect(dead_code, reason = "its `main` is for the terminal")]
#[path = "../../../functiongraph/examples/login.rs"]
mod login;

use functiongraph_emulator::{Config, DEFAULT_CONFIG, Emulator};

/// The emulator as its program starts it, on free ports.
async fn emulator() -> Emulator {
    let free = Config::default();
    let mut config = Config { listen: free.listen, ..Config::from_yaml(DEFAULT_CONFIG).unwrap() };
    (config.admin_listen, config.identity.local_listen) = (None, free.identity.local_listen);
    Emulator::start(config).await.unwrap()
}

#[tokio::test]
async fn invoke_says_that_its_event_was_accepted() {
    let emulator = emulator().await;
    let said = invoke::run(&emulator.url(), emulator.ca_pem().to_owned()).await.unwrap();
    let accepted = emulator.ledger();
    assert_eq!(accepted.len(), 1);
    assert_eq!(said, format!("accepted as {}", accepted[0].request_id));
}

#[tokio::test]
async fn login_shows_the_result_of_the_function() {
    let emulator = emulator().await;
    let said = login::run(&emulator.url(), emulator.ca_pem().to_owned()).await.unwrap();
    assert!(!said.is_empty());
    assert_eq!(emulator.ledger().len(), 1);
}
