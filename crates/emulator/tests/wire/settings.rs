//! The settings of asynchronous invocations: created, read, listed, removed, and their effect.

use std::time::Duration;

use functiongraph::{AsyncInvokeConfig, Credential, Fetched};
use functiongraph_emulator::{Action, Api, Config, ErrorAnswer, Failure, Listing, When};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{PROJECT, Place, Seen, TOKEN, config, fault, now};

const API: &str = "async-invoke-config";

impl Place {
    async fn set(&self, function: &str, settings: &Value) -> Seen {
        let request = self.http.put(self.url(function, API)).header("X-Auth-Token", TOKEN);
        Seen::of(request.body(settings.to_string())).await
    }

    async fn unset(&self, function: &str) -> Seen {
        Seen::of(self.http.delete(self.url(function, API)).header("X-Auth-Token", TOKEN)).await
    }
}

fn urn(qualifier: &str) -> String {
    format!("urn:fss:eu-de:{PROJECT}:function:default:hello:{qualifier}")
}

#[tokio::test]
async fn settings_are_made_read_and_removed() {
    let place = Place::new().await;
    place.get("hello", API).await.assert_error(404, "FSS.0404", "not found");
    place.unset("hello").await.assert_error(404, "FSS.0404", "not found");
    let topic = json!({"on_failure": {"destination": "SMN", "param": "{\"topic_urn\":\"t\"}"}});
    let asked = json!({
        "max_async_event_age_in_seconds": 86400,
        "max_async_retry_attempts": 3,
        "destination_config": topic,
        "enable_async_status_log": true,
        "log_group_id": "g",
    });
    let made = place.set("hello", &asked).await;
    assert_eq!(made.status, 200);
    let body = made.json();
    assert_eq!(body["func_urn"], urn("latest"));
    assert_eq!(body["max_async_event_age_in_seconds"], 86400);
    assert_eq!(body["max_async_retry_attempts"], 3);
    assert_eq!(body["destination_config"], topic);
    assert_eq!(body["enable_async_status_log"], true);
    let time = body["created_time"].as_str().unwrap();
    assert!(time.len() == 25 && time.ends_with("+00:00"), "{time}");
    assert_eq!(place.get("hello", API).await.json(), body);
    // This is another version, which has no settings.
    assert_eq!(place.get(&urn("v1"), API).await.status, 404);
    let gone = place.unset("hello").await;
    assert_eq!((gone.status, &*gone.text, gone.header("content-type")), (204, "", None));
    assert_eq!(place.get("hello", API).await.status, 404);
    assert_eq!(place.unset("hello").await.status, 404);
}

#[tokio::test]
async fn what_is_not_given_is_told_as_its_default_and_replaces_what_was() {
    let place = Place::new().await;
    place.set("hello", &json!({"max_async_retry_attempts": 0, "enable_async_status_log": true})).await;
    let body = place.set("hello", &json!({"max_async_event_age_in_seconds": 1})).await.json();
    assert_eq!(body["max_async_event_age_in_seconds"], 1);
    assert_eq!(body["max_async_retry_attempts"], 1);
    assert_eq!(body["enable_async_status_log"], false);
    assert_eq!(body["destination_config"], json!({}));
    assert_eq!(place.set("hello", &json!({})).await.json()["max_async_event_age_in_seconds"], 3600);
}

#[tokio::test]
async fn settings_out_of_range_are_refused_and_change_nothing() {
    let place = Place::new().await;
    let before = place.set("hello", &json!({"max_async_retry_attempts": 2})).await.json();
    for settings in [
        json!({"max_async_event_age_in_seconds": 0}),
        json!({"max_async_event_age_in_seconds": 86401}),
        json!({"max_async_retry_attempts": -1}),
        json!({"max_async_retry_attempts": 4}),
        json!({"max_async_retry_attempts": "1"}),
        json!({"destination_config": {"on_success": {"destination": "LTS", "param": "{}"}}}),
        json!({"enable_async_status_log": "yes"}),
        json!([]),
    ] {
        let seen = place.set("hello", &settings).await;
        assert_eq!(seen.status, 400, "{settings}");
        seen.assert_error(400, "FSS.0400", "Invalid parameter.");
    }
    let broken = place.http.put(place.url("hello", API)).header("X-Auth-Token", TOKEN).body("{");
    Seen::of(broken).await.assert_error(406, "FSS.0406", "Not acceptable.");
    assert_eq!(place.get("hello", API).await.json(), before);
    place.set("nope", &json!({})).await.assert_error(404, "FSS.1051", "Not found the function");
    place.set(&urn("v9"), &json!({})).await.assert_error(404, "FSS.1052", "Not found the function version");
    place.unset(&urn("!nope")).await.assert_error(404, "FSS.1053", "Not found the function alias");
}

