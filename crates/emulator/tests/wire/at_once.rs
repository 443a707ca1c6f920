//! Changes of one function by several callers at the same time: none is lost, and each answer is true.

use functiongraph_emulator::Config;
use http::Method;
use serde_json::{Value, json};

use crate::support::{Place, Seen, TOKEN, config};

/// Callers at the same time: enough to meet each other on two processors.
const CALLERS: usize = 200;

async fn place() -> Place {
    Place::with(Config { admin_listen: Some(([127, 0, 0, 1], 0).into()), ..config() }).await
}

impl Place {
    /// A call for every caller, all at the same time. Returns the statuses in the order of the callers.
    async fn at_once(&self, call: impl Fn(usize) -> (Method, String, Value)) -> Vec<u16> {
        let calls = (0..CALLERS).map(|caller| {
            let (method, url, body) = call(caller);
            let request = self.http.request(method, url).header("X-Auth-Token", TOKEN);
            tokio::spawn(Seen::of(request.body(body.to_string())))
        });
        let mut statuses = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            statuses.push(call.await.unwrap().status);
        }
        statuses
    }

    async fn function(&self) -> Value {
        let url = format!("{}/admin/functions", self.emulator.admin_url().unwrap());
        let functions = Seen::of(self.http.get(url)).await.json();
        let mut functions = functions.as_array().unwrap().iter();
        functions.find(|function| function["name"] == "hello").cloned().unwrap_or_default()
    }
}

fn successes(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status < 300).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_change_of_a_function_is_lost() {
    let place = place().await;
    let before = place.function().await["versions"].as_array().unwrap().len();
    let published = place
        .at_once(|caller| {
            (Method::POST, place.url("hello", "versions"), json!({"version": format!("at-once-{caller}")}))
        })
        .await;
    assert_eq!(successes(&published), CALLERS, "{published:?}");
    assert_eq!(place.function().await["versions"].as_array().unwrap().len(), before + CALLERS);

    // Half of them through the admin API, which changes other fields of the same function.
    let admin = format!("{}/admin/functions/hello", place.emulator.admin_url().unwrap());
    let changed = place
        .at_once(|caller| {
            if caller % 2 == 0 {
                let alias = json!({"name": format!("at-once-{caller}"), "version": "v1"});
                (Method::POST, place.url("hello", "aliases"), alias)
            } else {
                (Method::PUT, admin.clone(), json!({"log": caller.to_string()}))
            }
        })
        .await;
    assert_eq!(successes(&changed), CALLERS, "{changed:?}");
    let aliases = place.function().await["aliases"].as_object().unwrap().clone();
    assert_eq!(aliases.keys().filter(|name| name.starts_with("at-once-")).count(), CALLERS / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_several_callers_creates_or_deletes() {
    let place = place().await;
    let version =
        place.at_once(|_| (Method::POST, place.url("hello", "versions"), json!({"version": "same"})));
    assert_eq!(successes(&version.await), 1);
    let alias = json!({"name": "same", "version": "v1"});
    let aliases = place.at_once(|_| (Method::POST, place.url("hello", "aliases"), alias.clone()));
    assert_eq!(successes(&aliases.await), 1);
    let gone = place.at_once(|_| (Method::DELETE, place.url("hello", "aliases/same"), Value::Null));
    assert_eq!(successes(&gone.await), 1);
    let deleted = place.at_once(|_| (Method::DELETE, place.project_url("functions/hello"), Value::Null));
    assert_eq!(successes(&deleted.await), 1);
}
