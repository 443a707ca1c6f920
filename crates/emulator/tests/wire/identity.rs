//! Logins, and the validity of their credentials.

mod client;
mod id_token;
mod local;
mod password;

use functiongraph_emulator::{Config, Identity, User};
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{PROJECT, Place, Seen, config};

/// The user `ci` of the account `acct`, whose password is `right`.
pub fn identity() -> Identity {
    let user = User { domain: "acct".into(), name: "ci".into(), password: "right".into() };
    Identity { users: vec![user], ..Identity::default() }
}

pub async fn place(change: impl FnOnce(&mut Identity)) -> Place {
    let mut identity = identity();
    change(&mut identity);
    let admin_listen = Some(([127, 0, 0, 1], 0).into());
    Place::with(Config { identity, admin_listen, ..config() }).await
}

/// Posts JSON to a path.
pub async fn post(place: &Place, path: &str, body: &Value, headers: &[(&'static str, &str)]) -> Seen {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    let request = place.http.post(format!("{}{path}", place.emulator.url())).headers(map);
    Seen::of(request.body(body.to_string())).await
}

/// Logs in with a password.
pub async fn log_in(place: &Place, password: &str, scope: Option<Value>) -> Seen {
    let user = json!({"name": "ci", "password": password, "domain": {"name": "acct"}});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let mut auth = json!({"identity": identity});
    if let Some(scope) = scope {
        auth["scope"] = scope;
    }
    post(place, "/v3/auth/tokens", &json!({"auth": auth}), &[]).await
}

/// A token for the emulator's project.
pub async fn token(place: &Place) -> String {
    let seen = log_in(place, "right", Some(json!({"project": {"id": PROJECT}}))).await;
    seen.header("x-subject-token").unwrap().to_owned()
}

/// Submits an event with a token.
pub async fn submit(place: &Place, token: &str) -> Seen {
    let url = place.url("hello", "invocations-async");
    Seen::of(place.http.post(url).header("X-Auth-Token", token).body("{}")).await
}

/// A time in an answer.
#[track_caller]
pub fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// Whether this is an error of IAM in Keystone's format.
#[track_caller]
pub fn assert_keystone(seen: &Seen, status: u16, title: &str, message: &str) {
    let error = json!({"code": status, "message": message, "title": title});
    assert_eq!((seen.status, seen.json()), (status, json!({"error": error})));
    assert_eq!(seen.header("x-iam-trace-id").map(str::len), Some(32));
}