#[tokio::test]
async fn what_the_api_does_not_know_is_ignored_and_an_empty_destination_is_none() {
    let place = Place::new().await;
    let obs = json!({"destination": "OBS", "param": "{}"});
    for (asked, told) in [
        (json!({"on_success": {}, "on_failure": {}}), json!({})),
        (json!({"on_success": obs, "on_failure": {}}), json!({"on_success": obs})),
        (json!({"on_success": {"destination": "", "param": ""}, "on_failure": null}), json!({})),
        (
            json!({"on_failure": {"destination": "OBS", "param": "{}", "new": 1}, "new": {}}),
            json!({"on_failure": obs}),
        ),
    ] {
        let settings = json!({"destination_config": asked, "max_async_retry_attempts": 2, "new": 1});
        let made = place.set("hello", &settings).await;
        assert_eq!((made.status, &made.json()["destination_config"]), (200, &told), "{asked}");
    }
    let wrong = json!({"destination_config": {"on_success": {"param": 1, "destination": "OBS"}}});
    assert_eq!(place.set("hello", &wrong).await.status, 400);
}

#[tokio::test]
async fn a_failure_of_the_code_is_retried_if_the_settings_say_how_often() {
    for (settings, status) in [
        (json!({"max_async_event_age_in_seconds": 60}), "FAIL"),
        (json!({"max_async_retry_attempts": 0}), "FAIL"),
        (json!({"max_async_retry_attempts": 1}), "SUCCESS"),
    ] {
        let mut config = config();
        config.functions[0].failure = Some(Failure { times: Some(1), ..Failure::new(4002, "raised") });
        let place = Place::with(config).await;
        place.set("hello", &settings).await;
        place.submit("hello", "{}").await;
        let records = place.get("hello", "async-invocations").await.json();
        assert_eq!(records["invocations"][0]["status"], status, "{settings}");
    }
}

