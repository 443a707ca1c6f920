//! The admin API as used with curl.

use functiongraph_emulator::Config;
use serde_json::{Value, json};

use crate::support::{Place, Seen, config};

async fn place() -> Place {
    let admin_listen = Some(([127, 0, 0, 1], 0).into());
    Place::with(Config { admin_listen, ..config() }).await
}

impl Place {
    fn admin(&self, path: &str) -> String {
        format!("{}/admin/{path}", self.emulator.admin_url().unwrap())
    }

    async fn admin_get(&self, path: &str) -> Value {
        Seen::of(self.http.get(self.admin(path))).await.json()
    }
}

#[tokio::test]
async fn the_ledger_is_read_per_function_and_emptied() {
    let place = place().await;
    assert!(place.emulator.set_disabled("off", false));
    place.submit("hello", r#"{"tag":"a"}"#).await;
    place.submit("off", "{}").await;
    let all = place.admin_get("ledger").await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(all[0]["tag"], "a");
    let urn = all[0]["function"].as_str().unwrap().to_owned();
    for name in ["hello", "default:hello", &urn] {
        let some = place.admin_get(&format!("ledger?function={name}")).await;
        assert_eq!(some, json!([all[0]]), "{name}");
    }
    assert_eq!(place.admin_get("ledger?function=nope").await, json!([]));
    assert_eq!(Seen::of(place.http.delete(place.admin("ledger"))).await.status, 204);
    assert_eq!(place.admin_get("ledger").await, json!([]));
}

#[tokio::test]
async fn faults_are_added_counted_and_lifted() {
    let place = place().await;
    let fault = r#"{"when":{"next":1},"function":"hello","action":{"status":{"status":500}}}"#;
    assert_eq!(Seen::of(place.http.post(place.admin("faults")).body(fault)).await.status, 200);
    place.submit("hello", "{}").await.assert_error(500, "FSS.0500", "Internal server error.");
    assert_eq!(place.submit("hello", "{}").await.status, 202);
    let faults = place.admin_get("faults").await;
    assert_eq!((&faults[0]["seen"], &faults[0]["fired"]), (&2.into(), &1.into()));
    assert_eq!(Seen::of(place.http.delete(place.admin("faults"))).await.status, 204);
    assert_eq!(place.admin_get("faults").await, json!([]));
}

#[tokio::test]
async fn nonsense_is_refused_with_a_reason() {
    let place = place().await;
    let post = Seen::of(place.http.post(place.admin("faults")).body(r#"{"when":"soon"}"#)).await;
    assert_eq!(post.status, 400);
    assert!(post.text.contains("soon"), "{}", post.text);
    let alias = r#"{"aliases":{"beta":"v9"}}"#;
    let put = Seen::of(place.http.put(place.admin("functions/hello")).body(alias)).await;
    assert_eq!(put.status, 400);
    assert!(put.text.contains("v9"), "{}", put.text);
    let put = Seen::of(place.http.put(place.admin("rate-limit")).body("{}")).await;
    assert_eq!(put.status, 400);
    for (path, body, field) in [
        ("functions/hello", r#"{"concurrency":"many"}"#, "`concurrency`: "),
        ("functions/hello", r#"{"failure":{"code":"x","message":"m"}}"#, "`failure.code`: "),
        ("rate-limit", r#"{"requestsPerSecond":0}"#, "`requestsPerSecond`: "),
    ] {
        let put = Seen::of(place.http.put(place.admin(path)).body(body)).await;
        assert!(put.status == 400 && put.text.starts_with(field), "{}", put.text);
    }
}

#[tokio::test]
async fn a_rate_limit_is_set_and_lifted() {
    let place = place().await;
    let put = async |body: &'static str| {
        Seen::of(place.http.put(place.admin("rate-limit")).body(body)).await.status
    };
    assert_eq!(put(r#"{"requestsPerSecond":1,"retryAfter":9}"#).await, 204);
    let throttled = loop {
        let seen = place.submit("hello", "{}").await;
        if seen.status != 202 {
            break seen;
        }
    };
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("9")));
    assert_eq!(put("null").await, 204);
    assert_eq!(place.submit("hello", "{}").await.status, 202);
}

#[tokio::test]
async fn a_function_is_changed_field_by_field_or_added() {
    let place = place().await;
    let put = async |name: &str, body: &'static str| {
        Seen::of(place.http.put(place.admin(&format!("functions/{name}"))).body(body)).await
    };
    assert_eq!(put("hello", r#"{"disabled":true}"#).await.status, 200);
    assert_eq!(place.submit("hello", "{}").await.status, 429);
    let hello = put("hello", r#"{"disabled":false,"latency":"5ms"}"#).await.json();
    assert_eq!((&hello["versions"], &hello["latency"]), (&json!(["v1"]), &"5ms".into()));
    assert_eq!(place.submit("hello", "{}").await.status, 202);
    assert_eq!(place.submit("other:new", "{}").await.status, 404);
    assert_eq!(put("other:new", "{}").await.json()["package"], "other");
    assert_eq!(place.submit("other:new", "{}").await.status, 202);
    let names: Vec<Value> = place.admin_get("functions").await.as_array().unwrap().clone();
    assert_eq!(names.len(), 3);
}
