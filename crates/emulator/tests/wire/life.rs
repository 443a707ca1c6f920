//! Starting, stopping, and several emulators in one process.

use std::error::Error;
use std::time::Duration;

use functiongraph_emulator::{Config, ConfigError, Emulator, StartError, Tls};
use tokio::time::timeout;

use crate::support::{Place, config};

#[tokio::test]
async fn two_emulators_know_nothing_of_each_other() {
    let (one, two) = (Place::new().await, Place::new().await);
    assert_eq!(one.submit("hello", "{}").await.status, 202);
    assert_eq!((one.emulator.ledger().len(), two.emulator.ledger().len()), (1, 0));
    let stranger = two.http.post(one.url("hello", "invocations-async")).send().await.unwrap_err();
    assert!(stranger.is_connect(), "the authority of one is not trusted by the client of the other");
}

#[tokio::test]
async fn after_stop_nobody_answers() {
    let Place { emulator, http } = Place::new().await;
    let url = emulator.url();
    emulator.stop().await;
    assert!(http.get(url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn dropping_it_stops_it_and_cuts_those_who_wait() {
    let mut config = config();
    config.functions[0].answer_latency = Duration::from_hours(1);
    let place = Place::with(config).await;
    let url = place.emulator.url();
    let waiting = tokio::spawn(place.submission("hello", "{}").send());
    while place.emulator.ledger().is_empty() {
        tokio::task::yield_now().await;
    }
    let Place { emulator, http } = place;
    drop(emulator);
    timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap().unwrap_err();
    while http.get(&url).send().await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let error = Emulator::start(Config { listen, ..config() }).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {listen}"));
    assert!(error.source().is_some());
}

#[tokio::test]
async fn it_does_not_start_without_a_credential() {
    let error = Emulator::start(Config::default()).await.unwrap_err();
    assert!(matches!(error, StartError::Config(ConfigError::NoCredentials)), "{error:?}");
}

#[tokio::test]
async fn the_certificate_is_good_for_the_names_that_were_asked_for() {
    let tls = Tls { names: vec!["fg.test".into()], ..Tls::default() };
    let place = Place::with(Config { tls, ..config() }).await;
    let port = place.emulator.url().rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "localhost"] {
        let response = place.http.get(format!("https://{host}:{port}/")).send().await.unwrap();
        assert_eq!(response.status(), 300, "the versions of the identity service");
    }
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    for (name, good) in [("fg.test", true), ("other.test", false)] {
        let http = crate::support::client(place.emulator.ca_pem(), |builder| builder.resolve(name, address));
        let response = http.get(format!("https://{name}:{port}/")).send().await;
        assert_eq!(response.is_ok(), good, "{name}: {response:?}");
    }
}