#[tokio::test]
async fn the_settings_of_all_versions_are_listed_in_pages() {
    let place = Place::new().await;
    let list = async |query: &str| place.get("hello", &format!("async-invoke-configs{query}")).await;
    let none = list("").await.json();
    assert_eq!((&none["async_invoke_configs"], &none["count"]), (&json!([]), &json!(0)));
    for qualifier in ["latest", "v1", "!prod"] {
        place.set(&urn(qualifier), &json!({})).await;
    }
    // Settings of another function are not listed.
    place.set("off", &json!({})).await;
    let urns = |seen: &Seen| -> Vec<String> {
        let configs = seen.json()["async_invoke_configs"].clone();
        let configs = configs.as_array().unwrap().clone();
        configs.iter().map(|config| config["func_urn"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(urns(&list("").await), [urn("!prod"), urn("latest"), urn("v1")]);
    let first = list("?limit=2").await;
    assert_eq!(urns(&first), [urn("!prod"), urn("latest")]);
    let (count, info) = (first.json()["count"].clone(), first.json()["page_info"].clone());
    assert_eq!(count, 3);
    assert_eq!(info, json!({"next_marker": 2, "previous_marker": 0, "current_count": 2}));
    assert_eq!(urns(&list("?limit=2&marker=2").await), [urn("v1")]);
    list("?limit=-1").await.assert_error(400, "FSS.0400", "Invalid parameter.");
}

#[tokio::test]
async fn the_service_repeats_its_errors_as_often_as_the_settings_say() {
    for (attempts, status) in [(2, "FAIL"), (3, "SUCCESS")] {
        let mut config = config();
        config.functions[0].failure =
            Some(Failure { times: Some(3), system: true, ..Failure::new(500, "broken") });
        let place = Place::with(config).await;
        place.set("hello", &json!({"max_async_retry_attempts": attempts})).await;
        place.submit("hello", "{}").await;
        let records = place.get("hello", "async-invocations").await.json();
        assert_eq!(records["invocations"][0]["status"], status, "{attempts}");
    }
}

#[tokio::test]
async fn records_may_need_the_log_that_was_on_when_they_were_accepted() {
    let listed = async |needs_status_log: bool| {
        let listing = Listing { needs_status_log, ..Listing::default() };
        let mut config = Config { listing, ..config() };
        config.functions[0].latency = Duration::from_hours(1);
        let place = Place::with(config).await;
        let mut ids = Vec::new();
        for on in [json!(null), json!(true), json!(false)] {
            place.set("hello", &json!({"enable_async_status_log": on})).await;
            ids.push(place.submit("hello", "{}").await.json()["request_id"].clone());
        }
        for api in ["async-invocations", "active-async-invocations"] {
            let body = place.get("hello", api).await.json();
            let records = body["invocations"].as_array().unwrap().clone();
            let listed: Vec<&Value> = records.iter().map(|record| &record["request_id"]).collect();
            let expected: Vec<&Value> = ids.iter().filter(|id| !needs_status_log || *id == &ids[1]).collect();
            assert_eq!(listed, expected, "{api}");
        }
        // An invocation that is not listed can still be cancelled.
        let cancel = place.post("hello", "cancel", &json!({"request_id": ids[0]}).to_string());
        assert_eq!(Seen::of(cancel).await.status, 200);
    };
    listed(false).await;
    listed(true).await;
}

#[tokio::test]
async fn the_calls_of_one_path_are_told_apart_by_their_method() {
    let place = Place::new().await;
    let broken = Action::Status(ErrorAnswer::of(StatusCode::INTERNAL_SERVER_ERROR));
    place.emulator.add_fault(fault(When::Forever, broken).of(Api::SetAsyncConfig).on("hello"));
    let refused = place.set("hello", &json!({"enable_async_status_log": true})).await;
    refused.assert_error(500, "FSS.0500", "Internal server error.");
    assert_eq!(place.get("hello", API).await.status, 404, "nothing was set");
    assert_eq!(place.set("off", &json!({})).await.status, 200);
    place.emulator.clear_faults();
    // The call was carried out, although the caller gets no answer.
    place.emulator.add_fault(fault(When::Next(1), Action::DropAfter).of(Api::DeleteAsyncConfig));
    place.set("hello", &json!({})).await;
    place.http.delete(place.url("hello", API)).header("X-Auth-Token", TOKEN).send().await.unwrap_err();
    assert_eq!(place.get("hello", API).await.status, 404);
    let calls = place.emulator.requests().calls;
    let counted = [Api::SetAsyncConfig, Api::ShowAsyncConfig, Api::DeleteAsyncConfig].map(|api| calls[&api]);
    assert_eq!(counted, [3, 2, 1]);
}

#[tokio::test]
async fn the_client_reads_the_settings_that_were_made() {
    let place = Place::new().await;
    let credential = Credential::access_key("AK", "SK".to_owned(), None).unwrap();
    let urn = urn("!prod").parse().unwrap();
    let read = async || {
        place.client().async_invoke_config(&urn, &credential, now(), Duration::from_secs(10)).await.unwrap()
    };
    let Fetched::Answer(nothing) = read().await else { panic!("there is nothing to read") };
    assert_eq!((nothing.status, nothing.error_code.as_deref()), (404, Some("FSS.0404")));
    let settings = json!({
        "max_async_retry_attempts": 0,
        "enable_async_status_log": true,
        "destination_config": {"on_success": {"destination": "OBS", "param": "{}"}},
    });
    place.set(&urn.to_string(), &settings).await;
    let expected = AsyncInvokeConfig {
        status_log_enabled: true,
        max_event_age_seconds: Some(3600),
        max_retry_attempts: Some(0),
        on_success: Some("OBS".to_owned()),
        on_failure: None,
    };
    assert_eq!(read().await, Fetched::Settings(expected));
}
