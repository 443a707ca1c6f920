//! The quotas and the status log of a project.

use functiongraph_emulator::{Action, Api, When};
use serde_json::json;

use crate::support::{PROJECT, Place, Seen, TOKEN, fault};

/// The calls without a function.
const CALLS: [(&str, &str, Api); 6] = [
    ("GET", "functions", Api::ListFunctions),
    ("GET", "quotas", Api::ListQuotas),
    ("GET", "functions/reservedinstances", Api::ListReserved),
    ("GET", "functions/reservedinstanceconfigs", Api::ListReservedConfigs),
    ("GET", "functions/async-status-log-detail", Api::ShowStatusLog),
    ("POST", "functions/enable-async-status-logs", Api::EnableStatusLog),
];

#[tokio::test]
async fn the_quotas_tell_what_is_used() {
    let place = Place::new().await;
    let url = place.url("hello", "reservedinstances");
    let reserve = place.http.put(url).header("X-Auth-Token", TOKEN).body(r#"{"count":5}"#);
    assert_eq!(Seen::of(reserve).await.status, 200);
    let body = place.get_project("quotas").await.json();
    let resources = body["quotas"]["resources"].as_array().unwrap().clone();
    assert_eq!(resources.len(), 6);
    for resource in [
        json!({"type": "fgs_func_num", "quota": 100, "used": 2}),
        json!({"type": "fgs_func_occurs", "quota": 100, "used": 5}),
        json!({"type": "fgs_func_code_size", "quota": 10240, "used": 0, "unit": "MB"}),
    ] {
        assert!(resources.contains(&resource), "{resource}");
    }
}

#[tokio::test]
async fn the_functions_of_the_project_are_listed_in_pages_by_both_editions_of_the_api() {
    let place = Place::new().await;
    let all = place.get_project("functions").await.json();
    let names = |list: &serde_json::Value| -> Vec<String> {
        let functions = list["functions"].as_array().unwrap();
        functions.iter().map(|function| function["func_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((names(&all).len(), &all["count"]), (2, &json!(2)));
    let second = place.get_project("functions?marker=1&maxitems=1").await.json();
    assert_eq!((names(&second), &second["next_marker"]), (names(&all)[1..].to_vec(), &json!(2)));
    let old = place.project_url("functions").replace("/v2/", "/v1.0/").replace("/fgs/", "/fss/");
    let old = Seen::of(place.http.get(old).header("X-Auth-Token", TOKEN)).await;
    assert_eq!((old.status, old.json()), (200, all));
}

#[tokio::test]
async fn the_place_of_the_status_log_is_known_once_it_was_asked_for() {
    let place = Place::new().await;
    let detail = async || place.get_project("functions/async-status-log-detail").await;
    assert_eq!((detail().await.status, detail().await.json()), (200, json!({})));
    let url = place.project_url("functions/enable-async-status-logs");
    let enable = async || Seen::of(place.http.post(&url).header("X-Auth-Token", TOKEN)).await;
    let seen = enable().await;
    assert_eq!((seen.status, &*seen.text), (200, ""));
    let made = detail().await.json();
    for key in ["group_id", "group_name", "stream_id", "stream_name"] {
        assert!(made[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
    assert_eq!(enable().await.status, 200);
    assert_eq!(detail().await.json(), made);
}

#[tokio::test]
async fn what_is_about_the_project_needs_a_credential_and_the_right_project() {
    let place = Place::new().await;
    for (method, path, api) in CALLS {
        let call = |url: String| place.http.request(method.parse().unwrap(), url);
        assert_eq!(Seen::of(call(place.project_url(path))).await.status, 401, "{path}");
        let other = place.project_url(path).replace(PROJECT, "0000");
        let other = Seen::of(call(other).header("X-Auth-Token", TOKEN)).await;
        other.assert_error(403, "FSS.0403", "Forbidden");
        assert_eq!(Seen::of(call(place.project_url(path)).header("X-Auth-Token", TOKEN)).await.status, 200);
        assert_eq!(place.emulator.requests().calls[&api], 3, "{path}");
    }
}

#[tokio::test]
async fn what_is_about_the_project_can_fail_too() {
    let place = Place::new().await;
    // A fault of one function does not hit calls of the project.
    place.emulator.add_fault(fault(When::Forever, Action::DropBefore).of(Api::ListQuotas).on("hello"));
    assert_eq!(place.get_project("quotas").await.status, 200);
    for (method, path, api) in CALLS {
        place.emulator.add_fault(fault(When::Next(1), Action::DropBefore).of(api));
        let call = || {
            let request = place.http.request(method.parse().unwrap(), place.project_url(path));
            request.header("X-Auth-Token", TOKEN)
        };
        call().send().await.unwrap_err();
        assert_eq!(call().send().await.unwrap().status(), 200, "{path}");
    }
}
