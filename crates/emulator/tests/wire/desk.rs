//! What a person at a desk needs: destinations that can be looked at, a fresh start, plain HTTP, the authority.

use std::time::Duration;

use functiongraph_emulator::{Action, Config, Failure, Fault, When};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PROJECT, Place, Seen, TOKEN, config};

async fn place(change: impl FnOnce(&mut Config)) -> Place {
    let any = Some(([127, 0, 0, 1], 0).into());
    let mut config = Config { admin_listen: any, http_listen: any, ..config() };
    change(&mut config);
    Place::with(config).await
}

impl Place {
    fn admin_url(&self, path: &str) -> String {
        format!("{}{path}", self.emulator.admin_url().unwrap())
    }

    async fn admin_json(&self, path: &str) -> Value {
        Seen::of(self.http.get(self.admin_url(path))).await.json()
    }

    /// Waits for this number of deliveries.
    async fn deliveries(&self, count: usize) -> Value {
        loop {
            let deliveries = self.admin_json("/admin/deliveries").await;
            if deliveries.as_array().unwrap().len() == count {
                return deliveries;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn urn(function: &str) -> String {
    format!("urn:fss:eu-de:{PROJECT}:function:default:{function}:latest")
}

#[tokio::test]
async fn a_destination_is_told_how_an_event_ended() {
    let place = place(|config| {
        let [hello, off] = config.functions.as_mut_slice() else { panic!("two functions") };
        off.disabled = false;
        // Nobody asks for the state of the execution, and its end is told all the same.
        hello.latency = Duration::from_millis(20);
        let param = json!({"func_urn": urn("off")}).to_string();
        let settings = json!({"destination_config": {
            "on_success": {"destination": "FunctionGraph", "param": param},
            "on_failure": {"destination": "SMN", "param": "{\"topic_urn\":\"t\"}"},
        }});
        hello.async_invoke_config = Some(serde_json::from_value(settings).unwrap());
    })
    .await;
    let id = place.submit("hello", r#"{"k":"v"}"#).await.json()["request_id"].clone();
    let delivery = place.deliveries(1).await[0].clone();
    assert_eq!((&delivery["destination"], &delivery["request_id"]), (&json!("FunctionGraph"), &id));
    let context = &delivery["event"]["request_context"];
    assert_eq!((&context["request_id"], &context["function_urn"]), (&id, &json!(urn("hello"))));
    assert_eq!((&context["condition"], &context["approximate_invoke_count"]), (&json!("Success"), &json!(1)));
    assert_eq!(delivery["event"]["request_payload"], json!({"k": "v"}));
    let ledger = place.emulator.ledger();
    assert_eq!((ledger.len(), &ledger[1].function), (2, &urn("off")));
    assert_eq!(json!(ledger[1].request_id), delivery["invocation"], "the function was invoked");
    let origin = place.admin_json("/admin/executions?function=hello").await;
    let told = &origin[0]["deliveries"][0];
    assert_eq!(
        (&told["destination"], &told["invocation"]),
        (&json!("FunctionGraph"), &delivery["invocation"])
    );
    let told = place.admin_json("/admin/executions?function=off").await;
    let event: Value = serde_json::from_str(told[0]["event"].as_str().unwrap()).unwrap();
    assert_eq!(event, delivery["event"]);

    let mut failing = config().functions[0].clone();
    failing.failure = Some(Failure::new(4002, "raised"));
    failing.async_invoke_config = None;
    place.emulator.add_function(failing).unwrap();
    place.submit("hello", "{}").await;
    let delivery = place.deliveries(2).await[1].clone();
    assert_eq!(
        (&delivery["destination"], &delivery["param"]),
        (&json!("SMN"), &json!("{\"topic_urn\":\"t\"}"))
    );
    let event = &delivery["event"];
    assert_eq!(event["response_context"], json!({"status_code": 500, "function_error": "raised"}));
    assert_eq!(event["response_payload"], json!({"errorMessage": "raised"}));
    let failed = place.admin_json("/admin/executions?function=hello&status=FAIL").await;
    assert_eq!(failed[0]["deliveries"][0]["destination"], "SMN", "recorded, because there is no SMN");
}

#[tokio::test]
async fn events_for_destinations_are_hidden_like_the_others() {
    let place = place(|config| {
        config.hide_events = true;
        let settings = json!({"destination_config": {"on_success": {"destination": "OBS", "param": "{}"}}});
        config.functions[0].async_invoke_config = Some(serde_json::from_value(settings).unwrap());
    })
    .await;
    place.submit("hello", r#"{"password":"secret"}"#).await;
    let deliveries = place.deliveries(1).await;
    assert!(!deliveries.to_string().contains("secret"), "{deliveries}");
    assert_eq!(deliveries[0]["destination"], "OBS");
}

#[tokio::test]
async fn declared_faults_are_there_at_the_start_and_after_a_reset() {
    let place = place(|config| config.faults.push(Fault::new(When::Next(1), Action::DropBefore))).await;
    for _ in 0..2 {
        place.submission("hello", "{}").send().await.unwrap_err();
        assert_eq!(place.submit("hello", "{}").await.status, 202);
        assert_eq!(Seen::of(place.http.post(place.admin_url("/admin/reset"))).await.status, 204);
    }
}

#[tokio::test]
async fn a_reset_makes_everything_what_it_was_at_the_start() {
    let place = place(|_| {}).await;
    place.submit("hello", "{}").await;
    place.emulator.add_fault(Fault::new(When::Forever, Action::DropBefore));
    assert!(place.emulator.set_disabled("off", false));
    let added = place.http.put(place.admin_url("/admin/functions/new")).body("{}");
    assert_eq!(Seen::of(added).await.status, 200);
    assert_eq!(Seen::of(place.http.post(place.admin_url("/admin/reset"))).await.status, 204);
    assert!(place.emulator.ledger().is_empty() && place.emulator.faults().is_empty());
    assert_eq!(place.emulator.requests().seen, 0);
    assert_eq!(place.admin_json("/admin/executions").await, json!([]));
    assert_eq!(place.admin_json("/admin/functions").await.as_array().map(Vec::len), Some(2));
    assert_eq!(place.submit("off", "{}").await.status, 429, "switched off again");
    assert_eq!(place.submit("hello", "{}").await.status, 202, "the configured token is still good");
}

#[tokio::test]
async fn functions_are_deleted_and_the_authority_is_handed_out() {
    let place = place(|_| {}).await;
    assert_eq!(Seen::of(place.http.delete(place.admin_url("/admin/functions/off"))).await.status, 204);
    place.submit("off", "{}").await.assert_error(404, "FSS.0404", "function 'off' not exist");
    let again = Seen::of(place.http.delete(place.admin_url("/admin/functions/off"))).await;
    assert_eq!((again.status, &*again.text), (400, "there is no function \"off\"\n"));
    let authority = Seen::of(place.http.get(place.admin_url("/admin/ca.crt"))).await;
    assert_eq!(authority.text, place.emulator.ca_pem());
    assert_eq!(Seen::of(place.http.get(place.admin_url("/health"))).await.text, "ok\n");
}

#[tokio::test]
async fn without_tls_the_api_is_the_same_and_headers_have_the_spelling_of_the_service() {
    let place = place(|_| {}).await;
    let url = place.emulator.http_url().unwrap();
    let path = format!("/v2/{PROJECT}/fgs/functions/hello/invocations-async");
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: e\r\nX-Auth-Token: {TOKEN}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
    for name in ["X-Cff-Request-Id: ", "X-Request-Id: ", "Content-Type: "] {
        assert!(answer.contains(&format!("\r\n{name}")), "{name}{answer}");
    }
    let version = Seen::of(place.http.get(format!("{url}/v3"))).await.json();
    assert_eq!(version["version"]["links"][0]["href"], format!("{url}/v3/"));
}
