//! The metadata, versions and aliases of a function in the API.

use std::num::NonZeroU32;
use std::time::Duration;

use functiongraph::{Credential, Fetched, FunctionConfig};
use functiongraph_emulator::Function;
use serde_json::json;

use crate::support::{PROJECT, Place, TOKEN, config, now};

#[tokio::test]
async fn the_metadata_of_a_function_are_those_that_are_declared() {
    let mut config = config();
    let hello = &mut config.functions[0];
    hello.memory = 768;
    hello.runtime = "Node.js18.15".to_owned();
    hello.timeout = Duration::from_secs(901);
    hello.concurrency = 7;
    hello.concurrent_num = NonZeroU32::new(3).unwrap();
    let place = Place::with(config).await;
    let seen = place.get("hello", "config").await;
    assert_eq!((seen.status, seen.header("content-type")), (200, Some("application/json")));
    let body = seen.json();
    let urn = |qualifier: &str| format!("urn:fss:eu-de:{PROJECT}:function:default:hello:{qualifier}");
    for (key, value) in [
        ("func_urn", json!(urn("latest"))),
        ("func_name", json!("hello")),
        ("namespace", json!(PROJECT)),
        ("project_name", json!("eu-de")),
        ("package", json!("default")),
        ("version", json!("latest")),
        ("runtime", json!("Node.js18.15")),
        ("memory_size", json!(768)),
        ("cpu", json!(600)),
        ("timeout", json!(901)),
        ("long_time", json!(true)),
        ("enable_dynamic_memory", json!(true)),
        ("strategy_config", json!({"concurrency": 7, "concurrent_num": 3})),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    // The API's definitions also require these fields:
    for key in ["code_size", "code_type", "digest", "domain_id", "handler", "image_name", "last_modified"] {
        assert!(!body[key].is_null(), "{key}");
    }
    // The metadata of an alias are those of its version.
    for qualifier in ["v1", "!prod"] {
        let body = place.get(&urn(qualifier), "config").await.json();
        assert_eq!((&body["func_urn"], &body["version"]), (&json!(urn("v1")), &json!("v1")));
    }
}

#[tokio::test]
async fn a_concurrency_of_zero_tells_that_a_function_is_switched_off() {
    let place = Place::new().await;
    let concurrency =
        async || place.get("off", "config").await.json()["strategy_config"]["concurrency"].clone();
    assert_eq!(concurrency().await, 0);
    assert!(place.emulator.set_disabled("off", false));
    assert_eq!(concurrency().await, -1);
    place.emulator.add_function(Function { concurrency: 0, ..Function::named("off") }).unwrap();
    assert_eq!(concurrency().await, 0);
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_own_code() {
    let place = Place::new().await;
    let refused = async |function: &str, code: &str, message: &str| {
        place.get(function, "config").await.assert_error(404, code, message);
    };
    refused("nope", "FSS.1051", "Not found the function").await;
    refused(&format!("{PROJECT}:default:hello:v9"), "FSS.1052", "Not found the function version").await;
    refused(&format!("{PROJECT}:default:hello:!nope"), "FSS.1053", "Not found the function alias").await;
    let bare = place.http.get(place.url("hello", "config")).send().await.unwrap();
    assert_eq!(bare.status(), 401);
    let other = place.url("hello", "config").replace(PROJECT, "0000");
    let other = place.http.get(other).header("X-Auth-Token", TOKEN).send().await.unwrap();
    assert_eq!(other.status(), 403);
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_cut() {
    let mut config = config();
    config.functions[0].timeout = Duration::from_secs(3);
    config.functions[0].latency = Duration::from_hours(1);
    let place = Place::with(config).await;
    place.submit("hello", "{}").await;
    let record = loop {
        let record = place.get("hello", "async-invocations").await.json()["invocations"][0].clone();
        if record["status"] != "RUNNING" {
            break record;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&record["status"], &record["error_code"]), (&json!("FAIL"), &json!(4010)));
}

#[tokio::test]
async fn every_version_is_listed_with_its_metadata() {
    let mut config = config();
    config.functions[0].versions = vec!["v1".into(), "v2".into()];
    let place = Place::with(config).await;
    let list = async |query: &str| {
        let body = place.get("hello", &format!("versions{query}")).await.json();
        let versions = body["versions"].as_array().unwrap().clone();
        let names: Vec<String> =
            versions.iter().map(|version| version["version"].as_str().unwrap().to_owned()).collect();
        (names, body["count"].as_u64().unwrap(), body["next_marker"].as_u64().unwrap())
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(list("").await, (names(&["latest", "v1", "v2"]), 3, 3));
    assert_eq!(list("?maxitems=2").await, (names(&["latest", "v1"]), 3, 2));
    assert_eq!(list("?maxitems=2&marker=2").await, (names(&["v2"]), 3, 3));
    place.get("hello", "versions?marker=x").await.assert_error(400, "FSS.0400", "Invalid parameter.");
    let body = place.get("hello", "versions").await.json();
    let urn = format!("urn:fss:eu-de:{PROJECT}:function:default:hello:v1");
    assert_eq!(body["versions"][1], place.get(&urn, "config").await.json());
    place.get("nope", "versions").await.assert_error(404, "FSS.1051", "Not found the function");
}

#[tokio::test]
async fn an_alias_tells_which_version_it_stands_for() {
    let place = Place::new().await;
    let alias = place.get("hello", "aliases/prod").await;
    assert_eq!(alias.status, 200);
    let alias = alias.json();
    assert_eq!((&alias["name"], &alias["version"]), (&json!("prod"), &json!("v1")));
    assert_eq!(alias["alias_urn"], format!("urn:fss:eu-de:{PROJECT}:function:default:hello:!prod"));
    assert!(alias["last_modified"].is_string());
    assert_eq!(place.get("hello", "aliases").await.json(), json!([alias]));
    assert_eq!(place.get("off", "aliases").await.json(), json!([]));
    place.get("hello", "aliases/nope").await.assert_error(404, "FSS.1053", "Not found the function alias");
    place.get("nope", "aliases/prod").await.assert_error(404, "FSS.1051", "Not found the function");
    place.get("nope", "aliases").await.assert_error(404, "FSS.1051", "Not found the function");
}

#[tokio::test]
async fn the_client_reads_the_metadata_that_are_told() {
    let place = Place::new().await;
    let credential = Credential::access_key("AK", "SK".to_owned(), None).unwrap();
    let read = async |urn: &str| {
        let urn = format!("urn:fss:eu-de:{PROJECT}:function:default:{urn}").parse().unwrap();
        let call = place.client();
        call.function_config(&urn, &credential, now(), Duration::from_secs(10)).await.unwrap()
    };
    let expected = FunctionConfig {
        concurrency: Some(-1),
        events_per_instance: Some(1),
        timeout_seconds: Some(259_200),
        memory_size_mb: Some(128),
        dynamic_memory: Some(true),
        version: Some("v1".to_owned()),
    };
    let Fetched::Settings(hello) = read("hello:!prod").await else { panic!("not read") };
    assert_eq!(hello, expected);
    let Fetched::Settings(off) = read("off:latest").await else { panic!("not read") };
    assert_eq!(off.concurrency, Some(0));
    let Fetched::Answer(nope) = read("nope:latest").await else { panic!("there is nothing to read") };
    assert_eq!((nope.status, nope.error_code.as_deref()), (404, Some("FSS.1051")));
}
